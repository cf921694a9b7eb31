//! Who is due next: an index of moments, so that nobody looks at everybody to find out.

use std::collections::{BTreeMap, BTreeSet};

use super::Time;

/// For each of some things the moment at which something is to be done about it.
#[derive(Debug)]
pub(super) struct Timers<K> {
    at: BTreeMap<K, Time>,
    order: BTreeSet<(Time, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self {
            at: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Makes `what` due at `at` and at no other moment; `None`: never.
    pub fn set(&mut self, what: K, at: Option<Time>) {
        let before = match at {
            Some(at) => self.at.insert(what, at),
            None => self.at.remove(&what),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.order.remove(&(before, what));
        }
        if let Some(at) = at {
            self.order.insert((at, what));
        }
    }

    /// The first moment at which anything is due.
    pub fn next(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out what is due by `now`, the most overdue first.
    pub fn take_due(&mut self, now: Time) -> Vec<K> {
        let mut due = Vec::new();
        while let Some((at, what)) = self.order.first().copied()
            && at <= now
        {
            self.order.remove(&(at, what));
            self.at.remove(&what);
            due.push(what);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_thing_is_due_once_at_its_newest_moment() {
        let at = |second| Time::from_start(Duration::from_secs(second));
        let mut timers = Timers::default();
        for (what, when) in [('a', 5), ('b', 3), ('c', 4), ('b', 9), ('c', 4)] {
            timers.set(what, Some(at(when)));
        }
        timers.set('d', Some(at(1)));
        timers.set('d', None);
        assert_eq!(timers.next(), Some(at(4)));
        assert_eq!(timers.take_due(at(3)), []);
        assert_eq!(timers.take_due(at(5)), ['c', 'a']);
        assert_eq!(timers.next(), Some(at(9)));
        assert_eq!(timers.take_due(at(9)), ['b']);
        assert_eq!(timers.next(), None);
    }
}
