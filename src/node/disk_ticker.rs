//! The disk ticker thread: what is done because time passes and may have to wait for the disk.
//!
//! The ticker keeps the limits of everything that waits, so a disk that hangs must not hold it up. It
//! wakes this thread and goes on. If this one hangs, lookups and reads still end in time.

use std::sync::mpsc::Receiver;
use std::time::Instant;

use super::shared::Shared;

/// Runs until it is woken when the node stops.
pub(super) fn run(shared: &Shared, wake: &Receiver<()>) {
    while wake.recv().is_ok() && !shared.is_stopping() {
        let now = Instant::now();
        for transfer in shared.transfers() {
            shared.press_for_nodes(&transfer, now);
        }
    }
}

impl Shared {
    /// Has the threads that wait for disks see whether they are to stop.
    pub(super) fn wake_disk_threads(&self) {
        self.aside.threads.wake_all();
        self.serving.wake_all();
    }

    /// Has it look at what waits. If it is at it still, it looks once more afterwards.
    pub(super) fn wake_disk_ticker(&self) {
        let _ = self.disk_ticker.try_send(());
    }
}
