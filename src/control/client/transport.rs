//! How a question to the daemon travels: HTTP over the socket of its store, each wait with an end.

use std::io;
use std::ops::ControlFlow;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout};

use super::super::socket::SocketPath;
use super::{ANSWER_LIMIT, Client, ClientError, SILENCE_LIMIT};

/// How often, while nothing comes, the caller is asked whether to go on.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// The largest answer that is read as a whole.
pub(super) const ANSWER_BYTES: usize = 64 << 20;
/// The longest line of events.
pub(super) const LINE_BYTES: usize = 64 << 10;

impl Client {
    /// What `waited` comes to. How long that may take the daemon decides by its own limits, as long
    /// as it answers at all.
    pub(in crate::control) async fn attend<T>(
        &self,
        waited: impl Future<Output = T>,
        tell: &mut impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<T, ClientError> {
        let mut waited = pin!(waited);
        let mut heard = Instant::now();
        loop {
            if let Ok(result) = timeout(ASK_EVERY, &mut waited).await {
                return Ok(result);
            }
            if tell(0).is_break() {
                return Err(ClientError::Interrupted);
            }
            if heard.elapsed() >= self.silence {
                timeout(self.answer, self.ask(Method::GET, "/status"))
                    .await
                    .map_err(|_| ClientError::Silent)??;
                heard = Instant::now();
            }
        }
    }

    pub(in crate::control) fn whole<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, ClientError> {
        self.whole_within(ANSWER_LIMIT, method, path)
    }

    pub(in crate::control) fn whole_within<T: DeserializeOwned>(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
    ) -> Result<T, ClientError> {
        let asking = async {
            let body = self.ask(method, path).await?.into_body();
            let body = http_body_util::Limited::new(body, ANSWER_BYTES);
            let bytes = body.collect().await.map_err(|_| ClientError::BrokenOff)?;
            serde_json::from_slice(&bytes.to_bytes()).map_err(|_| ClientError::Misunderstood)
        };
        self.within(limit, asking)
    }

    pub(in crate::control) fn block_on<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }

    pub(super) fn within<T>(
        &self,
        limit: Duration,
        asking: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        self.runtime.block_on(async {
            timeout(limit, asking)
                .await
                .unwrap_or(Err(ClientError::Silent))
        })
    }

    /// Sends a request; returns the answer once its head is there, if it is not a refusal.
    pub(in crate::control) async fn ask(
        &self,
        method: Method,
        path: &str,
    ) -> Result<Response<Incoming>, ClientError> {
        self.ask_with(method, path, Bytes::new()).await
    }

    /// The same with a body, which is JSON where it is not empty.
    pub(super) async fn ask_with(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoDaemon {
                store: self.store.clone(),
            },
            _ => ClientError::Unreachable {
                store: self.store.clone(),
                source,
            },
        };
        let socket = SocketPath::in_store(&self.store).map_err(unreachable)?;
        let stream = UnixStream::connect(socket.as_path())
            .await
            .map_err(unreachable)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| ClientError::BrokenOff)?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|_| ClientError::Misunderstood)?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|_| ClientError::BrokenOff)?;
        if response.status().is_success() {
            return Ok(response);
        }
        #[derive(Deserialize)]
        struct Refusal {
            reason: String,
        }
        let body = http_body_util::Limited::new(response.into_body(), LINE_BYTES);
        let bytes = body.collect().await.map_err(|_| ClientError::BrokenOff)?;
        match serde_json::from_slice::<Refusal>(&bytes.to_bytes()) {
            Ok(refusal) => Err(ClientError::Refused(refusal.reason)),
            Err(_) => Err(ClientError::Misunderstood),
        }
    }
}

pub(super) fn json(request: &impl serde::Serialize) -> Result<Bytes, ClientError> {
    let body = serde_json::to_vec(request).map_err(|_| ClientError::Misunderstood)?;
    Ok(body.into())
}

/// A body of one JSON value a line, as they come.
pub(super) struct Lines {
    body: Incoming,
    buffered: Vec<u8>,
}

impl Lines {
    pub(super) fn of(response: Response<Incoming>) -> Self {
        Self {
            body: response.into_body(),
            buffered: Vec::new(),
        }
    }

    /// The next one, which must not be long in coming.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        timeout(SILENCE_LIMIT, self.next_whenever())
            .await
            .unwrap_or(Err(ClientError::Silent))
    }

    pub(super) async fn next_whenever<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        loop {
            if let Some(end) = self.buffered.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffered.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|_| ClientError::Misunderstood);
            }
            if self.buffered.len() > LINE_BYTES {
                return Err(ClientError::Misunderstood);
            }
            let frame = self.body.frame().await.ok_or(ClientError::BrokenOff)?;
            let frame = frame.map_err(|_| ClientError::BrokenOff)?;
            if let Ok(data) = frame.into_data() {
                self.buffered.extend_from_slice(&data);
            }
        }
    }
}
