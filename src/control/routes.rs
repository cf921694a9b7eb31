//! What is answered.
//!
//! The node's calls may wait for a lock or a disk, so they are made on the blocking threads; what
//! comes later comes through a channel.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::channel::{Channel, Sender};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::spawn_blocking;

use super::keeping;
use super::loans;
use super::publishing;
use super::seeding;
use super::server::Daemon;
use super::upkeep;
use super::{DaemonStatus, FetchEvent};
use crate::content::{BlockListError, ContentId, IdError, MAX_BLOCK_LIST};
use crate::node::rights::Rights;
use crate::node::{ContentInfo, Failure, Pending, Reader, Verify};

/// Requests at once that last: fewer than connections, so that `status` always finds a place.
const STREAMS: usize = 32;
/// The largest request, in bytes: a command line's paths and their JSON.
const REQUEST: usize = 8 << 20;
/// Bytes read at once.
const CHUNK: u32 = 1 << 20;
/// How long peers have to say what they have.
const LISTS_LIMIT: Duration = Duration::from_secs(2);
/// How long what was fetched is kept from being given up.
const LINGER: Duration = Duration::from_secs(3);
/// How often a fetch tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

pub(super) struct Shared {
    pub(super) daemon: Daemon,
    pub(super) streams: Arc<Semaphore>,
}

pub(super) type Access = State<Arc<Shared>>;

pub fn router(daemon: Daemon) -> Router {
    let shared = Shared {
        daemon,
        streams: Arc::new(Semaphore::new(STREAMS)),
    };
    Router::new()
        .route("/status", get(status))
        .route("/peers", get(peers))
        .route("/network", get(network))
        .route("/explain/{*id}", get(explain))
        .route("/fetch/{*id}", get(fetch))
        .route("/content/{*id}", get(content))
        .route("/stop", post(stop))
        .route("/seeding", get(seeding::list))
        .route("/published", get(publishing::published))
        .merge(keeping::routes())
        .merge(loans::routes())
        .merge(upkeep::routes())
        .layer(DefaultBodyLimit::max(0))
        .merge(
            Router::new()
                .route("/seed", post(seeding::seed))
                .route("/unseed", post(seeding::unseed))
                .route("/publish", post(publishing::publish))
                .route("/unpublish", post(publishing::unpublish))
                .layer(DefaultBodyLimit::max(REQUEST)),
        )
        .with_state(Arc::new(shared))
}

async fn status(State(shared): Access) -> Response {
    answer(spawn_blocking(move || DaemonStatus {
        pid: std::process::id(),
        command: shared.daemon.command.to_owned(),
        mountpoint: shared.daemon.mountpoint.clone(),
        rights: Rights::in_force(),
        node: shared.daemon.node.status(),
    }))
    .await
}

async fn peers(State(shared): Access) -> Response {
    answer(spawn_blocking(move || shared.daemon.node.peers())).await
}

async fn network(State(shared): Access) -> Response {
    let ask = move || shared.daemon.node.network_list(LISTS_LIMIT);
    answer(spawn_blocking(ask)).await
}

async fn explain(State(shared): Access, Path(id): Path<String>) -> Response {
    match parse(&id) {
        Ok(id) => answer(spawn_blocking(move || shared.daemon.node.explain(id))).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer<T: serde::Serialize>(task: tokio::task::JoinHandle<T>) -> Response {
    match task.await {
        Ok(value) => Json(value).into_response(),
        Err(_) => Refusal::from(Failure::Stopped).into_response(),
    }
}

async fn stop(State(shared): Access) -> StatusCode {
    (shared.daemon.on_stop)();
    StatusCode::ACCEPTED
}

/// How content is fetched for a client.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Means {
    /// The block list by which it is verified.
    blocks: Option<String>,
}

async fn fetch(
    State(shared): Access,
    Path(id): Path<String>,
    Query(means): Query<Means>,
) -> Response {
    let (id, place) = match admit(&shared, &id) {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.into_response(),
    };
    let blocks = match means.blocks.as_deref().map(parse).transpose() {
        Ok(blocks) => blocks,
        Err(refusal) => return refusal.into_response(),
    };
    let (lines, body) = Channel::new(4);
    let mut client = Listener(lines);
    let hold = shared.daemon.node.store().hold(&id);
    tokio::spawn(async move {
        let place = place;
        if !client.hears(&FetchEvent::Looking).await {
            return;
        }
        let fetched = async {
            if let Some(list) = blocks
                && !use_blocks(&shared, id, list, &mut client).await?
            {
                return Ok(None);
            }
            fetch_telling(&shared, id, u64::MAX, &mut client).await
        };
        let last = match fetched.await {
            Ok(Some(info)) => FetchEvent::Complete {
                length: info.length,
            },
            // The client has gone.
            Ok(None) => return,
            Err(reason) => FetchEvent::Failed { reason },
        };
        client.hears(&last).await;
        drop(place);
        // Whoever let it be fetched asks for the bytes next.
        tokio::time::sleep(LINGER).await;
        drop(hold);
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::new(body)).into_response()
}

/// Fetches the block list by which `id` is to be verified; `false` when nobody listens any more.
async fn use_blocks(
    shared: &Arc<Shared>,
    id: ContentId,
    list: ContentId,
    client: &mut Listener,
) -> Result<bool, String> {
    let about = |why: &dyn std::fmt::Display| format!("the block list {list}: {why}");
    match fetch_telling(shared, list, MAX_BLOCK_LIST, client).await {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(false),
        Err(failure) => return Err(about(&failure)),
    }
    let asked = Arc::clone(shared);
    let read = spawn_blocking(move || {
        let node = &asked.daemon.node;
        node.block_list(&list)
            .map(|list| node.verify_by_blocks(id, list))
    });
    match read.await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(error)) => Err(about(&error)),
        Err(_) => Err(Failure::Stopped.to_string()),
    }
}

/// Who follows a fetch.
struct Listener(Sender<Bytes, Infallible>);

impl Listener {
    /// Tells of an event; false when nobody listens any more.
    async fn hears(&mut self, event: &FetchEvent) -> bool {
        let mut line = serde_json::to_vec(event).unwrap_or_default();
        line.push(b'\n');
        self.0.send_data(line.into()).await.is_ok()
    }
}

/// Fetches a block list, or content, of `most` bytes at most, telling how far it is; `None` when
/// nobody listens any more.
async fn fetch_telling(
    shared: &Arc<Shared>,
    id: ContentId,
    most: u64,
    client: &mut Listener,
) -> Result<Option<ContentInfo>, String> {
    let why = |failure: Failure| failure.to_string();
    let stopped = |_| Err(Failure::Stopped);
    let mut looking = Waiting::begin(shared, move |shared, done| {
        shared.daemon.node.lookup(id, done)
    })
    .await
    .map_err(why)?;
    let mut info = loop {
        tokio::select! {
            result = &mut looking.result => break result.unwrap_or_else(stopped).map_err(why)?,
            () = tokio::time::sleep(TELL_EVERY) => {
                if !client.hears(&FetchEvent::Looking).await {
                    return Ok(None);
                }
            }
        }
    };
    let too_long = || Err(BlockListError::TooLong.to_string());
    if info.length > most {
        return too_long();
    }
    let mut fetching = Waiting::begin(shared, move |shared, done| {
        shared.daemon.node.fetch(id, done)
    })
    .await
    .map_err(why)?;
    loop {
        // Most may come to claim another length meanwhile.
        if info.length > most {
            return too_long();
        }
        let event = FetchEvent::Fetching {
            length: info.length,
            present: info.present,
        };
        if !client.hears(&event).await {
            return Ok(None);
        }
        tokio::select! {
            result = &mut fetching.result => {
                return result.unwrap_or_else(stopped).map(Some).map_err(why);
            }
            () = tokio::time::sleep(TELL_EVERY) => {}
        }
        let asked = Arc::clone(shared);
        if let Ok(Some(now)) = spawn_blocking(move || asked.daemon.node.info(id)).await {
            info = now;
        }
    }
}

/// How a client wants content to be given to it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Manner {
    verify: Verify,
}

async fn content(
    State(shared): Access,
    Path(id): Path<String>,
    Query(manner): Query<Manner>,
) -> Response {
    let (id, place) = match admit(&shared, &id) {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal.into_response(),
    };
    let verify = manner.verify;
    let strict = verify == Verify::Strict || shared.daemon.node.verify() == Verify::Strict;
    let _hold = shared.daemon.node.store().hold(&id);
    let reader = async {
        let looking = Waiting::begin(&shared, move |shared, done| {
            shared.daemon.node.lookup(id, done)
        })
        .await?;
        looking.end().await?;
        if strict {
            // A read that waits for the whole would end at the limit of reads.
            let fetching = Waiting::begin(&shared, move |shared, done| {
                shared.daemon.node.fetch(id, done)
            });
            fetching.await?.end().await?;
        }
        let opened = Arc::clone(&shared);
        spawn_blocking(move || opened.daemon.node.open_to(id, verify))
            .await
            .unwrap_or(Err(Failure::Stopped))
    };
    let reader = match reader.await {
        Ok(reader) => Arc::new(reader),
        Err(failure) => return Refusal::from(failure).into_response(),
    };
    let length = reader.length();
    let (mut bytes, body) = Channel::<Bytes, io::Error>::new(2);
    tokio::spawn(async move {
        let _place = place;
        // Reading only what is sent next would leave the peers idle while the client is slow.
        let fetching = Waiting::begin(&shared, move |shared, done| {
            shared.daemon.node.fetch(id, done)
        })
        .await;
        let mut offset = 0;
        while offset < length {
            match read(&reader, offset).await {
                Ok(data) if !data.is_empty() => {
                    offset += data.len() as u64;
                    if bytes.send_data(data).await.is_err() {
                        break;
                    }
                }
                // Ending the body short of its announced length would do too; this closes the
                // connection at once.
                Ok(_) => return bytes.abort(io::ErrorKind::UnexpectedEof.into()),
                Err(failure) => return bytes.abort(io::Error::other(failure)),
            }
        }
        drop(fetching);
    });
    let head = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
    ];
    (head, Body::new(body)).into_response()
}

async fn read(reader: &Arc<Reader>, offset: u64) -> Result<Bytes, Failure> {
    let (sender, result) = oneshot::channel();
    let reader = Arc::clone(reader);
    let pending = spawn_blocking(move || {
        let done = Box::new(move |data: Result<&[u8], Failure>| {
            // The receiver is gone when the client is.
            let _ = sender.send(data.map(Bytes::copy_from_slice));
        });
        reader.read(offset, CHUNK, done)
    })
    .await
    .map_err(|_| Failure::Stopped)?;
    Waiting { result, pending }.end().await
}

fn admit(shared: &Shared, id: &str) -> Result<(ContentId, OwnedSemaphorePermit), Refusal> {
    let id = parse(id)?;
    let place = Arc::clone(&shared.streams)
        .try_acquire_owned()
        .map_err(|_| Refusal::from(Failure::Busy))?;
    Ok((id, place))
}

pub(super) fn parse(id: &str) -> Result<ContentId, Refusal> {
    id.parse()
        .map_err(|e: IdError| Refusal(StatusCode::BAD_REQUEST, e.to_string()))
}

/// An operation of the node that is cancelled when nobody waits for it any more.
pub(super) struct Waiting<T> {
    result: oneshot::Receiver<Result<T, Failure>>,
    pending: Option<Pending>,
}

impl<T: Send + 'static> Waiting<T> {
    pub(super) async fn begin(
        shared: &Arc<Shared>,
        start: impl FnOnce(&Shared, crate::node::Done<T>) -> Option<Pending> + Send + 'static,
    ) -> Result<Self, Failure> {
        let (sender, result) = oneshot::channel();
        let shared = Arc::clone(shared);
        let pending = spawn_blocking(move || {
            start(
                &shared,
                Box::new(move |ended| {
                    let _ = sender.send(ended);
                }),
            )
        })
        .await
        .map_err(|_| Failure::Stopped)?;
        Ok(Self { result, pending })
    }

    pub(super) async fn end(mut self) -> Result<T, Failure> {
        (&mut self.result).await.unwrap_or(Err(Failure::Stopped))
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            pending.cancel(Failure::Interrupted);
        }
    }
}

/// Why a request is not answered with what it asked for.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let status = match failure {
            Failure::NotFound => StatusCode::NOT_FOUND,
            Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Failure::WrongContent => StatusCode::BAD_GATEWAY,
            Failure::Stopped | Failure::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Failure::Interrupted | Failure::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, failure.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "reason": self.1 }))).into_response()
    }
}
