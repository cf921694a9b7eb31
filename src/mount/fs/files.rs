//! Open files.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{debug, error};

use super::super::errno::Errno;
use super::super::handles::Fh;
use super::super::ino::Ino;
use super::super::inodes::{OpenMode, Passage};
use super::super::source::{Reading, Source};
use super::{FileSystem, OpenFile, Opened, Opening};
use crate::node::{DoneRead, Failure};

impl<S: Source, K: Send + Sync + 'static> FileSystem<S, K> {
    /// Opens a file for reading, for the thread `pid`. Waits for the disk, or where the source has
    /// forgotten the content and has to look for it again.
    pub fn open(self: &Arc<Self>, ino: Ino, pid: u32, opening: impl Opening<K>) {
        if self.is_folder(ino) {
            return opening.done(Err(Errno::EISDIR));
        }
        if let Some(of) = self.places.stream(ino) {
            return opening.done(self.open_stream(ino, &of));
        }
        let Some((id, _)) = self.inodes.content(ino) else {
            return opening.done(Err(Errno::ESTALE));
        };
        // Whatever has become of the content at its source.
        match self.inodes.pass_along(ino) {
            Ok(Some(passage)) => {
                let handle = self.handle(ino, OpenMode::Passed, Some(passage), None);
                return opening.done(Ok(handle));
            }
            Ok(None) => {}
            Err(errno) => return opening.done(Err(errno)),
        }
        self.open_content(id, pid, move |fs, reader| match reader {
            Err(Failure::NotFound) => fs.find(id, pid, move |fs, found| match found {
                Ok(_) => {
                    fs.open_content(id, pid, move |fs, reader| fs.finish(ino, reader, opening))
                }
                Err(errno) => opening.done(Err(errno)),
            }),
            reader => fs.finish(ino, reader, opening),
        });
    }

    fn finish(&self, ino: Ino, reader: Result<S::Reader, Failure>, opening: impl Opening<K>) {
        let opened = reader
            .map_err(Errno::of_open)
            .and_then(|reader| self.opened(ino, reader, &opening));
        opening.done(opened);
    }

    fn opened(
        &self,
        ino: Ino,
        reader: S::Reader,
        opening: &impl Opening<K>,
    ) -> Result<Opened<K>, Errno> {
        // A length that was not proven can turn out to be another. The kernel then looks the name
        // up anew, and so learns the new one, before it tries once more.
        match self.inodes.content(ino) {
            Some((_, length)) if length == reader.length() => {}
            // The listing says so, and will say so again.
            Some(_) if self.inodes.is_published(ino) => return Err(Errno::EIO),
            _ => return Err(Errno::ESTALE),
        }
        let offer = self.offer(ino, &reader, opening);
        let (mode, passage) = self
            .inodes
            .opened(ino, reader.proven(), reader.generation(), offer);
        let reader = (mode != OpenMode::Passed).then_some(reader);
        Ok(self.handle(ino, mode, passage, reader))
    }

    /// What the kernel could read by itself in place of `reader`.
    fn offer(&self, ino: Ino, reader: &S::Reader, opening: &impl Opening<K>) -> Option<Passage<K>> {
        if self.refused.load(Ordering::Relaxed) || !self.inodes.may_pass(ino) {
            return None;
        }
        let file = reader.backing()?;
        match opening.pass((*file).as_fd()) {
            Ok(kernel) => Some(Passage::new(kernel, file)),
            Err(error) => {
                let passing = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN];
                if !error.raw_os_error().is_some_and(|e| passing.contains(&e)) {
                    self.refused.store(true, Ordering::Relaxed);
                    debug!(%error, "the kernel does not read files by itself");
                }
                None
            }
        }
    }

    fn handle(
        &self,
        ino: Ino,
        mode: OpenMode,
        passage: Option<Arc<Passage<K>>>,
        reader: Option<S::Reader>,
    ) -> Opened<K> {
        let fh = self.files.insert(OpenFile {
            ino,
            mode,
            reader,
            stream: None,
        });
        Opened { fh, mode, passage }
    }

    /// Reads `length` bytes from `offset`, for the thread `pid`: exactly that many, fewer only
    /// where the content ends.
    pub fn read<D>(&self, fh: Fh, offset: u64, length: u32, pid: u32, done: D)
    where
        D: FnOnce(Result<&[u8], Errno>) + Send + 'static,
    {
        let read = |reader: &S::Reader, done| reader.read(offset, length, done);
        self.read_by(read, fh, offset, length, pid, done);
    }

    /// The same, for pages that other processes see, too.
    pub fn fill<D>(&self, fh: Fh, offset: u64, length: u32, pid: u32, done: D)
    where
        D: FnOnce(Result<&[u8], Errno>) + Send + 'static,
    {
        let fill = |reader: &S::Reader, done| reader.fill(pid, offset, length, done);
        self.read_by(fill, fh, offset, length, pid, done);
    }

    fn read_by<R, D>(&self, read: R, fh: Fh, offset: u64, length: u32, pid: u32, done: D)
    where
        R: FnOnce(&S::Reader, DoneRead) -> Option<S::Waiting>,
        D: FnOnce(Result<&[u8], Errno>) + Send + 'static,
    {
        let file = self.files.get(fh);
        if let Some(stream) = file.as_ref().and_then(|file| file.stream.as_ref()) {
            return self.read_stream(&**stream, offset, length, pid, done);
        }
        let Some(reader) = file.as_ref().and_then(|file| file.reader.as_ref()) else {
            return done(Err(Errno::EBADF));
        };
        let expected = reader
            .length()
            .saturating_sub(offset)
            .min(u64::from(length));
        let waiting = read(
            reader,
            Box::new(move |read| {
                done(match read {
                    // Too little would be taken for the end of the file, or for zeros.
                    Ok(data) if data.len() as u64 != expected => {
                        error!(
                            offset,
                            expected,
                            got = data.len(),
                            "a read came back with the wrong number of bytes"
                        );
                        Err(Errno::EIO)
                    }
                    Ok(data) => Ok(data),
                    Err(failure) => Err(Errno::of_read(failure)),
                });
            }),
        );
        if let Some(waiting) = waiting {
            self.watcher.watch(pid, waiting);
        }
    }

    /// Closes a file.
    pub fn close(&self, fh: Fh) {
        if let Some(file) = self.files.remove(fh) {
            self.inodes.closed(file.ino, file.mode);
        }
    }
}
