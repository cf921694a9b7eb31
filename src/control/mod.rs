//! What a running daemon tells local programs, over HTTP on a Unix socket in its store.
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | [`DaemonStatus`] as JSON |
//! | `GET /peers` | a JSON array of [`crate::node::PeerStatus`] |
//! | `GET /network` | a JSON array of [`crate::node::NetworkContent`], after at most two seconds |
//! | `GET /explain/<id>` | an [`Explanation`](crate::node::explain::Explanation) as JSON |
//! | `GET /fetch/<id>` | one [`FetchEvent`] per line as it happens; the last is `complete` or `failed` |
//! | `GET /content/<id>` | the bytes, as they come; broken off where they fail |
//! | `POST /publish` | body: a [`PublishRequest`]; one [`PublishEvent`] per line |
//! | `POST /unpublish` | body: an [`UnpublishRequest`]; `true` if something was published |
//! | `GET /published` | a JSON array of [`PublishedEntry`] |
//! | `GET /seeding` | a JSON array of [`Seeding`]: what is seeded |
//! | `POST /seed` with a [`SeedRequest`] | one [`SeedEvent`] per line as it happens; the last is `done` or `failed` |
//! | `POST /unseed` with an [`UnseedRequest`] | [`Unseeded`] |
//! | `GET /held?from=<place>` | what is held ([`crate::store::Held`]), a page of it, and the place to go on from |
//! | `POST /pin/<id>`, `POST /unpin/<id>` | whether that changed anything |
//! | `POST /gc?dry=<bool>&most=<bytes>&least_free=<bytes>` | an array of [`Removed`]; without limits, those of the daemon count |
//! | `POST /scrub?ids=<id>,...` | one [`ScrubEvent`] per line as it happens; the last is `done` |
//! | `POST /lend/<id>?name=<bool>&mode=<number>` | how to take it from the store: a name of one's own, or where it lies |
//! | `POST /import?path=<hexadecimal>` | [`crate::store::Imported`] |
//! | `POST /stop` | `202`; the daemon ends |
//!
//! HTTP, so that `curl --unix-socket` and any language's library can ask. A socket file with mode
//! 0600 in a folder with mode 0700, so that only its owner can. Fetching is apart from sending the
//! bytes because HTTP has no good place for a reason once a body has begun: whoever wants to know
//! why it failed fetches first.
//!
//! One request per connection, a bounded number of connections, a limit on how long a request may
//! take to arrive: a local program that goes wrong cannot take the daemon with it.

mod client;
mod keeping;
mod keeping_client;
mod loans;
mod paths;
mod publishing;
mod routes;
mod seeding;
mod server;
mod socket;
mod upkeep;
mod upkeep_client;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use client::{Client, ClientError};
pub use keeping::Removed;
pub use paths::ToldPath;
pub use publishing::{PublishEvent, PublishRequest, PublishedEntry, UnpublishRequest};
pub use seeding::{SeedEvent, SeedRequest, Seeding, UnseedRequest, Unseeded, skip_words};
pub use server::{Daemon, Server, ServerError};
pub use upkeep::ScrubEvent;

use crate::node::Status;
use crate::node::rights::Rights;

/// What the daemon of a store is and does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// Its process.
    pub pid: u32,
    /// The command that it was started with: `mount` or `seed`.
    pub command: String,
    /// Where it has mounted the network, if it has.
    pub mountpoint: Option<PathBuf>,
    /// What it may do.
    #[serde(default)]
    pub rights: Rights,
    /// What its node tells.
    #[serde(flatten)]
    pub node: Status,
}

/// How far a fetch is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum FetchEvent {
    /// Looking for someone who has it.
    Looking,
    /// It comes.
    Fetching {
        /// Bytes of the whole.
        length: u64,
        /// Bytes that are here.
        present: u64,
    },
    /// All of it is here and verified. The last event.
    Complete {
        /// Bytes of the whole.
        length: u64,
    },
    /// It could not be fetched. The last event.
    Failed {
        /// A sentence.
        reason: String,
    },
}
