//! Threads that wait for disks: some for each disk, so that one that hangs holds up no other.
//!
//! What comes to a disk that hangs waits in that disk's queue, behind as many pieces as may wait for it at a time,
//! and the other threads do what others need.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use super::shared::lock;
use super::transfer::AT_ONCE;
use crate::store::disks;

/// How many there are, and how much is left to them.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Threads.
    pub threads: usize,
    /// Of these, those that may wait for the same disk of the user's. All may wait for the store's own, without
    /// which nothing is found.
    pub of_one_disk: usize,
    /// Pieces that wait to be done. An eighth of them for the same disk of the user's.
    pub waiting: usize,
}

/// What is to be done, by the disk that it has to wait for.
pub(super) struct DiskThreads {
    /// The device number of the store's disk. On this begins whatever is not known to be for another.
    own: u64,
    limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Those for which something waits or is done.
    disks: HashMap<u64, Disk>,
    /// When those that have done nothing since kept somebody to his limit.
    late: HashMap<u64, Instant>,
    waiting: usize,
    /// The number of the next piece.
    next: u64,
}

#[derive(Default)]
struct Disk {
    queue: VecDeque<Piece>,
    /// Threads that are at it.
    busy: usize,
}

struct Piece {
    number: u64,
    work: Box<dyn FnMut() + Send>,
    is_over: Box<dyn Fn(Instant) -> bool + Send>,
}

impl DiskThreads {
    /// Those of a store whose disk has the device number `own`.
    pub fn new(own: u64, limits: Limits) -> Self {
        Self {
            own,
            limits,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// How many it takes to do it.
    pub fn threads(&self) -> usize {
        self.limits.threads
    }

    /// Whether as much waits as may.
    pub fn is_full(&self) -> bool {
        lock(&self.state).waiting >= self.limits.waiting
    }

    /// Has `work` done, unless as much waits as may; whether it will be. It is done again from its beginning if it
    /// was [turned away](disks::is_turned_away), and not at all if it `is_over` before.
    pub fn push(
        &self,
        work: impl FnMut() + Send + 'static,
        is_over: impl Fn(Instant) -> bool + Send + 'static,
    ) -> bool {
        let mut state = lock(&self.state);
        if state.waiting >= self.limits.waiting {
            return false;
        }
        let number = state.next;
        state.next += 1;
        let piece = Piece {
            number,
            work: Box::new(work),
            is_over: Box::new(is_over),
        };
        state.put(self.own, piece);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Does what comes until `is_stopping`.
    pub fn run(&self, is_stopping: impl Fn() -> bool) {
        let mut state = lock(&self.state);
        while !is_stopping() {
            let Some((disk, mut piece)) = state.take(self.own, &self.limits) else {
                state = self.changed.wait(state).unwrap_or_else(|e| e.into_inner());
                continue;
            };
            drop(state);
            let came_to = match disk == self.own {
                true => disks::on_own(disk, &mut piece.work).err(),
                false => {
                    (piece.work)();
                    None
                }
            };
            let done = self.put_back(disk, piece, came_to);
            drop(done);
            state = lock(&self.state);
        }
        let left = std::mem::take(&mut *state);
        drop(state);
        // It may hold the node, which would hold it.
        drop(left);
    }

    /// After a thread has been at `disk` with `piece`, which has to go on with the disk that it `came_to`; what is
    /// to be done no more.
    fn put_back(&self, disk: u64, piece: Piece, came_to: Option<u64>) -> Option<Piece> {
        let mut state = lock(&self.state);
        state.leave(disk);
        let over = match came_to {
            Some(other) if state.waiting_for(other) < self.limits.waiting / 8 => {
                state.put(other, piece);
                None
            }
            _ => Some(piece),
        };
        drop(state);
        // There may be a place now for what waits for this disk.
        self.changed.notify_one();
        over
    }

    /// Somebody has waited to his limit for `disk`; `None`: the store's own.
    pub fn note_late(&self, disk: Option<u64>, now: Instant) {
        let disk = disk.unwrap_or(self.own);
        lock(&self.state).late.insert(disk, now);
    }

    /// Whether somebody has, just before `now`, and it has done nothing since.
    pub fn is_late(&self, disk: Option<u64>, now: Instant) -> bool {
        let disk = disk.unwrap_or(self.own);
        let late = lock(&self.state).late.get(&disk).copied();
        late.is_some_and(|late| now.saturating_duration_since(late) <= AT_ONCE)
    }

    /// Drops what is over by `now`.
    pub fn drop_overdue(&self, now: Instant) {
        let mut overdue = Vec::new();
        let mut state = lock(&self.state);
        for disk in state.disks.values_mut() {
            let (over, left) = std::mem::take(&mut disk.queue)
                .into_iter()
                .partition(|piece| (piece.is_over)(now));
            disk.queue = left;
            overdue.extend::<VecDeque<_>>(over);
        }
        state.waiting = state.waiting.saturating_sub(overdue.len());
        state.disks.retain(|_, disk| disk.is_used());
        state
            .late
            .retain(|_, late| now.saturating_duration_since(*late) <= AT_ONCE);
        drop(state);
        drop(overdue);
    }

    /// Has the threads see whether they are to stop.
    pub fn wake_all(&self) {
        // Under the lock, lest one of them has just looked and waits next.
        let _state = lock(&self.state);
        self.changed.notify_all();
    }
}

impl Disk {
    fn is_used(&self) -> bool {
        self.busy > 0 || !self.queue.is_empty()
    }
}

impl State {
    fn put(&mut self, disk: u64, piece: Piece) {
        self.disks.entry(disk).or_default().queue.push_back(piece);
        self.waiting += 1;
    }

    fn waiting_for(&self, disk: u64) -> usize {
        self.disks.get(&disk).map_or(0, |disk| disk.queue.len())
    }

    /// The piece that came first of those whose disk may have one thread more.
    fn take(&mut self, own: u64, limits: &Limits) -> Option<(u64, Piece)> {
        let may = self.disks.iter().filter(|(number, disk)| {
            let most = match **number == own {
                true => limits.threads,
                false => limits.of_one_disk,
            };
            disk.busy < most
        });
        let first = may
            .filter_map(|(number, disk)| Some((disk.queue.front()?.number, *number)))
            .min()?;
        let (_, number) = first;
        let disk = self.disks.get_mut(&number)?;
        let piece = disk.queue.pop_front()?;
        disk.busy += 1;
        self.waiting -= 1;
        Some((number, piece))
    }

    /// A thread has done with it.
    fn leave(&mut self, number: u64) {
        self.late.remove(&number);
        if let Some(disk) = self.disks.get_mut(&number) {
            disk.busy = disk.busy.saturating_sub(1);
            if !disk.is_used() {
                self.disks.remove(&number);
            }
        }
    }
}

#[cfg(test)]
mod tests;
