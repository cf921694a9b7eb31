//! What is still to happen, in order of moments; of one moment, in the order in which it was noted.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use cjp2pfs::swarm::Time;

struct Entry<E> {
    at: Time,
    serial: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

pub struct Agenda<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    serial: u64,
}

impl<E> Agenda<E> {
    pub fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            serial: 0,
        }
    }

    pub fn push(&mut self, at: Time, event: E) {
        self.serial += 1;
        let serial = self.serial;
        self.heap.push(Reverse(Entry { at, serial, event }));
    }

    /// The next event, if it is not after `limit`.
    pub fn pop(&mut self, limit: Time) -> Option<(Time, E)> {
        self.heap.peek().filter(|Reverse(next)| next.at <= limit)?;
        self.heap
            .pop()
            .map(|Reverse(entry)| (entry.at, entry.event))
    }
}
