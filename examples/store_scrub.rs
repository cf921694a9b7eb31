//! How fast what is held is read once more and compared with its ids (`cjp2pfs verify`), as a share
//! of the slower of the disk and the hash by themselves: `scripts/bench-store` runs this.
//!
//! `DIR MEBIBYTES ROUNDS` fills a store in `DIR` with so much in some files, and prints the medians
//! of so many rounds. In each the three take turns, on as many threads, from a cold page cache.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use cjp2pfs::content::{ByteRange, ContentId};
use cjp2pfs::store::Store;
use sha2::{Digest, Sha256};

/// Pieces of content; enough that the threads end at about the same time.
const FILES: usize = 16;
const CHUNK: usize = 1 << 20;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, mebibytes, rounds] = &arguments[..] else {
        return Err("DIR MEBIBYTES ROUNDS".into());
    };
    let rounds: usize = rounds.parse()?;
    let chunks = mebibytes.parse::<usize>()?.div_ceil(FILES).max(1);
    let bytes = (chunks * CHUNK * FILES) as f64;
    let store = Store::open(Path::new(dir))?;
    let files: Vec<PathBuf> = (0..FILES)
        .map(|number| fill(&store, number as u64, chunks))
        .collect::<Outcome<_>>()?;
    let threads = thread::available_parallelism().map_or(1, |n| n.get().min(4));

    let mut rates: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds {
        let disk = timed(|| each(threads, |number| read(&files[number])))?;
        let hash = timed(|| each(threads, |_| hash(chunks)))?;
        let scrub = timed(|| {
            let scrubbed = store.scrub(None, &|_, _, _| true)?;
            match (scrubbed.files as usize, scrubbed.bad) {
                (FILES, 0) => Ok(()),
                _ => Err(format!("{scrubbed:?}").into()),
            }
        })?;
        let seconds = [disk, hash, scrub];
        for (rates, seconds) in rates.iter_mut().zip(seconds) {
            rates.push(bytes / seconds / 1e6);
        }
        rates[3].push(disk.max(hash) / scrub);
    }
    let [disk, hash, scrub, share] = rates.map(median);
    println!("disk           {disk:8.0} MB/s");
    println!("hash           {hash:8.0} MB/s");
    println!("scrub          {scrub:8.0} MB/s, {share:.2} of the slower of these");
    Ok(())
}

/// Complete content of so many chunks; where it lies.
fn fill(store: &Store, seed: u64, chunks: usize) -> Outcome<PathBuf> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut data = vec![0; chunks * CHUNK];
    random.fill(&mut data);
    let id = ContentId::sha256(Sha256::digest(&data).into());
    let length = data.len() as u64;
    let partial = store.partial(&id, length)?;
    partial.write_at(0, &data)?;
    partial.note_present(ByteRange::new(0, length));
    partial.complete()?;
    let hex = id.hash.to_string();
    let folder = store.dir().join("complete/sha256").join(&hex[..2]);
    Ok(folder.join(hex))
}

/// Does `work` for every file, on so many threads.
fn each(threads: usize, work: impl Fn(usize) -> Outcome + Sync) -> Outcome {
    let next = AtomicUsize::new(0);
    let run = || -> Outcome {
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                number if number < FILES => work(number)?,
                _ => return Ok(()),
            }
        }
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mine = run();
        let ended = others.into_iter().map(|other| match other.join() {
            Ok(result) => result,
            Err(_) => Err("a thread panicked".into()),
        });
        ended.fold(mine, |all, one| all.and(one))
    })
}

fn read(path: &Path) -> Outcome {
    let file = File::open(path)?;
    for advice in [libc::POSIX_FADV_DONTNEED, libc::POSIX_FADV_SEQUENTIAL] {
        // SAFETY: no memory is handed over; the descriptor is open as long as `file`.
        unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, advice) };
    }
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < fs::metadata(path)?.len() {
        file.read_exact_at(&mut buffer, at)?;
        at += CHUNK as u64;
    }
    Ok(())
}

fn hash(chunks: usize) -> Outcome {
    let buffer = vec![7; CHUNK];
    let mut hasher = Sha256::new();
    for _ in 0..chunks {
        hasher.update(&buffer);
    }
    std::hint::black_box(hasher.finalize());
    Ok(())
}

/// Seconds.
fn timed(work: impl FnOnce() -> Outcome) -> Outcome<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
