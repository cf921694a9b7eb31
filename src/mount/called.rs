//! Which of the threads that wait have been called away, by few looks at `/proc`.
//!
//! A look takes some 12 us, which a thousand threads of one process would cost every 50 ms; and on a busy
//! machine whoever has to look at them all before the last is told waits for a processor again and again.
//! But nearly every signal concerns a process as a whole. That it is killed, or that a signal waits for any
//! of its threads, is seen by looking at one of them. So of a process that nothing is seen of, only some
//! threads are looked at each time, in turn, for the sake of a signal that was sent to one thread alone.

use std::collections::HashMap;

use super::signals::Seen;

/// So many threads are looked at each time at least, if as many wait: 3 ms of a processor. A thousand take
/// four times.
const LOOKS: usize = 256;

/// What is known of who waits.
#[derive(Default)]
pub(super) struct Called {
    /// The process of each thread that was looked at, for those that waited lately.
    processes: HashMap<u32, u32>,
    lately: HashMap<u32, u32>,
    /// What this time's looks showed, by process and by thread.
    seen: HashMap<u32, Seen>,
    away: HashMap<u32, bool>,
    time: u32,
    /// Every how many times a thread is looked at for its own sake.
    every: u32,
}

impl Called {
    /// Begins to look once more, at the threads of `waiting` operations.
    pub fn begin(&mut self, waiting: usize) {
        std::mem::swap(&mut self.processes, &mut self.lately);
        self.processes.clear();
        self.seen.clear();
        self.away.clear();
        self.time = self.time.wrapping_add(1);
        self.every = u32::try_from(waiting.div_ceil(LOOKS))
            .unwrap_or(u32::MAX)
            .max(1);
    }

    /// Whether the thread `pid` has been called away, as far as is seen this time.
    pub fn is_away(&mut self, pid: u32, look: impl FnOnce(u32) -> Seen) -> bool {
        if let Some(away) = self.away.get(&pid) {
            return *away;
        }
        let known = self.lately.get(&pid).copied();
        let of_process = known.and_then(|process| self.seen.get(&process).copied());
        let is_its_turn = pid.wrapping_add(self.time).is_multiple_of(self.every);
        let (away, process) = match (known, of_process) {
            (Some(process), Some(seen)) if seen.process_killed => (true, process),
            (Some(process), Some(seen)) if !seen.process_called && !is_its_turn => (false, process),
            _ => {
                let seen = look(pid);
                self.seen.entry(seen.process).or_insert(seen);
                (seen.called_away, seen.process)
            }
        };
        // What is not known is not to be taken for a process.
        if process != 0 {
            self.processes.insert(pid, process);
        }
        self.away.insert(pid, away);
        away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CROWD: u32 = 1000;
    const PROCESS: u32 = 5000;

    const QUIET: Seen = Seen {
        called_away: false,
        process: PROCESS,
        process_called: false,
        process_killed: false,
    };

    /// Looks at a crowd of one process once; which are away, and how many looks that took.
    fn time(called: &mut Called, shown: impl Fn(u32) -> Seen) -> (Vec<u32>, usize) {
        let mut looks = 0;
        called.begin(CROWD as usize);
        let away = (1..=CROWD).filter(|pid| {
            called.is_away(*pid, |pid| {
                looks += 1;
                shown(pid)
            })
        });
        let away = away.collect();
        (away, looks)
    }

    #[test]
    fn of_a_quiet_crowd_some_are_looked_at_and_of_a_killed_one_the_first() {
        let mut called = Called::default();
        // Nothing is known of them yet.
        assert_eq!(time(&mut called, |_| QUIET), (vec![], CROWD as usize));
        for _ in 0..10 {
            let (away, looks) = time(&mut called, |_| QUIET);
            assert!(away.is_empty() && looks <= LOOKS, "{looks}");
        }
        let killed = Seen {
            called_away: true,
            process_killed: true,
            ..QUIET
        };
        assert_eq!(
            time(&mut called, |_| killed),
            ((1..=CROWD).collect(), 1),
            "all, by one look"
        );
    }

    #[test]
    fn a_signal_for_any_thread_makes_all_be_looked_at() {
        let mut called = Called::default();
        time(&mut called, |_| QUIET);
        // The first of them blocks it.
        let (away, _) = time(&mut called, |pid| Seen {
            called_away: pid % 2 == 0,
            process_called: true,
            ..QUIET
        });
        assert_eq!(
            away,
            (1..=CROWD).filter(|pid| pid % 2 == 0).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_signal_for_one_thread_is_seen_when_its_turn_comes() {
        let mut called = Called::default();
        time(&mut called, |_| QUIET);
        for one in [1, 2, 3, 4, 999] {
            let seen = (0..CROWD.div_ceil(LOOKS as u32)).any(|_| {
                let (away, _) = time(&mut called, |pid| Seen {
                    called_away: pid == one,
                    ..QUIET
                });
                away == [one]
            });
            assert!(seen, "{one}");
        }
    }

    #[test]
    fn the_threads_of_other_processes_are_looked_at_by_themselves() {
        let mut called = Called::default();
        let own = |pid| Seen {
            process: pid,
            called_away: pid == 7,
            process_killed: pid == 7,
            ..QUIET
        };
        for _ in 0..3 {
            assert_eq!(time(&mut called, own), (vec![7], CROWD as usize));
        }
    }

    #[test]
    fn what_cannot_be_looked_at_is_no_process() {
        let mut called = Called::default();
        let hidden = |pid| Seen {
            called_away: pid == 7,
            ..Seen::default()
        };
        for _ in 0..3 {
            assert_eq!(time(&mut called, hidden), (vec![7], CROWD as usize));
        }
    }
}
