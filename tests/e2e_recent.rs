//! What the peers say that they have, told to a person who asks.

mod common;

use common::{Node, Place, PythonPeer, SOON, Settings, cjp2pfs, requires_python, run, wait};
use serde_json::Value;

/// `cjp2pfs recent ...` for the store of `node`.
fn recent(node: &Node, more: &[&str]) -> Vec<u8> {
    let mut command = cjp2pfs();
    command.arg("recent").arg("--store");
    command.arg(&node.settings.store).args(more);
    run(&mut command, SOON).ok().stdout
}

#[test]
fn lists_of_peers_are_merged_with_how_many_have_what() {
    requires_python!();
    let place = Place::new();
    let shared = place.file("shared", 50_000);
    let own = place.file("own", 10_000);
    let folder = place.folder("folder");
    let foreign = place.file("folder/foreign", 70_000);

    let first = Node::seed(Settings::new(place.path("a")), &[&shared.path], 1);
    let second = Node::seed(Settings::new(place.path("b")), &[&shared.path], 1);
    let other = PythonPeer::serve(&folder, &place.path("peer.json"), &[]);
    let settings = Settings::new(place.path("c"))
        .peer(first.address)
        .peer(second.address)
        .peer(other.address);
    let asking = Node::seed(settings, &[&own.path], 1);

    let find = |listed: &[Value], id: &str| -> Option<Value> {
        listed.iter().find(|it| it["id"] == id).cloned()
    };
    // A list is whole only for who has returned a cookie, which takes a round trip.
    let (shared_is, foreign_is) = wait("all lists to be told", SOON * 3, || {
        let listed: Vec<Value> = serde_json::from_slice(&recent(&asking, &["--json"])).unwrap();
        let shared_is = find(&listed, &shared.sha256).filter(|it| it["peers"] == 2)?;
        Some((shared_is, find(&listed, &foreign.sha256)?))
    });
    assert_eq!(shared_is["length"], shared.len());
    assert_eq!(foreign_is["length"], foreign.len());
    assert_eq!(foreign_is["peers"], 1);
    assert_eq!(foreign_is["held"], false);

    let mut command = cjp2pfs();
    command.args(["ls", "--network", "--json", "--store"]);
    let all = run(command.arg(&asking.settings.store), SOON).ok().stdout;
    let all: Vec<Value> = serde_json::from_slice(&all).unwrap();
    assert!(
        all.windows(2)
            .all(|two| two[0]["peers"].as_u64() >= two[1]["peers"].as_u64())
    );
    assert!(find(&all, &foreign.sha256).is_some());

    let table = String::from_utf8(recent(&asking, &[])).unwrap();
    assert!(table.contains(&shared.sha256), "{table}");
    let one = String::from_utf8(recent(&asking, &["--limit", "1"])).unwrap();
    assert_eq!(one.lines().count(), 2, "{one}");
}

#[test]
fn without_a_daemon_it_says_so() {
    let place = Place::new();
    let mut command = cjp2pfs();
    command.arg("recent").arg("--store").arg(place.path("none"));
    let finished = run(&mut command, SOON);
    assert_eq!(finished.status.code(), Some(1));
    let said = &finished.stderr;
    assert!(said.contains("no daemon runs"), "{said}");
}
