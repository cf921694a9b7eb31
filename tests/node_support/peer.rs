//! A raw socket that answers as a test tells it to.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cjp2pfs::content::{ContentId, Hash};
use cjp2pfs::wire::{Encoder, Message, decode};

use super::SOON;

/// One question for content.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub id: ContentId,
    pub offset: u64,
    pub length: u64,
}

impl Question {
    /// Whether it only asks who has the content: of its first bytes, and of few.
    pub fn is_search(&self) -> bool {
        self.offset == 0 && self.length <= 32
    }

    pub fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// What is said to a question.
pub enum Reply {
    Silence,
    /// "I do not have that".
    No,
    /// These bytes at the offset that was asked for, of content of this length.
    Content(u64, Vec<u8>),
}

/// Decides what is said to each question.
pub type Rule = Box<dyn FnMut(&Question) -> Reply + Send>;

/// Of `bytes` what was asked for.
pub fn part(bytes: &[u8], question: &Question) -> Reply {
    let eof = bytes.len() as u64;
    let start = question.offset.min(eof) as usize;
    let end = question.end().min(eof) as usize;
    Reply::Content(eof, bytes[start..end].to_vec())
}

/// A peer that follows a rule, and tells what it was asked.
pub struct Peer {
    pub address: SocketAddr,
    rule: Arc<Mutex<Rule>>,
    /// What it says the BLAKE3 of an id is, and the length of its content.
    claim: Arc<Mutex<Claim>>,
    heard: Receiver<Question>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    pub fn new(rule: impl FnMut(&Question) -> Reply + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(rule)));
        let ends = Arc::new(AtomicBool::new(false));
        let claim = Arc::default();
        let (tell, heard) = mpsc::channel();
        let thread = {
            let (rule, ends) = (Arc::clone(&rule), Arc::clone(&ends));
            let claim = Arc::clone(&claim);
            std::thread::spawn(move || answer_all(&socket, &rule, &claim, &tell, &ends))
        };
        Self {
            address,
            rule,
            claim,
            heard,
            ends,
            thread: Some(thread),
        }
    }

    /// Has `bytes`.
    pub fn serving(bytes: Vec<u8>) -> Self {
        Self::new(move |question| part(&bytes, question))
    }

    /// Never says a word about content.
    pub fn silent() -> Self {
        Self::new(|_| Reply::Silence)
    }

    /// Says that it has `bytes`, and gives none of them to who asks for more than a search does.
    pub fn withholding(bytes: Vec<u8>) -> Self {
        Self::serving_only(bytes, |_| false)
    }

    /// Answers searches, and of the other questions those that `allowed` says.
    pub fn serving_only(
        bytes: Vec<u8>,
        mut allowed: impl FnMut(&Question) -> bool + Send + 'static,
    ) -> Self {
        Self::new(move |question| {
            if question.is_search() || allowed(question) {
                part(&bytes, question)
            } else {
                Reply::Silence
            }
        })
    }

    /// Gives `bytes` with a bit changed at each of these places.
    pub fn corrupting(mut bytes: Vec<u8>, places: &[usize]) -> Self {
        for place in places {
            bytes[*place] ^= 1;
        }
        Self::serving(bytes)
    }

    /// Says from now on that the content `id` of `length` bytes has this BLAKE3.
    pub fn claim(&self, id: ContentId, blake3: Hash, length: u64) {
        *lock(&self.claim) = Some((id, blake3, length));
    }

    /// Follows another rule from now on.
    pub fn now(&self, rule: impl FnMut(&Question) -> Reply + Send + 'static) {
        *lock(&self.rule) = Box::new(rule);
    }

    /// Waits for a question such as `wanted`.
    #[track_caller]
    pub fn asked(&self, mut wanted: impl FnMut(&Question) -> bool) -> Question {
        let until = Instant::now() + SOON;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let question = self
                .heard
                .recv_timeout(left)
                .expect("the question does not come");
            if wanted(&question) {
                return question;
            }
        }
    }

    /// What it has been asked since this was last told, searches included.
    pub fn questions(&self) -> Vec<Question> {
        self.heard.try_iter().collect()
    }

    /// The questions that come until none such as `counted` has come for `quiet`.
    #[track_caller]
    pub fn questions_until_quiet(
        &self,
        quiet: Duration,
        mut counted: impl FnMut(&Question) -> bool,
    ) -> Vec<Question> {
        let start = Instant::now();
        let mut last = start;
        let mut questions = Vec::new();
        loop {
            let left = (last + quiet).saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(question) if counted(&question) => {
                    last = Instant::now();
                    questions.push(question);
                    assert!(last - start < SOON, "it is asked again and again");
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return questions,
                Err(RecvTimeoutError::Disconnected) => panic!("the peer has ended"),
            }
        }
    }

    /// The questions that come in the next `span`.
    pub fn questions_during(&self, span: Duration) -> Vec<Question> {
        let until = Instant::now() + span;
        let mut questions = Vec::new();
        while let Ok(question) = self
            .heard
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            questions.push(question);
        }
        questions
    }

    /// The same without searches.
    pub fn pieces_during(&self, span: Duration) -> Vec<Question> {
        let mut questions = self.questions_during(span);
        questions.retain(|question| !question.is_search());
        questions
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

type Claim = Option<(ContentId, Hash, u64)>;

fn answer_all(
    socket: &UdpSocket,
    rule: &Mutex<Rule>,
    claim: &Mutex<Claim>,
    tell: &Sender<Question>,
    ends: &AtomicBool,
) {
    let mut datagram = vec![0; 65_536];
    let mut answer = Vec::new();
    while !ends.load(Ordering::SeqCst) {
        let Ok((length, from)) = socket.recv_from(&mut datagram) else {
            continue;
        };
        let decoded = decode(&datagram[..length]).expect("a node sends what can be read");
        let claim = *lock(claim);
        if write_answer(&decoded.messages, &mut lock(rule), claim, tell, &mut answer) {
            // A full queue may refuse for a moment; that is as good as a lost datagram.
            let _ = socket.send_to(&answer, from);
        }
    }
}

/// Writes the answer to one datagram; `false`: silence.
fn write_answer(
    messages: &[Message<'_>],
    rule: &mut Rule,
    claim: Claim,
    tell: &Sender<Question>,
    answer: &mut Vec<u8>,
) -> bool {
    let mut replies = Vec::new();
    for message in messages {
        if let Message::PleaseSendContent { id, offset, length } = message {
            let question = Question {
                id: id.content().expect("a node asks for content"),
                offset: *offset,
                length: *length,
            };
            let reply = rule(&question);
            let _ = tell.send(question);
            if matches!(reply, Reply::Silence) {
                return false;
            }
            replies.push((question, reply));
        }
    }
    let mut encoder = Encoder::new(answer);
    encoder.please_always_return_this_message("scripted");
    for message in messages {
        match message {
            Message::PleaseAlwaysReturnThisMessage(cookie) => {
                encoder.always_returned(cookie.raw());
            }
            Message::PleaseReturnThisMessage(cookie) => encoder.returned_message(cookie.raw()),
            Message::WhatIsItsBlake3 { id } => {
                if let Some((of, blake3, eof)) = claim
                    && id.content() == Some(of)
                {
                    encoder.its_blake3_is(&of, &blake3, eof);
                }
            }
            _ => {}
        }
    }
    for (question, reply) in replies {
        match reply {
            Reply::Content(eof, data) => encoder.content(&question.id, question.offset, eof, &data),
            Reply::No => encoder.i_do_not_have_that(&question.id),
            Reply::Silence => {}
        }
    }
    encoder.finish();
    true
}
