//! The shell around the state machine: sockets, threads, disks and time.
//!
//! [`Node`] joins the swarm and the store and is the one handle that the rooms above use. The swarm
//! lives on the network thread and nowhere else; the other threads reach it through a mailbox (see
//! `shared` for who does what). A read that finds its bytes here is answered on the caller's
//! thread; one that does not is kept as a ticket and answered by whoever ends it first.

mod addresses;
mod afloat;
mod backlog;
mod batches;
mod blocks;
pub mod calls;
mod claims;
mod compare;
mod disk_ticker;
pub mod explain;
mod fetches;
mod given;
mod keeper;
mod lan;
mod leaves;
mod lookups;
mod messages;
mod names;
mod network;
mod network_list;
mod pending;
mod pieces;
mod prover;
pub mod publishing;
mod readahead;
mod reader;
mod reassembly;
mod repair;
pub mod rights;
mod runs;
mod scratch;
pub mod seeding;
mod server;
mod shared;
mod sieve;
mod socket;
mod streams;
mod suspects;
mod ticker;
mod transfer;
mod types;
mod writer;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::content::{ContentId, PublicKey};
use crate::store::Store;
use crate::swarm::{Swarm, Time};
use crate::wire::SignedLatest;

pub use afloat::DiskTrouble;
pub use blocks::BlocksError;
pub use names::{Latest, Named, publish};
pub use network_list::NetworkContent;
pub use pending::Pending;
pub use reader::{Backing, Reader};
pub use streams::StreamReader;
pub use types::{
    BOOTSTRAP, Complete, Config, ContentInfo, DEFAULT_PORT, Done, DoneRead, Failure, FetchStatus,
    PeerStatus, StartError, Status, Verified, Verify,
};

use messages::{Arrival, Command, Keep, Report};
use names::Names;
use network::{Mailbox, Network};
use shared::{Queues, Shared};
use socket::Socket;
use transfer::{Phase, Transfer};

/// How long the threads may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(2);
/// How long the network thread may take to report.
const REPORT_LIMIT: Duration = Duration::from_secs(1);

/// A running node. Clones are the same node.
#[derive(Clone)]
pub struct Node(Arc<Running>);

struct Running {
    shared: Arc<Shared>,
    address: SocketAddr,
    port_was_taken: bool,
    started: Instant,
    threads: Mutex<Option<Threads>>,
}

/// The socket of a node that is still to be started.
pub struct Bound {
    socket: Socket,
    port_was_taken: bool,
}

struct Threads {
    handles: Vec<JoinHandle<()>>,
    to_disk: Sender<Option<crate::swarm::Ask>>,
    ticker: Sender<()>,
}

impl Node {
    /// Binds the socket: all of a start that may need rights which the node itself does not (ports below
    /// 1024, buffers beyond the system's maximum). A taken port falls back to a free one
    /// ([`Node::local_addr`] tells it, [`Node::port_was_taken`] says that it happened).
    ///
    /// # Errors
    /// No socket can be had.
    pub fn bind(config: &Config) -> Result<Bound, StartError> {
        let (socket, port_was_taken) = bind(config.bind)?;
        Ok(Bound {
            socket,
            port_was_taken,
        })
    }

    /// Binds the socket, opens the store, starts the threads.
    ///
    /// # Errors
    /// When no socket can be had, the store cannot be opened, or no thread started.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let bound = Self::bind(&config)?;
        Self::start_on(config, bound)
    }

    /// The same on a socket that is bound already.
    ///
    /// # Errors
    /// When the store cannot be opened, or no thread started.
    pub fn start_on(config: Config, bound: Bound) -> Result<Self, StartError> {
        let Bound {
            socket,
            port_was_taken,
        } = bound;
        let store = Store::open(&config.store)?;
        store.set_limits(config.limits);
        let address = socket.local_addr().map_err(|source| StartError::Bind {
            address: config.bind,
            source,
        })?;
        let started = Instant::now();
        let secret = store.node_key()?;
        let latest = store.remembered_latest();
        let names = Names::new(secret.clone(), &latest);
        let swarm = make_swarm(&config, &store, secret.public(), latest)?;

        let (arrivals, arrived) = mpsc::channel();
        let (to_prove, proving) = mpsc::channel();
        let (to_keep, keeping) = mpsc::channel();
        let (to_disk, asks) = mpsc::channel();
        let (ticker, ticks) = mpsc::channel();
        // One that is woken while it works looks once more, and not oftener.
        let (disk_ticker, disk_ticks) = mpsc::sync_channel(1);
        let mailbox = Mailbox::new(socket.waker());
        let again = to_prove.clone();
        let shared = Arc::new_cyclic(|me| {
            let queues = Queues {
                arrivals,
                to_prove,
                to_keep,
                disk_ticker,
            };
            Shared::new(me.clone(), config, store, mailbox, queues, names)
        });
        let disk_asks = Arc::new(AtomicUsize::new(0));
        let network = Network::new(
            Arc::clone(&shared),
            socket,
            swarm,
            started,
            to_disk.clone(),
            Arc::clone(&disk_asks),
        );

        let mut handles = Vec::new();
        let mut start = |name: &str, run: Box<dyn FnOnce(&Shared) + Send>| {
            let shared = Arc::clone(&shared);
            let handle = std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || run(&shared));
            handle.map(|handle| handles.push(handle))
        };
        let all: io::Result<()> = (|| {
            start("network", Box::new(move |_| network.run()))?;
            start(
                "writer",
                Box::new(move |shared| writer::run(shared, &arrived)),
            )?;
            start(
                "prover",
                Box::new(move |shared| prover::run(shared, &proving, &again)),
            )?;
            start(
                "keeper",
                Box::new(move |shared| keeper::run(shared, &keeping)),
            )?;
            start(
                "server",
                Box::new(move |shared| server::run(shared, &asks, &disk_asks)),
            )?;
            start(
                "disk ticker",
                Box::new(move |shared| disk_ticker::run(shared, &disk_ticks)),
            )?;
            start(
                "ticker",
                Box::new(move |shared| ticker::run(shared, &ticks)),
            )
        })();
        let node = Self(Arc::new(Running {
            shared,
            address,
            port_was_taken,
            started,
            threads: Mutex::new(Some(Threads {
                handles,
                to_disk,
                ticker,
            })),
        }));
        if let Err(error) = all {
            node.stop();
            return Err(StartError::Threads(error));
        }
        Ok(node)
    }

    /// Ends every waiting operation with [`Failure::Stopped`], makes the store durable, joins the
    /// threads. Takes two seconds at most. Calling it again does nothing.
    pub fn stop(&self) {
        let threads = self
            .0
            .threads
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .take();
        let Some(threads) = threads else {
            return;
        };
        let shared = &self.0.shared;
        let report = self.report();
        shared.stopping.store(true, Ordering::Release);
        shared.fail_everything();
        drop(threads.ticker);
        shared.mailbox.post(Command::Stop);
        let _ = shared.arrivals.send(Arrival::Stop);
        let _ = shared.to_prove.send(None);
        let _ = threads.to_disk.send(None);
        let _ = shared.to_keep.send(Keep::Stop);
        shared.wake_disk_ticker();
        // Joined on a thread of its own, because a disk that hangs must not hang us.
        let (all_ended, ended) = mpsc::channel();
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            for handle in threads.handles {
                let _ = handle.join();
            }
            shared.fail_everything();
            keeper::sync_partials(&shared);
            if let Some(report) = report.filter(|report| !report.good_peers.is_empty())
                && let Err(error) = shared.store.remember_peers(&report.good_peers)
            {
                tracing::debug!(%error, "could not remember peers");
            }
            if let Err(error) = shared.store.flush() {
                tracing::warn!(%error, "the index could not be made durable");
            }
            let _ = all_ended.send(());
        });
        let _ = ended.recv_timeout(STOP_LIMIT);
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.0.address
    }

    /// Whether the port that was asked for was taken, so that another is used.
    #[must_use]
    pub fn port_was_taken(&self) -> bool {
        self.0.port_was_taken
    }

    /// How much of content it gives out before it is proven.
    #[must_use]
    pub fn verify(&self) -> Verify {
        self.0.shared.config.verify
    }

    /// What it keeps content in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.shared.store
    }

    /// Finds out whether `id` exists and how long it is. What is known in memory answers at once, on this
    /// thread, before the call returns (then `None` is returned). Never waits for the disk.
    pub fn lookup(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Pending> {
        self.0.shared.lookup(id, done)
    }

    /// Opens content that [`Node::lookup`] has found. Never waits for a peer.
    ///
    /// # Errors
    /// [`Failure::NotFound`] when its length is not known, [`Failure::Disk`] when there is no room
    /// for it.
    pub fn open(&self, id: ContentId) -> Result<Reader, Failure> {
        self.open_to(id, self.0.shared.config.verify)
    }

    /// The same for a reader that may be stricter than this node.
    ///
    /// # Errors
    /// As for [`Node::open`].
    pub fn open_to(&self, id: ContentId, verify: Verify) -> Result<Reader, Failure> {
        let shared = &self.0.shared;
        let verify = match shared.config.verify {
            Verify::Strict => Verify::Strict,
            Verify::Auto => verify,
        };
        if id.is_empty_content() {
            return Ok(Reader::empty(Arc::clone(shared)));
        }
        // Before it is looked for, so that it is not given up meanwhile.
        let hold = shared.store.hold(&id);
        if shared.store.may_hold(&id)
            && let Some(content) = shared
                .store
                .open_content(&id)
                .map_err(|error| shared::disk_failure(&error))?
        {
            return Ok(Reader::complete(Arc::clone(shared), content, hold));
        }
        let info = shared.known(id).ok_or(Failure::NotFound)?;
        let transfer = shared.begin(id, info.length)?;
        let node = Arc::clone(shared);
        Ok(Reader::arriving(node, transfer, hold, verify))
    }

    /// Fetches all of it; `done` when it is complete, verified and durable in the store.
    /// [`Node::info`] tells the progress.
    pub fn fetch(&self, id: ContentId, done: Done<ContentInfo>) -> Option<Pending> {
        self.0.shared.fetch(id, done)
    }

    /// What is known of `id` without asking anybody.
    #[must_use]
    pub fn info(&self, id: ContentId) -> Option<ContentInfo> {
        self.0.shared.known(id)
    }

    /// What is held or in flight, at most `limit` of it.
    #[must_use]
    pub fn contents(&self, limit: usize) -> Vec<ContentInfo> {
        self.0.shared.contents(limit)
    }

    fn report(&self) -> Option<Report> {
        let (to, report) = mpsc::channel();
        self.0.shared.mailbox.post(Command::Report(to));
        report.recv_timeout(REPORT_LIMIT).ok()
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let shared = &self.0.shared;
        let report = self.report();
        let counts = shared.store.counts();
        let stats = report.as_ref().map(|r| r.stats).unwrap_or_default();
        let fetching = shared
            .transfers()
            .iter()
            .filter(|transfer| transfer.phase() == Phase::Arriving)
            .map(|transfer| fetch_status(transfer, report.as_ref()))
            .collect();
        let peers = report.as_ref().map_or(&[][..], |report| &report.peers);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: self.0.address,
            public_key: format!("0x{}", self.public_key()),
            uptime_seconds: self.0.started.elapsed().as_secs_f64(),
            peers_known: peers.len(),
            peers_answering: peers.iter().filter(|peer| peer.answering).count(),
            bytes_fetched: stats.content_in,
            bytes_wasted: stats.content_wasted,
            bytes_served: stats.content_out,
            datagrams_in: stats.datagrams_in,
            datagrams_out: stats.datagrams_out,
            datagram_bytes_in: stats.bytes_in,
            datagram_bytes_out: stats.bytes_out,
            datagrams_dropped: stats.dropped,
            datagrams_overflowed: report.as_ref().map_or(0, |r| r.drops.overflowed),
            datagrams_sifted: report.as_ref().map_or(0, |r| r.drops.sifted),
            requests_lost: stats.lost,
            contents_held: counts.held,
            contents_seeded: counts.seeded,
            disk: shared.store.usage().ok(),
            disk_trouble: shared.disk_trouble(),
            store_limit: shared.config.limits.most,
            min_free: shared.config.limits.least_free,
            verify: shared.config.verify,
            operations_waiting: shared.waiting(),
            fetching,
        }
    }

    /// The peers that it knows.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStatus> {
        let peers = self.report().map(|report| report.peers).unwrap_or_default();
        peers
            .into_iter()
            .map(|peer| PeerStatus {
                address: peer.address,
                answering: peer.answering,
                round_trip_ms: peer.round_trip.map(|rtt| rtt.as_secs_f64() * 1000.0),
                bytes_received: peer.bytes_received,
                bytes_sent: peer.bytes_sent,
                last_heard_seconds: peer.silent_for.map(|silent| silent.as_secs_f64()),
                loss: peer.loss,
                rate: peer.rate,
            })
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Threads that nobody stopped end when they notice that the node is stopping.
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.mailbox.post(Command::Stop);
        let _ = self.shared.arrivals.send(Arrival::Stop);
        let _ = self.shared.to_prove.send(None);
        let _ = self.shared.to_keep.send(Keep::Stop);
        self.shared.wake_disk_ticker();
    }
}

fn fetch_status(transfer: &Transfer, report: Option<&Report>) -> FetchStatus {
    let info = transfer.info();
    let fetch = report.and_then(|report| report.fetches.get(&info.id));
    FetchStatus {
        id: info.id.to_string(),
        length: info.length,
        present: info.present,
        in_flight: fetch.map_or(0, |fetch| fetch.in_flight),
        sources: fetch.map_or(0, |fetch| fetch.sources),
    }
}

fn bind(address: SocketAddr) -> Result<(Socket, bool), StartError> {
    let taken = match Socket::bind(address) {
        Ok(socket) => return Ok((socket, false)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => error,
        Err(source) => return Err(StartError::Bind { address, source }),
    };
    match Socket::bind(SocketAddr::new(address.ip(), 0)) {
        Ok(socket) => Ok((socket, true)),
        Err(_) => Err(StartError::Bind {
            address,
            source: taken,
        }),
    }
}

fn make_swarm(
    config: &Config,
    store: &Store,
    key: PublicKey,
    latest: Vec<SignedLatest>,
) -> Result<Swarm, StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| StartError::Threads(io::Error::other(error)))?;
    let limits = crate::swarm::Config {
        upload_limit: config.upload_limit,
        upload_limit_per_address: config.upload_limit_per_address,
        download_limit: config.download_limit,
        public_key: Some(key),
        ..crate::swarm::Config::default()
    };
    let mut swarm = Swarm::new(limits, seed, Time::ZERO);
    for latest in latest {
        let own = latest.of.key == key;
        swarm.know_latest(Time::ZERO, latest, own);
    }
    for peer in &config.peers {
        swarm.add_peer(Time::ZERO, *peer);
    }
    if config.bootstrap {
        for peer in network::resolve(&BOOTSTRAP) {
            swarm.add_peer(Time::ZERO, peer);
        }
    }
    for peer in store.remembered_peers() {
        swarm.remember_peer(Time::ZERO, peer);
    }
    Ok(swarm)
}
