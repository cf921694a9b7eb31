//! The asking side, for the commands: plain blocking calls.

mod transport;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use thiserror::Error;
use tokio::runtime::Runtime;

use super::{
    DaemonStatus, FetchEvent, PublishEvent, PublishRequest, PublishedEntry, SeedEvent, SeedRequest,
    Seeding, UnpublishRequest, UnseedRequest, Unseeded,
};
use crate::content::{ContentId, PublishedName};
use crate::node::explain::Explanation;
use crate::node::{NetworkContent, PeerStatus, Verify};

use transport::{ANSWER_BYTES, LINE_BYTES, Lines, json};

/// How long an answer that needs no peer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long a fetch may be silent; the daemon tells several times a second how far it is.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// Why the daemon did not do what it was asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens on the socket of this store.
    #[error("no daemon runs for the store {}", store.display())]
    NoDaemon {
        /// The folder of the store.
        store: PathBuf,
    },
    /// The socket cannot be used.
    #[error("cannot reach the daemon of the store {}", store.display())]
    Unreachable {
        /// The folder of the store.
        store: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The connection broke before the answer was whole.
    #[error("the daemon broke off its answer")]
    BrokenOff,
    /// The answer did not come in time.
    #[error("the daemon does not answer")]
    Silent,
    /// The answer cannot be understood: another version, perhaps.
    #[error("the daemon's answer cannot be understood")]
    Misunderstood,
    /// The daemon says why not.
    #[error("{0}")]
    Refused(String),
    /// Where the bytes were to go fails.
    #[error("cannot write")]
    Output(#[source] io::Error),
    /// The caller wanted no more.
    #[error("interrupted")]
    Interrupted,
}

/// A way to the daemon of one store.
#[derive(Debug)]
pub struct Client {
    pub(super) store: PathBuf,
    runtime: Runtime,
    /// [`SILENCE_LIMIT`] and [`ANSWER_LIMIT`], where content is silent.
    silence: Duration,
    answer: Duration,
}

impl Client {
    /// The daemon of the store in `dir`. Nothing is asked yet.
    ///
    /// # Errors
    /// The event loop cannot be made.
    pub fn new(dir: &Path) -> Result<Self, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| ClientError::Unreachable {
                store: dir.to_owned(),
                source,
            })?;
        Ok(Self {
            store: dir.to_owned(),
            runtime,
            silence: SILENCE_LIMIT,
            answer: ANSWER_LIMIT,
        })
    }

    /// What the daemon is and does.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn status(&self) -> Result<DaemonStatus, ClientError> {
        self.whole(Method::GET, "/status")
    }

    /// What its peers say that they have.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn network(&self) -> Result<Vec<NetworkContent>, ClientError> {
        self.whole(Method::GET, "/network")
    }

    /// The peers that it knows.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn peers(&self) -> Result<Vec<PeerStatus>, ClientError> {
        self.whole(Method::GET, "/peers")
    }

    /// What it knows of `id`, and why what is wanted of it has not come.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn explain(&self, id: &ContentId) -> Result<Explanation, ClientError> {
        self.whole(Method::GET, &format!("/explain/{id}"))
    }

    /// Asks it to end; returns when it has understood, not when it has ended.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn stop(&self) -> Result<(), ClientError> {
        let asking = async { self.ask(Method::POST, "/stop").await.map(drop) };
        self.within(ANSWER_LIMIT, asking)
    }

    /// Lets the daemon fetch `id`; `tell` hears of each event and may end it by `Break`. Returns
    /// the length when all of it is in the daemon's store and verified.
    ///
    /// # Errors
    /// [`ClientError`]; a fetch that failed is [`ClientError::Refused`] with the reason.
    pub fn fetch(
        &self,
        id: &ContentId,
        blocks: Option<&ContentId>,
        mut tell: impl FnMut(&FetchEvent) -> ControlFlow<()>,
    ) -> Result<u64, ClientError> {
        let blocks = blocks.map_or(String::new(), |list| format!("?blocks={list}"));
        let path = format!("/fetch/{id}{blocks}");
        let asking = self.ask(Method::GET, &path);
        self.runtime.block_on(async {
            let mut lines = Lines::of(asking.await?);
            loop {
                let event = lines.next().await?;
                if tell(&event).is_break() {
                    return Err(ClientError::Interrupted);
                }
                match event {
                    FetchEvent::Complete { length } => return Ok(length),
                    FetchEvent::Failed { reason } => return Err(ClientError::Refused(reason)),
                    FetchEvent::Looking | FetchEvent::Fetching { .. } => {}
                }
            }
        })
    }

    /// What it publishes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn published(&self) -> Result<Vec<PublishedEntry>, ClientError> {
        self.whole(Method::GET, "/published")
    }

    /// Lets it publish nothing under `name` any more; whether something was.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn unpublish(&self, name: &PublishedName) -> Result<bool, ClientError> {
        let request = UnpublishRequest {
            name: name.to_string(),
        };
        let body = json(&request)?;
        let asking = async {
            let body = self
                .ask_with(Method::POST, "/unpublish", body)
                .await?
                .into_body();
            let body = http_body_util::Limited::new(body, LINE_BYTES);
            let bytes = body.collect().await.map_err(|_| ClientError::BrokenOff)?;
            serde_json::from_slice(&bytes.to_bytes()).map_err(|_| ClientError::Misunderstood)
        };
        self.within(ANSWER_LIMIT, asking)
    }

    /// Lets it hash, serve and publish the file at the absolute `path`; `tell` hears of each event
    /// and may end it by `Break`.
    ///
    /// # Errors
    /// [`ClientError`]; what could not be published is [`ClientError::Refused`] with the reason.
    pub fn publish(
        &self,
        path: &Path,
        name: &PublishedName,
        mut tell: impl FnMut(&PublishEvent) -> ControlFlow<()>,
    ) -> Result<PublishedEntry, ClientError> {
        let request = PublishRequest {
            path: path.into(),
            name: name.to_string(),
        };
        let asking = self.ask_with(Method::POST, "/publish", json(&request)?);
        self.runtime.block_on(async {
            let mut lines = Lines::of(asking.await?);
            loop {
                let event: PublishEvent = lines.next().await?;
                if tell(&event).is_break() {
                    return Err(ClientError::Interrupted);
                }
                match event {
                    PublishEvent::Published(entry) => return Ok(entry),
                    PublishEvent::Failed { reason } => return Err(ClientError::Refused(reason)),
                    PublishEvent::Hashing { .. } => {}
                }
            }
        })
    }

    /// What the daemon seeds.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn seeding(&self) -> Result<Vec<Seeding>, ClientError> {
        self.whole(Method::GET, "/seeding")
    }

    /// Lets the daemon seed; `tell` hears of each event and may leave by `Break`, whereupon the
    /// daemon goes on. Returns how many files are served of it when all are.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn seed(
        &self,
        request: &SeedRequest,
        mut tell: impl FnMut(Option<&SeedEvent>) -> ControlFlow<()>,
    ) -> Result<u64, ClientError> {
        let asking = self.ask_with(Method::POST, "/seed", json(request)?);
        self.runtime.block_on(async {
            let mut lines = Lines::of(asking.await?);
            loop {
                // A long file is hashed in silence now and then.
                let event: SeedEvent = self
                    .attend(lines.next_whenever(), &mut |_| tell(None))
                    .await??;
                if tell(Some(&event)).is_break() {
                    return Err(ClientError::Interrupted);
                }
                match event {
                    SeedEvent::Done { files } => return Ok(files),
                    SeedEvent::Failed { reason } => return Err(ClientError::Refused(reason)),
                    _ => {}
                }
            }
        })
    }

    /// Lets the daemon seed a path no longer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn unseed(&self, request: &UnseedRequest) -> Result<Unseeded, ClientError> {
        let body = json(request)?;
        let asking = async {
            let body = self
                .ask_with(Method::POST, "/unseed", body)
                .await?
                .into_body();
            let body = http_body_util::Limited::new(body, ANSWER_BYTES);
            let bytes = body.collect().await.map_err(|_| ClientError::BrokenOff)?;
            serde_json::from_slice(&bytes.to_bytes()).map_err(|_| ClientError::Misunderstood)
        };
        // Many files take their time to be forgotten.
        self.within(SILENCE_LIMIT, asking)
    }

    /// Writes the bytes of `id` to `out` as they come; `tell` hears how many more were written, 0
    /// several times a second while none come, and may end it by `Break`. A daemon that gives parts
    /// before the whole is proven gives none then with `verify` strict. Returns the length.
    ///
    /// # Errors
    /// [`ClientError`]; `out` then has the right beginning of the content, or nothing.
    pub fn content(
        &self,
        id: &ContentId,
        verify: Verify,
        out: &mut impl io::Write,
        mut tell: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<u64, ClientError> {
        self.runtime.block_on(async {
            let path = format!("/content/{id}?verify={}", verify.word());
            let asking = self.ask(Method::GET, &path);
            let mut body = self.attend(asking, &mut tell).await??.into_body();
            let mut written = 0;
            while let Some(frame) = self.attend(body.frame(), &mut tell).await? {
                let frame = frame.map_err(|_| ClientError::BrokenOff)?;
                if let Some(data) = frame.data_ref() {
                    out.write_all(data).map_err(ClientError::Output)?;
                    written += data.len() as u64;
                    if tell(data.len() as u64).is_break() {
                        return Err(ClientError::Interrupted);
                    }
                }
            }
            Ok(written)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_daemon_that_stops_in_the_middle_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("control.sock")).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 16];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc")
                .unwrap();
            // Others may connect, and are not answered.
            (stream, listener)
        });
        let mut client = Client::new(dir.path()).unwrap();
        client.silence = Duration::from_millis(10);
        client.answer = Duration::from_millis(50);
        let mut out = Vec::new();
        let id = ContentId::sha256([1; 32]);
        let mut told = 0;
        let ended = client.content(&id, Verify::Auto, &mut out, |_| {
            told += 1;
            assert!(told < 1000, "it waits for ever");
            ControlFlow::Continue(())
        });
        assert!(matches!(ended, Err(ClientError::Silent)), "{ended:?}");
        assert_eq!(out, b"abc");
        drop(daemon.join().unwrap());
    }
}
