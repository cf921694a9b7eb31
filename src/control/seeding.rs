//! Seeding as the commands ask the daemon for it, and as it answers.
//!
//! The hashing runs on a thread of the daemon's own and goes on when the client leaves. What it
//! tells goes through a bounded channel; a client that does not read is given up after a while.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::channel::Channel;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::paths::ToldPath;
use super::routes::{Refusal, Shared};
use crate::content::Hash;
use crate::node::Failure;
use crate::node::seeding::{
    Observer, RootStatus, SeededFile, SeededRoot, Seeder, Skip, UnseedError, Watch,
};

/// Events that wait for a client to read them.
const EVENTS: usize = 256;
/// How long one may wait.
const CLIENT_LIMIT: Duration = Duration::from_secs(10);
/// How often the progress is told.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// `POST /seed`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedRequest {
    /// Absolute paths.
    pub paths: Vec<ToldPath>,
    /// Only until the daemon ends.
    #[serde(default)]
    pub once: bool,
}

/// `POST /unseed`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UnseedRequest {
    /// An absolute path.
    pub path: ToldPath,
}

/// What `POST /unseed` answers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Unseeded {
    /// Files that are no longer served.
    pub files: u64,
}

/// What happens while paths are hashed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum SeedEvent {
    /// How far it is.
    Progress {
        /// Files found so far.
        files: u64,
        /// Bytes of them.
        found: u64,
        /// Bytes that are hashed.
        done: u64,
    },
    /// A file is served from now on.
    Seeded {
        /// Where it lies.
        path: ToldPath,
        /// SHA-256 of its content.
        sha256: String,
    },
    /// A path is left out.
    Skipped {
        /// Which.
        path: ToldPath,
        /// One of the kinds of [`crate::node::seeding::Skip`].
        why: String,
        /// A sentence, for what can be one.
        reason: Option<String>,
    },
    /// A folder is done.
    Folder {
        /// Where it lies.
        path: ToldPath,
        /// SHA-256 of its listing.
        id: Option<String>,
        /// Why it has none.
        reason: Option<String>,
    },
    /// All is done. The last event.
    Done {
        /// Files that are served of it.
        files: u64,
    },
    /// It could not be done. The last event.
    Failed {
        /// A sentence.
        reason: String,
    },
}

/// What `GET /seeding` tells of each file or folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seeding {
    /// Where it lies.
    pub path: ToldPath,
    /// Whether it is a folder.
    pub folder: bool,
    /// What it is called under `seeding/` in the mount.
    pub name: String,
    /// Only until the daemon ends.
    pub once: bool,
    /// Files that are served.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// SHA-256 of a folder's listing.
    pub id: Option<String>,
    /// While it is hashed: bytes that are done, and bytes found.
    pub hashing: Option<(u64, u64)>,
    /// `live`, `rescans` or `never`: how changes are noticed.
    pub watch: String,
}

impl From<RootStatus> for Seeding {
    fn from(root: RootStatus) -> Self {
        Self {
            path: ToldPath::from(&*root.path),
            folder: root.folder,
            name: root.name,
            once: root.once,
            files: root.files,
            bytes: root.bytes,
            id: root.listing.map(|hash| hash.to_string()),
            hashing: root.hashing,
            watch: match root.watch {
                Watch::Live => "live",
                Watch::Rescans => "rescans",
                Watch::Never => "never",
            }
            .to_owned(),
        }
    }
}

/// The word for a kind of skip, and a sentence where there is more to say.
#[must_use]
pub fn skip_words(why: &Skip) -> (&'static str, Option<String>) {
    match why {
        Skip::Empty { listed: true } => ("empty", None),
        Skip::Empty { listed: false } => ("nothing", None),
        Skip::SymbolicLink => ("link", None),
        Skip::Hidden => ("hidden", None),
        Skip::Unlisted => ("unlisted", None),
        Skip::NotText => ("not-text", None),
        Skip::Special => ("special", None),
        Skip::Unreadable(error) => ("unreadable", Some(error.to_string())),
        Skip::Changing => ("changing", None),
        Skip::OwnStore => ("own-store", None),
        Skip::TooDeep => ("too-deep", None),
    }
}

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let listed = spawn_blocking(move || {
        let roots = shared.daemon.seeder.as_ref().map(Seeder::roots);
        let all = roots.unwrap_or_default();
        all.into_iter().map(Seeding::from).collect::<Vec<_>>()
    });
    match listed.await {
        Ok(all) => Json(all).into_response(),
        Err(_) => Refusal::from(Failure::Stopped).into_response(),
    }
}

pub(super) async fn unseed(
    State(shared): State<Arc<Shared>>,
    Json(request): Json<UnseedRequest>,
) -> Response {
    let Some(seeder) = shared.daemon.seeder.clone() else {
        return does_not_seed();
    };
    match spawn_blocking(move || seeder.unseed(request.path.as_path())).await {
        Ok(Ok(files)) => Json(Unseeded { files }).into_response(),
        Ok(Err(error)) => {
            let status = match error {
                UnseedError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::NOT_FOUND,
            };
            Refusal(status, error.to_string()).into_response()
        }
        Err(_) => Refusal::from(Failure::Stopped).into_response(),
    }
}

pub(super) async fn seed(
    State(shared): State<Arc<Shared>>,
    Json(request): Json<SeedRequest>,
) -> Response {
    let Some(seeder) = shared.daemon.seeder.clone() else {
        return does_not_seed();
    };
    let paths: Vec<PathBuf> = request.paths.into_iter().map(PathBuf::from).collect();
    if paths.iter().any(|path| !path.is_absolute()) {
        let reason = "the daemon takes absolute paths".to_owned();
        return Refusal(StatusCode::BAD_REQUEST, reason).into_response();
    }
    let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
        return Refusal::from(Failure::Busy).into_response();
    };
    let (events, mut told) = mpsc::channel(EVENTS);
    let started = std::thread::Builder::new()
        .name("seeding".into())
        .spawn(move || run(&seeder, &paths, request.once, events));
    if let Err(error) = started {
        return Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response();
    }
    let (mut lines, body) = Channel::<Bytes, Infallible>::new(4);
    tokio::spawn(async move {
        let _place = place;
        while let Some(event) = told.recv().await {
            let mut line = serde_json::to_vec(&event).unwrap_or_default();
            line.push(b'\n');
            if lines.send_data(line.into()).await.is_err() {
                return;
            }
        }
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::new(body)).into_response()
}

fn does_not_seed() -> Response {
    let reason = "this daemon does not seed".to_owned();
    Refusal(StatusCode::NOT_FOUND, reason).into_response()
}

fn run(seeder: &Seeder, paths: &[PathBuf], once: bool, events: mpsc::Sender<SeedEvent>) {
    let teller = Teller {
        events: Mutex::new(Some(events)),
        files: AtomicU64::new(0),
        found: AtomicU64::new(0),
        done: AtomicU64::new(0),
        told: Mutex::new(Instant::now()),
    };
    match seeder.seed_if_any(paths, once, &teller) {
        Ok(roots) => {
            let files = roots.iter().map(|root| root.files).sum();
            for root in roots {
                teller.tell_folder(root);
            }
            teller.tell(SeedEvent::Done { files });
        }
        Err(error) => teller.tell(SeedEvent::Failed {
            reason: error.to_string(),
        }),
    }
}

/// Tells a client, if it still listens.
struct Teller {
    events: Mutex<Option<mpsc::Sender<SeedEvent>>>,
    files: AtomicU64,
    found: AtomicU64,
    done: AtomicU64,
    told: Mutex<Instant>,
}

impl Teller {
    fn tell(&self, event: SeedEvent) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = events.as_ref() else {
            return;
        };
        let since = Instant::now();
        let mut event = event;
        loop {
            match sender.try_send(event) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(back)) if since.elapsed() < CLIENT_LIMIT => {
                    event = back;
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(_) => break,
            }
        }
        *events = None;
    }

    fn tell_folder(&self, root: SeededRoot) {
        let (id, reason) = match root.listing {
            None => return,
            Some(Ok(id)) => (Some(hex(&id)), None),
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        self.tell(SeedEvent::Folder {
            path: ToldPath::from(&*root.shown),
            id,
            reason,
        });
    }

    fn tell_progress(&self) {
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.elapsed() < TELL_EVERY {
                return;
            }
            *told = Instant::now();
        }
        self.tell(SeedEvent::Progress {
            files: self.files.load(Ordering::Relaxed),
            found: self.found.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
        });
    }
}

fn hex(hash: &Hash) -> String {
    hash.to_string()
}

impl Observer for Teller {
    fn found(&self, length: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.found.fetch_add(length, Ordering::Relaxed);
        self.tell_progress();
    }

    fn progress(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.tell_progress();
    }

    fn seeded(&self, file: &SeededFile<'_>) {
        self.tell(SeedEvent::Seeded {
            path: ToldPath::from(file.path),
            sha256: hex(&file.sha256),
        });
    }

    fn skipped(&self, path: &Path, why: &Skip) {
        let (why, reason) = skip_words(why);
        self.tell(SeedEvent::Skipped {
            path: ToldPath::from(path),
            why: why.to_owned(),
            reason,
        });
    }

    fn wanted(&self) -> bool {
        true
    }
}
