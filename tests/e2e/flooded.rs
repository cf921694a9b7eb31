//! A node under a flood: who is honest is served, programs read what is held, and nothing grows.
//!
//! How much throughput is left is measured by `scripts/bench-flood`, since a busy machine has no say
//! in whether this passes.

#[path = "../../examples/flood/flood.rs"]
mod flood;

use std::fs;
use std::path::Path;

use crate::common::{LATER, Mounted, Node, Place, RawPeer, SOON, Settings, run, wait};
use flood::{Flood, Kind};
use serde_json::json;

/// Resident memory that no flood may exceed.
const MEMORY: u64 = 256 << 20;

/// Datagrams of each kind a second while the honest fetch something.
const RATE: u64 = 10_000;

/// A number of bytes from `/proc/PID/status`.
fn memory(pid: i32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}

fn entries(of: impl AsRef<Path>) -> usize {
    fs::read_dir(of).unwrap().count()
}

/// Bytes of all files below `folder`.
fn size(folder: &Path) -> u64 {
    let mut size = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        // A temporary file may have gone meanwhile.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        size += match metadata.is_dir() {
            true => self::size(&entry.path()),
            false => metadata.len(),
        };
    }
    size
}

#[test]
fn a_flooded_mount_serves_the_honest_and_its_own_programs() {
    requires_mount!();
    let place = Place::new();
    let file = place.file("content", 12 << 20);
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[&file.path], 1);
    let settings = Settings::new(place.path("store"))
        .peer(seeder.address)
        .with(&["--cache", "32MiB"]);
    let mounted = Mounted::new(settings, &place.folder("mnt"));
    file.is(&mounted.cat(&file.sha256).ok().stdout);
    wait("the content to be held", LATER, || {
        (mounted.node.count("contents_held") == 1).then_some(())
    });
    let (pid, node) = (mounted.node.process.pid(), mounted.node.address);
    let proc = format!("/proc/{pid}");
    let descriptors = entries(format!("{proc}/fd"));
    let threads = entries(format!("{proc}/task"));

    // As much as this machine sends, for memory; then what leaves the honest some of its time.
    let flood = Flood::start(node, &file.sha256, file.len(), &Kind::ALL, None);
    wait("the flood to be large", LATER, || {
        (flood.sent() > 1_000_000).then_some(())
    });
    // What is held is read from the store, whatever the network does. Not from the page cache: each
    // read opens another name of the same content.
    for n in 0..5 {
        let name = format!("{}.{n}", file.sha256);
        let read = mounted.dd(&name, 4 << 20, 1 << 20).ok();
        assert_eq!(read.stdout, file.bytes[4 << 20..5 << 20]);
        assert!(read.took < SOON, "{:?}", read.took);
    }
    let large = flood.sent();
    drop(flood);
    let flood = Flood::start(node, &file.sha256, file.len(), &Kind::ALL, Some(RATE));
    wait("the flood to have begun", SOON, || {
        (flood.sent() > 1000).then_some(())
    });
    let output = place.path("copy");
    let honest = Settings::new(place.path("other"))
        .peer(node)
        .with(&["--lookup-timeout", "1m"]);
    let got = run(&mut honest.get(&file.sha256, &output), LATER).ok();
    file.is_in(&output);
    let sent = large + flood.sent();
    drop(flood);

    let most = memory(pid, "VmHWM");
    let (descriptors_now, threads_now) = (
        entries(format!("{proc}/fd")),
        entries(format!("{proc}/task")),
    );
    println!(
        "{sent} datagrams sent; `get` took {:?}; {} MiB at most, {descriptors_now} descriptors, {threads_now} threads",
        got.took,
        most >> 20,
    );
    assert!(most < MEMORY, "{} MiB", most >> 20);
    assert!(
        descriptors_now <= descriptors + 16,
        "{descriptors} before, {descriptors_now} now"
    );
    assert!(
        threads_now <= threads + 8,
        "{threads} before, {threads_now} now"
    );
    let said = mounted.node.said();
    assert!(said.len() < 4096, "{said}");
    mounted.umount();
}

/// Ids of which strangers speak cost no room: no partial files, nothing in the index, no log.
#[test]
fn the_ids_of_strangers_leave_no_trace() {
    let place = Place::new();
    let file = place.file("content", 100_000);
    let store = place.path("store");
    let node = Node::seed(Settings::new(&store), &[&file.path], 1);
    let mut stranger = RawPeer::new(node.address);
    let cookie = stranger.verify();
    let before = size(&store);
    let asked = 20_000u32;
    for n in 0..asked {
        let id = format!("{:064x}", 0xbad_0000_u32 + n);
        let about = [
            &*id,
            &format!("blake3/{id}"),
            &format!("blake3_tree_v2/{id}"),
        ][n as usize % 3]
            .to_owned();
        let messages = json!([
            {"AlwaysReturned": cookie},
            {"PleaseSendContent": {"id": about, "offset": 0, "length": 4096}},
            {"WhichPartsDoYouHave": {"id": about}},
            {"Content": {"id": about, "offset": 0, "eof": 1u64 << 40, "base64": "AAAA"}},
            {"IHaveTheseParts": {"id": about, "eof": 1u64 << 40, "parts": [[0, 4096]]}},
            {"ContentList": {"results": [[about, 1u64 << 40]]}},
            {"IJustSawThis": {"id": about, "length": 1u64 << 40}},
            {"YouShouldSeeThis": {"id": about, "length": 1u64 << 40}},
            {"MaybeTheyHaveSome": {"id": about, "peers": ["127.0.0.1:9"]}},
        ]);
        stranger.send(messages.to_string().as_bytes());
        if n % 64 == 0 {
            // Its answer shows that what was sent before it was read, or lost on the way.
            stranger.verify();
        }
    }
    let read = node.count("datagrams_in");
    assert!(read > u64::from(asked) / 2, "only {read} were read");
    assert_eq!(node.count("contents_held"), node.count("contents_seeded"));
    assert_eq!(node.status()["fetching"], json!([]));
    let partial = store.join("partial");
    assert!(!partial.exists() || entries(&partial) == 0);
    let after = size(&store);
    assert!(
        after <= before + 4096,
        "{before} bytes before, {after} after"
    );
    assert!(node.said().len() < 4096, "{}", node.said());
    let pid = node.process.pid();
    assert!(memory(pid, "VmHWM") < MEMORY);
    node.stop();
}
