//! The walk through folders, which finds what there is to hash and follows no link.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;

use super::pass::{Start, Work};
use super::{Observer, Skip};
use crate::content::listing::{Listed, MAX_DEPTH, MODE_BITS};
use crate::content::{ContentHasher, listing::Entry};

/// A file that is to be hashed.
pub(super) struct Found {
    /// As the user named it.
    pub shown: PathBuf,
    /// Where it lies.
    pub real: PathBuf,
    /// Its place in the folder's listing; `None` for a file that was named itself, or whose name
    /// is not UTF-8.
    pub listed: Option<Box<str>>,
    /// The number of the path that the walk began at.
    pub start: usize,
}

pub(super) struct Walk<'a> {
    pub work: &'a Work<'a>,
    pub observer: &'a dyn Observer,
    pub queue: SyncSender<Found>,
}

/// Something that the walk has come to.
struct Place<'p> {
    start: usize,
    shown: &'p Path,
    real: &'p Path,
    /// The way from the start, where it is UTF-8; empty at the start.
    relative: Option<&'p str>,
    depth: usize,
}

impl Walk<'_> {
    pub fn begin(&self, number: usize, start: &Start) {
        let shown = start.path();
        let real = match start {
            // A path that the user named: links are followed here, and only here.
            Start::Argument(path) => fs::canonicalize(path),
            Start::Inside(path) => Ok(path.clone()),
        };
        match real {
            Ok(real) => {
                self.work
                    .gather(number, |found| found.real = Some(real.clone()));
                self.visit(&Place {
                    start: number,
                    shown,
                    real: &real,
                    relative: Some(""),
                    depth: 0,
                });
            }
            Err(e) => self.observer.skipped(shown, &Skip::Unreadable(e)),
        }
    }

    fn visit(&self, place: &Place<'_>) {
        if !self.observer.wanted() {
            return;
        }
        let skip = match fs::symlink_metadata(place.real) {
            Err(e) => Skip::Unreadable(e),
            Ok(metadata) if metadata.is_dir() => match self.folder(place) {
                None => return,
                Some(skip) => skip,
            },
            Ok(metadata) if metadata.is_symlink() => self.link(place),
            Ok(metadata) if !metadata.is_file() => Skip::Special,
            Ok(metadata) if metadata.len() == 0 => self.empty(place, &metadata),
            Ok(metadata) => {
                self.file(place, &metadata);
                return;
            }
        };
        self.observer.skipped(place.shown, &skip);
    }

    fn file(&self, place: &Place<'_>, metadata: &Metadata) {
        self.observer.found(metadata.len());
        if place.relative.is_none() {
            self.observer.skipped(place.shown, &Skip::Unlisted);
        }
        // The hashers are gone only if the store failed, which ends the walk anyway.
        let _ = self.queue.send(Found {
            shown: place.shown.to_owned(),
            real: place.real.to_owned(),
            listed: place.relative.filter(|r| !r.is_empty()).map(Into::into),
            start: place.start,
        });
    }

    fn link(&self, place: &Place<'_>) -> Skip {
        let target = match fs::read_link(place.real) {
            Ok(target) => target,
            Err(e) => return Skip::Unreadable(e),
        };
        let (Some(path), Some(target)) = (place.relative, target.to_str()) else {
            return Skip::NotText;
        };
        self.list(place, path, || Listed::Link {
            target: target.into(),
        });
        Skip::SymbolicLink
    }

    fn empty(&self, place: &Place<'_>, metadata: &Metadata) -> Skip {
        let Some(path) = place.relative else {
            return Skip::NotText;
        };
        if path.is_empty() {
            self.work.gather(place.start, |found| found.empty = true);
        }
        self.list(place, path, || {
            let digests = ContentHasher::new().finish();
            listed_file(metadata, &digests.sha256, &digests.blake3, 0)
        });
        Skip::Empty {
            listed: !path.is_empty(),
        }
    }

    fn list(&self, place: &Place<'_>, path: &str, what: impl FnOnce() -> Listed) {
        if !path.is_empty() {
            let entry = Entry {
                path: path.into(),
                what: what(),
            };
            self.work
                .gather(place.start, |found| found.entries.push(entry));
        }
    }

    /// Walks through a folder, or says why not.
    fn folder(&self, place: &Place<'_>) -> Option<Skip> {
        if self.work.own.as_deref() == Some(place.real) {
            return Some(Skip::OwnStore);
        }
        if place.depth >= MAX_DEPTH {
            return Some(Skip::TooDeep);
        }
        if place.depth == 0 {
            self.work.gather(place.start, |found| found.folder = true);
        }
        // Before it is read, so that nothing comes in between unseen.
        (self.work.entering)(place.real);
        let names = match names_in(place.real) {
            Ok(names) => names,
            Err(e) => return Some(Skip::Unreadable(e)),
        };
        if let Some(path) = place.relative.filter(|path| !path.is_empty()) {
            self.work
                .gather(place.start, |found| found.folders.push(path.into()));
        }
        for name in names {
            let shown = place.shown.join(&name);
            if name.as_bytes().starts_with(b".") {
                self.observer.skipped(&shown, &Skip::Hidden);
                continue;
            }
            let relative = match (place.relative, name.to_str()) {
                (Some(""), Some(name)) => Some(name.to_owned()),
                (Some(folder), Some(name)) => Some(format!("{folder}/{name}")),
                _ => None,
            };
            self.visit(&Place {
                start: place.start,
                shown: &shown,
                real: &place.real.join(&name),
                relative: relative.as_deref(),
                depth: place.depth + 1,
            });
        }
        None
    }
}

fn names_in(folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort_unstable();
    Ok(names)
}

/// A file's part of the listing.
pub(super) fn listed_file(
    metadata: &Metadata,
    sha256: &crate::content::Hash,
    blake3: &crate::content::Hash,
    length: u64,
) -> Listed {
    use std::os::unix::fs::MetadataExt;
    Listed::File {
        length,
        modified: metadata.mtime(),
        mode: metadata.mode() & MODE_BITS,
        sha256: *sha256,
        blake3: Some(*blake3),
    }
}
