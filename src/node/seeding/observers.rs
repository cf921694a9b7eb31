//! Who looks on while a pass runs.

use std::path::Path;
use std::sync::atomic::Ordering;

use super::keeper::{Inner, Progress};
use super::{Observer, SeededFile, Skip};

/// The observer of a pass, which ends it when the seeder or the user wants that.
pub(super) struct Watched<'a> {
    pub observer: &'a dyn Observer,
    pub inner: &'a Inner,
    pub progress: &'a Progress,
}

impl Observer for Watched<'_> {
    fn found(&self, length: u64) {
        self.progress.found.fetch_add(length, Ordering::Relaxed);
        self.observer.found(length);
    }

    fn progress(&self, bytes: u64) {
        self.progress.done.fetch_add(bytes, Ordering::Relaxed);
        self.observer.progress(bytes);
    }

    fn seeded(&self, file: &SeededFile<'_>) {
        self.observer.seeded(file);
    }

    fn skipped(&self, path: &Path, why: &Skip) {
        self.observer.skipped(path, why);
    }

    fn wanted(&self) -> bool {
        !self.inner.stopping.load(Ordering::Relaxed)
            && !self.progress.cancelled.load(Ordering::Relaxed)
            && self.observer.wanted()
    }
}

/// Like [`Silent`], until the seeder stops.
pub(super) struct UntilStopped<'a>(pub &'a Inner);

impl Observer for UntilStopped<'_> {
    fn found(&self, _: u64) {}
    fn progress(&self, _: u64) {}
    fn seeded(&self, file: &SeededFile<'_>) {
        Silent.seeded(file);
    }
    fn skipped(&self, path: &Path, why: &Skip) {
        Silent.skipped(path, why);
    }
    fn wanted(&self) -> bool {
        !self.0.stopping.load(Ordering::Relaxed)
    }
}

/// Nobody looks; what is odd goes to the log.
pub(super) struct Silent;

impl Observer for Silent {
    fn found(&self, _: u64) {}
    fn progress(&self, _: u64) {}
    fn seeded(&self, file: &SeededFile<'_>) {
        tracing::debug!(path = %file.path.display(), sha256 = %file.sha256, "seeded");
    }
    fn skipped(&self, path: &Path, why: &Skip) {
        tracing::debug!(path = %path.display(), ?why, "not seeded");
    }
    fn wanted(&self) -> bool {
        true
    }
}
