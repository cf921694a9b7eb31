//! Reading what is held once more, and taking in files of the user's.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::channel::Channel;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::keeping::with_store;
use super::routes::{Access, Refusal, Shared, Waiting, parse};
use crate::content::{ContentId, Kind};
use crate::node::Failure;
use crate::store::{StoreError, Verdict};

/// Events that wait for a client that is slow.
const WAITING: usize = 64;

/// What becomes of what is read once more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum ScrubEvent {
    /// It is what its id says.
    Right {
        /// Its id.
        id: String,
        /// Bytes.
        length: u64,
    },
    /// It is not, and was set aside.
    Rotten {
        /// Its id.
        id: String,
        /// Bytes.
        length: u64,
        /// Where it lies now.
        aside: PathBuf,
    },
    /// It cannot be read.
    Unreadable {
        /// Its id.
        id: String,
        /// A sentence.
        reason: String,
    },
    /// What was rotten has been fetched again.
    FetchedAgain {
        /// Its id.
        id: String,
    },
    /// What was rotten cannot be fetched.
    NotFetched {
        /// Its id.
        id: String,
        /// A sentence.
        reason: String,
    },
    /// The last event.
    Done {
        /// Files that were read.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// Files that were not right.
        bad: u64,
    },
    /// It could not be gone on with. The last event.
    Failed {
        /// A sentence.
        reason: String,
    },
}

impl ScrubEvent {
    /// What came of reading one file.
    #[must_use]
    pub fn of(id: &ContentId, length: u64, verdict: &Verdict) -> Self {
        let id = id.to_string();
        match verdict {
            Verdict::Right => Self::Right { id, length },
            Verdict::Rotten(aside) => Self::Rotten {
                id,
                length,
                aside: aside.clone(),
            },
            Verdict::Unreadable(error) => Self::Unreadable {
                id,
                reason: sentence(error),
            },
        }
    }
}

/// The error and its causes.
fn sentence(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[derive(Deserialize)]
struct Which {
    ids: Option<String>,
}

#[derive(Deserialize)]
struct What {
    path: String,
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/scrub", post(scrub))
        .route("/import", post(import))
}

async fn import(State(shared): Access, Query(what): Query<What>) -> Response {
    let digits = what.path.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let Some(bytes) = bytes else {
        let reason = "the path is not hexadecimal".to_owned();
        return Refusal(StatusCode::BAD_REQUEST, reason).into_response();
    };
    let path = PathBuf::from(OsStr::from_bytes(&bytes));
    if !path.is_absolute() {
        let reason = "the path is not absolute".to_owned();
        return Refusal(StatusCode::BAD_REQUEST, reason).into_response();
    }
    with_store(shared, move |store| store.import(&path)).await
}

async fn scrub(State(shared): Access, Query(which): Query<Which>) -> Response {
    let ids: Result<Option<Vec<ContentId>>, Refusal> = which
        .ids
        .map(|ids| ids.split(',').map(parse).collect())
        .transpose();
    let ids = match ids {
        Ok(ids) => ids,
        Err(refusal) => return refusal.into_response(),
    };
    let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return Refusal::from(Failure::Busy).into_response();
    };
    let (told, mut events) = mpsc::channel::<ScrubEvent>(WAITING);
    let (mut lines, body) = Channel::<Bytes, Infallible>::new(4);
    let reading = Arc::clone(&shared);
    let scrubbing = spawn_blocking(move || {
        let store = reading.daemon.node.store();
        store.scrub(ids.as_deref(), &|id, length, verdict| {
            let event = ScrubEvent::of(id, length, verdict);
            told.blocking_send(event).is_ok()
        })
    });
    tokio::spawn(async move {
        let _place = place;
        let mut rotten = Vec::new();
        while let Some(event) = events.recv().await {
            if let ScrubEvent::Rotten { id, .. } = &event {
                rotten.extend(id.parse::<ContentId>());
            }
            // Dropping `events` ends the reading.
            if send(&mut lines, &event).await.is_err() {
                return;
            }
        }
        for id in rotten.into_iter().filter(|id| id.kind != Kind::TreeV2) {
            let event = fetch_again(&shared, id).await;
            if send(&mut lines, &event).await.is_err() {
                return;
            }
        }
        let last = match scrubbing.await {
            Ok(Ok(scrubbed)) => ScrubEvent::Done {
                files: scrubbed.files,
                bytes: scrubbed.bytes,
                bad: scrubbed.bad,
            },
            Ok(Err(error)) => ScrubEvent::Failed {
                reason: sentence(&error),
            },
            Err(_) => ScrubEvent::Failed {
                reason: Failure::Stopped.to_string(),
            },
        };
        let _ = send(&mut lines, &last).await;
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::new(body)).into_response()
}

async fn fetch_again(shared: &Arc<Shared>, id: ContentId) -> ScrubEvent {
    let fetching = Waiting::begin(shared, move |shared, done| {
        shared.daemon.node.fetch(id, done)
    });
    let fetched = match fetching.await {
        Ok(fetching) => fetching.end().await,
        Err(failure) => Err(failure),
    };
    let id = id.to_string();
    match fetched {
        Ok(_) => ScrubEvent::FetchedAgain { id },
        Err(failure) => ScrubEvent::NotFetched {
            id,
            reason: failure.to_string(),
        },
    }
}

async fn send(
    lines: &mut http_body_util::channel::Sender<Bytes, Infallible>,
    event: &ScrubEvent,
) -> Result<(), ()> {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    lines.send_data(line.into()).await.map_err(|_| ())
}
