//! A gate between a node and another: open, it forwards their datagrams; shut, it swallows them.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a thread of it may take to notice that it is to end.
const NOTICE: Duration = Duration::from_millis(20);

struct State {
    open: AtomicBool,
    ends: AtomicBool,
    swallowed: AtomicU64,
}

/// For one node on the outer side, which is told [`Gate::address`].
pub struct Gate {
    pub address: SocketAddr,
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

impl Gate {
    /// In front of the node at `inner`.
    pub fn before(inner: SocketAddr) -> Self {
        let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
        let inside = UdpSocket::bind("127.0.0.1:0").unwrap();
        inside.connect(inner).unwrap();
        for socket in [&outside, &inside] {
            socket.set_read_timeout(Some(NOTICE)).unwrap();
        }
        let address = outside.local_addr().unwrap();
        let state = Arc::new(State {
            open: AtomicBool::new(true),
            ends: AtomicBool::new(false),
            swallowed: AtomicU64::new(0),
        });
        let (to_inside, to_outside) = (inside.try_clone().unwrap(), outside.try_clone().unwrap());
        let caller = Arc::new(std::sync::Mutex::new(None));
        let (inward, outward) = (Arc::clone(&state), Arc::clone(&state));
        let known = Arc::clone(&caller);
        let threads = vec![
            std::thread::spawn(move || {
                inward.carry(&outside, |from, datagram| {
                    *known.lock().unwrap() = Some(from);
                    let _ = to_inside.send(datagram);
                });
            }),
            std::thread::spawn(move || {
                outward.carry(&inside, |_, datagram| {
                    let caller: Option<SocketAddr> = *caller.lock().unwrap();
                    if let Some(to) = caller {
                        let _ = to_outside.send_to(datagram, to);
                    }
                });
            }),
        ];
        Self {
            address,
            state,
            threads,
        }
    }

    pub fn shut(&self) {
        self.state.open.store(false, Ordering::SeqCst);
    }

    pub fn open(&self) {
        self.state.open.store(true, Ordering::SeqCst);
    }

    /// Datagrams that came while it was shut.
    pub fn swallowed(&self) -> u64 {
        self.state.swallowed.load(Ordering::SeqCst)
    }
}

impl State {
    fn carry(&self, from: &UdpSocket, mut forward: impl FnMut(SocketAddr, &[u8])) {
        let mut buffer = vec![0; 65_536];
        while !self.ends.load(Ordering::SeqCst) {
            // Errors are a time that has passed, or a port that nobody listens at.
            let Ok((length, sender)) = from.recv_from(&mut buffer) else {
                continue;
            };
            if self.open.load(Ordering::SeqCst) {
                forward(sender, &buffer[..length]);
            } else {
                self.swallowed.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
