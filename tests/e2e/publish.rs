//! Publishing under names that can change, with the real binary: two nodes, a mount, and the
//! independent peer in Python both ways.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::common::{
    Finished, LATER, Mounted, Node, Place, PythonPeer, SOON, Settings, cjp2pfs, run, sha256_of,
    wait,
};
use serde_json::Value;

fn command(store: &Path, arguments: &[&str]) -> Finished {
    run(cjp2pfs().args(arguments).arg("--store").arg(store), LATER)
}

/// Publishes; the path under every mount.
fn publish(store: &Path, path: &Path, more: &[&str]) -> String {
    let arguments = [&["publish", path.to_str().unwrap()], more].concat();
    let said = command(store, &arguments).ok().text();
    said.trim_end().to_owned()
}

/// What the path has, as another process sees it.
fn cat(path: &Path) -> Finished {
    run(Command::new("cat").arg(path), LATER)
}

/// A node that serves one file of no importance, so that it runs.
fn daemon(place: &Place, name: &str, peers: &[SocketAddr]) -> Node {
    let file = place.file(&format!("{name}-other"), 10);
    let mut settings = Settings::new(place.path(name));
    settings.peers.extend(peers);
    Node::seed(settings, &[&file.path], 1)
}

fn mounted(place: &Place, name: &str, peer: SocketAddr, more: &[&str]) -> Mounted {
    let settings = Settings::new(place.path(name)).peer(peer).with(more);
    Mounted::new(settings, &place.path(&format!("{name}-at")))
}

#[test]
fn what_is_published_is_found_and_follows_what_is_published_next() {
    requires_mount!();
    let place = Place::new();
    let node = daemon(&place, "publisher", &[]);
    let store = place.path("publisher");
    let file = place.path("index.html");
    fs::write(&file, "first").unwrap();
    let path = publish(&store, &file, &[]);
    let reader = mounted(&place, "reader", node.address, &[]);
    let at = reader.path(&path);
    assert_eq!(cat(&at).ok().text(), "first");

    // By every form of the key.
    let (_, rest) = path.split_once('/').unwrap();
    let (key, _) = rest.split_once('/').unwrap();
    for form in [
        format!("0x{key}"),
        key.to_uppercase(),
        format!("0X{}", key.to_uppercase()),
    ] {
        let path = reader.path(&format!("latest/{form}/index.html"));
        assert_eq!(cat(&path).ok().text(), "first", "{form}");
    }

    // A handle that is open keeps what it was opened on; a name leads to what is new.
    let mut open = fs::File::open(&at).unwrap();
    fs::write(place.path("new"), "second, and longer").unwrap();
    publish(&store, &place.path("new"), &["--name", "index.html"]);
    wait("the new content", SOON, || {
        (cat(&at).ok().text() == "second, and longer").then_some(())
    });
    let mut kept = String::new();
    open.read_to_string(&mut kept).unwrap();
    assert_eq!(kept, "first");

    // Names with slashes; an intermediate part is a folder.
    fs::write(place.path("deep"), "deep").unwrap();
    publish(&store, &place.path("deep"), &["--name", "docs/v1.2/a b"]);
    let docs = reader.path(&format!("latest/{key}/docs/v1.2/a b"));
    assert_eq!(cat(&docs).ok().text(), "deep");
    let listed = run(
        Command::new("find")
            .arg(reader.path("latest"))
            .args(["-type", "f", "-printf", "%P\n"]),
        LATER,
    );
    let mut listed: Vec<_> = listed.ok().text().lines().map(str::to_owned).collect();
    listed.sort();
    assert_eq!(
        listed,
        [format!("{key}/docs/v1.2/a b"), format!("{key}/index.html")]
    );

    // Names that no rule allows never reach the network; unknown keys have nothing.
    for bad in [
        "latest/nokey".to_owned(),
        format!("latest/{key}/.hidden"),
        format!("latest/{key}/index.html/below"),
    ] {
        let failed = cat(&reader.path(&bad));
        assert!(!failed.status.success(), "{bad}");
    }

    // What is known stands when nobody is there, across a restart as well.
    node.stop();
    let settings = reader.node.settings.clone();
    assert_eq!(cat(&at).ok().text(), "second, and longer");
    let where_it_was = reader.at.clone();
    reader.umount();
    let reader = Mounted::new(settings, &where_it_was);
    assert_eq!(cat(&at).ok().text(), "second, and longer");
    reader.umount();
}

/// What `publish --list` tells of a name.
fn listed(store: &Path, name: &str) -> Option<Value> {
    let said = command(store, &["publish", "--list", "--json"]).ok();
    let all: Vec<Value> = serde_json::from_slice(&said.stdout).unwrap();
    all.into_iter().find(|one| one["name"] == name)
}

/// The id of a folder, from the command that needs no store.
fn folder_id(folder: &Path) -> String {
    let said = run(cjp2pfs().args(["hash", "--folder"]).arg(folder), LATER).ok();
    said.text()[..64].to_owned()
}

/// The network does not carry content of length zero, and everybody has it.
#[test]
fn a_published_file_may_be_emptied() {
    let place = Place::new();
    let node = daemon(&place, "publisher", &[]);
    let store = place.path("publisher");
    let file = place.path("log");
    for content in ["first", "", "second"] {
        fs::write(&file, content).unwrap();
        if content == "first" {
            publish(&store, &file, &[]);
        }
        let sha256 = sha256_of(content.as_bytes());
        wait(content, LATER, || {
            (listed(&store, "log")?["sha256"] == *sha256).then_some(())
        });
    }
    node.stop();
}

#[test]
fn a_published_folder_has_its_names_and_follows_what_changes() {
    requires_mount!();
    let place = Place::new();
    let node = daemon(&place, "publisher", &[]);
    let store = place.path("publisher");
    let folder = place.folder("site");
    fs::create_dir(folder.join("img")).unwrap();
    fs::write(folder.join("index.html"), "first").unwrap();
    fs::write(folder.join("img/a b.png"), "picture").unwrap();
    let path = publish(&store, &folder, &[]);
    let first = listed(&store, "site").unwrap();
    assert_eq!(first["sha256"], folder_id(&folder));

    let reader = mounted(&place, "reader", node.address, &[]);
    let at = reader.path(&path);
    let tree = |at: &Path| -> Vec<String> {
        let find = ["-printf", "%y %s %P\n"];
        let found = run(Command::new("find").arg(at).args(find), LATER).ok();
        let mut found: Vec<_> = found.text().lines().map(str::to_owned).collect();
        found.sort();
        found
    };
    let before = ["d 0 ", "d 0 img", "f 5 index.html", "f 7 img/a b.png"];
    assert_eq!(tree(&at), before);
    assert_eq!(cat(&at.join("index.html")).ok().text(), "first");
    assert_eq!(cat(&at.join("img/a b.png")).ok().text(), "picture");
    // It is listed as a folder, too.
    let key = at.parent().unwrap();
    assert!(tree(key).contains(&"f 5 site/index.html".to_owned()));
    for wrong in ["sitte", "sitte/index.html", "site/index.htm"] {
        for program in ["cat", "ls"] {
            let said = run(Command::new(program).arg(key.join(wrong)), LATER);
            assert!(!said.status.success(), "{program} {wrong}");
            let said = said.stderr;
            assert!(said.contains("No such file"), "{program} {wrong}: {said}");
        }
    }

    // The folder as it was stays what it was for who has it open.
    let held = fs::File::open(&at).unwrap();
    let old = Path::new("/proc/self/fd").join(held.as_raw_fd().to_string());
    fs::write(folder.join("index.html"), "second, and longer").unwrap();
    fs::write(folder.join("new"), "new").unwrap();
    wait("the changed folder to be published", LATER, || {
        let after = [
            "d 0 ",
            "d 0 img",
            "f 18 index.html",
            "f 3 new",
            "f 7 img/a b.png",
        ];
        (tree(&at) == after).then_some(())
    });
    assert_eq!(
        cat(&at.join("index.html")).ok().text(),
        "second, and longer"
    );
    assert_eq!(cat(&at.join("new")).ok().text(), "new");
    let mut names: Vec<_> = fs::read_dir(&old)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["img", "index.html"]);
    assert_eq!(fs::read(old.join("index.html")).unwrap(), b"first");
    drop(held);
    let second = listed(&store, "site").unwrap();
    assert!(second["seq"].as_u64() > first["seq"].as_u64());
    assert_eq!(second["sha256"], folder_id(&folder));
    reader.umount();
    node.stop();
}

#[test]
fn a_folder_is_published_without_a_daemon_and_followed_by_the_next() {
    let place = Place::new();
    let store = place.path("store");
    let folder = place.folder("site");
    fs::write(folder.join("file"), "text").unwrap();
    publish(&store, &folder, &["--name", "docs/site"]);
    let first = listed(&store, "docs/site").unwrap();
    assert_eq!(first["sha256"], folder_id(&folder));
    fs::write(folder.join("file"), "other text").unwrap();
    let node = daemon(&place, "store", &[]);
    let second = wait("the change to be published", LATER, || {
        listed(&store, "docs/site").filter(|now| now["sha256"] != first["sha256"])
    });
    assert_eq!(second["sha256"], folder_id(&folder));
    assert!(second["seq"].as_u64() > first["seq"].as_u64());
    // A file is followed as well.
    let file = place.path("file");
    fs::write(&file, "one").unwrap();
    publish(&store, &file, &[]);
    fs::write(&file, "another").unwrap();
    wait("the changed file to be published", LATER, || {
        (listed(&store, "file").unwrap()["sha256"] == sha256_of(b"another")).then_some(())
    });
    // What is published would be had by nobody.
    let named = folder.to_str().unwrap();
    let said = command(&store, &["unseed", named]).failed(1);
    assert!(said.contains("is published as docs/site"), "{said}");
    command(&store, &["unpublish", "docs/site"]).ok();
    command(&store, &["unseed", named]).ok();
    node.stop();
}

#[test]
fn publishing_is_listed_undone_and_done_without_a_daemon() {
    let place = Place::new();
    let store = place.path("store");
    let file = place.path("file");
    fs::write(&file, "text").unwrap();
    fs::write(place.path("empty"), "").unwrap();
    publish(&store, &file, &["--name", "a/b"]);
    publish(&store, &place.path("empty"), &[]);
    let key = place.path("store").join("node.key");
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let list = || -> Vec<Value> {
        let said = command(&store, &["publish", "--list", "--json"]).ok();
        serde_json::from_slice(&said.stdout).unwrap()
    };
    let names = |list: &[Value]| -> Vec<String> {
        let name = |entry: &Value| entry["name"].as_str().unwrap().to_owned();
        list.iter().map(name).collect()
    };
    let before = list();
    assert_eq!(names(&before), ["a/b", "empty"]);
    assert_eq!(before[0]["sha256"], sha256_of(b"text"));
    let node = daemon(&place, "store", &[]);
    assert_eq!(list(), before);
    assert_eq!(
        node.status()["public_key"],
        format!("0x{}", before[0]["key"].as_str().unwrap())
    );
    command(&store, &["unpublish", "a/b"]).ok();
    assert_eq!(names(&list()), ["empty"]);
    let said = command(&store, &["unpublish", "a/b"]).failed(1);
    assert!(
        said.contains("nothing is published under the name a/b"),
        "{said}"
    );
    for bad in ["../x", "/x", "x/", ".x", ""] {
        command(&store, &["publish", "--list", "--name", bad]).failed(2);
        command(&store, &["unpublish", bad]).failed(2);
    }
    let said = command(&store, &["publish", place.path("none").to_str().unwrap()]).failed(1);
    assert!(said.contains("No such file"), "{said}");
    publish(&store, &file, &["--name", "a/b"]);
    let again = list();
    assert!(again[0]["seq"].as_u64() > before[0]["seq"].as_u64());
    node.stop();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = command(&store, &["publish", "--list"]).failed(1);
    assert!(said.contains("is open to others (mode 0644)"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_independent_peer_finds_what_the_binary_publishes() {
    requires_python!();
    let place = Place::new();
    let node = daemon(&place, "publisher", &[]);
    let store = place.path("publisher");
    let file = place.path("\u{e9}.txt");
    fs::write(&file, "text").unwrap();
    let path = publish(&store, &file, &[]);
    let key = path.split('/').nth(1).unwrap();
    let found = PythonPeer::latest(key, "\u{e9}.txt", node.address).ok();
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found["sha256"], sha256_of(b"text"));
    let out = place.path("out");
    PythonPeer::get(&sha256_of(b"text"), node.address, &out).ok();
    assert_eq!(fs::read(&out).unwrap(), b"text");
}

const SEED: &str = "0707070707070707070707070707070707070707070707070707070707070707";
const KEY: &str = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";

fn python(place: &Place, folder: &Path, name: &str, more: &[&str]) -> PythonPeer {
    let published = format!("docs/index.html={}", folder.join("content").display());
    let always = ["--key", SEED, "--publish", &published];
    PythonPeer::serve(
        folder,
        &place.path(&format!("{name}.json")),
        &[&always, more].concat(),
    )
}

#[test]
fn the_binary_finds_what_the_independent_peer_publishes() {
    requires_mount!();
    requires_python!();
    for more in [&[][..], &["--old-signed"]] {
        let place = Place::new();
        let folder = place.folder("folder");
        fs::write(folder.join("content"), "from elsewhere").unwrap();
        let peer = python(&place, &folder, "peer", more);
        let reader = mounted(&place, "reader", peer.address, &[]);
        let path = reader.path(&format!("latest/{KEY}/docs/index.html"));
        assert_eq!(cat(&path).ok().text(), "from elsewhere");
        let stats = peer.stop();
        assert_eq!(stats["unreadable"], 0, "{stats}");
        // Asked for now and then, not without end.
        assert!(stats["types"]["GetLatest"].as_u64() < Some(30), "{stats}");
        reader.umount();
    }
}

#[test]
fn what_is_old_or_badly_signed_changes_nothing() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let good = place.folder("good");
    fs::write(good.join("content"), "good").unwrap();
    let peer = python(&place, &good, "peer", &["--seq", "100"]);
    let bind = peer.address.to_string();
    let reader = mounted(&place, "reader", peer.address, &[]);
    let path = reader.path(&format!("latest/{KEY}/docs/index.html"));
    assert_eq!(cat(&path).ok().text(), "good");
    peer.stop();
    let bad = place.folder("bad");
    fs::write(bad.join("content"), "bad").unwrap();
    for (name, more) in [
        ("old", &["--seq", "99"][..]),
        ("forged", &["--seq", "101", "--bad-signature"]),
        ("newer", &["--seq", "102"]),
    ] {
        let peer = python(&place, &bad, name, &[more, &["--bind", &bind]].concat());
        // The reader has forgotten the answers of before when it asks this peer.
        wait("the peer to be asked", LATER, || {
            let read = cat(&path).ok().text();
            let expected = if name == "newer" { "bad" } else { "good" };
            let asked = peer.stats()["types"]["GetLatest"].as_u64() >= Some(2);
            assert!(read == expected || name == "newer", "{name}: {read}");
            (asked && read == expected).then_some(())
        });
        peer.stop();
    }
    reader.umount();
}

/// A file or folder at `a` would hide `a/b` from everybody, so the second of them is refused: before
/// anything is hashed, with a daemon and without one.
#[test]
fn a_name_that_would_hide_another_is_refused() {
    let place = Place::new();
    let store = place.path("publisher");
    let file = place.path("file");
    fs::write(&file, "content").unwrap();
    let other = place.path("other");
    fs::write(&other, "other").unwrap();
    let refused = |name: &str, published: &str| {
        let arguments = ["publish", other.to_str().unwrap(), "--name", name];
        let said = command(&store, &arguments).failed(1);
        let told = format!("`{name}` and `{published}`, which is published, cannot both be");
        assert!(said.contains(&told), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    };
    publish(&store, &file, &["--name", "docs/a"]);
    refused("docs", "docs/a");
    let node = daemon(&place, "publisher", &[]);
    refused("docs", "docs/a");
    refused("docs/a/b", "docs/a");
    command(&store, &["unpublish", "docs/a"]).ok();
    publish(&store, &file, &["--name", "docs"]);
    refused("docs/a", "docs");
    let listed = command(&store, &["ls", "--seeding"]).ok().text();
    assert!(!listed.contains(other.to_str().unwrap()), "{listed}");
    node.stop();
}
