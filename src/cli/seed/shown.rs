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

/// What becomes of whatever is not both served and listed, and its kinds, in the order in which they
/// are told.
const FATES: [(&str, &[Kind]); 3] = [
    (
        "only in the listing",
        &[
            (["empty"; 2], "empty"),
            (["symbolic link", "symbolic links"], "link"),
        ],
    ),
    ("served, but not in the listing", &[(NOT_TEXT, "unlisted")]),
    (
        "left out",
        &[
            (["empty"; 2], "nothing"),
            (["hidden"; 2], "hidden"),
            (["special file", "special files"], "special"),
            (["unreadable"; 2], "unreadable"),
            (["changing"; 2], "changing"),
            (["too deep"; 2], "too-deep"),
            (NOT_TEXT, "not-text"),
        ],
    ),
];

/// What one of a kind is called, what several are, and the word of [`skip_words`] for it.
type Kind = ([&'static str; 2], &'static str);

const NOT_TEXT: [&str; 2] = [
    "with a name that is not UTF-8",
    "with names that are not UTF-8",
];

pub struct Shown {
    pub bar: ProgressBar,
    pub stop: AtomicBool,
    pub seeded: AtomicU64,
    /// Folders of which there is a listing.
    listed: AtomicU64,
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
            listed: AtomicU64::new(0),
            files: AtomicU64::new(0),
            total: AtomicU64::new(0),
            skipped: Mutex::default(),
            lines_left: AtomicI32::new(LINES),
        }
    }
}

impl Shown {
    /// What is served where `files` are, in words; `None`: nothing is.
    pub fn served(&self, files: u64) -> Option<String> {
        match (files, self.listed.load(Ordering::Relaxed)) {
            (0, 0) => None,
            // Empty files need no serving, but who has the listing knows of them.
            (0, 1) => Some("the listing of 1 folder".to_owned()),
            (0, folders) => Some(format!("the listings of {folders} folders")),
            (1, _) => Some("1 file".to_owned()),
            _ => Some(format!("{files} files")),
        }
    }

    /// What is not served, or not listed, in a line each.
    pub fn tell_skipped(&self) {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        for (fate, kinds) in FATES {
            let parts: Vec<String> = kinds
                .iter()
                .filter_map(|([one, many], word)| match skipped.get(word)? {
                    1 => Some(format!("1 {one}")),
                    count => Some(format!("{count} {many}")),
                })
                .collect();
            if !parts.is_empty() {
                tell(&format!("{fate}: {}", parts.join(", ")));
            }
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
                self.listed.fetch_add(1, Ordering::Relaxed);
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
        let mut words = FATES.iter().flat_map(|(_, kinds)| *kinds);
        let Some((_, word)) = words.find(|(_, word)| *word == why) else {
            return;
        };
        {
            let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
            *skipped.entry(*word).or_default() += 1;
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
