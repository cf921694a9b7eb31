//! The fuzz targets on a stable toolchain and in little time: over the seeds in `fuzz/seeds`, and over
//! changed ones, from a fixed seed. `cargo fuzz` goes on from there (fuzz/README.md).
//!
//! `FUZZ_SECONDS=N` lets each target go on for so long, with another seed each time.

#[path = "../fuzz/bodies/mod.rs"]
mod bodies;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Changed inputs that are tried of each target, or fewer where they take this long.
const TRIES: u64 = 3000;
const LONG_ENOUGH: Duration = Duration::from_secs(8);

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut seeds: Vec<_> = fs::read_dir(fuzz_folder().join("seeds").join(target))
        .unwrap_or_else(|error| panic!("the seeds of {target}: {error}"))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    seeds
}

/// Tells which input it was when its run panics, and keeps it.
struct Trying<'a>(&'a str, &'a [u8]);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = std::env::temp_dir().join(format!("cjp2pfs-fuzz-{}-failure", self.0));
            let _ = fs::write(&kept, self.1);
            eprintln!("{} fails on {}", self.0, kept.display());
        }
    }
}

fn try_one((name, run): bodies::Target, input: &[u8]) {
    let trying = Trying(name, input);
    run(input);
    drop(trying);
}

/// Another input: a seed with pieces changed, doubled, dropped or taken from another, or noise.
fn change(random: &mut fastrand::Rng, seeds: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut input = seeds[random.usize(..seeds.len())].1.clone();
    if random.u8(..8) == 0 {
        input = vec![0; random.usize(..4096)];
        random.fill(&mut input);
    }
    for _ in 0..random.usize(1..8) {
        let at = random.usize(..=input.len());
        let end = (at + random.usize(..64)).min(input.len());
        match random.u8(..6) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            3 => {
                let other = &seeds[random.usize(..seeds.len())].1;
                let from = random.usize(..=other.len());
                let to = (from + random.usize(..256)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            4 => random.fill(&mut input[at..end]),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.u8(..8);
                }
            }
        }
    }
    input
}

fn run(name: &str) {
    let target = *bodies::TARGETS
        .iter()
        .find(|target| target.0 == name)
        .unwrap();
    let seeds = seeds(name);
    for (_, input) in &seeds {
        try_one(target, input);
    }
    let longer = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let (tries, limit) = match longer {
        Some(seconds) => (u64::MAX, Duration::from_secs(seconds)),
        None => (TRIES, LONG_ENOUGH),
    };
    let mut random = match longer {
        Some(_) => fastrand::Rng::new(),
        None => fastrand::Rng::with_seed(6),
    };
    let start = Instant::now();
    let mut tried = 0;
    while tried < tries && start.elapsed() < limit {
        try_one(target, &change(&mut random, &seeds));
        tried += 1;
    }
    println!("{name}: {} seeds, {tried} changed inputs", seeds.len());
}

macro_rules! each_target {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn every_target_is_run_here_and_by_cargo_fuzz() {
            let here: &[&str] = &[$(stringify!($name)),*];
            let all: Vec<&str> = bodies::TARGETS.iter().map(|target| target.0).collect();
            assert_eq!(here, all);
            let manifest = fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
            for name in all {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
                let path = fuzz_folder().join(format!("fuzz_targets/{name}.rs"));
                let text = fs::read_to_string(path).unwrap();
                assert!(text.contains(&format!("{name}::run(data)")), "{name}");
            }
        }
    };
}

each_target!(config datagram listing ranges store_map swarm tree values);

/// Else what follows from a good listing would not be tried at all.
#[test]
fn a_seed_of_the_listings_is_a_good_one() {
    let good = fs::read(fuzz_folder().join("seeds/listing/folders")).unwrap();
    let listing = cjp2pfs::content::Listing::parse(&good).unwrap();
    assert_eq!(listing.files().count(), 3);
    assert_eq!(listing.entries().len(), 5);
}
