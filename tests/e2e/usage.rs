//! What a person sees who asks for what cannot be: one clear sentence, and the exit code.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use crate::common::{Mounted, Node, Place, SOON, Settings, cjp2pfs, run};

/// Runs it; it must fail with code 1 and one line that names `what`.
#[track_caller]
fn refused(command: &mut Command, what: &str) -> String {
    let said = run(command, SOON).failed(1);
    assert_eq!(
        said.trim_end().lines().count(),
        1,
        "more or less than a sentence: {said:?}"
    );
    assert!(said.contains(what), "{said:?} does not name {what:?}");
    assert!(
        !said.contains("panicked") && !said.contains("Error {"),
        "{said}"
    );
    said
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn wrong_usage_is_code_two() {
    let hash = "ab".repeat(32);
    for arguments in [
        vec![],
        vec!["frobnicate"],
        vec!["mount"],
        vec!["get"],
        vec!["get", "xyz"],
        vec!["get", &hash[1..]],
        vec!["get", "../etc/passwd"],
        vec!["seed"],
        vec!["hash"],
        vec!["mount", "/x", "--bind", "nonsense"],
        vec!["mount", "/x", "--cache", "many"],
        vec!["mount", "/x", "--lookup-timeout", "-1s"],
        vec!["mount", "/x", "--complete", "perhaps"],
        vec!["status", "--no-such-flag"],
    ] {
        let done = run(cjp2pfs().args(&arguments), SOON);
        let said = done.failed(2);
        assert!(
            said.contains("Usage") || said.contains("--help"),
            "{arguments:?}: {said}"
        );
    }
}

#[test]
fn help_and_version_are_code_zero() {
    for arguments in [
        &["--help"][..],
        &["-h"],
        &["--version"],
        &["mount", "--help"],
        &["get", "-h"],
    ] {
        let done = run(cjp2pfs().args(arguments), SOON).ok();
        assert!(done.text().contains("cjp2pfs"), "{arguments:?}");
    }
}

#[test]
fn without_a_daemon_status_peers_and_umount_say_so() {
    let place = Place::new();
    let store = place.path("store");
    for command in ["status", "peers"] {
        refused(
            cjp2pfs().args([command, "--store"]).arg(&store),
            text(&store),
        );
    }
    assert!(!store.exists(), "looking at a store made one");
    let folder = place.folder("folder");
    refused(cjp2pfs().arg("umount").arg(&folder), text(&folder));
}

#[test]
fn a_mountpoint_must_be_a_folder_that_is_there() {
    let place = Place::new();
    let settings = Settings::new(place.path("store"));
    let missing = place.path("missing");
    refused(settings.command("mount").arg(&missing), text(&missing));
    let file = place.file("file", 1).path;
    refused(settings.command("mount").arg(&file), text(&file));
}

#[test]
fn a_mountpoint_or_a_store_in_use_is_refused() {
    requires_mount!();
    let place = Place::new();
    let (one, two) = (place.folder("one"), place.folder("two"));
    let mount = Mounted::new(Settings::new(place.path("store")), &one);
    let other_store = Settings::new(place.path("other"));
    refused(other_store.command("mount").arg(&one), text(&one));
    let same_store = Settings::new(place.path("store"));
    refused(
        same_store.command("mount").arg(&two),
        text(&place.path("store")),
    );
    assert!(!crate::common::is_mounted(&two));
    mount.umount();
}

#[test]
fn a_taken_port_is_replaced_with_a_notice() {
    let place = Place::new();
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let file = place.file("content", 10).path;
    let node = Node::seed(
        Settings::new(place.path("store")).bind(address),
        &[&file],
        1,
    );
    assert_ne!(node.address.port(), address.port());
    assert_ne!(node.address.port(), 0);
    let port = address.port().to_string();
    assert!(
        node.said().contains(&port),
        "no notice of port {port}: {}",
        node.said()
    );
}

#[test]
fn what_cannot_be_seeded_hashed_or_written_is_named() {
    let place = Place::new();
    let missing = place.path("missing");
    let settings = Settings::new(place.path("store"));
    refused(settings.command("seed").arg(&missing), text(&missing));
    refused(cjp2pfs().arg("hash").arg(&missing), text(&missing));
    let file = place.file("a", 10);
    let seeder = Node::seed(settings, &[&file.path], 1);
    let getter = Settings::new(place.path("getter")).peer(seeder.address);
    let nowhere = place.path("no/such/folder/out");
    refused(&mut getter.get(&file.sha256, &nowhere), text(&nowhere));
}

#[test]
fn a_store_that_cannot_be_is_one_sentence() {
    let place = Place::new();
    let file = place.file("file", 10).path;
    let settings = Settings::new(file.join("store"));
    refused(
        &mut settings.get(&"ab".repeat(32), &place.path("out")),
        text(&file),
    );
}

#[test]
fn a_closed_pipe_is_not_worth_a_word() {
    let place = Place::new();
    let folder = place.folder("folder");
    for n in 0..200 {
        place.file(&format!("folder/{n}"), 10);
    }
    let files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$0\" hash \"$@\" | head -n 1"]);
    shell.arg(cjp2pfs().get_program()).args(&files);
    let done = run(&mut shell, SOON).ok();
    assert_eq!(done.text().lines().count(), 1);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
}
