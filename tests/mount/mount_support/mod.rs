//! A source without a network: content that is here, late, stalled, failing or forgotten.

#![allow(dead_code, reason = "each test uses a part of it")]

mod children;
mod mounted;

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use cjp2pfs::content::ContentId;
use cjp2pfs::mount::source::{Backing, Listener, Reading, Source, Space, Waiting};
use cjp2pfs::node::{ContentInfo, Done, DoneRead, Failure};

pub use children::{command, kill, read_mapped, send, until};
pub use mounted::Mount;

/// How an operation answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    AtOnce,
    Late(Duration),
    Never,
    Fails(Failure),
    /// `done` is dropped uncalled.
    Dropped,
    /// A byte less than was asked for.
    Short,
}

pub struct Content {
    pub data: Vec<u8>,
    pub proven: AtomicBool,
    pub lookup: Mutex<Answer>,
    pub read: Mutex<Answer>,
    /// Until it is looked up, nothing is known of it.
    pub forgotten: AtomicBool,
    /// What a lookup says beyond the true length.
    pub exaggeration: AtomicUsize,
    /// Another one each time that it is added.
    pub generation: u64,
    /// The file that the kernel may read in place of this.
    pub backing: Mutex<Option<Arc<File>>>,
    /// It lies on a disk that hangs, while there is one.
    pub hangs: AtomicBool,
}

#[derive(Default)]
struct State {
    contents: Mutex<HashMap<ContentId, Arc<Content>>>,
    lookups: AtomicUsize,
    waiting: AtomicUsize,
    largest: AtomicUsize,
    added: AtomicU64,
    opens: AtomicUsize,
    reads: AtomicUsize,
    fills: AtomicUsize,
    cancelled: Mutex<Vec<Failure>>,
    rotten: Mutex<Vec<Listener>>,
    /// Whether a disk hangs, that of the list of contents among others.
    hangs: Mutex<bool>,
    goes_on: Condvar,
}

/// The source. Clones are the same.
#[derive(Clone, Default)]
pub struct Fake(Arc<State>);

impl Fake {
    pub fn add(&self, id: ContentId, data: Vec<u8>, proven: bool) -> Arc<Content> {
        let content = Arc::new(Content {
            data,
            proven: AtomicBool::new(proven),
            lookup: Mutex::new(Answer::AtOnce),
            read: Mutex::new(Answer::AtOnce),
            forgotten: AtomicBool::new(false),
            exaggeration: AtomicUsize::new(0),
            generation: self.0.added.fetch_add(1, Ordering::SeqCst),
            backing: Mutex::default(),
            hangs: AtomicBool::new(false),
        });
        let mut contents = self.0.contents.lock().unwrap();
        contents.insert(id, Arc::clone(&content));
        content
    }

    /// Content of which nothing is known until it is looked up, and that answers so.
    pub fn add_remote(&self, id: ContentId, data: Vec<u8>, lookup: Answer) -> Arc<Content> {
        let content = self.add(id, data, false);
        content.forgotten.store(true, Ordering::SeqCst);
        *content.lookup.lock().unwrap() = lookup;
        content
    }

    /// The file of this content has rotted.
    pub fn rots(&self, id: ContentId) {
        for listener in &*self.0.rotten.lock().unwrap() {
            listener(&[id]);
        }
    }

    /// From now on a disk hangs, or does so no more.
    pub fn hang(&self, hangs: bool) {
        *self.0.hangs.lock().unwrap() = hangs;
        self.0.goes_on.notify_all();
    }

    fn hangs(&self) -> bool {
        *self.0.hangs.lock().unwrap()
    }

    /// Waits for the disk.
    fn wait_for_disk(&self) {
        let hangs = self.0.hangs.lock().unwrap();
        drop(self.0.goes_on.wait_while(hangs, |hangs| *hangs).unwrap());
    }

    /// How often a lookup came here.
    pub fn lookups(&self) -> usize {
        self.0.lookups.load(Ordering::SeqCst)
    }

    /// How many operations wait.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::SeqCst)
    }

    /// The largest read that came here, in bytes.
    pub fn largest_read(&self) -> usize {
        self.0.largest.load(Ordering::SeqCst)
    }

    /// How often content was opened.
    pub fn opens(&self) -> usize {
        self.0.opens.load(Ordering::SeqCst)
    }

    /// How often a read came here.
    pub fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// How often a read came here that was for the page cache.
    pub fn fills(&self) -> usize {
        self.0.fills.load(Ordering::SeqCst)
    }

    /// With which failures operations have been cancelled.
    pub fn cancelled(&self) -> Vec<Failure> {
        self.0.cancelled.lock().unwrap().clone()
    }

    fn get(&self, id: &ContentId) -> Option<Arc<Content>> {
        self.0.contents.lock().unwrap().get(id).cloned()
    }

    /// Whether it is on a disk that hangs.
    fn is_on_disk(&self, id: &ContentId) -> bool {
        let on_it = |content: &Content| content.hangs.load(Ordering::SeqCst);
        self.hangs() && self.get(id).as_deref().is_some_and(on_it)
    }

    fn info_of(id: ContentId, content: &Content) -> ContentInfo {
        let length = content.data.len() + content.exaggeration.load(Ordering::SeqCst);
        ContentInfo {
            id,
            length: length as u64,
            proven: content.proven.load(Ordering::SeqCst),
            present: 1,
            verified: cjp2pfs::node::Verified::default(),
        }
    }

    /// Ends `end` as `answer` says; `true` is "with the result".
    fn answer(
        &self,
        answer: Answer,
        end: impl FnOnce(Result<(), Failure>) + Send + 'static,
    ) -> Option<Stalled> {
        match answer {
            Answer::AtOnce | Answer::Short => {
                end(Ok(()));
                None
            }
            Answer::Fails(failure) => {
                end(Err(failure));
                None
            }
            Answer::Dropped => None,
            Answer::Late(_) | Answer::Never => {
                self.0.waiting.fetch_add(1, Ordering::SeqCst);
                let state = Arc::clone(&self.0);
                let stalled = Stalled(Arc::new(Operation {
                    end: Mutex::new(Some(Box::new(move |result| {
                        state.waiting.fetch_sub(1, Ordering::SeqCst);
                        end(result);
                    }))),
                    state: Arc::clone(&self.0),
                }));
                if let Answer::Late(delay) = answer {
                    let stalled = Stalled(Arc::clone(&stalled.0));
                    std::thread::spawn(move || {
                        std::thread::sleep(delay);
                        stalled.0.finish(Ok(()));
                    });
                }
                Some(stalled)
            }
        }
    }
}

type End = Box<dyn FnOnce(Result<(), Failure>) + Send>;

struct Operation {
    end: Mutex<Option<End>>,
    state: Arc<State>,
}

impl Operation {
    fn take(&self) -> Option<End> {
        self.end.lock().unwrap().take()
    }

    fn finish(&self, result: Result<(), Failure>) {
        if let Some(end) = self.take() {
            end(result);
        }
    }
}

pub struct Stalled(Arc<Operation>);

impl Waiting for Stalled {
    fn is_done(&self) -> bool {
        self.0.end.lock().unwrap().is_none()
    }

    fn cancel(&self, failure: Failure) {
        if let Some(end) = self.0.take() {
            // First, so that whoever sees that nothing waits any more finds it.
            self.0.state.cancelled.lock().unwrap().push(failure);
            end(Err(failure));
        }
    }
}

impl Source for Fake {
    type Reader = FakeReader;
    type Waiting = Stalled;

    fn lookup(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Stalled> {
        self.0.lookups.fetch_add(1, Ordering::SeqCst);
        let Some(content) = self.get(&id) else {
            done(Err(Failure::NotFound));
            return None;
        };
        let answer = *content.lookup.lock().unwrap();
        self.answer(answer, move |result| {
            if result.is_ok() {
                content.forgotten.store(false, Ordering::SeqCst);
            }
            done(result.map(|()| Self::info_of(id, &content)));
        })
    }

    fn open(&self, id: ContentId) -> Result<FakeReader, Failure> {
        self.0.opens.fetch_add(1, Ordering::SeqCst);
        let content = self.get(&id).ok_or(Failure::NotFound)?;
        if content.hangs.load(Ordering::SeqCst) {
            self.wait_for_disk();
        }
        if content.forgotten.load(Ordering::SeqCst) {
            return Err(Failure::NotFound);
        }
        Ok(FakeReader {
            fake: self.clone(),
            content,
        })
    }

    fn open_now(&self, id: ContentId) -> Option<Result<FakeReader, Failure>> {
        (!self.is_on_disk(&id)).then(|| self.open(id))
    }

    fn info_now(&self, id: ContentId) -> Option<Option<ContentInfo>> {
        (!self.is_on_disk(&id)).then(|| self.info(id))
    }

    fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        done: Done<T>,
    ) -> Option<Stalled> {
        if !self.hangs() {
            done(Ok(work()));
            return None;
        }
        let made = Arc::new(Mutex::new(None));
        let value = Arc::clone(&made);
        let stalled = self.answer(Answer::Never, move |end| {
            done(end.map(|()| value.lock().unwrap().take().unwrap()));
        })?;
        let operation = Arc::clone(&stalled.0);
        std::thread::spawn(move || {
            *made.lock().unwrap() = Some(work());
            operation.finish(Ok(()));
        });
        Some(stalled)
    }

    fn info(&self, id: ContentId) -> Option<ContentInfo> {
        if self.is_on_disk(&id) {
            self.wait_for_disk();
        }
        self.get(&id)
            .filter(|content| !content.forgotten.load(Ordering::SeqCst))
            .map(|content| Self::info_of(id, &content))
    }

    fn on_rotten(&self, listener: Listener) {
        self.0.rotten.lock().unwrap().push(listener);
    }

    fn contents(&self, limit: usize) -> Vec<ContentInfo> {
        self.wait_for_disk();
        let contents = self.0.contents.lock().unwrap();
        contents
            .iter()
            .filter(|(_, content)| !content.forgotten.load(Ordering::SeqCst))
            .take(limit)
            .map(|(id, content)| Self::info_of(*id, content))
            .collect()
    }

    fn space(&self) -> Space {
        Space {
            total: 10 << 30,
            free: 4 << 30,
        }
    }

    fn is_layered(&self) -> bool {
        true
    }
}

pub struct FakeReader {
    fake: Fake,
    content: Arc<Content>,
}

impl Reading for FakeReader {
    type Waiting = Stalled;

    fn length(&self) -> u64 {
        self.content.data.len() as u64
    }

    fn proven(&self) -> bool {
        self.content.proven.load(Ordering::SeqCst)
    }

    fn generation(&self) -> u64 {
        self.content.generation
    }

    fn backing(&self) -> Option<Backing> {
        let backing = self.content.backing.lock().unwrap().clone();
        backing.map(|file| file as Backing)
    }

    fn fill(&self, _: u32, offset: u64, length: u32, done: DoneRead) -> Option<Stalled> {
        self.fake.0.fills.fetch_add(1, Ordering::SeqCst);
        self.read(offset, length, done)
    }

    fn read(&self, offset: u64, length: u32, done: DoneRead) -> Option<Stalled> {
        let content = Arc::clone(&self.content);
        self.fake.0.reads.fetch_add(1, Ordering::SeqCst);
        let largest = &self.fake.0.largest;
        largest.fetch_max(length as usize, Ordering::SeqCst);
        let answer = *content.read.lock().unwrap();
        self.fake.answer(answer, move |result| match result {
            Ok(()) => {
                let end = content.data.len();
                let start = usize::try_from(offset).unwrap().min(end);
                let stop = start.saturating_add(length as usize).min(end);
                let missing = usize::from(answer == Answer::Short && stop > start);
                done(Ok(&content.data[start..stop - missing]));
            }
            Err(failure) => done(Err(failure)),
        })
    }
}

/// Bytes that differ from place to place and from file to file.
pub fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}
