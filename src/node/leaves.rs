//! Leaves that are verified as they arrive, by the tree of a BLAKE3 that is known to be right.
//!
//! It is so for content by BLAKE3, and for content by SHA-256 whose pair is proven; for what peers
//! claim see `claims`. The tree is
//! content of its own, of which just the nodes that are needed are fetched beside the leaves. What
//! cannot be verified for want of a tree is given up on after a while: then it is proven as a whole.

mod verifying;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::claims::Standing;
use super::messages::Command;
use super::pieces::{Disputes, Provenance};
use super::shared::{Shared, lock};
use super::transfer::{Phase, Transfer};
use crate::content::{ByteRange, ContentId, Hash, Kind, LeafGroups, RangeSet, tree};
use crate::store::Content;
use crate::swarm::Class;

/// How long leaves wait for nodes of the tree, and how often nodes may prove wrong, before the
/// content is proven as a whole instead.
pub(super) const TREE_LIMIT: Duration = Duration::from_secs(5);
const MAX_WRONG_NODES: u32 = 16;

/// Where the nodes come from.
enum Tree {
    Held(Content),
    Arriving(Arc<Transfer>),
}

impl Tree {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let read = match self {
            Self::Held(content) => content.read_at(offset, buffer)?,
            Self::Arriving(transfer) => transfer.partial.read_at(offset, buffer)?,
        };
        if read == buffer.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn holds(&self, nodes: &[ByteRange]) -> bool {
        match self {
            Self::Held(_) => true,
            Self::Arriving(transfer) => nodes.iter().all(|node| transfer.holds(*node)),
        }
    }
}

/// How the leaves of one transfer are verified.
pub(super) struct Leaves {
    groups: LeafGroups,
    tree: Tree,
    /// Who sent what has landed, and what of it was wrong.
    pieces: Provenance,
    disputes: Disputes,
    /// The same for the tree.
    tree_pieces: Provenance,
    tree_disputes: Disputes,
    wrong_nodes: u32,
    progress_at: Instant,
    /// Who stands for and against the BLAKE3, if it is only claimed.
    pub standing: Option<Standing>,
}

impl Leaves {
    /// The tree, while its nodes are fetched.
    pub fn awaited_tree(&self) -> Option<ContentId> {
        match &self.tree {
            Tree::Held(_) => None,
            Tree::Arriving(tree) => Some(tree.id),
        }
    }

    /// The BLAKE3 by which leaves are verified.
    pub fn root(&self) -> Hash {
        self.groups.root()
    }

    /// Whether the nodes for all of `range` are known to be right.
    pub fn trusts(&self, range: ByteRange) -> bool {
        self.groups.trusts(range)
    }

    /// Whether it has stood still for too long.
    pub fn is_overdue(&self, now: Instant) -> bool {
        self.stands_still(now, TREE_LIMIT) && matches!(self.tree, Tree::Arriving(_))
    }

    /// Whether neither a node nor a verdict has come for `limit`.
    pub fn stands_still(&self, now: Instant, limit: Duration) -> bool {
        now.saturating_duration_since(self.progress_at) >= limit
    }
}

/// What came of a look at what has landed.
#[derive(Default)]
struct Verdicts {
    right: RangeSet,
    wrong: RangeSet,
    /// Nodes of the tree that cannot all be right.
    wrong_nodes: Vec<ByteRange>,
    liars: BTreeSet<SocketAddr>,
    /// Who sent wrong nodes.
    tree_liars: BTreeSet<SocketAddr>,
}

impl Shared {
    /// How leaves of `id` can be verified as they arrive, if a BLAKE3 is known for it.
    pub(super) fn leaves_for(&self, id: ContentId, length: u64) -> Option<Leaves> {
        let root = match id.kind {
            Kind::Blake3 => id.hash,
            // Only proven pairs are kept.
            Kind::Sha256 => self.store.paired(&id)?.hash,
            Kind::TreeV2 => return None,
        };
        self.leaves_by(root, length, None)
    }

    /// How leaves can be verified by the BLAKE3 `root`.
    pub(super) fn leaves_by(
        &self,
        root: Hash,
        length: u64,
        standing: Option<Standing>,
    ) -> Option<Leaves> {
        let groups = LeafGroups::new(root, length)?;
        let tree_id = ContentId::tree_v2(root.0);
        let tree_length = tree::tree_length(length);
        let held = self.store.open_content(&tree_id).ok().flatten();
        let tree = match held.filter(|held| held.length() == tree_length) {
            Some(held) => Tree::Held(held),
            None => {
                let tree = self.begin(tree_id, tree_length).ok()?;
                if tree.length != tree_length {
                    return None;
                }
                self.mailbox
                    .post(Command::LengthIsProven(tree_id, tree_length));
                Tree::Arriving(tree)
            }
        };
        Some(Leaves {
            groups,
            tree,
            pieces: Provenance::default(),
            disputes: Disputes::default(),
            tree_pieces: Provenance::default(),
            tree_disputes: Disputes::default(),
            wrong_nodes: 0,
            progress_at: Instant::now(),
            standing,
        })
    }

    /// The transfer of `id`, if what is here of it is known to be right and may be given to others.
    pub(super) fn vouching(&self, id: &ContentId) -> Option<Arc<Transfer>> {
        self.transfer(id).filter(|transfer| transfer.vouches())
    }

    /// Notes whose leaves the nodes of a tree are for, so that they are looked at when nodes come.
    pub(super) fn await_nodes(&self, transfer: &Arc<Transfer>) {
        let Some(id) = transfer.leaves().as_ref().and_then(Leaves::awaited_tree) else {
            return;
        };
        let mut awaited = lock(&self.awaiting_nodes);
        awaited.retain(|_, by| {
            by.retain(|one| one.strong_count() > 0);
            !by.is_empty()
        });
        awaited
            .entry(id)
            .or_default()
            .push(Arc::downgrade(transfer));
    }

    /// The transfers whose leaves are verified with the nodes of tree `id`.
    fn awaiting(&self, id: &ContentId) -> Vec<Arc<Transfer>> {
        let awaited = lock(&self.awaiting_nodes);
        let by = awaited.get(id).into_iter().flatten();
        by.filter_map(Weak::upgrade).collect()
    }

    /// Whether a tree is fetched for verifying leaves. Its length is known then, whatever peers say.
    pub(super) fn is_awaited(&self, id: &ContentId) -> bool {
        id.kind == Kind::TreeV2 && lock(&self.awaiting_nodes).contains_key(id)
    }

    /// Wants the nodes with which leaves of `range` are verified.
    pub(super) fn want_nodes(&self, transfer: &Transfer, range: ByteRange, class: Class) {
        let leaves = transfer.leaves();
        let Some(Leaves {
            groups,
            tree: Tree::Arriving(tree),
            ..
        }) = leaves.as_ref()
        else {
            return;
        };
        let wanted = groups.wanted(range);
        let tree = Arc::clone(tree);
        drop(leaves);
        // Whatever is to be verified is worth nothing before its nodes are here.
        let class = class.min(Class::ReadAhead);
        self.want(&tree, tree.seek(&wanted), class);
    }

    /// Bytes of `part` have been written for a transfer that verifies leaves; `data` are they.
    pub(super) fn landed(
        &self,
        transfer: &Arc<Transfer>,
        part: ByteRange,
        data: &[u8],
        from: SocketAddr,
    ) {
        if let Some(leaves) = transfer.leaves().as_mut() {
            leaves.pieces.insert(part, from);
            if !transfer.has_landed() {
                leaves.progress_at = Instant::now();
            }
        }
        transfer.land(part, from);
        for leaves in transfer.landed_leaves(part) {
            self.verify_landed(transfer, leaves, Some((part.start, data)));
        }
    }

    /// Nodes of a tree have come: leaves that waited for them can be verified.
    pub(super) fn nodes_arrived(&self, tree: &Transfer, part: ByteRange, from: SocketAddr) {
        for transfer in self.awaiting(&tree.id) {
            let mut slot = transfer.leaves();
            let Some(leaves) = slot.as_mut() else {
                continue;
            };
            leaves.tree_pieces.insert(part, from);
            leaves.progress_at = Instant::now();
            let concerned = leaves.groups.speaks_of(part);
            drop(slot);
            if transfer.check_again(concerned) {
                let _ = self.to_prove.send(Some(transfer));
            }
        }
    }

    /// Verifies whole leaves of one group that have landed, if their nodes are here. `data` are bytes
    /// of the content, from an offset, that need not be read back.
    pub(super) fn verify_landed(
        &self,
        transfer: &Arc<Transfer>,
        range: ByteRange,
        data: Option<(u64, &[u8])>,
    ) {
        let given = data.and_then(|(start, data)| {
            let skip = usize::try_from(range.start.checked_sub(start)?).ok()?;
            data.get(skip..skip.checked_add(usize::try_from(range.len()).ok()?)?)
        });
        match given {
            Some(bytes) => self.verify_bytes(transfer, range, bytes),
            None => super::scratch::with(range.len(), |buffer| {
                match transfer.partial.read_at(range.start, buffer) {
                    Ok(read) if read == buffer.len() => {
                        self.verify_bytes(transfer, range, buffer);
                    }
                    result => {
                        warn!(id = %transfer.id, ?result, "could not read back what arrived");
                        transfer.reject(range);
                        self.lost(transfer.id, range);
                    }
                }
            }),
        }
    }

    fn verify_bytes(&self, transfer: &Arc<Transfer>, range: ByteRange, bytes: &[u8]) {
        let claimed = transfer.is_claimed();
        let mut verdicts = {
            let mut slot = transfer.leaves();
            let Some(leaves) = slot.as_mut() else {
                return;
            };
            match leaves.verify(range, bytes, |leaf| transfer.senders(leaf)) {
                Ok(verdicts) => verdicts,
                Err(error) => {
                    warn!(id = %transfer.id, %error, "a tree could not be read");
                    return;
                }
            }
        };
        for right in verdicts.right.iter() {
            let (released, waited, to_prove) = transfer.verified(right);
            if right.end == transfer.length && transfer.length_is_proven() {
                self.mailbox
                    .post(Command::LengthIsProven(transfer.id, transfer.length));
            }
            let skip = (right.start - range.start) as usize;
            if waited && let Some(data) = bytes.get(skip..skip + right.len() as usize) {
                self.remember_leaves(transfer, right, data, right);
            }
            if to_prove {
                let _ = self.to_prove.send(Some(Arc::clone(transfer)));
            }
            self.release(transfer, released);
        }
        if claimed && !verdicts.liars.is_empty() {
            // Before anything is asked for again.
            let liars = verdicts.liars.iter().copied().collect();
            self.mailbox.post(Command::Suspend(transfer.id, liars));
        }
        if !verdicts.wrong.is_empty() {
            debug!(id = %transfer.id, wrong = ?verdicts.wrong, "wrong leaves");
            for wrong in verdicts.wrong.iter() {
                if claimed {
                    transfer.doubt(wrong);
                } else {
                    transfer.reject(wrong);
                }
                self.mailbox.post(Command::Refetch(transfer.id, wrong));
            }
            if claimed {
                self.cache.forget(&transfer.id);
            }
            self.want_anew(transfer);
        }
        if !verdicts.wrong_nodes.is_empty() {
            self.reject_nodes(transfer, &verdicts.wrong_nodes);
        }
        if !verdicts.tree_liars.is_empty()
            && let Some(tree) = transfer.tree_id()
        {
            let liars = verdicts.tree_liars.iter().copied().collect();
            self.mailbox.post(Command::Distrust(tree, liars));
        }
        if claimed {
            if !verdicts.wrong.is_empty() {
                self.weigh_claim(transfer);
            }
            return;
        }
        verdicts.liars.append(&mut verdicts.tree_liars);
        if !verdicts.liars.is_empty() {
            debug!(id = %transfer.id, liars = ?verdicts.liars, "peers sent wrong bytes");
            let liars: Vec<_> = verdicts.liars.into_iter().collect();
            self.mailbox
                .post(Command::Distrust(transfer.id, liars.clone()));
            if let Some(tree) = transfer.tree_id() {
                self.mailbox.post(Command::Distrust(tree, liars));
            }
        }
    }

    fn reject_nodes(&self, transfer: &Arc<Transfer>, nodes: &[ByteRange]) {
        let tree = match transfer.leaves().as_mut() {
            Some(leaves) => {
                leaves.wrong_nodes = leaves.wrong_nodes.saturating_add(1);
                match &leaves.tree {
                    Tree::Arriving(tree) if leaves.wrong_nodes <= MAX_WRONG_NODES => {
                        Some(Arc::clone(tree))
                    }
                    _ => None,
                }
            }
            None => return,
        };
        match tree {
            Some(tree) => {
                for node in nodes {
                    tree.reject(*node);
                    self.mailbox.post(Command::Refetch(tree.id, *node));
                }
                self.want_anew(&tree);
            }
            None if transfer.is_claimed() => self.give_up_claim(transfer),
            None => self.verify_as_a_whole(transfer),
        }
    }

    /// Gives up on verifying leaves: the whole is proven instead.
    fn verify_as_a_whole(&self, transfer: &Arc<Transfer>) {
        warn!(id = %transfer.id, "its tree is not to be had: it is verified as a whole");
        let released = transfer.verify_as_a_whole();
        self.release(transfer, released);
        if transfer.needs_proof() {
            let _ = self.to_prove.send(Some(Arc::clone(transfer)));
        }
        self.want_anew(transfer);
    }

    /// Sees to leaves that wait for nodes which do not come. To be called now and then.
    pub(super) fn press_for_nodes(&self, transfer: &Arc<Transfer>, now: Instant) {
        if transfer.is_claimed() {
            self.press_for_claim(transfer, now);
            return;
        }
        if !transfer.has_landed() || transfer.waiting() == 0 {
            return;
        }
        let overdue = transfer
            .leaves()
            .as_ref()
            .is_some_and(|leaves| leaves.is_overdue(now));
        if overdue {
            self.verify_as_a_whole(transfer);
        }
    }

    /// The nodes that were fetched for a transfer are of no use without it: a part of a tree proves
    /// nothing of its own, and the whole is made when the content is hashed.
    pub(super) fn drop_nodes(&self, transfer: &Transfer) {
        let Some(Leaves {
            tree: Tree::Arriving(tree),
            ..
        }) = transfer.leaves().take()
        else {
            return;
        };
        let others = self
            .awaiting(&tree.id)
            .iter()
            .any(|other| !std::ptr::eq(other.as_ref(), transfer));
        if others || tree.phase() != Phase::Arriving {
            return;
        }
        let mut transfers = lock(&self.transfers);
        if transfers
            .get(&tree.id)
            .is_some_and(|current| Arc::ptr_eq(current, &tree))
        {
            transfers.remove(&tree.id);
            self.mailbox.post(Command::Forget(tree.id));
        }
        drop(transfers);
        lock(&self.awaiting_nodes).remove(&tree.id);
        tree.partial.discard();
    }
}

impl Transfer {
    fn tree_id(&self) -> Option<ContentId> {
        match &self.leaves().as_ref()?.tree {
            Tree::Arriving(tree) => Some(tree.id),
            Tree::Held(_) => None,
        }
    }
}
