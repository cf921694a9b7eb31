//! The product against an independent peer, written in Python from the protocol's text: it serves
//! to the binary and fetches from it, and it lies, drops and dies to order.

use std::fs;
use std::os::unix::fs::symlink;

use crate::common::{LATER, Node, Place, PythonPeer, Settings, run, sha256_of};
use serde_json::Value;

#[test]
fn the_peer_agrees_with_the_vectors() {
    requires_python!();
    assert_eq!(PythonPeer::self_test().ok().text(), "self-test passed\n");
}

#[test]
fn it_serves_to_the_binary_by_every_kind_of_id() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let files = [
        place.file("folder/small", 3000),
        place.file("folder/large", 300_001),
    ];
    let peer = PythonPeer::serve(&folder, &place.path("peer.json"), &[]);
    let out = place.path("out");
    for file in &files {
        for id in [file.sha256.clone(), format!("blake3/{}", file.blake3)] {
            // A store of its own, or the second would come from there.
            let store = place.path(&id.replace('/', "-"));
            run(
                Settings::new(store)
                    .peer(peer.address)
                    .get(&id, &out)
                    .arg("--force"),
                LATER,
            )
            .ok();
            file.is_in(&out);
        }
    }
    let stats = peer.stop();
    assert_eq!(stats["unreadable"], 0, "{stats}");
    assert!(stats["cookies_returned"].as_u64().unwrap() > 0);
    // The requester's share of not overloading a peer: no question is asked over and over.
    for (id, ranges) in stats["asked"].as_object().unwrap() {
        let most = ranges
            .as_object()
            .unwrap()
            .values()
            .filter_map(Value::as_u64)
            .max();
        assert!(most < Some(10), "{id} {ranges}");
    }
}

#[test]
fn it_fetches_from_the_binary_by_every_kind_of_id() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let files = [
        place.file("folder/tiny", 10),
        place.file("folder/leaf", 4096),
        place.file("folder/large", 200_001),
    ];
    let node = Node::seed(Settings::new(place.path("store")), &[&folder], files.len());
    let out = place.path("out");
    for file in &files {
        for id in [&file.sha256, &format!("blake3/{}", file.blake3)] {
            let report = PythonPeer::get(id, node.address, &out).ok().text();
            file.is_in(&out);
            let report: Value = serde_json::from_str(&report).unwrap();
            assert_eq!(report["refused"], 0, "answers of a wrong length: {report}");
            assert!(report["cookie_returned"].as_u64().unwrap() > 0, "{report}");
        }
        PythonPeer::get(
            &format!("blake3_tree_v2/{}", file.blake3),
            node.address,
            &out,
        )
        .ok();
    }
}

/// A folder has one id, whoever lists it; and either fetches what the other has listed.
#[test]
fn folders_are_listed_by_both_in_the_same_words() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("served/folder");
    for (name, length) in [
        ("b.c", 3),
        ("b/c", 70_000),
        ("odd\\name\n", 7),
        (".hidden", 9),
    ] {
        place.file(&format!("served/folder/{name}"), length);
    }
    fs::write(folder.join("zero"), "").unwrap();
    fs::create_dir_all(folder.join("bare/room")).unwrap();
    symlink("b/c", folder.join("way")).unwrap();
    let text = PythonPeer::listing(&folder);
    let id = sha256_of(text.as_bytes());

    let node = Node::seed(Settings::new(place.path("store")), &[&folder], 3);
    let out = place.path("out");
    PythonPeer::get(&id, node.address, &out).ok();
    assert_eq!(fs::read_to_string(&out).unwrap(), text);
    node.stop();

    fs::write(place.path("served/listing"), &text).unwrap();
    let peer = PythonPeer::serve(&place.path("served"), &place.path("peer.json"), &[]);
    let settings = Settings::new(place.path("getter")).peer(peer.address);
    let copy = place.path("copy");
    let mut get = settings.get(&id, &copy);
    run(get.arg("--folder"), LATER).ok();
    assert_eq!(PythonPeer::listing(&copy), text);
}

#[test]
fn it_fetches_what_the_binary_has_fetched() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 100_001);
    let peer = PythonPeer::serve(&folder, &place.path("peer.json"), &[]);
    let settings = Settings::new(place.path("store"));
    let out = place.path("out");
    run(
        &mut settings.clone().peer(peer.address).get(&file.sha256, &out),
        LATER,
    )
    .ok();
    peer.stop();
    let node = Node::seed(settings, &[&place.file("other", 1).path], 1);
    for id in [file.sha256.clone(), format!("blake3/{}", file.blake3)] {
        // Not over `out`, which is the store's own file under a second name.
        let again = place.path("again");
        PythonPeer::get(&id, node.address, &again).ok();
        file.is_in(&again);
    }
}

#[test]
fn a_peer_with_cookies_of_the_oldest_form_is_served_and_serves() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 200_000);
    let peer = PythonPeer::serve(&folder, &place.path("peer.json"), &["--old-cookie"]);
    let out = place.path("out");
    run(
        &mut Settings::new(place.path("store"))
            .peer(peer.address)
            .get(&file.sha256, &out),
        LATER,
    )
    .ok();
    file.is_in(&out);
}

#[test]
fn corrupt_content_is_never_taken_for_right() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 500_000);
    let peer = PythonPeer::serve(&folder, &place.path("peer.json"), &["--corrupt", "1"]);
    let settings = Settings::new(place.path("store"))
        .peer(peer.address)
        .with(&["--lookup-timeout", "2s", "--read-timeout", "3s"]);
    let out = place.path("out");
    for id in [file.sha256.clone(), format!("blake3/{}", file.blake3)] {
        let done = run(&mut settings.get(&id, &out), LATER);
        done.failed(1);
        assert!(!out.exists());
        assert!(
            run(settings.command("get").args([&id, "-o", "-"]), LATER)
                .status
                .code()
                == Some(1)
        );
    }
}

#[test]
fn a_liar_beside_an_honest_peer_does_not_win() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 4_000_000);
    let liar = PythonPeer::serve(&folder, &place.path("liar.json"), &["--corrupt", "0.2"]);
    let honest = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let settings = Settings::new(place.path("b"))
        .peer(liar.address)
        .peer(honest.address);
    let out = place.path("out");
    // The first try may find out who lies, at the price of failing; a few tries must do.
    let tries = (1..=5).find(|_| {
        let done = run(&mut settings.get(&file.sha256, &out), LATER);
        if !done.status.success() {
            assert!(!out.exists(), "a failed get left a file");
        }
        done.status.success()
    });
    assert!(tries.is_some(), "five tries failed");
    file.is_in(&out);
}

#[test]
fn a_lie_about_the_length_does_not_win() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 1_000_000);
    // The last is more than a file can hold.
    for lie in ["999999", "1000001", "5000000000000000000"] {
        let liar = PythonPeer::serve(&folder, &place.path("liar.json"), &["--lie-eof", lie]);
        let settings = Settings::new(place.path(&format!("alone-{lie}")))
            .peer(liar.address)
            .with(&["--lookup-timeout", "2s", "--read-timeout", "3s"]);
        let out = place.path(&format!("out-{lie}"));
        run(&mut settings.get(&file.sha256, &out), LATER).failed(1);
        assert!(!out.exists());
    }
}

#[test]
fn a_peer_that_dies_in_the_middle_is_replaced_by_another() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 8 << 20);
    let mortal = PythonPeer::serve(
        &folder,
        &place.path("mortal.json"),
        &["--silent-after", "40"],
    );
    let other = PythonPeer::serve(&folder, &place.path("other.json"), &["--rate", "8e6"]);
    let settings = Settings::new(place.path("store"))
        .peer(mortal.address)
        .peer(other.address);
    let out = place.path("out");
    run(&mut settings.get(&file.sha256, &out), LATER).ok();
    file.is_in(&out);
    assert!(PythonPeer::served(&other.stats(), &file.sha256) > 0);
}

#[test]
fn two_per_cent_of_loss_is_recovered_from() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 16 << 20);
    let peer = PythonPeer::serve(
        &folder,
        &place.path("peer.json"),
        &["--drop", "0.02", "--delay", "10"],
    );
    let settings = Settings::new(place.path("store")).peer(peer.address);
    let out = place.path("out");
    run(&mut settings.get(&file.sha256, &out), LATER).ok();
    file.is_in(&out);
    let stats = peer.stop();
    assert!(stats["dropped"].as_u64().unwrap() > 0);
    let served = PythonPeer::served(&stats, &file.sha256);
    assert!(
        served < file.len() * 5 / 4,
        "{served} bytes were asked for to get {}",
        file.len()
    );
}

#[test]
fn a_peer_that_gives_only_its_cookie_is_passed_over() {
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 500_000);
    let miser = PythonPeer::serve(&folder, &place.path("miser.json"), &["--only-cookie"]);
    let giver = PythonPeer::serve(&folder, &place.path("giver.json"), &[]);
    let settings = Settings::new(place.path("store"))
        .peer(miser.address)
        .peer(giver.address);
    let out = place.path("out");
    run(&mut settings.get(&file.sha256, &out), LATER).ok();
    file.is_in(&out);
}

#[test]
fn an_address_that_maybe_has_some_is_tried() {
    requires_python!();
    let place = Place::new();
    let file = place.file("content", 300_000);
    let source = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let source_name = source.address.to_string();
    // Has nothing, but names an address that may.
    let rumour = PythonPeer::serve(
        &place.folder("empty"),
        &place.path("rumour.json"),
        &["--maybe", &source_name],
    );
    let out = place.path("out");
    let settings = Settings::new(place.path("b")).peer(rumour.address);
    run(&mut settings.get(&file.sha256, &out), LATER).ok();
    file.is_in(&out);
}
