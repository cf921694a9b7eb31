//! `hash`.
//!
//! With `--folder`, the id that `seed` would print for a folder, or its listing.
//!
//! The hashes are taken here and not by the hasher of the content room: that one also keeps the
//! tree of the content, whose memory follows the length of the file.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail};
use indicatif::ProgressBar;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::args::HashArgs;
use super::checksum_line::write_checksum_line;
use super::exit_codes::{Outcome, one_line};
use super::{progress, tell};
use crate::content::Hash;
use crate::node::seeding::{Observer, SeededFile, Skip, list_folder};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

pub fn run(args: &HashArgs) -> Result<Outcome> {
    if args.folder {
        return folders(args);
    }
    let mut outcome = Outcome::Done;
    let mut documents = Vec::new();
    let mut out = io::stdout().lock();
    for path in &args.files {
        let hashed = match hash_file(path, !args.blake3, args.blake3 || args.json) {
            Ok(hashed) => hashed,
            Err(error) => {
                tell(&one_line(&error));
                outcome = Outcome::Failed;
                continue;
            }
        };
        if args.json {
            documents.push(json!({
                "path": path.to_string_lossy(),
                "length": hashed.length,
                "sha256": hashed.sha256.to_string(),
                "blake3": hashed.blake3.to_string(),
            }));
        } else {
            let hash = if args.blake3 {
                hashed.blake3
            } else {
                hashed.sha256
            };
            write_checksum_line(&mut out, &hash, path)?;
        }
    }
    if args.json {
        serde_json::to_writer_pretty(&mut out, &documents).map_err(io::Error::from)?;
        writeln!(out)?;
    }
    out.flush()?;
    Ok(outcome)
}

fn folders(args: &HashArgs) -> Result<Outcome> {
    let mut outcome = Outcome::Done;
    let mut out = io::stdout().lock();
    for path in &args.files {
        match hash_folder(path) {
            Ok((text, whole)) => {
                if !whole {
                    outcome = Outcome::Failed;
                }
                if args.list {
                    out.write_all(text.as_bytes())?;
                } else {
                    let id = Hash(Sha256::digest(text.as_bytes()).into());
                    write_checksum_line(&mut out, &id, path)?;
                }
            }
            Err(error) => {
                tell(&one_line(&error));
                outcome = Outcome::Failed;
            }
        }
    }
    out.flush()?;
    Ok(outcome)
}

/// The text of a folder's listing, and whether everything in it could be read.
fn hash_folder(path: &Path) -> Result<(String, bool)> {
    let metadata = path
        .metadata()
        .with_context(|| format!("cannot read {}", path.display()))?;
    if !metadata.is_dir() {
        bail!("{} is not a folder", path.display());
    }
    let shown = Hashing {
        bar: progress::bar(0, "hashing"),
        whole: AtomicBool::new(true),
    };
    let listing = list_folder(path, &shown);
    shown.bar.finish_and_clear();
    let listing = listing.with_context(|| format!("cannot list {}", path.display()))?;
    let listing = listing.ok_or_else(|| anyhow!("interrupted"))?;
    Ok((listing.to_text(), shown.whole.into_inner()))
}

/// What the user sees meanwhile.
struct Hashing {
    bar: ProgressBar,
    whole: AtomicBool,
}

impl Observer for Hashing {
    fn found(&self, length: u64) {
        self.bar.inc_length(length);
    }

    fn progress(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn seeded(&self, _: &SeededFile<'_>) {}

    fn skipped(&self, path: &Path, why: &Skip) {
        let why = match why {
            // Listed, or left out by everybody.
            Skip::Empty { listed: true }
            | Skip::SymbolicLink
            | Skip::Hidden
            | Skip::Special
            | Skip::OwnStore => return,
            Skip::Empty { listed: false } => "it has just been emptied".to_owned(),
            Skip::Unreadable(error) => one_line(&anyhow!("{error}")),
            Skip::Unlisted | Skip::NotText => "its name is not UTF-8".to_owned(),
            Skip::Changing => "it is being changed".to_owned(),
            Skip::TooDeep => "it lies too deep".to_owned(),
        };
        self.whole.store(false, Ordering::Relaxed);
        self.bar
            .suspend(|| tell(&format!("left out {}: {why}", path.display())));
    }

    fn wanted(&self) -> bool {
        true
    }
}

/// Only the hashes that were asked for mean anything.
struct Hashed {
    length: u64,
    sha256: Hash,
    blake3: Hash,
}

fn hash_file(path: &Path, with_sha256: bool, with_blake3: bool) -> Result<Hashed> {
    let cannot = || format!("cannot read {}", path.display());
    let mut input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).with_context(cannot)?)
    };
    let mut sha256 = Sha256::new();
    let mut blake3 = blake3::Hasher::new();
    let mut length = 0;
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e).with_context(cannot),
        };
        let Some(read) = buffer.get(..count) else {
            break;
        };
        if with_sha256 {
            sha256.update(read);
        }
        if with_blake3 {
            blake3.update(read);
        }
        length += count as u64;
    }
    Ok(Hashed {
        length,
        sha256: Hash(sha256.finalize().into()),
        blake3: Hash(blake3.finalize().into()),
    })
}
