//! For tests: a node of which nothing runs. What its threads would do a test does, in any order, and
//! sees what they are told.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::time::Duration;

use tempfile::TempDir;

use super::mailbox::Mailbox;
use super::messages::{Arrival, Command, Keep};
use super::names::Names;
use super::shared::{Queues, Shared};
use super::socket::Socket;
use super::transfer::Transfer;
use super::{Complete, Config, Verify};
use crate::store::{Limits, Store};

/// Of a node that speaks with nobody.
pub(super) fn config(store: &Path, lookup_timeout: Duration, read_timeout: Duration) -> Config {
    Config {
        store: store.to_owned(),
        bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        peers: Vec::new(),
        bootstrap: false,
        lan: false,
        cache: 1 << 20,
        limits: Limits::default(),
        upload_limit: None,
        upload_limit_per_address: None,
        download_limit: None,
        lookup_timeout,
        read_timeout,
        complete: Complete::Auto,
        verify: Verify::Auto,
    }
}

pub(super) struct Still {
    pub shared: Arc<Shared>,
    /// For the writer.
    pub arrived: Receiver<Arrival>,
    _proving: Receiver<Option<Arc<Transfer>>>,
    /// For the keeper.
    pub keeping: Receiver<Keep>,
    _disk_ticks: Receiver<()>,
    _socket: Socket,
    _folder: TempDir,
}

impl Still {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let limit = Duration::from_secs(1);
        let config = config(folder.path(), limit, limit);
        let socket = Socket::bind(config.bind).unwrap();
        let store = Store::open(&config.store).unwrap();
        let names = Names::new(store.node_key().unwrap(), &[]);
        let (arrivals, arrived) = channel();
        let (to_prove, proving) = channel();
        let (to_keep, keeping) = channel();
        let (disk_ticker, disk_ticks) = sync_channel(1);
        let queues = Queues {
            disk_ticker,
            arrivals,
            to_prove,
            to_keep,
        };
        let mailbox = Mailbox::new(socket.waker());
        let shared =
            Arc::new_cyclic(|me| Shared::new(me.clone(), config, store, mailbox, queues, names));
        Self {
            shared,
            arrived,
            _proving: proving,
            keeping,
            _disk_ticks: disk_ticks,
            _socket: socket,
            _folder: folder,
        }
    }

    /// What the network thread was told since this was last asked.
    pub fn told(&self) -> VecDeque<Command> {
        self.shared.mailbox.take()
    }
}
