//! Content by SHA-256 whose blocks are verified by a block list that the user names.
//!
//! The list is the user's word, not a peer's: a block that is not what it says is fetched again from
//! others, and who sent it alone is asked no more; where several did, each in turn is asked for all of
//! it, and what is right then tells whose pieces were not. The blocks are looked at in order, each before the
//! proof of the whole takes it up. That proof stays the judge: should everybody send one block alike, the
//! list does not belong to the content, and it goes on without it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use thiserror::Error;
use tracing::{debug, warn};

use super::Node;
use super::messages::Command;
use super::pieces::{Piece, sole_sender};
use super::shared::{Shared, lock};
use super::transfer::Transfer;
use crate::content::{
    BlockList, BlockListError, ByteRange, ContentId, Hash, Kind, MAX_BLOCK_LIST, RangeSet,
};
use crate::store::StoreError;

/// How often one block may be wrong before it is the list that is taken for wrong.
const MAX_WRONG: u32 = 32;
/// About so many liars are remembered.
const MAX_LIARS: usize = 256;

/// Why content cannot be used as a block list.
#[derive(Debug, Error)]
pub enum BlocksError {
    /// It is not in the store.
    #[error("it is not in the store any more")]
    NotHeld,
    /// It is none.
    #[error(transparent)]
    List(#[from] BlockListError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk failed, or the file was changed.
    #[error("it cannot be read")]
    Disk,
}

/// How the blocks of a transfer are verified.
pub(super) struct BlockCheck {
    list: Arc<BlockList>,
    /// How often the block that is looked at has been wrong.
    wrong: u32,
    /// What it was the last time, and who had sent it, where that was not one peer.
    disputed: Option<(Vec<u8>, Vec<Piece>)>,
    /// Of whom all of it is asked next, one after the other, and whether somebody is now.
    to_try: Vec<SocketAddr>,
    /// Who has sent all of it wrong.
    tried: BTreeSet<SocketAddr>,
    /// Who has sent wrong bytes, and is not tried where others have sent some of it.
    liars: BTreeSet<SocketAddr>,
    on_trial: bool,
}

impl BlockCheck {
    pub fn new(list: Arc<BlockList>) -> Self {
        Self {
            list,
            wrong: 0,
            disputed: None,
            to_try: Vec::new(),
            tried: BTreeSet::new(),
            liars: BTreeSet::new(),
            on_trial: false,
        }
    }

    fn note_liars(&mut self, liars: &BTreeSet<SocketAddr>) {
        if self.liars.len() < MAX_LIARS {
            self.liars.extend(liars);
        }
    }
}

impl Node {
    /// The block list that the complete content `id` in the store is.
    ///
    /// # Errors
    /// [`BlocksError`].
    pub fn block_list(&self, id: &ContentId) -> Result<BlockList, BlocksError> {
        let content = self.store().open_content(id)?.ok_or(BlocksError::NotHeld)?;
        if content.length() > MAX_BLOCK_LIST {
            return Err(BlockListError::TooLong.into());
        }
        let mut text = vec![0; usize::try_from(content.length()).unwrap_or(0)];
        match content.read_at(0, &mut text) {
            Ok(read) if read == text.len() && content.still_valid() => Ok(BlockList::parse(&text)?),
            _ => Err(BlocksError::Disk),
        }
    }

    /// Verifies `id`, content by SHA-256, block by block with `list`, which the caller knows to be of
    /// that content, until this node stops. A list that proves not to be costs time, and no byte.
    pub fn verify_by_blocks(&self, id: ContentId, list: BlockList) {
        if id.kind == Kind::Sha256 {
            self.0.shared.verify_by_blocks(id, list);
        }
    }
}

impl Shared {
    /// Verifies the blocks of `id` by `list` from now on, in this run.
    pub(super) fn verify_by_blocks(&self, id: ContentId, list: BlockList) {
        let list = Arc::new(list);
        lock(&self.block_lists).put(id, Arc::clone(&list));
        if let Some(transfer) = self.transfer(&id) {
            self.check_blocks_of(&transfer);
            if transfer.needs_proof() {
                let _ = self.to_prove.send(Some(transfer));
            }
        }
    }

    /// Lets the blocks of a transfer be verified, if there is a list for it that fits.
    pub(super) fn check_blocks_of(&self, transfer: &Transfer) {
        let list = lock(&self.block_lists).get(&transfer.id).cloned();
        if let Some(list) = list
            && list.fits(transfer.length).is_ok()
        {
            transfer.check_blocks(BlockCheck::new(list));
        }
    }

    /// Whether the proof may take up the bytes of `range`; what is wrong is fetched again.
    pub(super) fn block_is_right(
        &self,
        transfer: &Arc<Transfer>,
        range: ByteRange,
        bytes: &[u8],
    ) -> bool {
        let mut slot = transfer.block_check();
        let Some(check) = slot.as_mut() else {
            return true;
        };
        let Some(expected) = check.list.of(range, transfer.length) else {
            return true;
        };
        let id = transfer.id;
        if Hash(Sha256::digest(bytes).into()) == expected {
            check.wrong = 0;
            check.to_try.clear();
            check.tried.clear();
            if std::mem::take(&mut check.on_trial) {
                self.mailbox.post(Command::Only(id, None));
            }
            if let Some((before, pieces)) = check.disputed.take() {
                let liars = who_differed(range, &before, bytes, &pieces);
                debug!(%id, ?liars, "a block is right now");
                check.note_liars(&liars);
                let liars = liars.into_iter().collect();
                self.mailbox.post(Command::Suspend(id, liars));
            }
            return true;
        }
        check.wrong += 1;
        let pieces = transfer.senders(range);
        let sole = sole_sender(&pieces, range);
        // Who was suspended is asked again only where nobody has anything else.
        let is_the_list = sole.is_some_and(|sole| !check.tried.insert(sole));
        if is_the_list || check.wrong > MAX_WRONG {
            warn!(%id, "blocks are not what the block list says: it is not used any more");
            *slot = None;
            drop(slot);
            lock(&self.block_lists).pop(&id);
            self.mailbox.post(Command::Only(id, None));
            self.mailbox.post(Command::Reinstate(id));
            return true;
        }
        debug!(%id, ?range, wrong = check.wrong, "a block is not what the block list says");
        if let Some(liar) = sole {
            self.mailbox.post(Command::Suspend(id, vec![liar]));
            check.to_try.retain(|peer| *peer != liar);
            check.note_liars(&BTreeSet::from([liar]));
        } else {
            let senders: BTreeSet<_> = pieces.iter().map(|(_, sender)| *sender).collect();
            let known = !check.liars.is_disjoint(&senders);
            // Of known liars nothing is asked, so what comes instead is from others.
            check.to_try = match known {
                true => Vec::new(),
                false => senders.into_iter().collect(),
            };
            check.disputed = Some((bytes.to_vec(), pieces));
        }
        // All of it from one of them: then it is known whose it is.
        let next = check.to_try.pop();
        if next.is_some() || check.on_trial {
            self.mailbox.post(Command::Only(id, next));
        }
        check.on_trial = next.is_some();
        drop(slot);
        transfer.doubt_unhashed(range);
        self.fetch_doubted(transfer, &RangeSet::from_iter([range]));
        false
    }
}

/// Who sent pieces that are not what they are in the right bytes of `range`.
fn who_differed(
    range: ByteRange,
    before: &[u8],
    right: &[u8],
    pieces: &[Piece],
) -> BTreeSet<SocketAddr> {
    let differs = |piece: ByteRange| {
        let start = usize::try_from(piece.start.checked_sub(range.start)?).ok()?;
        let end = usize::try_from(piece.end.checked_sub(range.start)?).ok()?;
        Some(before.get(start..end) != right.get(start..end))
    };
    pieces
        .iter()
        .map(|(piece, sender)| (piece.intersection(range), sender))
        .filter(|(piece, _)| differs(*piece).unwrap_or(false))
        .map(|(_, sender)| *sender)
        .collect()
}

impl Transfer {
    /// Whether one peer alone is asked for a block; it is so no more.
    pub fn end_block_trial(&self) -> bool {
        let mut slot = self.block_check();
        slot.as_mut()
            .is_some_and(|check| std::mem::take(&mut check.on_trial))
    }

    /// How blocks are verified, if they are.
    pub fn block_check(&self) -> std::sync::MutexGuard<'_, Option<BlockCheck>> {
        lock(&self.blocks)
    }
}
