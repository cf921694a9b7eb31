//! Content by SHA-256 whose leaves are verified by a BLAKE3 that peers claim for it.
//!
//! A claim is worth less than a proven pair, so nothing waits for it: bytes are present when they
//! arrive, and are given out, and their leaves are verified when the nodes of the claimed tree are
//! here. Only where these are here already do bytes wait, for the moment that it takes. A leaf that
//! disagrees is taken for wrong and fetched again from others, and its sender is suspended. Which
//! of the two is wrong shows in the end: the SHA-256 of the whole proves the claim, or breaks it.
//! A claim that more hosts contradict than support is not waited for that long.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, warn};

use super::leaves::TREE_LIMIT;
use super::messages::Command;
use super::shared::{Shared, lock};
use super::transfer::{Phase, Transfer};
use crate::content::{ByteRange, ContentId, Hash, Kind, LEAF};
use crate::swarm::{Class, votes};

/// After this long without progress what waits for nodes is looked at again.
const LATE: Duration = Duration::from_secs(1);
/// Peers whose leaves are remembered as having agreed or disagreed.
const MAX_WITNESSES: usize = 256;

/// What most peers say the BLAKE3 of some content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub length: u64,
    pub blake3: Hash,
    pub by: BTreeSet<SocketAddr>,
}

/// Who stands for a claim and who against it.
#[derive(Default)]
pub(super) struct Standing {
    /// Who made it.
    pub by: BTreeSet<SocketAddr>,
    /// Who sent whole leaves that agree with it, and that do not.
    agreeing: BTreeSet<SocketAddr>,
    pub disagreeing: BTreeSet<SocketAddr>,
}

impl Standing {
    pub fn new(by: BTreeSet<SocketAddr>) -> Self {
        Self {
            by,
            ..Self::default()
        }
    }

    /// `peer` sent a leaf that agrees or does not.
    pub fn witness(&mut self, peer: SocketAddr, agrees: bool) {
        let witnesses = if agrees {
            &mut self.agreeing
        } else {
            &mut self.disagreeing
        };
        if witnesses.len() < MAX_WITNESSES {
            witnesses.insert(peer);
        }
    }

    /// Whether more hosts contradict the claim than make it or send what agrees with it.
    pub fn is_outvoted(&self) -> bool {
        let mut pro = self.by.clone();
        pro.extend(&self.agreeing);
        votes(&self.disagreeing) > votes(&pro)
    }
}

impl Shared {
    /// Peers say what the BLAKE3 of `id` is.
    pub(super) fn claimed(&self, id: ContentId, claim: Claim) {
        if let Some(transfer) = self.transfer(&id)
            && let Some(leaves) = transfer.leaves().as_mut()
            && leaves.root() == claim.blake3
            && let Some(standing) = leaves.standing.as_mut()
        {
            standing.by.clone_from(&claim.by);
        }
        lock(&self.claims).put(id, claim);
        if let Some(transfer) = self.transfer(&id) {
            self.verify_by_claim(&transfer);
        }
    }

    /// Begins to verify leaves by what peers claim, where that is worth its cost: what a single source
    /// sends is proven as soon by the whole, and its claim would say what its bytes say.
    pub(super) fn verify_by_claim(&self, transfer: &Arc<Transfer>) {
        if transfer.supplier_count() > 1 || transfer.has_failed() {
            self.adopt_claim(transfer);
        }
    }

    /// Verifies leaves by the claim of the most peers, if there is one; whether there is.
    pub(super) fn adopt_claim(&self, transfer: &Arc<Transfer>) -> bool {
        let id = transfer.id;
        let whole = ByteRange::new(0, transfer.length);
        if id.kind != Kind::Sha256
            || transfer.length <= LEAF
            || transfer.phase() != Phase::Arriving
            || transfer.checks_leaves()
        {
            return false;
        }
        let claim = lock(&self.claims).peek(&id).cloned();
        let Some(claim) = claim.filter(|claim| claim.length == transfer.length) else {
            return false;
        };
        let standing = Standing::new(claim.by);
        let made = self.leaves_by(claim.blake3, transfer.length, Some(standing));
        let Some(leaves) = made else {
            return false;
        };
        debug!(%id, blake3 = %claim.blake3, "leaves are verified by what peers claim");
        if !transfer.check_by(leaves) {
            return false;
        }
        self.await_nodes(transfer);
        // From now on whole leaves are wanted.
        self.want_anew(transfer);
        self.want_nodes_of_all(transfer);
        if transfer.check_again(whole) {
            let _ = self.to_prove.send(Some(Arc::clone(transfer)));
        }
        true
    }

    /// Whether bytes of `range` can be verified by a claim at once, so that they are not given out
    /// before.
    pub(super) fn waits_for_claim(&self, transfer: &Transfer, range: ByteRange) -> bool {
        let wide = range.widened(LEAF, transfer.length);
        transfer.is_claimed()
            && transfer
                .leaves()
                .as_ref()
                .is_some_and(|leaves| leaves.trusts(wide))
    }

    /// Wants the nodes for what is here and for what is wanted.
    pub(super) fn want_nodes_of_all(&self, transfer: &Arc<Transfer>) {
        for range in transfer.held_or_wanted() {
            self.want_nodes(transfer, range, Class::ReadAhead);
        }
    }

    /// Leaves disagree with the claim: that may be the claim's fault.
    pub(super) fn weigh_claim(&self, transfer: &Arc<Transfer>) {
        let outvoted = {
            let slot = transfer.leaves();
            let standing = slot.as_ref().and_then(|leaves| leaves.standing.as_ref());
            standing.is_some_and(Standing::is_outvoted)
        };
        if outvoted {
            debug!(id = %transfer.id, "more peers contradict the claimed BLAKE3 than support it");
            self.give_up_claim(transfer);
        }
    }

    /// Nothing can be verified by the claim: it goes on without, or with another.
    pub(super) fn give_up_claim(&self, transfer: &Arc<Transfer>) {
        if let Some((root, _)) = self.end_claim(transfer) {
            self.mailbox.post(Command::PassOver(transfer.id, root));
            self.mailbox.post(Command::Reinstate(transfer.id));
            self.want_anew(transfer);
            self.repair_if_failed(transfer);
        }
    }

    /// Ends the verifying by a claim; returns that, and who stood for and against it.
    pub(super) fn end_claim(&self, transfer: &Arc<Transfer>) -> Option<(Hash, Standing)> {
        let (root, standing) = {
            let mut slot = transfer.leaves();
            let leaves = slot.as_mut()?;
            let root = leaves.root();
            (root, leaves.standing.take()?)
        };
        self.drop_nodes(transfer);
        let released = transfer.check_no_more();
        self.release(transfer, released);
        let mut claims = lock(&self.claims);
        if claims
            .peek(&transfer.id)
            .is_some_and(|it| it.blake3 == root)
        {
            claims.pop(&transfer.id);
        }
        drop(claims);
        if transfer.needs_proof() {
            let _ = self.to_prove.send(Some(Arc::clone(transfer)));
        }
        Some((root, standing))
    }

    /// The whole has its SHA-256, and every leaf of it agreed with the claim.
    pub(super) fn claim_is_proven(&self, transfer: &Transfer, blake3: Hash) {
        debug!(id = %transfer.id, %blake3, "the claimed BLAKE3 is proven");
        if let Err(error) = self.store.add_pair(transfer.id.hash, blake3) {
            warn!(id = %transfer.id, %error, "a proven pair of hashes could not be kept");
        }
    }

    /// The claim by which all leaves that are here were verified, if it is so.
    pub(super) fn checked_claim(&self, transfer: &Transfer) -> Option<Hash> {
        let slot = transfer.leaves();
        let leaves = slot.as_ref()?;
        leaves.standing.as_ref()?;
        transfer.all_checked().then(|| leaves.root())
    }

    /// Sees to leaves that wait for the nodes of a claimed tree. To be called now and then.
    pub(super) fn press_for_claim(&self, transfer: &Arc<Transfer>, now: Instant) {
        let (late, overdue) = {
            let slot = transfer.leaves();
            let Some(leaves) = slot.as_ref().filter(|leaves| leaves.standing.is_some()) else {
                return;
            };
            (leaves.stands_still(now, LATE), leaves.is_overdue(now))
        };
        if !late || !transfer.has_unchecked_leaves() {
            return;
        }
        if !overdue {
            // Should a node that came have gone unnoticed, this finds it.
            self.want_nodes_of_all(transfer);
            if transfer.check_again(ByteRange::new(0, transfer.length)) {
                let _ = self.to_prove.send(Some(Arc::clone(transfer)));
            }
            return;
        }
        if transfer.is_quiet(now, TREE_LIMIT) && !transfer.has_failed() {
            // Nothing comes at all: that is not the claim's fault.
            self.want_nodes_of_all(transfer);
            return;
        }
        debug!(id = %transfer.id, "the tree of the claimed BLAKE3 is not to be had");
        self.give_up_claim(transfer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(numbers: std::ops::Range<u8>) -> BTreeSet<SocketAddr> {
        numbers
            .map(|n| SocketAddr::from(([192, 0, 2, n], 24254)))
            .collect()
    }

    #[test]
    fn a_claim_falls_when_more_hosts_contradict_it_than_agree() {
        let mut standing = Standing::new(peers(1..2));
        let mut witness = |n, agrees| {
            let peer = *peers(n..n + 1).first().unwrap();
            standing.witness(peer, agrees);
            standing.is_outvoted()
        };
        assert!(!witness(2, false));
        assert!(witness(3, false));
        // Who agrees with most of it and not with all of it counts for it as well.
        assert!(!witness(3, true));
        assert!(!witness(4, true));
    }

    #[test]
    fn witnesses_are_bounded() {
        let mut standing = Standing::default();
        for port in 1..2000 {
            for agrees in [true, false] {
                standing.witness(SocketAddr::from(([192, 0, 2, 1], port)), agrees);
            }
        }
        assert_eq!(standing.agreeing.len(), MAX_WITNESSES);
        assert_eq!(standing.disagreeing.len(), MAX_WITNESSES);
    }
}
