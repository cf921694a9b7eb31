//! What is answered about what the store holds, and what is done to it.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::routes::{Access, Refusal, Shared, parse};
use crate::content::ContentId;
use crate::node::Failure;
use crate::store::{GivenUp, Held, Limits, Store, StoreError};

/// Entries in one answer.
const PAGE: usize = 1000;

/// Content that was given up, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Its id.
    pub id: String,
    /// Bytes that it took on the disk.
    pub on_disk: u64,
    /// Whether all of it was there.
    pub complete: bool,
}

impl From<GivenUp> for Removed {
    fn from(gone: GivenUp) -> Self {
        Self {
            id: gone.id.to_string(),
            on_disk: gone.on_disk,
            complete: gone.complete,
        }
    }
}

/// A page of what is held.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Page {
    pub held: Vec<Held>,
    pub next: Option<String>,
}

#[derive(Deserialize)]
struct Start {
    from: Option<String>,
}

#[derive(Deserialize)]
struct Collect {
    #[serde(default)]
    dry: bool,
    most: Option<u64>,
    least_free: Option<u64>,
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/held", get(held))
        .route("/pin/{*id}", post(pin))
        .route("/unpin/{*id}", post(unpin))
        .route("/gc", post(collect))
}

async fn held(State(shared): Access, Query(query): Query<Start>) -> Response {
    with_store(shared, move |store| {
        let (held, next) = store.held(query.from.as_deref(), PAGE)?;
        Ok(Page { held, next })
    })
    .await
}

async fn pin(State(shared): Access, Path(id): Path<String>) -> Response {
    set_pinned(shared, &id, Store::pin).await
}

async fn unpin(State(shared): Access, Path(id): Path<String>) -> Response {
    set_pinned(shared, &id, Store::unpin).await
}

async fn set_pinned(
    shared: Arc<Shared>,
    id: &str,
    set: fn(&Store, &ContentId) -> Result<bool, StoreError>,
) -> Response {
    match parse(id) {
        Ok(id) => with_store(shared, move |store| set(store, &id)).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn collect(State(shared): Access, Query(query): Query<Collect>) -> Response {
    with_store(shared, move |store| {
        let given = query.most.is_some() || query.least_free.is_some();
        let limits = Limits {
            most: query.most,
            least_free: query.least_free,
        };
        let gone = store.collect(given.then_some(limits), query.dry)?;
        Ok(gone.into_iter().map(Removed::from).collect::<Vec<_>>())
    })
    .await
}

/// Runs what may wait for the disk where that holds up nobody.
pub(super) async fn with_store<T: Serialize + Send + 'static>(
    shared: Arc<Shared>,
    action: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Response {
    match spawn_blocking(move || action(shared.daemon.node.store())).await {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(error)) => Refusal::from(error).into_response(),
        Err(_) => Refusal::from(Failure::Stopped).into_response(),
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}
