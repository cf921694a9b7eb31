//! Explainable: a person who waits is told what for, who was asked, and what they answered.

use std::net::SocketAddr;

use crate::common::{
    Finished, Node, Place, Process, PythonPeer, SOON, Sample, Settings, cjp2pfs, run, wait,
};
use serde_json::Value;

/// `cjp2pfs explain ID` for the store of `node`.
#[track_caller]
fn explain(node: &Node, id: &str, more: &[&str]) -> Finished {
    let mut command = cjp2pfs();
    command.args(["explain", id, "--store"]);
    command.arg(&node.settings.store).args(more);
    run(&mut command, SOON).ok()
}

/// The same as JSON.
#[track_caller]
fn told(node: &Node, id: &str) -> Value {
    serde_json::from_slice(&explain(node, id, &["--json"]).stdout).unwrap()
}

/// A node that seeds a file of its own, knows `peers`, and is patient.
fn daemon(place: &Place, peers: &[SocketAddr]) -> (Node, Sample) {
    let own = place.file("own", 70_000);
    let mut settings = Settings::new(place.path("store")).with(&[
        "--read-timeout",
        "10m",
        "--lookup-timeout",
        "10m",
    ]);
    settings.peers = peers.to_vec();
    (Node::seed(settings, &[&own.path], 1), own)
}

/// A reader of `id`, through the daemon of `node`.
fn start_reading(node: &Node, id: &str) -> Process {
    let mut command = cjp2pfs();
    command.args(["get", id, "-o", "-", "--store"]);
    Process::start(command.arg(&node.settings.store))
}

fn number(value: &Value, field: &str) -> u64 {
    value[field]
        .as_u64()
        .unwrap_or_else(|| panic!("no {field} in {value}"))
}

#[test]
fn a_stalled_read_is_told_with_its_range_and_the_peer_that_is_silent() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 30 << 20);
    let faults = ["--silent-after", "60"];
    let peer = PythonPeer::serve(&folder, &place.path("peer.json"), &faults);
    let (node, _) = daemon(&place, &[peer.address]);
    let _reader = start_reading(&node, &file.sha256);

    wait("the peer to die", SOON, || {
        (peer.stats()["content_answers"].as_u64()? >= 60).then_some(())
    });
    let stalled = wait("the peer to be told silent", SOON, || {
        let told = told(&node, &file.sha256);
        let path = &told["network"]["peers"][0]["path"];
        let written = path["supplied"] == told["present"];
        (path["silent_seconds"].as_f64()? > 1.0 && written).then_some(told)
    });
    assert_eq!(stalled["state"], "arriving", "{stalled}");
    assert_eq!(number(&stalled, "length"), file.len());

    // The read that waits, by what is here of its range.
    let ranges = |list: &Value| -> Vec<(u64, u64)> {
        let range = |it: &Value| (number(it, "start"), number(it, "end"));
        list.as_array().unwrap().iter().map(range).collect()
    };
    let here = ranges(&stalled["present_ranges"]);
    let bytes: u64 = here.iter().map(|(start, end)| end - start).sum();
    assert_eq!(number(&stalled, "present"), bytes);
    assert!(bytes > 0 && bytes < file.len(), "{stalled}");
    let read = &stalled["wants"][0];
    assert_eq!(read["why"], "read", "{stalled}");
    let (start, end) = (number(read, "start"), number(read, "end"));
    let held: u64 = here
        .iter()
        .map(|(from, to)| (*to).min(end).saturating_sub((*from).max(start)))
        .sum();
    assert!(start < end && number(read, "missing") == end - start - held);
    assert!(number(read, "missing") > 0, "{read}");
    assert!(read["waiting_seconds"].as_f64().unwrap() > 0.0, "{read}");
    assert!(read["fails_in_seconds"].as_f64().unwrap() < 600.0, "{read}");

    // Who has it, what it said, and that nobody can tell when the rest comes.
    let network = &stalled["network"];
    let silent = &network["peers"][0];
    assert_eq!(silent["address"], peer.address.to_string());
    assert_eq!(silent["answer"]["said"], "yes");
    assert_eq!(number(&silent["answer"], "length"), file.len());
    let standing = silent["standing"].as_str().unwrap();
    assert!(["overdue", "benched"].contains(&standing), "{silent}");
    assert_eq!(number(network, "missing"), file.len() - bytes);
    assert!(network["expected_seconds"].is_null(), "{network}");

    // The same for people, the answer first.
    let text = explain(&node, &file.sha256, &[]).text();
    let mut lines = text.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with("waiting for "), "{text}");
    assert!(first.contains(&format!(" at offset {start}")), "{text}");
    let whom = lines.nth(1).unwrap();
    let named = format!("{} (silent for ", peer.address);
    assert!(whom.contains(&named), "{text}");
    assert!(lines.next().unwrap().starts_with("nobody can tell when"));
    for title in ["WANTED AT", "HERE FROM", "PEER", "PATH TO"] {
        assert!(text.lines().any(|line| line.starts_with(title)), "{text}");
    }
}

#[test]
fn a_lookup_is_told_with_who_was_asked() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let peer = PythonPeer::serve(&folder, &place.path("peer.json"), &[]);
    let (node, _) = daemon(&place, &[peer.address]);
    for id in ["ab".repeat(32), format!("blake3/{}", "cd".repeat(32))] {
        let _reader = start_reading(&node, &id);
        let looking = wait("the peer to be asked", SOON, || {
            let told = told(&node, &id);
            (told["network"]["asked"] == 1).then_some(told)
        });
        assert_eq!(looking["id"], *id);
        assert_eq!(looking["state"], "looked_for");
        assert_eq!(looking["lookup"]["waiting"], 1);
        let asked = &looking["network"]["peers"][0];
        assert_eq!(asked["address"], peer.address.to_string());
        assert_eq!(asked["answer"]["said"], "nothing");
        let text = explain(&node, &id, &[]).text();
        assert!(text.starts_with("looking for somebody"), "{text}");
        assert!(text.contains("asked 1 peer for it"), "{text}");
    }
}

#[test]
fn what_is_held_says_where_it_lies() {
    let place = Place::new();
    let file = place.file("content", 200_000);
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[&file.path], 1);
    let path = file.path.to_str().unwrap();
    for id in [file.sha256.clone(), format!("blake3/{}", file.blake3)] {
        let held = told(&seeder, &id);
        assert_eq!(held["state"], "held");
        assert_eq!(held["place"]["in"], "seeded");
        assert_eq!(held["place"]["path"], path);
        assert_eq!(number(&held, "length"), file.len());
        let text = explain(&seeder, &id, &[]).text();
        assert!(text.starts_with("complete and verified: "), "{text}");
        assert!(text.ends_with(&format!("seeded from {path}\n")), "{text}");
    }

    let (node, _) = daemon(&place, &[seeder.address]);
    let got = place.path("got");
    let mut get = cjp2pfs();
    get.args(["get", &file.sha256, "--store"]);
    get.arg(&node.settings.store).arg("-o").arg(&got);
    run(&mut get, SOON).ok();
    let held = told(&node, &file.sha256);
    assert_eq!(
        (&held["state"], &held["place"]["in"]),
        (&"held".into(), &"store".into())
    );
    let text = explain(&node, &file.sha256, &[]).text();
    assert_eq!(text, "complete and verified: 195.31 KiB in the store\n");
}

#[test]
fn what_nobody_looks_for_says_so() {
    let place = Place::new();
    let (node, _) = daemon(&place, &[]);
    let id = "ab".repeat(32);
    let unknown = told(&node, &id);
    assert_eq!(unknown["state"], "unknown");
    assert!(unknown["network"].is_null() && unknown["length"].is_null());
    let text = explain(&node, &id, &[]).text();
    assert_eq!(
        text,
        "nobody here looks for it, and nothing of it is here\n"
    );
}

#[test]
fn wrong_usage_and_no_daemon_are_one_sentence() {
    let place = Place::new();
    let store = place.path("store");
    for id in ["xyz", "../etc/passwd", "blake3/ab", &"AB".repeat(33)] {
        let mut command = cjp2pfs();
        command.args(["explain", id, "--store"]).arg(&store);
        let said = run(&mut command, SOON).failed(2);
        assert!(said.contains("an id is 64 hexadecimal digits"), "{said}");
        let errors = said.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{said}");
    }
    let mut command = cjp2pfs();
    command.args(["explain", &"ab".repeat(32), "--store"]);
    let said = run(command.arg(&store), SOON).failed(1);
    let expected = format!(
        "cjp2pfs: no daemon runs for the store {}\n",
        store.display()
    );
    assert_eq!(said, expected);
    assert!(!store.exists(), "looking at a store made one");
}
