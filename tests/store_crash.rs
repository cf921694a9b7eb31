//! Whatever ends the store, and whenever: it opens again, holds all that it said it holds, has no
//! wrong byte, and goes on.
//!
//! One test kills a process at every change that it makes to the disk, and within it. The other
//! takes the power away after every change, with what was not synced lost, reordered and torn.

mod recording_disk;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cjp2pfs::content::{ByteRange, ContentHasher, ContentId, Digests, LEAF};
use cjp2pfs::store::{Limits, Store, StoreError};

/// Leaves of each content; the last one is short.
const LEAVES: u64 = 5;
const CONTENTS: usize = 4;
const LENGTH: u64 = (LEAVES - 1) * LEAF + 100;
/// Another length, that peers claim.
const LIE: u64 = LENGTH + LEAF;
/// How long one killed process may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Something that the store said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    /// The leaf of this content is durable.
    Synced(usize, u64),
    Complete(usize),
    Pinned(usize),
    /// It was asked to give this up, and may have.
    MayGo(usize),
}

impl Said {
    fn number(self) -> usize {
        match self {
            Self::Synced(content, leaf) => 1000 + content * 100 + leaf as usize,
            Self::Complete(content) => 2000 + content,
            Self::Pinned(content) => 3000 + content,
            Self::MayGo(content) => 4000 + content,
        }
    }

    fn of(number: usize) -> Self {
        let rest = number % 1000;
        match number / 1000 {
            1 => Self::Synced(rest / 100, (rest % 100) as u64),
            2 => Self::Complete(rest),
            3 => Self::Pinned(rest),
            _ => Self::MayGo(rest),
        }
    }
}

struct Sample {
    data: Vec<u8>,
    digests: Digests,
    id: ContentId,
}

fn sample(number: usize) -> Sample {
    let mut data = vec![0; LENGTH as usize];
    blake3::Hasher::new()
        .update(&[number as u8])
        .finalize_xof()
        .fill(&mut data);
    // Zeros become holes.
    data[LEAF as usize..2 * LEAF as usize].fill(0);
    let mut hasher = ContentHasher::new();
    hasher.update(&data);
    let digests = hasher.finish();
    let id = ContentId::sha256(digests.sha256.0);
    Sample { data, digests, id }
}

fn leaf(number: u64) -> ByteRange {
    ByteRange::new(number * LEAF, ((number + 1) * LEAF).min(LENGTH))
}

fn bytes(data: &[u8], range: ByteRange) -> &[u8] {
    &data[range.start as usize..range.end as usize]
}

/// Opens the store. The other test starts processes meanwhile, and one that has not yet become another
/// program has what was open here, so that a lock which was let go may be held for a moment longer.
fn open(dir: &Path) -> Result<Store, StoreError> {
    let began = Instant::now();
    loop {
        match Store::open(dir) {
            Err(StoreError::InUse { .. }) if began.elapsed() < LIMIT => std::thread::yield_now(),
            result => return result,
        }
    }
}

/// What a node does to a store; `tell` hears of what the store has promised. Content is completed when
/// it is there, or all of it at once at the end, as a node does that has much to keep.
fn work(dir: &Path, at_once: bool, tell: &mut (dyn FnMut(Said) + Send)) {
    let store = open(dir).unwrap();
    let mut there = Vec::new();
    for number in 0..CONTENTS {
        let sample = sample(number);
        if number == 1 && store.open_content(&sample.id).unwrap().is_some() {
            store.pin(&sample.id).unwrap();
            tell(Said::Pinned(1));
        }
        if store.open_content(&sample.id).unwrap().is_some() {
            continue;
        }
        let mut partial = store.partial(&sample.id, LENGTH).unwrap();
        for at in 0..LEAVES {
            if number == 3 && at == 2 {
                // Most peers come to claim another length, and then this one again.
                let lie = store.partial(&sample.id, LIE).unwrap();
                lie.write_at(0, &[0xee; LEAF as usize]).unwrap();
                lie.note_present(ByteRange::at(0, LEAF));
                lie.sync().unwrap();
                partial = store.partial(&sample.id, LENGTH).unwrap();
            }
            let leaf = leaf(at);
            if !partial.holds(leaf) {
                // What a liar sent is taken back before the right bytes come.
                if at == 2 {
                    partial
                        .write_at(leaf.start, &vec![0xee; leaf.len() as usize])
                        .unwrap();
                    partial.note_absent(leaf);
                }
                partial
                    .write_at(leaf.start, bytes(&sample.data, leaf))
                    .unwrap();
                partial.note_present(leaf);
            }
            if at % 2 == 1 {
                partial.sync().unwrap();
                (0..=at).for_each(|leaf| tell(Said::Synced(number, leaf)));
            }
        }
        if at_once {
            there.push((number, partial));
            continue;
        }
        partial.complete().unwrap();
        tell(Said::Complete(number));
        is_complete(&store, number, tell);
    }
    let told = Mutex::new(&mut *tell);
    std::thread::scope(|scope| {
        for (number, partial) in &there {
            let told = &told;
            scope.spawn(move || {
                partial.complete().unwrap();
                told.lock().unwrap()(Said::Complete(*number));
            });
        }
    });
    for (number, _) in &there {
        is_complete(&store, *number, tell);
    }
    drop(there);
    tell(Said::MayGo(0));
    tell(Said::MayGo(2));
    tell(Said::MayGo(3));
    let limits = Limits {
        most: Some(1),
        least_free: None,
    };
    store.collect(Some(limits), false).unwrap();
}

fn is_complete(store: &Store, number: usize, tell: &mut (dyn FnMut(Said) + Send)) {
    let sample = sample(number);
    store.learned_digests(&sample.digests);
    if number == 1 {
        store.pin(&sample.id).unwrap();
        tell(Said::Pinned(1));
    }
    if number == 2 {
        store.flush().unwrap();
    }
}

/// Opens what a crash left and compares it with what was said.
fn check(dir: &Path, said: &BTreeSet<Said>, what: &str) {
    let store = open(dir).unwrap_or_else(|error| panic!("{what}: it does not open: {error}"));
    for number in 0..CONTENTS {
        let sample = sample(number);
        let complete = store.open_content(&sample.id).unwrap();
        if said.contains(&Said::Complete(number)) && !said.contains(&Said::MayGo(number)) {
            assert!(complete.is_some(), "{what}: {number} was complete");
        }
        if let Some(content) = &complete {
            let mut found = vec![0; LENGTH as usize];
            assert_eq!(content.length(), LENGTH, "{what}: {number}");
            content.read_at(0, &mut found).unwrap();
            assert!(found == sample.data, "{what}: {number} has wrong bytes");
        }
        let tree = ContentId::tree_v2(sample.digests.blake3.0);
        if let Some(found) = store.open_content(&tree).unwrap() {
            let mut bytes = vec![0; found.length() as usize];
            found.read_at(0, &mut bytes).unwrap();
            assert!(bytes == sample.digests.tree, "{what}: the tree of {number}");
        }
        if said.contains(&Said::Pinned(number)) {
            assert!(
                store.is_pinned(&sample.id).unwrap(),
                "{what}: {number} was pinned"
            );
        }
        if complete.is_some() || said.contains(&Said::MayGo(number)) {
            continue;
        }
        let partial = store.partial(&sample.id, LENGTH).unwrap();
        for range in partial.present().iter() {
            let mut found = vec![0; range.len() as usize];
            partial.read_at(range.start, &mut found).unwrap();
            assert!(
                found == bytes(&sample.data, range),
                "{what}: {number} at {range:?}"
            );
        }
        for at in 0..LEAVES {
            if said.contains(&Said::Synced(number, at)) {
                assert!(
                    partial.holds(leaf(at)),
                    "{what}: leaf {at} of {number} was durable"
                );
            }
        }
    }
    for (id, length) in store.contents(100) {
        if let Some(content) = store.open_content(&id).unwrap() {
            assert_eq!(content.length(), length, "{what}");
        }
    }
}

/// It goes on from there to the end.
fn goes_on(dir: &Path, what: &str) {
    let mut said = BTreeSet::new();
    work(dir, false, &mut |it| {
        said.insert(it);
    });
    check(dir, &said, &format!("{what}, gone on"));
    let store = open(dir).unwrap();
    assert!(
        store.open_content(&sample(1).id).unwrap().is_some(),
        "{what}: what is pinned stays"
    );
    assert_eq!(store.partials(), [], "{what}");
}

/// Run by the other test as a process of its own, and does nothing otherwise.
#[test]
fn a_process_that_is_killed() {
    let (Ok(dir), Ok(at)) = (std::env::var("CRASH_DIR"), std::env::var("CRASH_AT")) else {
        return;
    };
    let halfway = std::env::var_os("CRASH_HALFWAY").is_some();
    let dir = PathBuf::from(dir);
    let mut log = fs::File::create(dir.with_extension("said")).unwrap();
    recording_disk::end_at(&dir, at.parse().unwrap(), halfway);
    let at_once = std::env::var_os("CRASH_AT_ONCE").is_some();
    work(&dir, at_once, &mut |said| {
        writeln!(log, "{}", said.number()).unwrap();
    });
}

/// Runs the work in a process that ends at its `at`th change; `false`: it came to its end before.
fn killed(dir: &Path, at: usize, halfway: bool, at_once: bool) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "a_process_that_is_killed", "--test-threads=1"])
        .env("CRASH_DIR", dir)
        .env("CRASH_AT", at.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if halfway {
        command.env("CRASH_HALFWAY", "1");
    }
    if at_once {
        command.env("CRASH_AT_ONCE", "1");
    }
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > LIMIT {
            let _ = child.kill();
            panic!("it does not end when killed at {at}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    match status.code() {
        Some(recording_disk::ENDED) => true,
        Some(0) => false,
        _ => panic!("killed at {at}: {status}"),
    }
}

#[test]
fn killed_at_every_change_it_loses_nothing() {
    kill_at_every_change(false);
}

#[test]
fn killed_while_much_is_completed_at_once_it_loses_nothing() {
    kill_at_every_change(true);
}

fn kill_at_every_change(at_once: bool) {
    let place = tempfile::tempdir().unwrap();
    let mut changes = 0;
    'all: for at in 1.. {
        // Before the change, and in the middle of it.
        for halfway in [false, true] {
            let dir = place.path().join(at.to_string());
            fs::create_dir(&dir).unwrap();
            if !killed(&dir, at, halfway, at_once) {
                break 'all;
            }
            let said = fs::read_to_string(dir.with_extension("said")).unwrap();
            let said = said
                .lines()
                .map(|line| Said::of(line.parse().unwrap()))
                .collect();
            let what = format!("killed at change {at}, halfway: {halfway}, at once: {at_once}");
            check(&dir, &said, &what);
            if at % 16 == 0 {
                goes_on(&dir, &what);
            }
            fs::remove_dir_all(&dir).unwrap();
        }
        changes = at;
    }
    assert!(changes > 100, "only {changes} changes were seen");
    println!("killed at each of {changes} changes, before it and in the middle of it");
}

#[test]
fn after_any_loss_of_power_it_holds_what_it_said() {
    // One after the other: there is one recorder.
    lose_power(false);
    lose_power(true);
}

fn lose_power(at_once: bool) {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    recording_disk::record(&dir);
    let mut count = 0;
    work(&dir, at_once, &mut |said| {
        recording_disk::mark(said.number());
        count += 1;
    });
    let ops = recording_disk::finish();
    assert!(
        count > 20 && ops.len() > 150,
        "{count} said in {} changes",
        ops.len()
    );
    // In memory: what a test of a thousand states writes there need not be durable.
    let memory = Path::new("/dev/shm");
    let replay = if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let mut said = BTreeSet::new();
    let mut states = 0;
    for end in 1..=ops.len() {
        if let recording_disk::Op::Mark(number) = &ops[end - 1] {
            said.insert(Said::of(*number));
        }
        for variant in [end as u64 % 2, 2] {
            let to = replay.path().join("state");
            let mut random = fastrand::Rng::with_seed(end as u64 * 10 + variant);
            // Of what was not synced: names without what is in the files, what is in the files without
            // their names, some of both.
            let mut coin = |sides: usize| match variant {
                0 => sides - 1,
                1 => 0,
                _ => random.usize(..sides),
            };
            recording_disk::make(&ops, end, &dir, &to, &mut coin);
            let what = format!(
                "power lost after change {end} of {}, variant {variant}, at once: {at_once}",
                ops.len()
            );
            check(&to, &said, &what);
            if variant == 2 && end % 16 == 0 {
                goes_on(&to, &what);
            }
            fs::remove_dir_all(&to).unwrap();
            states += 1;
        }
    }
    println!("{states} states after {} changes", ops.len());
}
