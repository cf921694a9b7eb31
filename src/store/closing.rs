//! Closing files where that may wait.
//!
//! A network file system or one in user space may have its server asked when a file is closed, and the server may be
//! gone. Whoever closes such a file is often a thread that serves many. So these are closed by a thread for each
//! disk, which comes when there is something to close and goes when there is not.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Mutex;

use super::lock;
use super::nowait::Waits;

/// What is to be closed, by the device number of the disk. Where there is an entry there is a thread.
static WAITING: Mutex<BTreeMap<u64, Vec<File>>> = Mutex::new(BTreeMap::new());

/// A file that is open for reading, of which nobody waits for the end.
#[derive(Debug)]
pub(super) struct OpenFile {
    file: ManuallyDrop<File>,
    waits: Waits,
    /// The disk that may have to be waited for.
    disk: Option<u64>,
}

impl OpenFile {
    /// A file that is closed without waiting, as local ones are.
    pub fn local(file: File) -> Self {
        Self::of(file, |_| None)
    }

    /// A file anywhere, on the disk of this device number. File systems that cannot tell whether a read would wait
    /// are those that may have somebody to ask.
    pub fn on(disk: u64, file: File) -> Self {
        Self::of(file, |waits| (waits == Waits::Perhaps).then_some(disk))
    }

    fn of(file: File, disk: impl FnOnce(Waits) -> Option<u64>) -> Self {
        let waits = Waits::of(&file);
        Self {
            file: ManuallyDrop::new(file),
            waits,
            disk: disk(waits),
        }
    }

    /// See [`Waits::read_exact_at`].
    pub fn read_exact_at_nowait(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        self.waits.read_exact_at(self, buffer, offset)
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: taken here only, and `self` is not used after this.
        let file = unsafe { ManuallyDrop::take(&mut self.file) };
        if let Some(disk) = self.disk {
            close_aside(disk, file);
        }
    }
}

fn close_aside(disk: u64, file: File) {
    let mut waiting = lock(&WAITING);
    if let Some(files) = waiting.get_mut(&disk) {
        files.push(file);
        return;
    }
    waiting.insert(disk, vec![file]);
    let closes = std::thread::Builder::new().name("closer".into());
    if closes.spawn(move || close_all(disk)).is_err() {
        // Better to wait than to leave it open.
        let files = waiting.remove(&disk);
        drop(waiting);
        drop(files);
    }
}

/// Closes what waits for this disk, until there is nothing more.
fn close_all(disk: u64) {
    loop {
        let files = {
            let mut waiting = lock(&WAITING);
            match waiting.get_mut(&disk).map(std::mem::take) {
                Some(files) if !files.is_empty() => files,
                _ => {
                    waiting.remove(&disk);
                    return;
                }
            }
        };
        drop(files);
    }
}
