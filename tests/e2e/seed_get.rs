//! `seed`, `get`, `hash`: real nodes on loopback, no mount.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::common::{
    LATER, Node, Place, Process, PythonPeer, SOON, Settings, cjp2pfs, run, sha256_of, wait,
};

#[test]
fn seed_prints_what_sha256sum_prints_and_leaves_the_files_alone() {
    let place = Place::new();
    let one = place.file("folder/one", 100_000);
    let two = place.file("folder/deep/two with spaces", 5);
    let before = fs::metadata(&one.path).unwrap();
    let node = Node::seed(
        Settings::new(place.path("store")),
        &[&place.path("folder")],
        2,
    );
    let mut lines = node.lines();
    lines.retain(|line| !line.starts_with('#'));
    lines.sort();
    let mut right: Vec<String> = [&one, &two]
        .map(|file| format!("{}  {}", file.sha256, file.path.display()))
        .into();
    right.sort();
    assert_eq!(lines, right);
    let list = place.path("list");
    fs::write(&list, lines.join("\n") + "\n").unwrap();
    run(
        Command::new("sha256sum")
            .arg("--check")
            .arg("--strict")
            .arg(&list),
        SOON,
    )
    .ok();
    wait("both to be seeded", SOON, || {
        (node.count("contents_seeded") == 2).then_some(())
    });
    let after = fs::metadata(&one.path).unwrap();
    assert_eq!(
        (before.ino(), before.nlink(), before.mtime_nsec()),
        (after.ino(), after.nlink(), after.mtime_nsec())
    );
    node.stop();
}

#[test]
fn hash_agrees_with_sha256sum_and_blake3() {
    let place = Place::new();
    let file = place.file("content", 70_001);
    let said = run(cjp2pfs().arg("hash").arg(&file.path), SOON).ok().text();
    assert_eq!(said, format!("{}  {}\n", file.sha256, file.path.display()));
    let said = run(cjp2pfs().args(["hash", "--blake3"]).arg(&file.path), SOON)
        .ok()
        .text();
    assert!(said.starts_with(&file.blake3), "{said}");
    let json = run(cjp2pfs().args(["hash", "--json"]).arg(&file.path), SOON)
        .ok()
        .text();
    assert!(json.contains(&file.sha256) && json.contains(&file.blake3) && json.contains("70001"));
}

#[test]
fn get_writes_the_content_where_it_is_told_to() {
    let place = Place::new();
    let file = place.file("content", 3_000_001);
    let seeder = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let settings = Settings::new(place.path("b")).peer(seeder.address);

    let named = place.path("named");
    run(&mut settings.get(&file.sha256, &named), LATER).ok();
    file.is_in(&named);

    // Without -o: the hash, in the current folder. This one comes from the store.
    let here = place.folder("here");
    run(
        settings.command("get").arg(&file.sha256).current_dir(&here),
        LATER,
    )
    .ok();
    file.is_in(&here.join(&file.sha256));

    let printed = run(
        settings.command("get").args([&file.sha256, "-o", "-"]),
        LATER,
    )
    .ok();
    file.is(&printed.stdout);

    // A file that is there is not replaced without being asked to.
    fs::write(&named, "mine").unwrap();
    run(&mut settings.get(&file.sha256, &named), LATER).failed(1);
    assert_eq!(fs::read(&named).unwrap(), b"mine");
    run(settings.get(&file.sha256, &named).arg("--force"), LATER).ok();
    file.is_in(&named);
}

#[test]
fn every_length_around_a_block_arrives() {
    let place = Place::new();
    let folder = place.folder("folder");
    let files: Vec<_> = [
        1, 31, 32, 33, 4095, 4096, 4097, 8192, 40_959, 40_960, 40_961, 262_145,
    ]
    .map(|length| place.file(&format!("folder/{length}"), length))
    .into();
    let seeder = Node::seed(Settings::new(place.path("a")), &[&folder], files.len());
    let settings = Settings::new(place.path("b")).peer(seeder.address);
    for file in &files {
        for id in [
            file.sha256.clone(),
            format!("blake3/{}", file.blake3),
            file.sha256.to_uppercase(),
        ] {
            let done = run(settings.get(&id, &place.path("got")).arg("--force"), LATER).ok();
            assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
            file.is_in(&place.path("got"));
        }
    }
}

#[test]
fn the_empty_content_is_known_to_everyone() {
    let place = Place::new();
    let settings = Settings::new(place.path("store"));
    let out = place.path("out");
    for id in [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "blake3/af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    ] {
        run(settings.get(id, &out).arg("--force"), SOON).ok();
        assert_eq!(fs::read(&out).unwrap(), b"");
    }
}

#[test]
fn get_says_that_nobody_has_it() {
    let place = Place::new();
    let seeder = Node::seed(
        Settings::new(place.path("a")),
        &[&place.file("x", 10).path],
        1,
    );
    let settings = Settings::new(place.path("b"))
        .peer(seeder.address)
        .with(&["--lookup-timeout", "1s"]);
    let out = place.path("out");
    let done = run(&mut settings.get(&"ab".repeat(32), &out), SOON);
    let said = done.failed(1);
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(!out.exists());
}

#[test]
fn what_an_interrupted_get_has_fetched_is_not_fetched_again() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 24 << 20);
    let peer = PythonPeer::serve(&folder, &place.path("peer.json"), &["--rate", "8e6"]);
    let settings = Settings::new(place.path("store")).peer(peer.address);
    let out = place.path("out");

    let mut first = Process::start(&mut settings.get(&file.sha256, &out));
    let served = || PythonPeer::served(&peer.stats(), &file.sha256);
    wait("half of it to come", LATER, || {
        (served() > file.len() / 2).then_some(())
    });
    first.kill();
    assert!(!out.exists(), "an unfinished file under the name asked for");
    let before = wait("the peer to fall silent", SOON, || {
        let before = served();
        std::thread::sleep(std::time::Duration::from_millis(700));
        (served() == before).then_some(before)
    });

    run(&mut settings.get(&file.sha256, &out), LATER).ok();
    file.is_in(&out);
    let again = served() - before;
    // What was on its way or not yet durable when it was killed may come twice: a second's worth.
    let slack = 8 << 20;
    assert!(
        again < file.len() - before + slack,
        "{before} bytes came at first, {again} more after"
    );
}

#[test]
fn what_was_fetched_is_there_without_any_peer() {
    let place = Place::new();
    let file = place.file("content", 2_000_000);
    let seeder = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let store = place.path("b");
    let out = place.path("out");
    run(
        &mut Settings::new(&store)
            .peer(seeder.address)
            .get(&file.sha256, &out),
        LATER,
    )
    .ok();
    seeder.stop();
    for id in [file.sha256.clone(), format!("blake3/{}", file.blake3)] {
        fs::remove_file(&out).unwrap();
        run(&mut Settings::new(&store).get(&id, &out), SOON).ok();
        file.is_in(&out);
    }
}

#[test]
fn what_was_fetched_is_served_onwards() {
    let place = Place::new();
    let file = place.file("content", 2_000_000);
    let other = place.file("other", 10);
    let first = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let store = place.path("b");
    let out = place.path("out");
    run(
        &mut Settings::new(&store)
            .peer(first.address)
            .get(&file.sha256, &out),
        LATER,
    )
    .ok();
    first.stop();
    let second = Node::seed(Settings::new(&store), &[&other.path], 1);
    let third = Settings::new(place.path("c")).peer(second.address);
    for id in [file.sha256.clone(), format!("blake3/{}", file.blake3)] {
        run(third.get(&id, &out).arg("--force"), LATER).ok();
        file.is_in(&out);
    }
    assert!(second.count("bytes_served") >= file.len());
}

#[test]
fn a_seeded_file_that_changed_is_not_served() {
    let place = Place::new();
    let file = place.file("content", 500_000);
    let seeder = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let mut changed = file.bytes.clone();
    changed[250_000] ^= 1;
    fs::write(&file.path, &changed).unwrap();
    let settings = Settings::new(place.path("b")).peer(seeder.address).with(&[
        "--lookup-timeout",
        "1s",
        "--read-timeout",
        "2s",
    ]);
    let out = place.path("out");
    run(&mut settings.get(&file.sha256, &out), SOON).failed(1);
    assert!(!out.exists());
}

#[test]
fn seeding_again_needs_no_second_hash_and_serves_the_same() {
    let place = Place::new();
    let file = place.file("content", 1_000_000);
    let store = place.path("a");
    let first = Node::seed(Settings::new(&store), &[&file.path], 1);
    let lines = first.lines();
    first.stop();
    let again = Node::seed(Settings::new(&store), &[&file.path], 1);
    assert_eq!(again.lines(), lines);
    let out = place.path("out");
    run(
        &mut Settings::new(place.path("b"))
            .peer(again.address)
            .get(&file.sha256, &out),
        LATER,
    )
    .ok();
    file.is_in(&out);
}

#[test]
fn ipv6_works_and_a_dual_stack_node_serves_both() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: no IPv6 on this machine");
        return;
    }
    let place = Place::new();
    let file = place.file("content", 300_000);
    let out = place.path("out");
    let seeder = Node::seed(
        Settings::new(place.path("a")).bind("[::1]:0"),
        &[&file.path],
        1,
    );
    assert!(seeder.address.is_ipv6());
    let getter = Settings::new(place.path("b"))
        .bind("[::1]:0")
        .peer(seeder.address);
    run(&mut getter.get(&file.sha256, &out), LATER).ok();
    file.is_in(&out);

    let both = Node::seed(
        Settings::new(place.path("c")).bind("[::]:0"),
        &[&file.path],
        1,
    );
    for (store, bind, host) in [
        ("d", "127.0.0.1:0", "127.0.0.1"),
        ("e", "[::1]:0", "[::1]"),
        ("f", "[::]:0", "127.0.0.1"),
    ] {
        let peer = format!("{host}:{}", both.address.port()).parse().unwrap();
        let getter = Settings::new(place.path(store)).bind(bind).peer(peer);
        run(getter.get(&file.sha256, &out).arg("--force"), LATER).ok();
        file.is_in(&out);
    }
}

#[test]
fn peers_are_remembered_across_restarts() {
    let place = Place::new();
    let (one, two) = (place.file("one", 100_000), place.file("two", 100_000));
    let seeder = Node::seed(Settings::new(place.path("a")), &[&one.path, &two.path], 2);
    let store = place.path("b");
    let out = place.path("out");
    run(
        &mut Settings::new(&store)
            .peer(seeder.address)
            .get(&one.sha256, &out),
        LATER,
    )
    .ok();
    // Nobody names the peer to this run but the store.
    run(
        Settings::new(&store).get(&two.sha256, &out).arg("--force"),
        LATER,
    )
    .ok();
    two.is_in(&out);
}

#[test]
fn several_peers_share_the_work() {
    let place = Place::new();
    let file = place.file("content", 24 << 20);
    let a = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let b = Node::seed(Settings::new(place.path("b")), &[&file.path], 1);
    let settings = Settings::new(place.path("c"))
        .peer(a.address)
        .peer(b.address);
    let out = place.path("out");
    run(&mut settings.get(&file.sha256, &out), LATER).ok();
    file.is_in(&out);
    for node in [&a, &b] {
        assert!(
            node.count("bytes_served") > 0,
            "one of two peers was never asked"
        );
    }
}

/// `get --blocks`: with a daemon and without, a list that is none, and content that has none.
#[test]
fn blocks_are_verified_by_a_list() {
    let place = Place::new();
    let file = place.file("content", 1_000_000);
    let lines: String = file
        .bytes
        .chunks(256 << 10)
        .map(|block| format!("{}\n", sha256_of(block)))
        .collect();
    let list = place.path("list");
    fs::write(&list, &lines).unwrap();
    let list_id = sha256_of(lines.as_bytes());
    let seeder = Node::seed(Settings::new(place.path("a")), &[&file.path, &list], 2);
    let get = |store: &str, id: &str, list: &str, output: &Path| {
        let settings = Settings::new(place.path(store)).peer(seeder.address);
        let mut command = settings.get(id, output);
        run(command.args(["--blocks", list]), LATER)
    };
    let copy = place.path("copy");
    get("b", &file.sha256, &list_id, &copy).ok();
    file.is_in(&copy);
    let error = get("c", &file.sha256, &file.sha256, &place.path("no")).failed(1);
    assert!(error.contains("is not 64 hexadecimal digits"), "{error}");
    let blake3 = format!("blake3/{}", file.blake3);
    let error = get("c", &blake3, &list_id, &place.path("no")).failed(1);
    assert!(
        error.contains("--blocks is for content by SHA-256"),
        "{error}"
    );
    assert!(!place.path("no").exists());

    let other = place.file("other", 10);
    let settings = Settings::new(place.path("d")).peer(seeder.address);
    let daemon = Node::seed(settings, &[&other.path], 1);
    let copy = place.path("by the daemon");
    get("d", &file.sha256, &list_id, &copy).ok();
    file.is_in(&copy);
    let error = get("d", &other.sha256, &file.sha256, &place.path("no")).failed(1);
    assert!(error.contains("is not 64 hexadecimal digits"), "{error}");
    daemon.stop();
}

/// What is too long for a block list is not fetched to find that out.
#[test]
fn a_block_list_that_is_too_long_is_refused_before_it_is_fetched() {
    let place = Place::new();
    let file = place.file("content", 1000);
    let long = place.file("long", (16 << 20) + 1);
    let seeder = Node::seed(Settings::new(place.path("a")), &[&file.path, &long.path], 2);
    let own = place.file("own", 10);
    let settings = Settings::new(place.path("b")).peer(seeder.address);
    let daemon = Node::seed(settings, &[&own.path], 1);
    for (store, by) in [("b", "the daemon"), ("c", "the command itself")] {
        let settings = Settings::new(place.path(store)).peer(seeder.address);
        let mut command = settings.get(&file.sha256, &place.path("no"));
        let error = run(command.args(["--blocks", &long.sha256]), LATER).failed(1);
        assert!(
            error.contains(&format!("{}: it is longer than", long.sha256)),
            "{by}: {error}"
        );
        let store = place.path(store);
        let partial = fs::read_dir(store.join("partial")).unwrap();
        assert_eq!(partial.count(), 0, "{by}");
        let complete = store.join("complete/sha256").join(&long.sha256[..2]);
        assert!(!complete.exists(), "{by}");
    }
    assert!(!place.path("no").exists());
    daemon.stop();
}
