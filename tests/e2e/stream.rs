//! Streams that a key signs, from the independent peer in Python through a real mount.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{LATER, Mounted, Place, Process, PythonPeer, SOON, Settings, run, wait};

const SEED: &str = "0707070707070707070707070707070707070707070707070707070707070707";
const KEY: &str = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";

/// Bytes that differ from block to block.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 7 + n / 4096) as u8).collect()
}

struct Stream {
    file: PathBuf,
    peer: PythonPeer,
}

impl Stream {
    fn new(place: &Place, name: &str, data: &[u8], more: &[&str]) -> Self {
        let folder = place.folder(&format!("{name}-folder"));
        let file = place.path(&format!("{name}.stream"));
        fs::write(&file, data).unwrap();
        let stream = format!("radio/live={}", file.display());
        let arguments = [&["--key", SEED, "--stream", &stream], more].concat();
        let stats = place.path(&format!("{name}.json"));
        let peer = PythonPeer::serve(&folder, &stats, &arguments);
        Self { file, peer }
    }

    fn grow(&self, data: &[u8]) {
        let mut file = File::options().append(true).open(&self.file).unwrap();
        file.write_all(data).unwrap();
    }
}

fn mounted(place: &Place, stream: &Stream, more: &[&str]) -> (Mounted, PathBuf) {
    let settings = Settings::new(place.path("reader"))
        .peer(stream.peer.address)
        .with(more);
    let mount = Mounted::new(settings, &place.path("at"));
    // A slash in the name is written so, since a part of a stream's name is nothing.
    let path = mount.path(&format!("stream/0x{}/radio%2Flive", KEY.to_uppercase()));
    (mount, path)
}

fn starts_with(out: &Path, expected: &[u8]) -> Option<()> {
    let got = fs::read(out).unwrap();
    assert!(expected.starts_with(&got), "what came is not the stream");
    (got.len() == expected.len()).then_some(())
}

#[test]
fn a_stream_is_read_as_it_grows_and_followed() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let all = bytes(300_000);
    let stream = Stream::new(&place, "peer", &all[..100_001], &[]);
    // `tail` shows what it has read when a read has found nothing.
    let (mount, path) = mounted(&place, &stream, &["--read-timeout", "1s"]);
    let out = place.path("out");
    let mut tail = Process::start_logging(
        Command::new("tail").args(["-c", "+1", "-f"]).arg(&path),
        &out,
        &place.path("tail.stderr"),
    );
    wait("what was there", LATER, || {
        starts_with(&out, &all[..100_001])
    });
    // The last block was short, and becomes longer.
    stream.grow(&all[100_001..100_010]);
    wait("some bytes more", LATER, || {
        starts_with(&out, &all[..100_010])
    });
    stream.grow(&all[100_010..]);
    wait("the rest", LATER, || starts_with(&out, &all));
    tail.kill();
    // From the middle, by another reader.
    let dd = run(
        Command::new("dd")
            .arg(format!("if={}", path.display()))
            .args(["bs=1000", "skip=150", "count=10", "status=none"]),
        LATER,
    );
    assert_eq!(dd.ok().stdout, &all[150_000..160_000]);
    let stats = stream.peer.stop();
    assert_eq!(stats["unreadable"], 0, "{stats}");
    mount.umount();
}

#[test]
fn at_the_end_a_read_waits_is_interrupted_or_ends() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let all = bytes(5000);
    let stream = Stream::new(&place, "peer", &all, &[]);
    let (mount, path) = mounted(&place, &stream, &["--read-timeout", "3s"]);
    let start = Instant::now();
    let read = run(Command::new("cat").arg(&path), LATER).ok();
    assert_eq!(read.stdout, all);
    assert!(start.elapsed() >= Duration::from_secs(3), "it did not wait");
    mount.umount();

    let (mount, path) = mounted(&place, &stream, &["--read-timeout", "600s"]);
    let out = place.path("out");
    let mut cat = Process::start_logging(
        Command::new("cat").arg(&path),
        &out,
        &place.path("cat.stderr"),
    );
    wait("what is there", LATER, || starts_with(&out, &all));
    let start = Instant::now();
    cat.signal(libc::SIGTERM);
    cat.wait(SOON);
    assert!(start.elapsed() < Duration::from_secs(10));
    // Waiting there costs the peer little.
    let asked = || {
        let stats = stream.peer.stats();
        stats["types"]["PleaseSendContent"].as_u64().unwrap_or(0)
    };
    let mut cat = Process::start_logging(
        Command::new("cat").arg(&path),
        &out,
        &place.path("cat.stderr"),
    );
    wait("what is there", LATER, || starts_with(&out, &all));
    // It asks some six times a second at first, and then about once. A busy peer writes its counters late,
    // so what it asked to get so far is let pass first.
    let ask = |count: u64| {
        let before = asked();
        wait("the stream to be asked for", LATER, || {
            (asked() >= before + count).then_some(())
        });
    };
    ask(3);
    let start = Instant::now();
    ask(10);
    println!("asked ten times in {:?}", start.elapsed());
    assert!(
        start.elapsed() > Duration::from_millis(500),
        "asked too often"
    );
    cat.kill();
    mount.umount();
}

#[test]
fn what_the_key_did_not_sign_is_not_there() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let stream = Stream::new(&place, "peer", &bytes(5000), &["--bad-signature"]);
    let (mount, path) = mounted(&place, &stream, &["--lookup-timeout", "2s"]);
    let said = run(Command::new("cat").arg(&path), LATER).failed(1);
    assert!(said.contains("No such file"), "{said}");
    mount.umount();
}
