//! What the swarm tells of one id, in the words of a report: one entry for each peer, whatever it
//! has to do with the id.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Range;
use crate::swarm::{
    self, AskedReport, Class, FlightReport, PeerReport, Said, SourceReport, SourceState,
};

/// What the network is asked for one id, and what it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Network {
    /// What lengths are claimed, the most claimed first.
    pub claims: Vec<Claim>,
    /// Bytes wanted and not arrived.
    pub missing: u64,
    /// Bytes of these that somebody was asked for.
    pub in_flight: u64,
    /// What is on its way, in the order of its bytes.
    pub flights: Vec<FlightStory>,
    /// Flights that are left out of the list.
    pub flights_left_out: usize,
    /// How many peers were asked whether they have it.
    pub asked: usize,
    /// How many of them said anything about it.
    pub answered: usize,
    /// Addresses that others named and that are still to be asked.
    pub hinted: usize,
    /// Until more peers are asked, should that be needed then.
    pub next_question_seconds: f64,
    /// Peers that have it.
    pub sources: usize,
    /// The only source that may be asked, because one of several sent wrong bytes.
    pub on_trial: Option<SocketAddr>,
    /// Since when nothing that was missing has come; `None` while nothing is missing.
    pub quiet_seconds: Option<f64>,
    /// Content bytes a second that the sources that may be asked now can send, where measured.
    pub rate: Option<f64>,
    /// Until what is missing is here, at that rate; `None` when nobody can tell.
    pub expected_seconds: Option<f64>,
    /// Who has it, the fastest first; then who else was asked, then who is not asked any more. At
    /// most 64 of each.
    pub peers: Vec<PeerStory>,
}

/// A length, and who claims it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// Bytes.
    pub length: u64,
    /// Some of those who say so.
    pub peers: Vec<SocketAddr>,
    /// How many say so.
    pub count: usize,
}

/// Bytes that peers have been asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FlightStory {
    /// Which.
    #[serde(flatten)]
    pub range: Range,
    /// Whether somebody waits for them.
    pub urgent: bool,
    /// Requests that this puts together.
    pub requests: usize,
    /// Who was asked. At most eight.
    pub from: Vec<AskedOf>,
}

/// A peer that was asked for bytes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct AskedOf {
    /// Which.
    pub peer: SocketAddr,
    /// How long ago, at most.
    pub seconds_ago: f64,
}

impl AskedOf {
    /// Adds it to a list of `most` peers, each once and with its oldest question.
    pub(super) fn add_to(self, list: &mut Vec<Self>, most: usize) {
        if let Some(known) = list.iter_mut().find(|known| known.peer == self.peer) {
            known.seconds_ago = known.seconds_ago.max(self.seconds_ago);
        } else if list.len() < most {
            list.push(self);
        }
    }
}

/// A peer and what it has to do with the id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerStory {
    /// Which.
    pub address: SocketAddr,
    /// Since it was last asked whether it has it; `None`: not asked, or not remembered.
    pub asked_seconds_ago: Option<f64>,
    /// How often it was asked since it last rested.
    pub times_asked: u8,
    /// What it said last.
    pub answer: Answer,
    /// When it said so.
    pub answered_seconds_ago: Option<f64>,
    /// Whether it may be asked for data.
    pub standing: Standing,
    /// When it is asked again, if it rests or is benched.
    pub again_in_seconds: Option<f64>,
    /// The path to it; `None` unless it has the content.
    pub path: Option<PathStory>,
}

/// What a peer said of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub enum Answer {
    /// It has content of that id.
    Yes {
        /// Bytes, if it told how many.
        length: Option<u64>,
    },
    /// It has a part of it.
    Parts {
        /// Bytes that it has.
        held: u64,
        /// Bytes of the whole, as it says.
        length: u64,
    },
    /// It does not have it.
    No,
    /// It named others that may have it.
    Elsewhere {
        /// How many.
        peers: usize,
    },
    /// Nothing: the usual "no".
    Nothing,
}

/// Whether a peer may be asked for data of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It may be asked now.
    Open,
    /// Its last answer is overdue; it is asked on, for now.
    Overdue,
    /// It has not told its cookie yet, so it would give a stranger's share only.
    Unmet,
    /// Another source is on trial.
    Waits,
    /// Its answers fell short of what was asked for.
    Rests,
    /// It was silent several times; one request probes it next.
    Benched,
    /// It was wrong about this id and is not asked again.
    Refused,
    /// It has not said that it has it.
    NoSource,
}

/// The path to a peer that has the content.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PathStory {
    /// Smoothed.
    pub round_trip_ms: Option<f64>,
    /// Share of requests that were lost lately, 0 to 1.
    pub loss: f64,
    /// Estimated content bytes a second.
    pub rate: Option<f64>,
    /// Content bytes that may be in flight.
    pub window: u64,
    /// Content bytes asked for and not arrived, of all ids.
    pub in_flight: u64,
    /// Content bytes asked for at a time.
    pub reply_length: u64,
    /// Phase of its congestion controller.
    pub phase: String,
    /// Since when nothing at all came from it.
    pub silent_seconds: Option<f64>,
    /// Content bytes of this id that it supplied.
    pub supplied: u64,
}

impl From<swarm::Explanation> for Network {
    fn from(told: swarm::Explanation) -> Self {
        let peers = peers(&told);
        Self {
            claims: told
                .claims
                .into_iter()
                .map(|claim| Claim {
                    length: claim.length,
                    peers: claim.peers,
                    count: claim.count,
                })
                .collect(),
            missing: told.missing,
            in_flight: told.in_flight,
            flights: told.flights.into_iter().map(FlightStory::from).collect(),
            flights_left_out: told.flights_left_out,
            asked: told.asked_count,
            answered: told.answered_count,
            hinted: told.hinted,
            next_question_seconds: told.next_question.as_secs_f64(),
            sources: told.source_count,
            on_trial: told.on_trial,
            quiet_seconds: told.quiet.map(|quiet| quiet.as_secs_f64()),
            rate: told.rate,
            expected_seconds: told.expected.map(|expected| expected.as_secs_f64()),
            peers,
        }
    }
}

impl From<FlightReport> for FlightStory {
    fn from(flight: FlightReport) -> Self {
        let mut from = Vec::new();
        for (peer, ago) in flight.from {
            let seconds_ago = ago.as_secs_f64();
            AskedOf { peer, seconds_ago }.add_to(&mut from, super::MOST_ASKED);
        }
        Self {
            range: flight.range.into(),
            urgent: flight.class == Class::Urgent,
            requests: flight.requests,
            from,
        }
    }
}

/// One entry for each peer: sources, others that were asked, refused ones.
fn peers(told: &swarm::Explanation) -> Vec<PeerStory> {
    let mut peers: Vec<PeerStory> = Vec::new();
    for source in &told.sources {
        let mut peer = stranger(source.peer.address);
        (peer.standing, peer.again_in_seconds) = standing(source.state);
        peer.path = Some(path(source));
        // Whoever sent some of it has it, whether it was asked first or not.
        peer.answer = Answer::Yes { length: None };
        peers.push(peer);
    }
    for asked in &told.asked {
        match peers.iter_mut().find(|it| it.address == asked.address) {
            Some(peer) => peer.was_asked(asked),
            None => {
                let mut peer = stranger(asked.address);
                peer.was_asked(asked);
                peers.push(peer);
            }
        }
    }
    for refused in &told.refused {
        match peers.iter_mut().find(|it| it.address == *refused) {
            Some(peer) => peer.standing = Standing::Refused,
            None => peers.push(PeerStory {
                standing: Standing::Refused,
                ..stranger(*refused)
            }),
        }
    }
    peers
}

fn stranger(address: SocketAddr) -> PeerStory {
    PeerStory {
        address,
        asked_seconds_ago: None,
        times_asked: 0,
        answer: Answer::Nothing,
        answered_seconds_ago: None,
        standing: Standing::NoSource,
        again_in_seconds: None,
        path: None,
    }
}

impl PeerStory {
    fn was_asked(&mut self, asked: &AskedReport) {
        self.asked_seconds_ago = Some(asked.ago.as_secs_f64());
        self.times_asked = asked.times;
        let Some((ago, said)) = asked.said else {
            return;
        };
        self.answered_seconds_ago = Some(ago.as_secs_f64());
        self.answer = match said {
            Said::Content(length) => Answer::Yes { length },
            Said::Parts(held, length) => Answer::Parts { held, length },
            Said::No => Answer::No,
            Said::Others(peers) => Answer::Elsewhere { peers },
        };
    }
}

fn standing(state: SourceState) -> (Standing, Option<f64>) {
    match state {
        SourceState::Open => (Standing::Open, None),
        SourceState::Overdue => (Standing::Overdue, None),
        SourceState::Unmet => (Standing::Unmet, None),
        SourceState::Waits => (Standing::Waits, None),
        SourceState::Rests(left) => (Standing::Rests, Some(left.as_secs_f64())),
        SourceState::Benched(left) => (Standing::Benched, Some(left.as_secs_f64())),
    }
}

fn path(source: &SourceReport) -> PathStory {
    let PeerReport {
        round_trip,
        loss,
        rate,
        window,
        in_flight,
        length,
        phase,
        silent_for,
        ..
    } = source.peer;
    PathStory {
        round_trip_ms: round_trip.map(|rtt| rtt.as_secs_f64() * 1000.0),
        loss,
        rate,
        window,
        in_flight,
        reply_length: length,
        phase: phase.to_owned(),
        silent_seconds: silent_for.map(|silent| silent.as_secs_f64()),
        supplied: source.supplied,
    }
}
