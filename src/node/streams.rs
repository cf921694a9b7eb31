//! Streams that are read here: bytes that keep growing, each block of them signed by a key.
//!
//! A stream is fetched while it is open, from its beginning on and a bounded way ahead of who reads. A
//! read at the end waits for more, up to the read limit, and then says that there is no more for now.
//! Blocks live in memory only, a bounded number of them; what has gone is fetched again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Node;
use super::messages::Command;
use super::pending::{Pending, ReadTicket, Ticket, ValueTicket, Waiting};
use super::shared::{Shared, lock};
use super::types::{Done, DoneRead, Failure};
use crate::content::{KeyedName, LEAF};
use crate::wire::SignedBlock;

/// Streams that are known at once.
const MAX_STREAMS: usize = 64;
/// Blocks of one stream that are held: 4 MiB.
const MAX_HELD: usize = 1024;
/// How far ahead of its readers a stream is fetched.
const AHEAD: u64 = 1 << 20;
/// Blocks that are asked for beyond the end.
const BEYOND: u64 = 16;
/// Reads and lookups that wait on one stream.
const MAX_WAITING: usize = 4096;
/// How long a stream that nobody has open is remembered.
const IDLE: Duration = Duration::from_secs(30);

pub(super) type Streams = HashMap<KeyedName, Arc<Stream>>;

/// One stream.
pub(super) struct Stream {
    of: KeyedName,
    state: Mutex<State>,
}

struct State {
    /// By offset.
    blocks: BTreeMap<u64, Vec<u8>>,
    /// Bytes from the beginning that have been seen without a gap.
    end: u64,
    /// How far it has been read, by whoever read furthest.
    read_to: u64,
    handles: usize,
    idle_since: Instant,
    reads: Vec<WaitingRead>,
    lookups: Vec<(Arc<ValueTicket<u64>>, Instant)>,
}

struct WaitingRead {
    offset: u64,
    length: u64,
    ticket: Arc<ReadTicket>,
    deadline: Instant,
}

impl State {
    /// The bytes at `offset`, as many as are here without a gap, `length` at most.
    fn bytes(&self, offset: u64, length: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let stop = offset.saturating_add(length).min(self.end);
        let mut at = offset;
        while at < stop {
            let start = at - at % LEAF;
            let Some(block) = self.blocks.get(&start) else {
                break;
            };
            let from = usize::try_from(at - start).unwrap_or(usize::MAX);
            let to = usize::try_from(stop - start).unwrap_or(usize::MAX);
            let Some(part) = block
                .get(from..to.min(block.len()))
                .filter(|it| !it.is_empty())
            else {
                break;
            };
            bytes.extend_from_slice(part);
            at += part.len() as u64;
        }
        bytes
    }

    fn take_in(&mut self, offset: u64, data: Vec<u8>) {
        let known = self.blocks.get(&offset).map_or(0, Vec::len);
        if data.len() <= known {
            return;
        }
        self.blocks.insert(offset, data);
        loop {
            let start = self.end - self.end % LEAF;
            let length = self.blocks.get(&start).map_or(0, Vec::len) as u64;
            let end = start.saturating_add(length);
            if end <= self.end {
                break;
            }
            self.end = end;
        }
        // What lies furthest behind or ahead of the readers goes first.
        while self.blocks.len() > MAX_HELD {
            let first = self.blocks.keys().next().copied();
            let last = self.blocks.keys().next_back().copied();
            let (Some(first), Some(last)) = (first, last) else {
                break;
            };
            let behind = self.read_to.saturating_sub(first);
            let gone = if behind >= last.saturating_sub(self.read_to) {
                first
            } else {
                last
            };
            self.blocks.remove(&gone);
        }
    }

    /// The blocks that are to be asked for, and how much of each is here.
    fn wants(&self) -> Vec<(u64, usize)> {
        let mut wants = Vec::new();
        for read in &self.reads {
            let stop = read.offset.saturating_add(read.length).min(self.end);
            let mut start = read.offset - read.offset % LEAF;
            while start < stop && wants.len() < BEYOND as usize {
                if !self.blocks.contains_key(&start) {
                    wants.push((start, 0));
                }
                start += LEAF;
            }
        }
        let wanted = self.handles > 0 || !self.lookups.is_empty();
        let last = self.read_to.saturating_add(AHEAD);
        let mut start = self.end - self.end % LEAF;
        for _ in 0..BEYOND {
            if !wanted || start > last {
                break;
            }
            let have = self.blocks.get(&start).map_or(0, Vec::len);
            if (have as u64) < LEAF {
                wants.push((start, have));
            }
            // Whether a stream exists at all is asked by its first block.
            if self.end == 0 {
                break;
            }
            start += LEAF;
        }
        wants.sort_unstable();
        wants.dedup();
        wants
    }
}

/// One open handle on a stream.
pub struct StreamReader {
    node: Arc<Shared>,
    stream: Arc<Stream>,
}

impl StreamReader {
    /// Reads up to `length` bytes from `offset`: what is here, or, at the end, what comes next; no
    /// bytes when nothing came within the read limit.
    pub fn read(&self, offset: u64, length: u32, done: DoneRead) -> Option<Pending> {
        if self.node.is_stopping() {
            done(Err(Failure::Stopped));
            return None;
        }
        let length = u64::from(length);
        let mut state = lock(&self.stream.state);
        let bytes = state.bytes(offset, length);
        state.read_to = state
            .read_to
            .max(offset.saturating_add(bytes.len() as u64).min(state.end));
        if !bytes.is_empty() || length == 0 {
            drop(state);
            self.node.want_blocks(&self.stream);
            done(Ok(&bytes));
            return None;
        }
        if state.reads.len() >= MAX_WAITING {
            drop(state);
            done(Err(Failure::Busy));
            return None;
        }
        let ticket = Ticket::new(done);
        state.reads.push(WaitingRead {
            offset,
            length,
            ticket: Arc::clone(&ticket),
            deadline: Instant::now() + self.node.config.read_timeout,
        });
        drop(state);
        self.node.want_blocks(&self.stream);
        // The last sweep of a node that stops may have come just before.
        if self.node.is_stopping() {
            Waiting::fail(&*ticket, Failure::Stopped);
        }
        Some(Pending::of_value(ticket, self.node.me.clone()))
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        let mut state = lock(&self.stream.state);
        state.handles = state.handles.saturating_sub(1);
        state.idle_since = Instant::now();
        let over = state.handles == 0 && state.lookups.is_empty();
        drop(state);
        if over {
            let of = self.stream.of.clone();
            self.node.mailbox.post(Command::UnwantBlocks(of));
        }
    }
}

impl Node {
    /// Finds out whether there is a stream; `done` hears how many bytes of it are known.
    pub fn find_stream(&self, of: &KeyedName, done: Done<u64>) -> Option<Pending> {
        self.0.shared.find_stream(of, done)
    }

    /// Opens a stream that [`Node::find_stream`] has found. Never waits.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when it is not known any more.
    pub fn open_stream(&self, of: &KeyedName) -> Result<StreamReader, Failure> {
        let node = Arc::clone(&self.0.shared);
        let stream = {
            // Counted under the lock of the table, so that it is not forgotten in between.
            let streams = lock(&node.streams);
            let stream = streams.get(of).ok_or(Failure::NotFound)?;
            lock(&stream.state).handles += 1;
            Arc::clone(stream)
        };
        node.want_blocks(&stream);
        Ok(StreamReader { node, stream })
    }

    /// How many bytes of a stream are known, if it is.
    #[must_use]
    pub fn stream_length(&self, of: &KeyedName) -> Option<u64> {
        let stream = lock(&self.0.shared.streams).get(of).map(Arc::clone)?;
        let end = lock(&stream.state).end;
        (end > 0).then_some(end)
    }
}

impl Shared {
    fn find_stream(&self, of: &KeyedName, done: Done<u64>) -> Option<Pending> {
        if self.is_stopping() {
            done(Err(Failure::Stopped));
            return None;
        }
        // Held until the lookup is counted, so that the stream is not forgotten in between.
        let mut streams = lock(&self.streams);
        let stream = {
            if !streams.contains_key(of) && streams.len() >= MAX_STREAMS {
                drop(streams);
                done(Err(Failure::Busy));
                return None;
            }
            let stream = streams.entry(of.clone()).or_insert_with(|| {
                Arc::new(Stream {
                    of: of.clone(),
                    state: Mutex::new(State {
                        blocks: BTreeMap::new(),
                        end: 0,
                        read_to: 0,
                        handles: 0,
                        idle_since: Instant::now(),
                        reads: Vec::new(),
                        lookups: Vec::new(),
                    }),
                })
            });
            Arc::clone(stream)
        };
        let mut state = lock(&stream.state);
        state.idle_since = Instant::now();
        if state.end > 0 {
            let end = state.end;
            drop(state);
            drop(streams);
            done(Ok(end));
            return None;
        }
        if state.lookups.len() >= MAX_WAITING {
            drop(state);
            drop(streams);
            done(Err(Failure::Busy));
            return None;
        }
        let ticket = Ticket::new(done);
        let deadline = Instant::now() + self.config.lookup_timeout;
        state.lookups.push((Arc::clone(&ticket), deadline));
        drop(state);
        drop(streams);
        self.want_blocks(&stream);
        if self.is_stopping() {
            Waiting::fail(&*ticket, Failure::Stopped);
        }
        Some(Pending::of_value(ticket, self.me.clone()))
    }

    fn want_blocks(&self, stream: &Stream) {
        let wants = lock(&stream.state).wants();
        if !wants.is_empty() {
            self.mailbox
                .post(Command::WantBlocks(stream.of.clone(), wants));
        }
    }

    /// A block has come, and its signature is good.
    pub(super) fn block_arrived(&self, block: SignedBlock) {
        let stream = lock(&self.streams).get(&block.of).map(Arc::clone);
        let Some(stream) = stream else {
            self.mailbox.post(Command::UnwantBlocks(block.of));
            return;
        };
        let mut given = Vec::new();
        let (lookups, end) = {
            let mut state = lock(&stream.state);
            state.take_in(block.offset, block.data);
            let reads = std::mem::take(&mut state.reads);
            for read in reads {
                let bytes = state.bytes(read.offset, read.length);
                if bytes.is_empty() {
                    state.reads.push(read);
                } else {
                    let to = read.offset.saturating_add(bytes.len() as u64);
                    state.read_to = state.read_to.max(to);
                    given.push((read.ticket, bytes));
                }
            }
            let end = state.end;
            let lookups = if end > 0 {
                std::mem::take(&mut state.lookups)
            } else {
                Vec::new()
            };
            (lookups, end)
        };
        self.want_blocks(&stream);
        for (ticket, bytes) in given {
            if let Some(done) = ticket.take() {
                done(Ok(&bytes));
            }
        }
        for (ticket, _) in lookups {
            if let Some(done) = ticket.take() {
                done(Ok(end));
            }
        }
    }

    /// Ends what has waited for its limit, or everything (`None`), and forgets idle streams.
    pub(super) fn expire_streams(&self, now: Option<Instant>) {
        let streams: Vec<_> = lock(&self.streams).values().map(Arc::clone).collect();
        let mut forgotten = Vec::new();
        for stream in streams {
            let (mut reads, mut lookups) = (Vec::new(), Vec::new());
            let mut state = lock(&stream.state);
            let over = |deadline: Instant| now.is_none_or(|now| now >= deadline);
            state.reads.retain(|read| {
                let ends = over(read.deadline);
                if ends {
                    reads.push(Arc::clone(&read.ticket));
                }
                !ends && !read.ticket.is_done()
            });
            state.lookups.retain(|(ticket, deadline)| {
                let ends = over(*deadline);
                if ends {
                    lookups.push(Arc::clone(ticket));
                }
                !ends && !ticket.is_done()
            });
            let idle = now.is_none_or(|now| now.duration_since(state.idle_since) >= IDLE);
            let unused = state.handles == 0 && state.lookups.is_empty();
            if unused && (idle || state.end == 0) {
                forgotten.push(stream.of.clone());
            }
            drop(state);
            for ticket in reads {
                match (now, ticket.take()) {
                    (Some(_), Some(done)) => done(Ok(&[])),
                    (None, Some(done)) => done(Err(Failure::Stopped)),
                    (_, None) => {}
                }
            }
            let failure = now.map_or(Failure::Stopped, |_| Failure::NotFound);
            for ticket in lookups {
                Waiting::fail(&*ticket, failure);
            }
        }
        for of in forgotten {
            let mut streams = lock(&self.streams);
            // Looked up or opened anew meanwhile, it stays.
            let unused = streams.get(&of).is_some_and(|stream| {
                let state = lock(&stream.state);
                state.handles == 0 && state.lookups.is_empty()
            });
            if unused {
                streams.remove(&of);
                self.mailbox.post(Command::UnwantBlocks(of));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            blocks: BTreeMap::new(),
            end: 0,
            read_to: 0,
            handles: 1,
            idle_since: Instant::now(),
            reads: Vec::new(),
            lookups: Vec::new(),
        }
    }

    #[test]
    fn the_end_is_where_the_first_gap_is() {
        let mut state = state();
        assert_eq!(state.wants(), [(0, 0)]);
        state.take_in(0, vec![1; 10]);
        assert_eq!((state.end, state.wants()[0]), (10, (0, 10)));
        // Less than is here is no news.
        state.take_in(0, vec![9; 5]);
        assert_eq!(state.bytes(0, 100), [1; 10]);
        state.take_in(2 * LEAF, vec![3; 7]);
        assert_eq!(state.end, 10);
        state.take_in(0, vec![1; LEAF as usize]);
        assert_eq!((state.end, state.wants()[0]), (LEAF, (LEAF, 0)));
        state.take_in(LEAF, vec![2; LEAF as usize]);
        assert_eq!(state.end, 2 * LEAF + 7);
        assert_eq!(state.bytes(2 * LEAF - 1, 3), [2, 3, 3]);
        assert!(state.bytes(state.end, 1).is_empty());
        assert!(state.bytes(u64::MAX, 9).is_empty());
    }

    #[test]
    fn what_is_held_is_bounded_and_what_has_gone_is_wanted_again() {
        let mut state = state();
        let count = MAX_HELD as u64 + 9;
        for block in 0..count {
            state.read_to = block * LEAF;
            state.take_in(block * LEAF, vec![1; LEAF as usize]);
            assert!(state.blocks.len() <= MAX_HELD);
        }
        assert_eq!(state.end, count * LEAF);
        assert!(state.bytes(0, 1).is_empty());
        state.reads.push(WaitingRead {
            offset: 0,
            length: 1,
            ticket: Ticket::new(Box::new(|_| ())),
            deadline: Instant::now(),
        });
        assert_eq!(state.wants()[0], (0, 0));
        assert!(state.wants().len() <= 2 * BEYOND as usize);
    }
}
