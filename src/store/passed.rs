//! Files that the kernel reads by itself, past the store (FUSE passthrough).
//!
//! Nobody looks at such reads, neither before nor after. So the file must be one that cannot change:
//! complete, durable, and the store's alone. A file of the user's is not, and one that was lent may
//! be written to at its other name; hence the store lends nothing that it has passed on.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex};

use super::file::Content;
use super::lent::is_lent;
use super::{Store, lock};

/// The files that are passed on, by device and inode, and how often each is.
#[derive(Clone, Debug, Default)]
pub(super) struct PassedFiles(Arc<Mutex<HashMap<(u64, u64), usize>>>);

/// A file of the store's that may be read without asking as long as this lives.
#[derive(Debug)]
pub struct Passed {
    content: Content,
    key: (u64, u64),
    all: PassedFiles,
}

impl PassedFiles {
    /// Whether the file is passed on.
    pub(super) fn has(&self, file: &Metadata) -> bool {
        lock(&self.0).contains_key(&key(file))
    }
}

fn key(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Store {
    /// Passes on the file of `content`, unless somebody but the store may change it.
    #[must_use]
    pub fn pass(&self, content: &Content) -> Option<Passed> {
        let key = key(&content.file().metadata().ok()?);
        *lock(&self.0.passed.0).entry(key).or_default() += 1;
        let passed = Passed {
            content: content.clone(),
            key,
            all: self.0.passed.clone(),
        };
        // Looked at only now: whoever lends it gives it a second name first, and then looks here.
        let file = content.file().metadata().ok()?;
        let ours = content.is_a_file_of_the_stores_own()
            && file.is_file()
            && file.nlink() == 1
            && file.len() == content.length()
            && !is_lent(&file);
        ours.then_some(passed)
    }
}

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.content.file().as_fd()
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        let mut all = lock(&self.all.0);
        if let Some(times) = all.get_mut(&self.key) {
            *times = times.saturating_sub(1);
            if *times == 0 {
                all.remove(&self.key);
            }
        }
    }
}
