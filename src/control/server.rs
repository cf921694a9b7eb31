//! The listening side: the socket, its thread, and the bounds on who is served.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};

use super::routes;
use super::socket::SocketPath;
use crate::node::Node;
use crate::node::seeding::Seeder;

/// Connections at once; more wait in the socket's backlog.
const CONNECTIONS: usize = 64;
/// How long the head of a request may take to arrive.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// How long what still runs at the end may take; it works for clients that are being told.
const END_LIMIT: Duration = Duration::from_millis(200);

/// What is served.
pub struct Daemon {
    /// The node that it is about.
    pub node: Node,
    /// The command that runs it, `mount` or `seed`.
    pub command: &'static str,
    /// Where the network is mounted, if it is.
    pub mountpoint: Option<PathBuf>,
    /// What seeds, if the command does.
    pub seeder: Option<Seeder>,
    /// Called when a client asks the daemon to end. Returns at once.
    pub on_stop: Box<dyn Fn() + Send + Sync>,
}

/// Why the socket cannot be served.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The socket cannot be made.
    #[error("cannot listen on {}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The thread or its event loop cannot be made.
    #[error("cannot start the control thread")]
    Thread(#[source] io::Error),
}

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on the socket in the node's store. The caller holds the lock of that store, by way
    /// of the node, so that a socket which is already there is a dead daemon's and is replaced.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn start(daemon: Daemon) -> Result<Self, ServerError> {
        let dir = daemon.node.store().dir().to_owned();
        let path = dir.join("control.sock");
        let listen = || -> io::Result<UnixListener> {
            let socket = SocketPath::in_store(&dir)?;
            match fs::remove_file(socket.as_path()) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let listener = UnixListener::bind(socket.as_path())?;
            fs::set_permissions(socket.as_path(), Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listener = listen().map_err(|source| ServerError::Listen {
            path: path.clone(),
            source,
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(8)
            .build()
            .map_err(ServerError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("control".into())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        () = accept(listener, daemon) => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_timeout(END_LIMIT);
            })
            .map_err(ServerError::Thread)?;
        Ok(Self {
            path,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // First the name, so that nobody finds a socket that no longer answers.
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the control socket was gone already");
        }
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control thread panicked");
        }
    }
}

async fn accept(listener: UnixListener, daemon: Daemon) {
    let listener = match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot serve the control socket");
            return;
        }
    };
    let service = TowerToHyperService::new(routes::router(daemon));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: there is nothing to do but wait for some.
                tracing::warn!(%error, "cannot accept on the control socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = service.clone();
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_LIMIT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a control connection ended early");
            }
            drop(place);
        });
    }
}
