//! How partial content ends: complete, removed, or left on the disk for another time.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;

use tracing::warn;

use super::{Partial, State};
use crate::content::ContentId;
use crate::store::error::StoreError;
use crate::store::file::Content;
use crate::store::layout::{Layout, Slot};
use crate::store::lock;
use crate::store::partial_files::remove_files;

impl Partial {
    /// Turns it into complete content, durably. The caller has proven that all of it is right.
    ///
    /// After a crash at any point it is either still this partial content or complete; doing it
    /// twice is harmless.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] while bytes are missing, [`StoreError::Discarded`], or what the
    /// disk said: then it is still partial and can be completed later, though some of it may have to
    /// be fetched again ([`Partial::present_bytes`] tells, see [`Partial::sync`]).
    pub fn complete(&self) -> Result<Content, StoreError> {
        let id = self.id();
        let store = &self.0.store;
        let layout = store.layout();
        let mut state = self.0.state.write().unwrap_or_else(|e| e.into_inner());
        match *state {
            State::Open => {}
            State::Complete => return store.open_content(&id)?.ok_or(StoreError::Discarded),
            State::Discarded | State::Left => return Err(StoreError::Discarded),
        }
        let present = self.present_bytes();
        if present != self.length() {
            return Err(StoreError::Incomplete {
                present,
                length: self.length(),
            });
        }
        let from = self.data_path();
        let to = layout.complete(&id);
        self.0
            .data
            .set_permissions(Permissions::from_mode(0o444))
            .map_err(|e| StoreError::io("protect", &from, e))?;
        // The map is made durable too: one without data is the note by which `Store::open` finds
        // content that was renamed but not yet in the index.
        self.sync_by(File::sync_all)
            .and_then(|()| self.sync_data_by(File::sync_all))
            .map_err(|e| StoreError::io("write", &from, e))?;
        store.land(&id, self.length(), &from)?;
        *state = State::Complete;
        self.0.open.store(false, Ordering::Release);
        drop(state);
        if let Err(error) = remove_files(layout, &id, self.0.slot.other()) {
            warn!(%id, %error, "partial content of another length could not be removed");
        }
        lock(&store.0.room.left).remove(&id);
        let entry = store.entry(&id, self.length());
        if let Err(error) = store.changed(1, Some(entry)) {
            warn!(%error, "the index could not be made durable");
        }
        store
            .open_content(&id)?
            .ok_or_else(|| StoreError::io("open", &to, io::ErrorKind::NotFound.into()))
    }

    /// Removes it. Whoever still has it open can read what was there, and write no more.
    pub fn discard(&self) {
        self.discard_by(remove_files);
    }

    /// Ends it and leaves what is here on the disk: whoever opens content of this id and this length
    /// goes on from that. Whoever still has it open can read what was there, and write no more.
    pub fn leave(&self) {
        let mut state = self.0.state.write().unwrap_or_else(|e| e.into_inner());
        if *state != State::Open {
            return;
        }
        if let Err(error) = self.sync_by(File::sync_data) {
            warn!(id = %self.id(), %error, "not all partial content could be made durable");
        }
        *state = State::Left;
        self.0.open.store(false, Ordering::Release);
        self.0.note_left();
    }

    fn discard_by(&self, remove: impl Fn(&Layout, &ContentId, Slot) -> Result<(), StoreError>) {
        let mut state = self.0.state.write().unwrap_or_else(|e| e.into_inner());
        if *state != State::Open {
            return;
        }
        *state = State::Discarded;
        self.0.open.store(false, Ordering::Release);
        if self.0.homeless {
            return;
        }
        if let Err(error) = remove(self.0.store.layout(), &self.id(), self.0.slot) {
            warn!(id = %self.id(), %error, "partial content could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::{ByteRange, LEAF};
    use crate::store::Store;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn what_is_begun_while_the_former_is_removed_is_not_removed_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let id = ContentId::sha256([7; 32]);
        let former = store.partial(&id, LEAF).unwrap();
        let (begun, new) = mpsc::channel();
        former.discard_by(|layout, id, slot| {
            let (store, id, begun) = (store.clone(), *id, begun.clone());
            std::thread::spawn(move || begun.send(store.partial(&id, LEAF)));
            // Time enough to begin, for whoever does not wait for the removal.
            if let Ok(early) = new.recv_timeout(Duration::from_millis(300)) {
                begun_again(&early.unwrap());
            }
            remove_files(layout, &id, slot)
        });
        let new = new.recv_timeout(Duration::from_secs(30));
        let new = new.expect("it was begun during the removal").unwrap();
        begun_again(&new);
        assert_eq!(new.complete().unwrap().length(), LEAF);
    }

    fn begun_again(partial: &Partial) {
        partial.write_at(0, &[1; LEAF as usize]).unwrap();
        partial.note_present(ByteRange::at(0, LEAF));
    }
}
