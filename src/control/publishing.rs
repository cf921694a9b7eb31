//! Publishing, as local programs ask for it.

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::routes::{Access, Refusal, Shared};
use crate::content::PublishedName;
use crate::node::publishing::{PublishError, prepare};
use crate::store::Published;

/// How often hashing tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// What is to be published.
#[derive(Debug, Serialize, Deserialize)]
pub struct PublishRequest {
    /// An absolute path.
    pub path: OsString,
    /// Under which name.
    pub name: String,
}

/// Under which name nothing is to be published any more.
#[derive(Debug, Serialize, Deserialize)]
pub struct UnpublishRequest {
    /// The name.
    pub name: String,
}

/// How far publishing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum PublishEvent {
    /// It is being hashed.
    Hashing {
        /// Bytes.
        done: u64,
        /// Bytes of the whole.
        length: u64,
    },
    /// Whoever asks is told of it. The last event.
    Published(PublishedEntry),
    /// It was not published. The last event.
    Failed {
        /// A sentence.
        reason: String,
    },
}

/// What is published under one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedEntry {
    /// The key: 64 hexadecimal digits.
    pub key: String,
    /// The name.
    pub name: String,
    /// The content.
    pub sha256: String,
    /// Which version it is: the highest counts.
    pub seq: u64,
    /// What was published; odd characters are replaced.
    pub path: String,
}

impl PublishedEntry {
    /// Of what the store tells.
    #[must_use]
    pub fn new(key: &crate::content::PublicKey, published: &Published) -> Self {
        Self {
            key: key.to_string(),
            name: published.name.to_string(),
            sha256: published.sha256.to_string(),
            seq: published.seq,
            path: published.path.to_string_lossy().into_owned(),
        }
    }
}

pub(super) async fn published(State(shared): Access) -> Response {
    let listed = spawn_blocking(move || {
        let node = &shared.daemon.node;
        let key = node.public_key();
        let entry = |published: &Published| PublishedEntry::new(&key, published);
        node.published()
            .map(|all| all.iter().map(entry).collect::<Vec<_>>())
    });
    match listed.await {
        Ok(Ok(entries)) => Json(entries).into_response(),
        Ok(Err(error)) => failed(&error).into_response(),
        Err(_) => Refusal::from(crate::node::Failure::Stopped).into_response(),
    }
}

pub(super) async fn unpublish(State(shared): Access, body: Bytes) -> Response {
    let name = serde_json::from_slice::<UnpublishRequest>(&body)
        .map_err(|error| error.to_string())
        .and_then(|request| name(&request.name));
    let name = match name {
        Ok(name) => name,
        Err(reason) => return Refusal(StatusCode::BAD_REQUEST, reason).into_response(),
    };
    match spawn_blocking(move || shared.daemon.node.unpublish(&name)).await {
        Ok(Ok(was)) => Json(was).into_response(),
        Ok(Err(error)) => failed(&error).into_response(),
        Err(_) => Refusal::from(crate::node::Failure::Stopped).into_response(),
    }
}

fn name(text: &str) -> Result<PublishedName, String> {
    text.parse()
        .map_err(|error: crate::content::NameError| error.to_string())
}

fn failed(error: &dyn std::error::Error) -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, sentence(error))
}

/// The error and what caused it.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

pub(super) async fn publish(State(shared): Access, body: Bytes) -> Response {
    let request = serde_json::from_slice::<PublishRequest>(&body)
        .map_err(|error| error.to_string())
        .and_then(|request| Ok((name(&request.name)?, PathBuf::from(request.path))));
    let (name, path) = match request {
        Ok(request) => request,
        Err(reason) => return Refusal(StatusCode::BAD_REQUEST, reason).into_response(),
    };
    let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return Refusal::from(crate::node::Failure::Busy).into_response();
    };
    let (lines, body) = Channel::new(4);
    tokio::spawn(async move {
        let _place = place;
        tell_of(lines, shared, name, path).await;
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::new(body)).into_response()
}

/// How far the hashing is, and whether anybody still wants it.
#[derive(Default)]
struct Progress {
    done: AtomicU64,
    length: AtomicU64,
    unwanted: AtomicBool,
    result: Mutex<Option<PublishEvent>>,
}

/// Hashes and publishes on a thread of its own, so that long files do not take the few that answer
/// other requests.
async fn tell_of(
    mut lines: Sender<Bytes, Infallible>,
    shared: Arc<Shared>,
    name: PublishedName,
    path: PathBuf,
) {
    let progress = Arc::new(Progress::default());
    let (ended, mut end) = tokio::sync::oneshot::channel();
    let theirs = Arc::clone(&progress);
    let spawned = std::thread::Builder::new()
        .name("publishing".into())
        .spawn(move || {
            let event = match publish_now(&shared, &theirs, &name, &path) {
                Ok(entry) => PublishEvent::Published(entry),
                Err(error) => PublishEvent::Failed {
                    reason: sentence(&error),
                },
            };
            *lock(&theirs.result) = Some(event);
            let _ = ended.send(());
        });
    if let Err(error) = spawned {
        let reason = format!("cannot start hashing: {error}");
        send(&mut lines, &PublishEvent::Failed { reason }).await;
        return;
    }
    while tokio::time::timeout(TELL_EVERY, &mut end).await.is_err() {
        let event = PublishEvent::Hashing {
            done: progress.done.load(Ordering::Relaxed),
            length: progress.length.load(Ordering::Relaxed),
        };
        if !send(&mut lines, &event).await {
            progress.unwanted.store(true, Ordering::Relaxed);
            return;
        }
    }
    let last = lock(&progress.result).take();
    let last = last.unwrap_or_else(|| PublishEvent::Failed {
        reason: "hashing ended without a result".into(),
    });
    send(&mut lines, &last).await;
}

fn publish_now(
    shared: &Shared,
    progress: &Progress,
    name: &PublishedName,
    path: &std::path::Path,
) -> Result<PublishedEntry, PublishError> {
    let node = &shared.daemon.node;
    let tell = |done: u64, length: u64| {
        progress.done.store(done, Ordering::Relaxed);
        progress.length.store(length, Ordering::Relaxed);
        !progress.unwanted.load(Ordering::Relaxed)
    };
    let seeder = shared.daemon.seeder.as_ref();
    let (sha256, real) = prepare(node.store(), seeder, path, name, &tell)?;
    let signed = node.publish(name, sha256, &real)?;
    let published = Published {
        name: name.clone(),
        sha256,
        seq: signed.seq,
        path: real,
    };
    Ok(PublishedEntry::new(&signed.of.key, &published))
}

/// Tells of an event; false when nobody listens any more.
async fn send(lines: &mut Sender<Bytes, Infallible>, event: &PublishEvent) -> bool {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    lines.send_data(line.into()).await.is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
