//! The answer in a few lines: what is waited for, what is here, who was asked, when it is expected.

use std::net::SocketAddr;

use crate::cli::human::{bytes, percent, rate, seconds};
use crate::node::explain::{
    Answer, AskedOf, ContentState, Explanation, Network, PeerStory, Place, Standing, Verified,
    Want, Why,
};

/// Peers that a line names.
const NAMED: usize = 3;

/// The answer. The first line says how the content stands or what is waited for.
pub fn lines(told: &Explanation) -> Vec<String> {
    let mut lines = vec![first(told)];
    if told.state == ContentState::Arriving {
        lines.push(progress(told));
        lines.extend(withheld(told));
    }
    let on_its_way = matches!(
        told.state,
        ContentState::Arriving | ContentState::LookedFor | ContentState::Found
    );
    match &told.network {
        // With all bytes here nobody need be asked.
        _ if told.length == Some(told.present) => {}
        Some(network) if on_its_way => {
            lines.push(whom(told, network));
            lines.extend(expected(network));
        }
        None if told.network_unknown => {
            lines.push("the network thread is busy and does not say who was asked".to_owned());
        }
        None if on_its_way => lines.push("nobody is asked for it".to_owned()),
        _ => {}
    }
    lines.extend(past(told));
    lines
}

fn first(told: &Explanation) -> String {
    let length = bytes(told.length.unwrap_or(0));
    match told.state {
        ContentState::Held => match &told.place {
            Some(Place::Seeded { path }) => {
                format!("complete and verified: {length}, seeded from {path}")
            }
            _ => format!("complete and verified: {length} in the store"),
        },
        ContentState::Proven => {
            format!("complete and verified: {length}, being made durable in the store")
        }
        ContentState::Arriving => arriving(told),
        ContentState::Partial => format!(
            "nobody here wants it now; {} of {length} ({}) are here",
            bytes(told.present),
            share(told.present, told)
        ),
        ContentState::Found => {
            format!("somebody has it, {length}; nobody here has asked for its bytes yet")
        }
        ContentState::LookedFor => match &told.lookup {
            Some(lookup) => format!(
                "looking for somebody who has it: for {} now, given up in {}",
                seconds(lookup.waiting_seconds),
                seconds(lookup.fails_in_seconds)
            ),
            None => "looking for somebody who has it".to_owned(),
        },
        ContentState::Wrong => {
            "nobody here looks for it; what peers sent of it lately was not this content".to_owned()
        }
        ContentState::Unknown => "nobody here looks for it, and nothing of it is here".to_owned(),
    }
}

fn arriving(told: &Explanation) -> String {
    let Some(want) = most_urgent(told) else {
        if told.length == Some(told.present) {
            return "all bytes are here, and their hash is not done yet".to_owned();
        }
        return match told.handles {
            0 => "nothing of it is wanted now, and no program has it open".to_owned(),
            _ => "nothing of it is wanted now; a program has it open".to_owned(),
        };
    };
    let range = format!("{} at offset {}", bytes(want.range.len()), want.range.start);
    match want.why {
        Why::Read => {
            let mut line = format!("waiting for {range}");
            if want.missing > 0 && want.missing < want.range.len() {
                line += &format!(", {} of it missing", bytes(want.missing));
            }
            if let (Some(waits), Some(left)) = (want.waiting_seconds, want.fails_in_seconds) {
                line += &format!(
                    ": a read has waited {} and fails in {}",
                    seconds(waits),
                    seconds(left)
                );
            }
            let reads = told.wants.iter().filter(|it| it.why == Why::Read).count();
            match reads.saturating_sub(1) {
                0 => line,
                1 => line + "; so does another read",
                more => format!("{line}; so do {more} other reads"),
            }
        }
        Why::ReadAhead => format!("reading ahead {range}; no read waits"),
        Why::Tree => format!("waiting for {range}, with which leaves are verified"),
        Why::Completion | Why::Fetch => "fetching all of it; no read waits".to_owned(),
    }
}

/// What the answer is about: the read that has waited longest for bytes, or else for the proof, or
/// else whatever is wanted.
fn most_urgent(told: &Explanation) -> Option<&Want> {
    let lacks = |want: &&Want| want.missing > 0;
    let mut reads = told.wants.iter().filter(|want| want.why == Why::Read);
    let read = reads.clone().find(lacks).or_else(|| reads.next());
    read.or_else(|| told.wants.iter().find(lacks))
}

fn progress(told: &Explanation) -> String {
    let here = format!(
        "{} of {} ({}) are here",
        bytes(told.present),
        bytes(told.length.unwrap_or(0)),
        share(told.present, told),
    );
    match (told.verified, told.unverified) {
        (Verified::AsAWhole, _) => format!("{here}, the first {} hashed", bytes(told.hashed)),
        (Verified::ByLeaves, 0) => format!("{here}, all of them verified"),
        (Verified::ByLeaves, waiting) => {
            format!("{here}, {} of them not verified yet", bytes(waiting))
        }
    }
}

/// Why a read waits whose bytes are here.
fn withheld(told: &Explanation) -> Option<String> {
    let want = most_urgent(told)?;
    if want.why != Why::Read || want.missing > 0 {
        return None;
    }
    Some(match (told.verified, &told.tree) {
        // It would give its program the last of all bytes.
        (Verified::AsAWhole, _) => {
            "its bytes are here and held back until the whole is verified".to_owned()
        }
        (Verified::ByLeaves, None) => "its bytes are here and being verified".to_owned(),
        (Verified::ByLeaves, Some(tree)) => {
            format!("its bytes are here and wait to be verified with {tree}")
        }
    })
}

/// Who is asked for the bytes, or why nobody is.
fn whom(told: &Explanation, network: &Network) -> String {
    let peer = |address| network.peers.iter().find(|it| it.address == address);
    if let Some(want) = most_urgent(told)
        && let Some(latest) = want.asked.iter().map(|it| it.seconds_ago).reduce(f64::min)
    {
        let names = want.asked.iter().map(|AskedOf { peer: address, .. }| {
            named(*address, peer(*address).map(|it| condition(network, it)))
        });
        return format!(
            "asked {} {} ago: {}",
            peers(want.asked.len()),
            seconds(latest),
            list(names)
        );
    }
    let sources: Vec<&PeerStory> = network
        .peers
        .iter()
        .filter(|it| it.path.is_some())
        .collect();
    if !sources.is_empty() {
        let names = sources
            .iter()
            .map(|it| named(it.address, Some(condition(network, it))));
        let start = match network.in_flight {
            0 => "nobody is asked for bytes now",
            _ => "others of its bytes are asked for first",
        };
        return format!(
            "{start}; {} it: {}",
            match sources.len() {
                1 => "one peer has".to_owned(),
                count => format!("{count} peers have"),
            },
            list(names)
        );
    }
    searched(network)
}

fn searched(network: &Network) -> String {
    if network.asked == 0 {
        return "no peer has been asked whether it has it: none is known".to_owned();
    }
    let answers = || network.peers.iter().map(|it| it.answer);
    let no = answers().filter(|it| *it == Answer::No).count();
    let elsewhere = answers()
        .filter(|it| matches!(it, Answer::Elsewhere { .. }))
        .count();
    let mut said = Vec::new();
    if no > 0 {
        said.push(format!("{no} said no"));
    }
    if elsewhere > 0 {
        said.push(format!("{elsewhere} named others"));
    }
    let silent = network.asked.saturating_sub(network.answered);
    if silent > 0 {
        said.push(format!("{silent} said nothing, the usual no"));
    }
    let times = network.peers.iter().filter_map(|it| it.asked_seconds_ago);
    let latest = times.reduce(f64::min).unwrap_or(0.0);
    format!(
        "asked {} for it, the last {} ago: {}; the next question is due in {}",
        peers(network.asked),
        seconds(latest),
        said.join(", "),
        seconds(network.next_question_seconds)
    )
}

fn expected(network: &Network) -> Option<String> {
    if network.missing == 0 {
        return None;
    }
    let missing = bytes(network.missing);
    Some(match (network.expected_seconds, network.rate) {
        (Some(time), Some(speed)) => format!(
            "expected: {missing} in {} at {}",
            seconds(time),
            rate(speed)
        ),
        _ => format!("nobody can tell when the missing {missing} come: no peer sends now"),
    })
}

/// What went wrong with it before.
fn past(told: &Explanation) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(ago) = told.wrong_seconds_ago {
        lines.push(format!(
            "what peers sent {} ago was not this content",
            seconds(ago)
        ));
    }
    if let Some(ago) = told.missed_seconds_ago {
        lines.push(format!(
            "it was looked for {} ago, and nobody had it",
            seconds(ago)
        ));
    }
    lines
}

/// How it is with a peer, in a few words.
pub fn condition(network: &Network, peer: &PeerStory) -> String {
    let silent = peer.path.as_ref().and_then(|path| path.silent_seconds);
    let silent = match silent {
        Some(time) => format!("silent for {}", seconds(time)),
        None => "never heard".to_owned(),
    };
    let again = match peer.again_in_seconds {
        Some(time) => format!(", asked again in {}", seconds(time)),
        None => String::new(),
    };
    match peer.standing {
        Standing::Open => match peer.path.as_ref().and_then(|path| path.silent_seconds) {
            Some(time) => format!("heard {} ago", seconds(time)),
            None => "never heard".to_owned(),
        },
        Standing::Overdue => silent,
        Standing::Benched => silent + &again,
        Standing::Rests => format!("its answers fell short{again}"),
        Standing::Unmet => "it has not told its cookie yet".to_owned(),
        Standing::Waits => match network.on_trial {
            Some(other) => format!("not asked while {other} is on trial"),
            None => "not asked while another is on trial".to_owned(),
        },
        Standing::Refused => "it sent wrong bytes and is not asked again".to_owned(),
        Standing::NoSource => match peer.answer {
            Answer::Nothing => "no answer".to_owned(),
            _ => "not a source".to_owned(),
        },
    }
}

fn named(address: SocketAddr, condition: Option<String>) -> String {
    match condition {
        Some(condition) => format!("{address} ({condition})"),
        None => address.to_string(),
    }
}

/// The first few, and how many more.
fn list(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let mut text = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(", and {more} more");
    }
    text
}

fn peers(count: usize) -> String {
    match count {
        1 => "1 peer".to_owned(),
        count => format!("{count} peers"),
    }
}

fn share(part: u64, told: &Explanation) -> String {
    percent(part, told.length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// An explanation with these fields, and nothing known beside them.
    fn told(fields: Value) -> Explanation {
        let mut all = json!({
            "id": "ab", "state": "arriving", "place": null, "length": 1 << 20, "present": 0,
            "present_ranges": [], "present_ranges_left_out": 0, "verified": "as_a_whole",
            "unverified": 0, "tree": null, "hashed": 0, "handles": 0,
            "wants": [], "wants_left_out": 0, "lookup": null, "waiting_for_all": 0,
            "wrong_seconds_ago": null, "missed_seconds_ago": null, "network": null,
            "network_unknown": false,
        });
        merge(&mut all, fields);
        serde_json::from_value(all).unwrap()
    }

    fn network(fields: Value) -> Value {
        let mut all = json!({
            "claims": [], "missing": 0, "in_flight": 0, "flights": [], "flights_left_out": 0,
            "asked": 0, "answered": 0, "hinted": 0, "next_question_seconds": 0.2, "sources": 0,
            "on_trial": null, "quiet_seconds": null, "rate": null, "expected_seconds": null,
            "peers": [],
        });
        merge(&mut all, fields);
        all
    }

    fn peer(port: u16, fields: Value) -> Value {
        let mut all = json!({
            "address": format!("192.0.2.1:{port}"), "asked_seconds_ago": 0.4, "times_asked": 1,
            "answer": {"said": "nothing"}, "answered_seconds_ago": null, "standing": "no_source",
            "again_in_seconds": null, "path": null,
        });
        merge(&mut all, fields);
        all
    }

    fn path(silent: f64) -> Value {
        json!({
            "round_trip_ms": 40.0, "loss": 0.0, "rate": 1e6, "window": 1, "in_flight": 1,
            "reply_length": 1, "phase": "cruise", "silent_seconds": silent, "supplied": 1,
        })
    }

    fn merge(all: &mut Value, fields: Value) {
        let Value::Object(fields) = fields else {
            panic!("no object");
        };
        for (name, value) in fields {
            let known = all
                .get_mut(&name)
                .unwrap_or_else(|| panic!("no field {name}"));
            *known = value;
        }
    }

    #[test]
    fn a_read_that_waits_for_peers() {
        let asked = |port| json!({"peer": format!("192.0.2.1:{port}"), "seconds_ago": 0.4});
        let read = json!({
            "start": 4096, "end": 4096 + (128 << 10), "missing": 64 << 10, "why": "read",
            "waiting_seconds": 3.2, "fails_in_seconds": 26.8, "asked": [asked(1), asked(2)],
        });
        let lines = lines(&told(json!({
            "present": 512 << 10, "hashed": 4096, "wants": [read.clone(), read],
            "network": network(json!({
                "missing": 512 << 10, "rate": 1048576.0, "expected_seconds": 0.5, "sources": 2,
                "peers": [
                    peer(1, json!({"standing": "open", "path": path(0.1)})),
                    peer(2, json!({"standing": "overdue", "path": path(3.1)})),
                ],
            })),
        })));
        assert_eq!(
            lines,
            [
                "waiting for 128.00 KiB at offset 4096, 64.00 KiB of it missing: a read has \
                 waited 3.2 s and fails in 27 s; so does another read",
                "512.00 KiB of 1.00 MiB (50%) are here, the first 4.00 KiB hashed",
                "asked 2 peers 0.4 s ago: 192.0.2.1:1 (heard 0.1 s ago), 192.0.2.1:2 (silent for \
                 3.1 s)",
                "expected: 512.00 KiB in 0.5 s at 1.00 MiB/s",
            ]
        );
    }

    #[test]
    fn a_read_whose_bytes_are_here_waits_for_the_proof() {
        let read = json!({
            "start": 983040, "end": 1 << 20, "missing": 0, "why": "read",
            "waiting_seconds": 1.0, "fails_in_seconds": 29.0, "asked": [],
        });
        let lines = lines(&told(json!({
            "present": 1 << 20, "hashed": 1 << 19, "wants": [read],
        })));
        assert_eq!(
            lines,
            [
                "waiting for 64.00 KiB at offset 983040: a read has waited 1.0 s and fails in 29 s",
                "1.00 MiB of 1.00 MiB (100%) are here, the first 512.00 KiB hashed",
                "its bytes are here and held back until the whole is verified",
            ]
        );
    }

    #[test]
    fn a_read_whose_leaves_wait_for_their_tree_names_it() {
        let read = json!({
            "start": 0, "end": 65536, "missing": 0, "why": "read",
            "waiting_seconds": 1.0, "fails_in_seconds": 29.0, "asked": [],
        });
        let lines = lines(&told(json!({
            "present": 1 << 19, "verified": "by_leaves", "unverified": 65536,
            "tree": "blake3_tree_v2/cd", "wants": [read],
        })));
        assert_eq!(
            lines[1..3],
            [
                "512.00 KiB of 1.00 MiB (50%) are here, 64.00 KiB of them not verified yet",
                "its bytes are here and wait to be verified with blake3_tree_v2/cd",
            ]
        );
    }

    #[test]
    fn a_search_tells_what_was_answered() {
        let lines = lines(&told(json!({
            "state": "looked_for", "length": null,
            "lookup": {"waiting": 1, "waiting_seconds": 0.5, "fails_in_seconds": 4.5},
            "network": network(json!({
                "asked": 4, "answered": 2,
                "peers": [
                    peer(1, json!({"answer": {"said": "no"}})),
                    peer(2, json!({"answer": {"said": "elsewhere", "peers": 3}})),
                    peer(3, json!({"asked_seconds_ago": 0.1})),
                    peer(4, json!({})),
                ],
            })),
        })));
        assert_eq!(
            lines,
            [
                "looking for somebody who has it: for 0.5 s now, given up in 4.5 s",
                "asked 4 peers for it, the last 0.1 s ago: 1 said no, 1 named others, 2 said \
                 nothing, the usual no; the next question is due in 0.2 s",
            ]
        );
    }

    #[test]
    fn only_a_few_peers_are_named_and_each_says_why_it_is_not_asked() {
        let source = |port, standing: &str| {
            let fields = json!({"standing": standing, "path": path(2.0), "again_in_seconds": 1.5});
            peer(port, fields)
        };
        let lines = lines(&told(json!({
            "state": "found",
            "network": network(json!({
                "sources": 4, "on_trial": "192.0.2.1:9",
                "peers": [
                    source(1, "benched"), source(2, "rests"), source(3, "waits"),
                    source(4, "unmet"),
                ],
            })),
        })));
        assert_eq!(
            lines[1],
            "nobody is asked for bytes now; 4 peers have it: 192.0.2.1:1 (silent for 2.0 s, asked \
             again in 1.5 s), 192.0.2.1:2 (its answers fell short, asked again in 1.5 s), \
             192.0.2.1:3 (not asked while 192.0.2.1:9 is on trial), and 1 more"
        );
    }
}
