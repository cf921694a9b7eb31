//! How a node begins: its socket, its store, its swarm, its threads.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::mailbox::Mailbox;
use super::names::Names;
use super::network::Network;
use super::shared::{Queues, Shared};
use super::socket::Socket;
use super::types::{BOOTSTRAP, Config, StartError};
use super::{Node, Running, Threads, disk_ticker, keeper, network, prover, ticker, writer};
use crate::content::PublicKey;
use crate::store::Store;
use crate::swarm::{Swarm, Time};
use crate::wire::SignedLatest;

/// The socket of a node that is still to be started.
pub struct Bound {
    socket: Socket,
    port_was_taken: bool,
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
        let network = Network::new(Arc::clone(&shared), socket, swarm, started);

        let (mut handles, mut on_disk) = (Vec::new(), Vec::new());
        type Run = Box<dyn FnOnce(&Shared) + Send>;
        let start = |handles: &mut Vec<_>, name: &str, run: Run| {
            let shared = Arc::clone(&shared);
            let handle = std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || run(&shared));
            handle.map(|handle| handles.push(handle))
        };
        let all: io::Result<()> = (|| {
            start(&mut handles, "network", Box::new(move |_| network.run()))?;
            start(
                &mut handles,
                "writer",
                Box::new(move |shared| writer::run(shared, &arrived)),
            )?;
            start(
                &mut handles,
                "prover",
                Box::new(move |shared| prover::run(shared, &proving, &again)),
            )?;
            start(
                &mut handles,
                "keeper",
                Box::new(move |shared| keeper::run(shared, &keeping)),
            )?;
            for _ in 0..shared.serving.threads() {
                let serve = |shared: &Shared| shared.serving.run(|| shared.is_stopping());
                start(&mut on_disk, "server", Box::new(serve))?;
            }
            for _ in 0..shared.aside.threads.threads() {
                let run = |shared: &Shared| shared.aside.threads.run(|| shared.is_stopping());
                start(&mut on_disk, "aside", Box::new(run))?;
            }
            start(
                &mut on_disk,
                "disk ticker",
                Box::new(move |shared| disk_ticker::run(shared, &disk_ticks)),
            )?;
            start(
                &mut handles,
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
                on_disk,
                ticker,
            })),
        }));
        if let Err(error) = all {
            node.stop();
            return Err(StartError::Threads(error));
        }
        Ok(node)
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
