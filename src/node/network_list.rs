//! What the peers say that they have, for people.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Node;
use super::messages::Command;
use super::status::REPORT_LIMIT;

/// How often it is looked whether all that were asked have answered.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Content that peers say they have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkContent {
    /// Its id.
    pub id: String,
    /// Bytes, as most of those say that have it.
    pub length: u64,
    /// How many of the peers that were asked have it, at most 64.
    pub peers: usize,
    /// Seconds since one first said so to this node.
    pub named_seconds_ago: f64,
    /// Whether this node has all of it, too.
    pub held: bool,
}

impl Node {
    /// Asks known peers what they have and waits for their answers, at most `limit`. What they said
    /// before is there as well; all of it is hearsay. The latest named comes first.
    #[must_use]
    pub fn network_list(&self, limit: Duration) -> Vec<NetworkContent> {
        let shared = &self.0.shared;
        let until = Instant::now() + limit;
        let mut ask = true;
        loop {
            let (to, told) = mpsc::channel();
            shared.mailbox.post(Command::Lists { ask, to });
            ask = false;
            let Ok(lists) = told.recv_timeout(REPORT_LIMIT) else {
                return Vec::new();
            };
            if (lists.awaited > 0 && Instant::now() < until) && !shared.is_stopping() {
                // On a thread of the caller's; whoever asks has said how long this may take.
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
            let mut listed = lists.listed;
            listed.sort_by_key(|listed| (std::cmp::Reverse(listed.first), listed.id));
            return listed
                .into_iter()
                .map(|listed| NetworkContent {
                    id: listed.id.to_string(),
                    length: listed.length,
                    peers: listed.peers,
                    named_seconds_ago: lists.now.since(listed.first).as_secs_f64(),
                    held: shared.store.may_hold(&listed.id),
                })
                .collect();
        }
    }
}
