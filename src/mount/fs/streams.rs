//! Streams: files that grow while they are read.

use std::sync::Arc;

use super::super::attributes::Attributes;
use super::super::errno::Errno;
use super::super::ino::Ino;
use super::super::inodes::OpenMode;
use super::super::places::Place;
use super::super::source::{Source, Streaming};
use super::{FileSystem, OpenFile, Opened};
use crate::content::KeyedName;
use crate::node::Failure;

/// What is seen of a stream: it may have grown by the next look.
fn attributes_of(ino: Ino, length: u64) -> Attributes {
    Attributes {
        ino,
        folder: false,
        length,
        lasting: false,
        listed: None,
    }
}

impl<S: Source, K: Send + Sync + 'static> FileSystem<S, K> {
    pub(super) fn lookup_stream<D>(self: &Arc<Self>, of: KeyedName, pid: u32, done: D)
    where
        D: FnOnce(Result<Attributes, Errno>) + Send + 'static,
    {
        let fs = Arc::clone(self);
        let named = of.clone();
        let waiting = self.source.find_stream(
            &named,
            Box::new(move |found| {
                done(found.map_err(Errno::of_lookup).map(|length| {
                    let ino = fs.places.tell(Place::Stream(of)).ino;
                    attributes_of(ino, length)
                }));
            }),
        );
        if let Some(waiting) = waiting {
            self.watcher.watch(pid, waiting);
        }
    }

    /// What `stat` shows of a stream. What was forgotten meanwhile is looked for anew when its name is.
    pub(super) fn stream_attributes(&self, ino: Ino, of: &KeyedName) -> Result<Attributes, Errno> {
        let length = self.source.stream_length(of).ok_or(Errno::ESTALE)?;
        Ok(attributes_of(ino, length))
    }

    /// Opens a stream, past the page cache, where what is past the end would be zeros.
    pub(super) fn open_stream(&self, ino: Ino, of: &KeyedName) -> Result<Opened<K>, Errno> {
        let stream = self
            .source
            .open_stream(of)
            .map_err(|failure| match failure {
                Failure::NotFound => Errno::ESTALE,
                failure => Errno::of_lookup(failure),
            })?;
        let mode = OpenMode::Direct { keep: true };
        let fh = self.files.insert(OpenFile {
            ino,
            mode,
            reader: None,
            stream: Some(stream),
        });
        Ok(Opened {
            fh,
            mode,
            passage: None,
        })
    }

    /// Reads up to `length` bytes from `offset`: at the end, what comes next.
    pub(super) fn read_stream<D>(
        &self,
        stream: &dyn Streaming<S::Waiting>,
        offset: u64,
        length: u32,
        pid: u32,
        done: D,
    ) where
        D: FnOnce(Result<&[u8], Errno>) + Send + 'static,
    {
        let done = move |read: Result<&[u8], Failure>| done(read.map_err(Errno::of_read));
        if let Some(waiting) = stream.read(offset, length, Box::new(done)) {
            self.watcher.watch(pid, waiting);
        }
    }
}
