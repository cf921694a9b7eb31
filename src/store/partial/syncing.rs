//! What of partial content is durable.
//!
//! The order makes a crash harmless: first the data is made durable, then the marks that were set
//! before that began. So the map on disk never speaks of bytes that are not there.

use std::fs::File;
use std::io;

use super::{Marks, Partial, State};
use crate::content::{ByteRange, RangeSet};
use crate::store::layout::sync_folder;
use crate::store::lock;

impl Partial {
    /// Makes what is present now durable: it will be there after a crash.
    ///
    /// # Errors
    /// The operating system's. When the data could not be made durable the kernel may have dropped
    /// it, so all that was not durable before is no longer present and has to be fetched again.
    pub fn sync(&self) -> io::Result<()> {
        let state = self.0.state.read().unwrap_or_else(|e| e.into_inner());
        match *state {
            State::Open => self.sync_by(File::sync_data),
            // Its map may be that of another by now.
            State::Complete | State::Discarded | State::Left => Ok(()),
        }
    }

    pub(super) fn sync_by(&self, sync_data: impl Fn(&File) -> io::Result<()>) -> io::Result<()> {
        let mut map = lock(&self.0.map);
        let (present, dirty) = {
            let mut marks = lock(&self.0.marks);
            if marks.dirty.is_empty() {
                return Ok(());
            }
            let dirty = std::mem::take(&mut marks.dirty);
            (marks.present.clone(), dirty)
        };
        if let Err(error) = self.sync_data_by(sync_data) {
            lock(&self.0.marks).dirty.extend(dirty);
            return Err(error);
        }
        let written = dirty
            .iter()
            .try_for_each(|page| map.file.write_page(*page, &present))
            .and_then(|()| map.file.sync())
            .and_then(|()| {
                if !map.named {
                    sync_folder(&self.0.store.layout().partial_root())?;
                    map.named = true;
                }
                Ok(())
            });
        let mut marks = lock(&self.0.marks);
        match written {
            // What was taken back while this ran is dirty again and not durable.
            Ok(()) => {
                let mut durable = present;
                let absent: Vec<_> = marks.present_gaps(&durable);
                for range in absent {
                    durable.remove(range);
                }
                marks.durable = durable;
            }
            Err(_) => marks.dirty.extend(dirty),
        }
        written
    }

    pub(super) fn sync_data_by(
        &self,
        sync_data: impl Fn(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        sync_data(&self.0.data).inspect_err(|_| {
            let mut marks = lock(&self.0.marks);
            marks.present = marks.durable.clone();
        })
    }
}

impl Marks {
    /// The parts of `of` that are not present.
    fn present_gaps(&self, of: &RangeSet) -> Vec<ByteRange> {
        of.iter()
            .flat_map(|range| self.present.gaps(range))
            .collect()
    }
}
