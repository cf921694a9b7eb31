//! A file that changes while it is served: nothing of the mixture leaves the node as the old content
//! in a way that the one who asked could not reject.

mod common;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{LATER, Node, Place, SOON, Settings, cjp2pfs, run, wait};
use serde_json::Value;

const LENGTH: usize = 8 << 20;

fn seeded(store: &Path, sha256: &str) -> bool {
    let done = run(
        cjp2pfs()
            .args(["explain", "--json", sha256, "--store"])
            .arg(store),
        SOON,
    );
    let told: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
    told["place"]["in"] == "seeded"
}

/// Every getter runs beside the writer. With the BLAKE3 id each block is checked as it comes: a block
/// of the new content would show as wrong bytes at once. Whoever ends with success has the old
/// content, whole.
#[test]
fn no_block_of_a_mixture_passes_for_the_old_content() {
    let place = Place::new();
    let file = place.file("folder/file", LENGTH);
    let folder = place.path("folder");
    let store = place.path("a");
    let seeder = Node::seed(Settings::new(&store), &[&folder], 1);
    let change = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (path, stop, change) = (file.path.clone(), Arc::clone(&stop), Arc::clone(&change));
        std::thread::spawn(move || {
            let mut file = File::options().write(true).open(path).unwrap();
            let mut number = 0u64;
            while !stop.load(Ordering::Relaxed) {
                if change.load(Ordering::Relaxed) {
                    number += 1;
                    let at = number.wrapping_mul(0x9e37_79b9) % (LENGTH as u64 - 8);
                    file.seek(SeekFrom::Start(at)).unwrap();
                    file.write_all(&number.to_le_bytes()).unwrap();
                }
                std::thread::sleep(Duration::from_micros(300));
            }
        })
    };
    let settings = |name: &str| {
        Settings::new(place.path(name)).peer(seeder.address).with(&[
            "--lookup-timeout",
            "1s",
            "--read-timeout",
            "2s",
        ])
    };
    let ids = [file.sha256.clone(), format!("blake3/{}", file.blake3)];
    let getters: Vec<_> = (0..4)
        .map(|number| {
            let settings = settings(&format!("getter{number}"));
            let out = place.path(&format!("out{number}"));
            let mut command = settings.get(&ids[number % 2], &out);
            (out, std::thread::spawn(move || run(&mut command, LATER)))
        })
        .collect();
    // In the midst of it.
    wait("the getters to get something", LATER, || {
        (seeder.count("bytes_served") > LENGTH as u64 / 4).then_some(())
    });
    change.store(true, Ordering::Relaxed);
    for (out, getter) in getters {
        let done = getter.join().unwrap();
        if done.status.success() {
            file.is_in(&out);
        } else {
            assert!(!out.exists());
            // Wrong bytes would be told as such.
            assert!(!done.stderr.contains("not the content"), "{}", done.stderr);
        }
    }
    // And nobody gets it any more.
    let late = settings("late");
    run(&mut late.get(&file.sha256, &place.path("late-out")), LATER).failed(1);

    // Left alone, it is served as what it has become.
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let last = Instant::now();
    let now = common::sha256_of(&fs::read(&file.path).unwrap());
    wait("the new content to be served", LATER, || {
        seeded(&store, &now).then_some(())
    });
    println!("served anew after {:?}", last.elapsed());
    let got = place.path("new");
    run(&mut settings("new-store").get(&now, &got), LATER).ok();
    assert_eq!(common::sha256_of(&fs::read(&got).unwrap()), now);
    seeder.stop();
}
