//! `--upload-limit`, `--upload-limit-per-address`, `--download-limit`: real nodes on loopback.
//!
//! How exactly limits are kept and shared is the simulator's to show (`tests/sim/limits.rs`). Here a
//! transfer must not be done sooner than its limit allows, which no load of the machine can spoil.

mod common;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{LATER, Node, Place, Process, RawPeer, Sample, Settings, run, wait};
use serde_json::json;

const LIMIT: u64 = 1 << 20;
const LENGTH: usize = 2 << 20;

/// The least time in which `limit` lets `bytes` of content through: they are a third more as base64,
/// and a twentieth of a second's worth is saved up at each of the ends.
fn least(bytes: u64, limit: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 * 4.0 / 3.0 / limit as f64 - 0.2)
}

fn seeder(place: &Place, limits: &[&str]) -> (Node, Sample) {
    let file = place.file("content", LENGTH);
    let settings = Settings::new(place.path("seeder")).with(limits);
    (Node::seed(settings, &[&file.path], 1), file)
}

/// Has nodes at these addresses fetch `file` at the same time; how long it took.
fn fetch_at_once(
    place: &Place,
    name: &str,
    binds: &[&str],
    from: &Node,
    file: &Sample,
) -> Duration {
    let start = Instant::now();
    let mut gets: Vec<(Process, PathBuf)> = (0..)
        .zip(binds)
        .map(|(n, bind)| {
            let out = place.path(&format!("{name}-{n}"));
            let settings = Settings::new(place.path(&format!("{name}-store-{n}")))
                .bind(bind)
                .peer(from.address);
            (Process::start(&mut settings.get(&file.sha256, &out)), out)
        })
        .collect();
    for (get, out) in &mut gets {
        let status = get.wait(LATER);
        assert!(status.success(), "{status}: {}", get.outputs().1);
        file.is_in(out);
    }
    start.elapsed()
}

#[test]
fn the_upload_limit_is_for_all_together() {
    let place = Place::new();
    let (node, file) = seeder(&place, &["--upload-limit", "1MiB"]);
    let took = fetch_at_once(&place, "one", &["127.0.0.1:0"], &node, &file);
    let least = least(file.len(), LIMIT);
    assert!(took >= least, "{took:?} is less than {least:?}");
}

#[test]
fn the_upload_limit_per_address_is_for_each_alone() {
    let place = Place::new();
    let (node, file) = seeder(&place, &["--upload-limit-per-address", "1MiB"]);
    let least = least(file.len(), LIMIT);
    let apart = ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"];
    for (name, binds) in [("alone", &apart[..1]), ("apart", &apart[..])] {
        let took = fetch_at_once(&place, name, binds, &node, &file);
        println!("{name}: {took:?}");
        assert!(took >= least, "{name}: {took:?} is less than {least:?}");
    }
}

#[test]
fn the_download_limit_holds_back_a_get() {
    let place = Place::new();
    let (node, file) = seeder(&place, &[]);
    let out = place.path("out");
    let free = Settings::new(place.path("free")).peer(node.address);
    let free = run(&mut free.get(&file.sha256, &out), LATER).ok().took;
    let limited = Settings::new(place.path("limited"))
        .peer(node.address)
        .with(&["--download-limit", "1MiB"]);
    let took = run(limited.get(&file.sha256, &out).arg("--force"), LATER)
        .ok()
        .took;
    file.is_in(&out);
    let least = least(file.len(), LIMIT);
    println!("free {free:?}, limited {took:?}");
    assert!(took >= least, "{took:?} is less than {least:?}");
}

/// Tells the other thread to end, on a panic too.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One that has proved its address asks for forty times what there is, all the time, and another one
/// fetches a file beside it.
#[test]
fn a_greedy_requester_does_not_starve_another() {
    let place = Place::new();
    let (node, file) = seeder(&place, &["--upload-limit", "1MiB"]);
    let mut greedy = RawPeer::new(node.address);
    let cookie = greedy.verify();
    let done = AtomicBool::new(false);
    let started = Instant::now();
    let took = thread::scope(|scope| {
        scope.spawn(|| {
            let mut offset = 0;
            while !done.load(Ordering::Relaxed) && started.elapsed() < LATER {
                offset = (offset + 40_960) % file.len();
                let question = json!([
                    {"PleaseSendContent": {"id": file.sha256, "offset": offset, "length": 40_960}},
                    {"AlwaysReturned": cookie},
                ]);
                greedy.send(&serde_json::to_vec(&question).unwrap());
                thread::sleep(Duration::from_millis(1));
            }
        });
        let end = End(&done);
        wait("the greedy one to be given some", LATER, || {
            (node.count("bytes_served") > 200_000).then_some(())
        });
        let took = fetch_at_once(&place, "honest", &["127.0.0.2:0"], &node, &file);
        drop(end);
        took
    });
    // Its half is there in 5.4 s.
    println!("an honest get beside a greedy one: {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}
