//! What a store with very much in it costs: `scripts/bench-store` runs this.
//!
//! `fill DIR COUNT` makes a store with so many complete files; `open DIR` measures how long it takes
//! to open it and to find content in it, and the memory; `sparse DIR` does the same with one piece of
//! content of 1 TiB, complete and partial.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use cjp2pfs::content::{ByteRange, ContentId, Hash, LEAF};
use cjp2pfs::store::Store;
use sha2::{Digest, Sha256};

const TIB: u64 = 1 << 40;
const SAMPLES: usize = 2000;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["fill", dir, count] => fill(Path::new(dir), count.parse()?),
        ["open", dir] => open(Path::new(dir)),
        ["sparse", dir] => sparse(Path::new(dir)),
        _ => Err("fill DIR COUNT, open DIR or sparse DIR".into()),
    }
}

/// Nine bytes each, named as the store names them.
fn fill(dir: &Path, count: u64) -> Outcome {
    drop(Store::open(dir)?);
    let root = dir.join("complete/sha256");
    for byte in 0..=255u8 {
        fs::create_dir_all(root.join(format!("{byte:02x}")))?;
    }
    for number in 0..count {
        let content = format!("{number:08}\n");
        let hash = Hash(Sha256::digest(content.as_bytes()).into()).to_string();
        File::create(root.join(&hash[..2]).join(&hash))?.write_all(content.as_bytes())?;
    }
    let store = Store::open(dir)?;
    let start = Instant::now();
    store.rebuild_index()?;
    let took = start.elapsed();
    println!(
        "index of {count} files made from them in {:.1} s",
        took.as_secs_f64()
    );
    Ok(())
}

fn open(dir: &Path) -> Outcome {
    let before = memory()?;
    let start = Instant::now();
    let store = Store::open(dir)?;
    println!("start          {:8.1} ms", milliseconds(start.elapsed()));
    let count = store.counts().held;
    let mut random = fastrand::Rng::with_seed(1);
    let mut times: Vec<Duration> = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let content = format!("{:08}\n", random.u64(..count));
        let id = ContentId::sha256(Sha256::digest(content.as_bytes()).into());
        let start = Instant::now();
        let found = store.open_content(&id)?.ok_or("it is not held")?;
        times.push(start.elapsed());
        let mut bytes = [0; 9];
        found.read_at(0, &mut bytes)?;
        assert_eq!(bytes, content.as_bytes());
    }
    times.sort_unstable();
    let share =
        |part: usize| milliseconds(times.get(SAMPLES * part / 100).copied().unwrap_or_default());
    println!(
        "open of one    {:8.3} ms median, {:.3} ms p99",
        share(50),
        share(99)
    );
    let absent = ContentId::sha256([7; 32]);
    let start = Instant::now();
    for _ in 0..SAMPLES {
        assert!(!store.may_hold(&absent));
    }
    println!(
        "not held       {:8.4} ms",
        milliseconds(start.elapsed() / SAMPLES as u32)
    );
    println!(
        "memory         {:8.1} MiB more than before",
        memory()? - before
    );
    Ok(())
}

fn sparse(dir: &Path) -> Outcome {
    let store = Store::open(dir)?;
    let before = memory()?;
    let id = ContentId::sha256([1; 32]);
    let folder = dir.join("complete/sha256/01");
    fs::create_dir_all(&folder)?;
    let file = File::create(folder.join(id.hash.to_string()))?;
    file.set_len(TIB)?;
    file.write_all_at(b"in the middle", TIB / 2)?;
    let start = Instant::now();
    let content = store.open_content(&id)?;
    // The index does not know of it yet.
    let content = match content {
        Some(content) => content,
        None => {
            store.rebuild_index()?;
            store.open_content(&id)?.ok_or("it is not held")?
        }
    };
    println!("open of 1 TiB  {:8.3} ms", milliseconds(start.elapsed()));
    let mut buffer = vec![0; 128 << 10];
    let mut random = fastrand::Rng::with_seed(1);
    let start = Instant::now();
    for _ in 0..SAMPLES {
        let at = random.u64(..TIB / LEAF) * LEAF;
        content.read_at(at, &mut buffer)?;
    }
    let each = start.elapsed() / SAMPLES as u32;
    println!("seek and read  {:8.3} ms for 128 KiB", milliseconds(each));

    let id = ContentId::sha256([2; 32]);
    let partial = store.partial(&id, TIB)?;
    let start = Instant::now();
    for _ in 0..SAMPLES {
        let leaf = random.u64(..TIB / LEAF) * LEAF;
        partial.write_at(leaf, &[7; LEAF as usize])?;
        partial.note_present(ByteRange::at(leaf, LEAF));
    }
    partial.sync()?;
    let each = start.elapsed() / SAMPLES as u32;
    println!(
        "leaf written   {:8.3} ms, made durable together",
        milliseconds(each)
    );
    drop(partial);
    let start = Instant::now();
    let partial = store.partial(&id, TIB)?;
    println!("resumed        {:8.3} ms", milliseconds(start.elapsed()));
    assert!(partial.present_bytes() > 0);
    println!(
        "memory         {:8.1} MiB more than before",
        memory()? - before
    );
    partial.discard();
    fs::remove_file(folder.join(ContentId::sha256([1; 32]).hash.to_string()))?;
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The most that this process has held so far, in MiB.
fn memory() -> Result<f64, Box<dyn std::error::Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: f64 = line
        .ok_or("no VmHWM")?
        .trim()
        .trim_end_matches(" kB")
        .parse()?;
    Ok(kib / 1024.0)
}
