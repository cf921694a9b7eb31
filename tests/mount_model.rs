//! The file system against a model: random operations of several processes with several threads
//! each over a real mount, compared with a plain folder of the same content (`tests/model`).
//!
//! `MODEL_SEED` and `MODEL_OPERATIONS` make other and longer runs than a test should be.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::{
    Finished, LATER, Mounted, Node, Place, Process, Settings, requires_mount, requires_python, run,
    wait,
};
use serde_json::Value;

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model/reader.py");
/// Around leaves, groups and what one answer carries, and some that take a while.
const LENGTHS: [usize; 8] = [1, 4095, 4096, 4097, 16_385, 1_000_003, 3_145_728, 5_242_881];
const PROCESSES: u64 = 3;

fn from_environment(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A folder with the tree of a mount that has these files.
fn plain_folder(place: &Place) -> std::path::PathBuf {
    let plain = place.folder("plain");
    place.folder("plain/blake3");
    for (n, length) in LENGTHS.into_iter().enumerate() {
        let file = place.file(&format!("content/{n}"), length);
        fs::hard_link(&file.path, plain.join(&file.sha256)).unwrap();
        fs::hard_link(&file.path, plain.join("blake3").join(&file.blake3)).unwrap();
    }
    plain
}

fn reader(plain: &Path, mount: &Path, seed: u64, operations: u64) -> Command {
    let mut command = Command::new("python3");
    command
        .arg(READER)
        .args([plain, mount])
        .args(["--threads", "3", "--limit", "50"])
        .args(["--seed", &seed.to_string()])
        .args(["--operations", &operations.to_string()]);
    command
}

/// Several readers at once; all must have seen the plain folder.
#[track_caller]
fn read_at_random(name: &str, plain: &Path, mount: &Path, first_seed: u64) {
    let operations = from_environment("MODEL_OPERATIONS", 150);
    let limit = LATER + Duration::from_millis(200) * u32::try_from(operations).unwrap();
    let seeds = first_seed..first_seed + PROCESSES;
    let mut readers: Vec<_> = seeds
        .clone()
        .map(|seed| Process::start(&mut reader(plain, mount, seed, operations)))
        .collect();
    for (seed, process) in seeds.zip(&mut readers) {
        let status = wait("a reader to end", limit, || process.ended());
        let (stdout, stderr) = process.outputs();
        assert!(status.success(), "{name}, seed {seed}: {status}: {stderr}");
        let report: Value = serde_json::from_slice(&stdout).unwrap();
        println!("{name}, seed {seed}: {report}");
        assert_eq!(report["operations"].as_u64(), Some(3 * operations));
        assert!(report["bytes"].as_u64() > Some(0));
    }
}

#[test]
fn a_mount_is_as_a_plain_folder_with_the_same_content() {
    requires_mount!();
    requires_python!();
    let seed = from_environment("MODEL_SEED", 1);
    let place = Place::new();
    let plain = plain_folder(&place);
    let content = place.path("content");
    let seeders: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|name| Node::seed(Settings::new(place.path(name)), &[&content], LENGTHS.len()))
        .collect();
    let settings = seeders
        .iter()
        .fold(Settings::new(place.path("c")), |settings, seeder| {
            settings.peer(seeder.address)
        });
    // A small cache, so that much of what is read again comes from the disk.
    let settings = settings.with(&["--cache", "2MiB"]);

    let mount = Mounted::new(settings.clone(), &place.path("mnt"));
    read_at_random("cold", &plain, &mount.at, seed);
    read_at_random("warm", &plain, &mount.at, seed + PROCESSES);
    mount.umount();

    // The same store again; now nothing that is not read is fetched.
    let settings = settings.with(&["--complete", "never"]);
    let mount = Mounted::new(settings, &place.path("mnt"));
    read_at_random("mounted anew", &plain, &mount.at, seed + 2 * PROCESSES);
    mount.umount();

    let settings = Settings::new(place.path("d")).with(&["--complete", "never"]);
    let mount = Mounted::new(settings.peer(seeders[0].address), &place.path("mnt"));
    read_at_random("nothing completed", &plain, &mount.at, seed + 3 * PROCESSES);
    mount.umount();
}

/// The readers would tell: of a wrong byte, of a missing file, of a wrong length.
#[test]
fn a_difference_is_found() {
    requires_python!();
    let place = Place::new();
    let plain = plain_folder(&place);
    let copied = |name: &str| {
        let to = place.folder(name);
        run(
            Command::new("cp").arg("-r").arg(plain.join(".")).arg(&to),
            LATER,
        )
        .ok();
        to
    };
    // A folder that can be written to is no mount.
    let writable = copied("writable");
    let told = run(&mut reader(&plain, &writable, 1, 400), LATER);
    let said = told.failed(1);
    assert!(said.contains("seed 1, after"), "{said}");

    let other = copied("other");
    let read = |other: &Path| -> Finished {
        let mut command = reader(&plain, other, 1, 400);
        run(command.args(["--only", "open,pread,close"]), LATER)
    };
    read(&other).ok();
    for entry in fs::read_dir(&other).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let said = read(&other).failed(1);
    assert!(said.contains("different from"), "{said}");
    fs::remove_dir_all(other.join("blake3")).unwrap();
    let said = read(&other).failed(1);
    assert!(
        said.contains("FileNotFound") || said.contains("different"),
        "{said}"
    );
}
