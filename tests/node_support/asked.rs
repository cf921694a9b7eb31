//! Operations on a node, and their ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};

use cjp2pfs::content::ContentId;
use cjp2pfs::node::{ContentInfo, Failure, Node, Pending, Reader};

use super::{SOON, wait};

/// An operation that was begun.
pub struct Asked<T> {
    pub pending: Option<Pending>,
    ends: Receiver<Result<T, Failure>>,
    calls: Arc<AtomicUsize>,
}

type Done<T> = Box<dyn FnOnce(Result<T, Failure>) + Send>;

/// Begins an operation whose `done` counts its calls and tells its end.
fn begin<T: Send + 'static>(start: impl FnOnce(Done<T>) -> Option<Pending>) -> Asked<T> {
    let (end, ends) = mpsc::channel();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let pending = start(Box::new(move |result| {
        count.fetch_add(1, Ordering::SeqCst);
        let _ = end.send(result);
    }));
    Asked {
        pending,
        ends,
        calls,
    }
}

impl<T> Asked<T> {
    /// How it ended, waiting for that. A `done` that is dropped uncalled fails the test at once.
    #[track_caller]
    pub fn end(&self) -> Result<T, Failure> {
        self.ends
            .recv_timeout(SOON)
            .expect("the operation does not end")
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<Result<T, Failure>> {
        self.ends.try_recv().ok()
    }

    /// How often its `done` was called.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    #[track_caller]
    pub fn cancel(&self, failure: Failure) {
        self.pending
            .as_ref()
            .expect("the operation to be waiting")
            .cancel(failure);
    }
}

pub fn lookup(node: &Node, id: ContentId) -> Asked<ContentInfo> {
    begin(|done| node.lookup(id, done))
}

pub fn fetch(node: &Node, id: ContentId) -> Asked<ContentInfo> {
    begin(|done| node.fetch(id, done))
}

pub fn start_read(reader: &Reader, offset: u64, length: u32) -> Asked<Vec<u8>> {
    begin(|done: Done<Vec<u8>>| {
        reader.read(
            offset,
            length,
            Box::new(move |result| done(result.map(<[u8]>::to_vec))),
        )
    })
}

#[track_caller]
pub fn read(reader: &Reader, offset: u64, length: u32) -> Result<Vec<u8>, Failure> {
    start_read(reader, offset, length).end()
}

/// Looks `id` up and opens it.
#[track_caller]
pub fn get(node: &Node, id: ContentId) -> Reader {
    lookup(node, id).end().expect("somebody has it");
    wait("it to be opened", || node.open(id).ok())
}
