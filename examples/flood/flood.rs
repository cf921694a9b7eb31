//! Floods a node on loopback, where any number of addresses may be used as one's own.

#[path = "batch.rs"]
mod batch;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use batch::{BURST, Batch};

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests for content that the node has, of an address that proved itself.
    Requests,
    /// Bytes and JSON that mean nothing.
    Garbage,
    /// Requests of all kinds from thousands of addresses that prove nothing.
    Spoofed,
}

impl Kind {
    #[allow(dead_code, reason = "for the tests that share this file")]
    pub const ALL: [Self; 3] = [Self::Requests, Self::Garbage, Self::Spoofed];

    /// Which network of 127.0.0.0/8 its senders are in.
    fn network(self) -> u8 {
        1 + self as u8
    }
}

/// Datagrams that are made before the flood begins and sent over and over, so that making them takes
/// nothing from who is flooded on the same machine.
const MADE: usize = 2048;

/// A flood that goes on until it is dropped.
pub struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// One thread for each of `kinds`, each sending `rate` datagrams a second or, without one, as
    /// fast as it can.
    pub fn start(
        target: SocketAddr,
        id: &str,
        length: u64,
        kinds: &[Kind],
        rate: Option<u64>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(0));
        let threads = kinds
            .iter()
            .map(|kind| {
                let source = Source {
                    kind: *kind,
                    target,
                    id: id.to_owned(),
                    length,
                    random: fastrand::Rng::with_seed(*kind as u64),
                };
                let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
                std::thread::spawn(move || source.run(rate, &stop, &sent))
            })
            .collect();
        Self {
            stop,
            sent,
            threads,
        }
    }

    /// Datagrams that left so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Source {
    kind: Kind,
    target: SocketAddr,
    id: String,
    length: u64,
    random: fastrand::Rng,
}

impl Source {
    fn run(mut self, rate: Option<u64>, stop: &AtomicBool, sent: &AtomicU64) {
        let own = Ipv4Addr::new(127, self.kind.network(), 0, 1);
        let Ok(socket) = UdpSocket::bind((own, 0)) else {
            return;
        };
        let cookie = match self.kind {
            Kind::Requests => cookie_for(&socket, self.target, stop).unwrap_or_default(),
            Kind::Garbage | Kind::Spoofed => String::new(),
        };
        let datagrams: Vec<Vec<u8>> = (0..MADE).map(|_| self.datagram(&cookie)).collect();
        // One that is bound to no address may send from any.
        let Ok(socket) = (match self.kind {
            Kind::Spoofed => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
            Kind::Requests | Kind::Garbage => Ok(socket),
        }) else {
            return;
        };
        let _ = socket.connect(self.target);
        let _ = socket.set_nonblocking(true);
        let mut batch = Batch::new();
        let (start, mut done) = (Instant::now(), 0u64);
        while !stop.load(Ordering::Relaxed) {
            let due = rate.map(|rate| (start.elapsed().as_secs_f64() * rate as f64) as u64);
            if due.is_some_and(|due| done >= due) {
                std::thread::sleep(Duration::from_micros(500));
                continue;
            }
            batch.fill(|| {
                let source = match self.kind {
                    Kind::Spoofed => {
                        let [high, low] = self.random.u16(1..).to_be_bytes();
                        Some(Ipv4Addr::new(127, self.kind.network(), high, low))
                    }
                    Kind::Requests | Kind::Garbage => None,
                };
                (datagrams[self.random.usize(..MADE)].as_slice(), source)
            });
            sent.fetch_add(batch.send(&socket), Ordering::Relaxed);
            done += BURST as u64;
        }
    }

    fn datagram(&mut self, cookie: &str) -> Vec<u8> {
        let random = &mut self.random;
        let offset = random.u64(..self.length.max(1)) / 4096 * 4096;
        let id = match random.u8(..4) {
            0 => format!("{:064x}", random.u128(..)),
            _ => self.id.clone(),
        };
        let text = match (self.kind, random.u8(..4)) {
            (Kind::Requests, _) => format!(
                r#"[{{"PleaseSendContent":{{"id":"{}","offset":{offset},"length":4096}}}},{{"AlwaysReturned":{{"cookie":"{cookie}"}}}}]"#,
                self.id
            ),
            (Kind::Garbage, 0) => format!("[{}", "[".repeat(random.usize(..1400))),
            (Kind::Garbage, 1) => format!(
                r#"[{}{{}}]"#,
                r#"{"Never":{"heard":[1,2]}},"#.repeat(random.usize(..50))
            ),
            (Kind::Garbage, _) => {
                let mut bytes = vec![0; random.usize(..1400)];
                random.fill(&mut bytes);
                return bytes;
            }
            (Kind::Spoofed, 0) => r#"[{"PleaseSendPeers":{}},{"PleaseListContent":{}}]"#.to_owned(),
            (Kind::Spoofed, 1) => format!(
                r#"[{{"WhichPartsDoYouHave":{{"id":"{id}"}}}},{{"PleaseReturnThisMessage":{{"cookie":"{}"}}}}]"#,
                "x".repeat(random.usize(..500))
            ),
            (Kind::Spoofed, 2) => format!(
                r#"[{{"Content":{{"id":"{id}","offset":{offset},"eof":{},"base64":"AAAA"}}}}]"#,
                self.length
            ),
            (Kind::Spoofed, _) => format!(
                r#"[{{"PleaseSendContent":{{"id":"{id}","offset":{offset},"length":4096}}}}]"#
            ),
        };
        text.into_bytes()
    }
}

/// Asks the node until it has said its cookie for this address; gives up after some seconds.
fn cookie_for(socket: &UdpSocket, target: SocketAddr, stop: &AtomicBool) -> Option<String> {
    let start = Instant::now();
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .ok()?;
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(10) {
        let _ = socket.send_to(
            br#"[{"PleaseReturnThisMessage":{"cookie":"who are you, if I may ask?"}}]"#,
            target,
        );
        let Ok((length, _)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let messages: Vec<serde_json::Value> =
            serde_json::from_slice(buffer.get(..length)?).unwrap_or_default();
        let cookie = messages
            .iter()
            .find_map(|message| message["PleaseAlwaysReturnThisMessage"]["cookie"].as_str());
        if let Some(cookie) = cookie {
            return Some(cookie.to_owned());
        }
    }
    None
}
