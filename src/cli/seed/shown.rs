//! What the user sees of seeding, whoever does it: the list of `sha256sum`, a bar, and what was left
//! out.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;

use super::super::checksum_line::write_checksum_line;
use super::super::{progress, tell};
use crate::content::Hash;
use crate::control::skip_words;
use crate::node::seeding::{Observer, SeededFile, SeededRoot, Skip};

/// After so many lines about single files only their number is told.
const LINES: i32 = 20;

/// The kinds of what is left out, in the order in which they are told, and how.
const KINDS: [(&str, &[&str]); 6] = [
    ("empty", &["empty"]),
    ("hidden", &["hidden"]),
    ("symbolic links", &["link"]),
    ("special files", &["special"]),
    (
        "unreadable or changing",
        &["unreadable", "changing", "too-deep"],
    ),
    ("with names that no listing can have", &["not-text"]),
];

pub struct Shown {
    pub bar: ProgressBar,
    pub stop: AtomicBool,
    pub seeded: AtomicU64,
    files: AtomicU64,
    total: AtomicU64,
    skipped: Mutex<BTreeMap<&'static str, u64>>,
    /// Lines about single files that may still be printed.
    lines_left: AtomicI32,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            bar: progress::bar(0, "hashing"),
            stop: AtomicBool::new(false),
            seeded: AtomicU64::new(0),
            files: AtomicU64::new(0),
            total: AtomicU64::new(0),
            skipped: Mutex::default(),
            lines_left: AtomicI32::new(LINES),
        }
    }
}

impl Shown {
    /// What was left out, in one line.
    pub fn tell_skipped(&self) {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        let parts: Vec<String> = KINDS
            .iter()
            .filter_map(|(name, _)| Some(format!("{} {name}", skipped.get(name)?)))
            .collect();
        if !parts.is_empty() {
            tell(&format!("left out: {}", parts.join(", ")));
        }
    }

    /// How many files are known of and how many bytes, done and in all.
    pub fn show_progress(&self, files: u64, found: u64, done: u64) {
        self.bar.set_length(found);
        self.bar.set_position(done);
        let seeded = self.seeded.load(Ordering::Relaxed);
        self.bar.set_message(format!("{seeded} of {files} files"));
    }

    /// A file is served.
    pub fn show_seeded(&self, path: &Path, sha256: &Hash) {
        self.seeded.fetch_add(1, Ordering::Relaxed);
        self.bar.suspend(|| {
            // Serving goes on when nobody reads the list any more.
            let mut out = io::stdout().lock();
            let _ = write_checksum_line(&mut out, sha256, path);
            let _ = out.flush();
        });
    }

    /// A folder is done. A comment, to `sha256sum --check`.
    pub fn show_folder(&self, path: &Path, listing: Result<&str, &str>) {
        self.bar.suspend(|| match listing {
            Ok(id) => {
                let path = path.to_string_lossy().replace(['\n', '\r'], "?");
                let mut out = io::stdout().lock();
                let _ = writeln!(out, "# folder/{id}  {path}");
                let _ = out.flush();
            }
            Err(reason) => tell(&format!("{} has no id: {reason}", path.display())),
        });
    }

    /// The listings of the folders among `roots`.
    pub fn show_folders(&self, roots: &[SeededRoot]) {
        for root in roots {
            match &root.listing {
                None => {}
                Some(Ok(id)) => self.show_folder(&root.shown, Ok(&id.to_string())),
                Some(Err(error)) => self.show_folder(&root.shown, Err(&error.to_string())),
            }
        }
    }

    /// A path is left out.
    pub fn show_skipped(&self, path: &Path, why: &str, reason: Option<&str>) {
        let kind = KINDS.iter().find(|(_, words)| words.contains(&why));
        let Some((kind, _)) = kind else { return };
        {
            let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
            *skipped.entry(kind).or_default() += 1;
        }
        let path = path.display();
        let line = match (why, reason) {
            ("unreadable", Some(reason)) => {
                let error = anyhow::anyhow!("{reason}");
                let cause = super::super::exit_codes::one_line(&error);
                format!("cannot read {path}: {cause}")
            }
            ("changing", _) => format!("{path} is being changed, so it is left out"),
            ("too-deep", _) => format!("{path} lies too deep, so it is left out"),
            _ => return,
        };
        if self.lines_left.fetch_sub(1, Ordering::Relaxed) > 0 {
            self.bar.suspend(|| tell(&line));
        }
    }
}

impl Observer for Shown {
    fn found(&self, length: u64) {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        let total = self.total.fetch_add(length, Ordering::Relaxed) + length;
        self.show_progress(files, total, self.bar.position());
    }

    fn progress(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn seeded(&self, file: &SeededFile<'_>) {
        self.show_seeded(file.path, &file.sha256);
    }

    fn skipped(&self, path: &Path, why: &Skip) {
        let (why, reason) = skip_words(why);
        self.show_skipped(path, why, reason.as_deref());
    }

    fn wanted(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}
