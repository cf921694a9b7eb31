//! The watcher: ends an operation whose process has been signalled while it waits.
//!
//! Operations that wait are put here with the thread that waits for them. Every [`SWEEP`] the
//! watcher drops those that have ended, and looks at `/proc` whether the threads of those older than
//! [`PATIENCE`] have been called away (`called`). Most operations end long before, and
//! cost a push and a drop. While nothing waits, it sleeps.
//!
//! For a page of a memory map that does not come the kernel asks anew before it lets the program handle its
//! signal: a thread that was called away this moment is looked at as soon as it waits again. It can be let
//! go so far only. Once the handler has returned, the instruction that wants the page begins anew, and only
//! death ends that, or `SIGBUS` at the limit of the read.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::called::Called;
use super::signals;
use super::source::Waiting;
use crate::node::Failure;

/// The time between two looks: short beside what a person notices after Ctrl-C.
const SWEEP: Duration = Duration::from_millis(50);

/// How long an operation may wait before anyone looks at its process. Most are answered within this
/// time when all is well. With [`SWEEP`] it is less than the 100 ms within which a signal is promised to
/// work, also where it comes as soon as the operation waits.
const PATIENCE: Duration = Duration::from_millis(40);

/// How long it is remembered that a thread was called away: longer than the kernel takes to ask anew.
const LATELY: Duration = Duration::from_secs(1);

struct Watched<W> {
    waiting: W,
    /// The thread that waits; 0 where the kernel cannot name it to us.
    pid: u32,
    since: Instant,
}

struct State<W> {
    waiting: Vec<Watched<W>>,
    /// Threads that were called away, and when.
    lately: HashMap<u32, Instant>,
    /// Whether everything that waits shall end.
    stopped: bool,
    /// Whether the watcher itself is gone.
    closed: bool,
}

struct Shared<W> {
    state: Mutex<State<W>>,
    changed: Condvar,
}

impl<W> Shared<W> {
    fn state(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches operations that wait. Dropped, it lets them be.
pub struct Watcher<W: Waiting> {
    shared: Arc<Shared<W>>,
}

impl<W: Waiting> Watcher<W> {
    /// Starts the thread that looks.
    pub fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                waiting: Vec::new(),
                lately: HashMap::new(),
                stopped: false,
                closed: false,
            }),
            changed: Condvar::new(),
        });
        let sees_processes = signals::proc_is_ours();
        if !sees_processes {
            warn!("/proc does not show this process: operations that wait cannot be interrupted");
        }
        let theirs = Arc::clone(&shared);
        // Never joined: the last reference to the watcher may be dropped on this very thread, by
        // the end of an operation that it has cancelled.
        std::thread::Builder::new()
            .name("cjp2pfs-watch".into())
            .spawn(move || watch(&theirs, sees_processes))?;
        Ok(Self { shared })
    }

    /// Takes care of an operation that the thread `pid` waits for.
    pub fn watch(&self, pid: u32, waiting: W) {
        let mut state = self.shared.state();
        if state.stopped {
            drop(state);
            waiting.cancel(Failure::Stopped);
            return;
        }
        if state.lately.contains_key(&pid) {
            drop(state);
            if signals::look(pid, &mut Vec::new()).called_away {
                waiting.cancel(Failure::Interrupted);
                return;
            }
            state = self.shared.state();
        }
        if state.waiting.is_empty() {
            self.shared.changed.notify_one();
        }
        state.waiting.push(Watched {
            waiting,
            pid,
            since: Instant::now(),
        });
    }

    /// Ends everything that waits, and from now on whatever would.
    pub fn stop(&self) {
        self.shared.state().stopped = true;
        self.shared.changed.notify_one();
    }
}

impl<W: Waiting> Drop for Watcher<W> {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_one();
    }
}

fn watch<W: Waiting>(shared: &Shared<W>, sees_processes: bool) {
    let mut called = Called::default();
    let mut buffer = Vec::new();
    loop {
        // What waits is taken out and looked at without the lock: asking or cancelling an
        // operation may call whoever is just handing us another.
        let (mut waiting, stopped) = {
            let mut state = shared.state();
            while state.waiting.is_empty() && !state.closed {
                state = wait(shared, state);
            }
            if !state.stopped && !state.closed {
                state = wait_for(shared, state, SWEEP);
            }
            if state.closed {
                return;
            }
            (std::mem::take(&mut state.waiting), state.stopped)
        };
        waiting.retain(|watched| !watched.waiting.is_done());
        if stopped {
            for watched in waiting {
                watched.waiting.cancel(Failure::Stopped);
            }
            continue;
        }
        if sees_processes {
            let now = Instant::now();
            called.begin(waiting.len());
            waiting.retain(|watched| {
                if watched.pid == 0 || now.duration_since(watched.since) < PATIENCE {
                    return true;
                }
                let away = called.is_away(watched.pid, |pid| signals::look(pid, &mut buffer));
                if away {
                    shared.state().lately.insert(watched.pid, now);
                    watched.waiting.cancel(Failure::Interrupted);
                }
                !away
            });
        }
        let mut state = shared.state();
        state.lately.retain(|_, at| at.elapsed() < LATELY);
        // The longer list stays where it is, so that a busy mount does not copy it each time.
        if state.waiting.len() < waiting.len() {
            std::mem::swap(&mut state.waiting, &mut waiting);
        }
        state.waiting.append(&mut waiting);
    }
}

fn wait<'a, W>(shared: &Shared<W>, state: MutexGuard<'a, State<W>>) -> MutexGuard<'a, State<W>> {
    shared
        .changed
        .wait(state)
        .unwrap_or_else(PoisonError::into_inner)
}

fn wait_for<'a, W>(
    shared: &Shared<W>,
    state: MutexGuard<'a, State<W>>,
    limit: Duration,
) -> MutexGuard<'a, State<W>> {
    let (state, _) = shared
        .changed
        .wait_timeout(state, limit)
        .unwrap_or_else(PoisonError::into_inner);
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::sync::mpsc::{Receiver, Sender, channel};

    struct Stalled(Sender<Failure>);

    impl Waiting for Stalled {
        fn is_done(&self) -> bool {
            false
        }
        fn cancel(&self, failure: Failure) {
            let _ = self.0.send(failure);
        }
    }

    const SOON: Duration = Duration::from_secs(5);

    fn stalled(watcher: &Watcher<Stalled>, pid: u32) -> Receiver<Failure> {
        let (ends, ended) = channel();
        watcher.watch(pid, Stalled(ends));
        ended
    }

    fn sleeper() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    #[test]
    fn the_operation_of_a_dead_process_ends_and_no_other() {
        let watcher = Watcher::start().unwrap();
        let (mut dies, mut lives) = (sleeper(), sleeper());
        let of_dying = stalled(&watcher, dies.id());
        let of_living = stalled(&watcher, lives.id());
        let of_nobody = stalled(&watcher, 0);
        dies.kill().unwrap();
        assert_eq!(of_dying.recv_timeout(SOON), Ok(Failure::Interrupted));
        assert!(of_living.try_recv().is_err() && of_nobody.try_recv().is_err());
        dies.wait().unwrap();
        lives.kill().unwrap();
        lives.wait().unwrap();
        assert_eq!(of_living.recv_timeout(SOON), Ok(Failure::Interrupted));
    }

    fn send(child: &Child, signal: i32) {
        let pid = libc::pid_t::try_from(child.id()).unwrap();
        // SAFETY: signals our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// The kernel asks anew before it lets the process handle its signal.
    #[test]
    fn who_was_called_away_is_looked_at_at_once() {
        let watcher = Watcher::start().unwrap();
        let mut child = sleeper();
        let first = stalled(&watcher, child.id());
        // A process that is stopped keeps a signal pending, as one in such a wait does.
        send(&child, libc::SIGSTOP);
        let status = std::path::PathBuf::from(format!("/proc/{}/status", child.id()));
        let start = Instant::now();
        while !std::fs::read_to_string(&status)
            .unwrap()
            .contains("(stopped)")
        {
            assert!(start.elapsed() < SOON);
            std::thread::yield_now();
        }
        send(&child, libc::SIGTERM);
        assert_eq!(first.recv_timeout(SOON), Ok(Failure::Interrupted));
        for _ in 0..3 {
            let again = stalled(&watcher, child.id());
            assert_eq!(again.try_recv(), Ok(Failure::Interrupted));
        }
        send(&child, libc::SIGKILL);
        child.wait().unwrap();
    }

    #[test]
    fn stopping_ends_what_waits_and_what_would() {
        let watcher = Watcher::start().unwrap();
        let before = stalled(&watcher, 0);
        watcher.stop();
        assert_eq!(before.recv_timeout(SOON), Ok(Failure::Stopped));
        assert_eq!(stalled(&watcher, 0).try_recv(), Ok(Failure::Stopped));
    }

    #[test]
    fn a_watcher_that_is_gone_lets_operations_be() {
        let watcher = Watcher::start().unwrap();
        let left = stalled(&watcher, 0);
        drop(watcher);
        // The thread lets go of the operation without a word.
        assert!(left.recv_timeout(SOON).is_err());
    }
}
