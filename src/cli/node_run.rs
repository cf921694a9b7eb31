//! Starting a node for a command, and ending it in time.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::descriptor_limit;
use crate::node::calls::{self, Threads};
use crate::node::{Bound, Config, Node, StartError, rights};
use crate::store::StoreError;

/// Does all of a start that may need rights which a node does not: raises the limit of open files, binds
/// the socket.
pub fn bind(config: &Config) -> Result<Bound> {
    descriptor_limit::raise();
    Ok(Node::bind(config)?)
}

/// Starts the node; `notice` hears what the user should know.
pub fn start(config: Config, notice: impl Fn(&str)) -> Result<Node> {
    let bound = bind(&config)?;
    start_on(config, bound, notice)
}

/// The same on a socket that is bound already.
pub fn start_on(config: Config, bound: Bound, notice: impl Fn(&str)) -> Result<Node> {
    let port = config.bind.port();
    let node = Node::start_on(config, bound).map_err(|error| match error {
        StartError::Store(StoreError::InUse { .. }) => anyhow::Error::new(error)
            .context("another daemon is running; stop it or give --store another folder"),
        error => anyhow::Error::new(error),
    })?;
    if node.port_was_taken() {
        notice(&format!(
            "port {port} is taken, so this node listens on {}",
            node.local_addr()
        ));
    }
    Ok(node)
}

/// Gives up what a command that runs a node in `store` and writes nowhere else does not need, mounting
/// and unmounting too. To be called before threads are started.
pub fn confine(store: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(store)
        .with_context(|| format!("cannot use {} as the store", store.display()))?;
    rights::write_only_in(store);
    calls::give_up(Threads::This);
    Ok(())
}

/// Stops the node, and waits for it no longer than `limit`. What is left undone then is what a
/// power cut would leave undone, which the store is made for.
pub fn stop(node: &Node, limit: Duration) -> Result<()> {
    let (stopped, wait) = mpsc::channel();
    let node = node.clone();
    thread::Builder::new()
        .name("stop".into())
        .spawn(move || {
            node.stop();
            let _ = stopped.send(());
        })
        .context("cannot stop the node")?;
    if wait.recv_timeout(limit).is_err() {
        tracing::warn!("the node did not stop within {limit:?}");
    }
    Ok(())
}
