//! What is done when all bytes of some content are here and the whole does not have its hash.
//!
//! Nothing is thrown away that may be right. A claimed BLAKE3 names the wrong leaves, or is broken
//! by this: then what its supporters sent is fetched again from others. Without one, blocks of each
//! sender are compared with other peers' until two differ; who is alone against two others is the
//! liar, and just what it sent is fetched again. If that is not the end of it either, there is another
//! liar, which a few more comparisons find, or the majority lied, and the one that it had accused is
//! believed. Only when nobody is left to compare with does it begin anew.
//!
//! The prover finds that the whole is wrong, the writer what a comparison says. Either of them repairs
//! under [`Transfer::repairing`]: of two who did so at the same time, the second took what the first had
//! just given up for another failure, believed a liar, and fetched all of it again from that one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tracing::{debug, warn};

use super::messages::Command;
use super::shared::Shared;
use super::transfer::Transfer;
use crate::content::{ByteRange, Kind, RangeSet};

/// How often the whole may fail before all of it is given up.
const MAX_FAILURES: u32 = 32;
/// Blocks that are compared before a peer is believed that others contradicted, 5 MB: a second liar of
/// five that is wrong in 1 % of its leaves is among them but once in 300 times.
const BEFORE_BELIEVING: usize = 128;

impl Shared {
    /// The whole has been hashed, as it was in `epoch`, and is not what its id says.
    pub(super) fn whole_failed(&self, transfer: &Arc<Transfer>, epoch: u64) {
        if transfer.id.kind != Kind::Sha256 {
            // Nothing of it is worth keeping apart: leaves or nodes have been verified before.
            self.is_wrong(transfer, false);
            return;
        }
        if transfer.failed_in_passing(epoch) {
            self.is_wrong(transfer, false);
            return;
        }
        let repairing = transfer.repairing();
        let current = transfer.note_failed(epoch);
        // It has changed meanwhile, or has leaves to verify that came while it was hashed.
        if transfer.needs_proof() {
            let _ = self.to_prove.send(Some(Arc::clone(transfer)));
        }
        if !current {
            return;
        }
        let failures = {
            let mut comparisons = transfer.comparisons();
            comparisons.failures += 1;
            comparisons.begin_anew();
            comparisons.failures
        };
        debug!(id = %transfer.id, failures, "the whole does not have its hash");
        let goes_on = failures <= MAX_FAILURES && self.repair(transfer);
        drop(repairing);
        if !goes_on {
            self.is_wrong(transfer, false);
        }
    }

    /// Goes on with what [`Shared::repair`] began, if there is anything to repair.
    pub(super) fn repair_if_failed(&self, transfer: &Arc<Transfer>) {
        let repairing = transfer.repairing();
        let goes_on = !transfer.has_failed() || self.repair(transfer);
        drop(repairing);
        if !goes_on {
            self.is_wrong(transfer, false);
        }
    }

    /// All bytes are here, and some of them are wrong: finds out which. `false`: that cannot be found
    /// out, and all of it is to be given up.
    fn repair(&self, transfer: &Arc<Transfer>) -> bool {
        if transfer.is_claimed() {
            if self.checked_claim(transfer).is_none() {
                // Its tree tells which leaves are wrong; should that not come, it is given up.
                self.want_nodes_of_all(transfer);
                return true;
            }
            self.break_claim(transfer);
            if !transfer.has_failed() {
                return true;
            }
        }
        if self.adopt_claim(transfer) || self.doubt_what_came_late(transfer) {
            return true;
        }
        let (suppliers, unknown) = transfer.suppliers();
        let believes = transfer.comparisons().believed.is_some();
        let compares = !believes && (suppliers.len() > 1 || unknown);
        if compares
            && (self.compare_on(transfer)
                || self.begin_comparing(transfer, &suppliers) && self.compare_on(transfer))
        {
            return true;
        }
        if self.believe_the_accused(transfer) {
            return true;
        }
        warn!(id = %transfer.id, "nobody gives other bytes than those that are wrong");
        false
    }

    /// Every leaf agrees with the claim and the whole is wrong: so is the claim, and whoever made it.
    fn break_claim(&self, transfer: &Arc<Transfer>) {
        let id = transfer.id;
        let Some((root, standing)) = self.end_claim(transfer) else {
            return;
        };
        warn!(%id, blake3 = %root, by = standing.by.len(), "peers claimed a wrong BLAKE3");
        self.mailbox.post(Command::Refute(id, root));
        self.mailbox.post(Command::Reinstate(id));
        let doubted = transfer.doubt_senders(&standing.by, &RangeSet::new());
        {
            let mut comparisons = transfer.comparisons();
            for peer in standing.disagreeing {
                // Should it fail again, those who contradicted the claim are believed.
                if !standing.by.contains(&peer) {
                    comparisons.accused.push(peer);
                }
            }
        }
        if !doubted.is_empty() {
            self.fetch_doubted(transfer, &doubted);
        }
    }

    /// A peer was taken for a liar, and some of what it had sent was still on its way then: that is
    /// fetched again first. Whether there is any.
    fn doubt_what_came_late(&self, transfer: &Arc<Transfer>) -> bool {
        let late = std::mem::take(&mut transfer.comparisons().late);
        if late.is_empty() || transfer.comparisons().believed.is_some() {
            return false;
        }
        let doubted = transfer.doubt_senders(&late, &RangeSet::new());
        debug!(id = %transfer.id, bytes = doubted.bytes(), "bytes of liars that came late");
        if !doubted.is_empty() {
            self.fetch_doubted(transfer, &doubted);
        }
        !doubted.is_empty()
    }

    /// A peer was taken for a liar because others contradicted it, and what they sent in its place is
    /// wrong as well: they lied, and it is believed alone. Whether there is one.
    fn believe_the_accused(&self, transfer: &Arc<Transfer>) -> bool {
        let id = transfer.id;
        let accused = {
            let mut comparisons = transfer.comparisons();
            let accused = comparisons.accused.pop();
            if accused.is_none() && comparisons.believed.is_none() {
                return false;
            }
            let before = comparisons.believed.take();
            if let Some(before) = before {
                self.mailbox.post(Command::Only(id, None));
                self.mailbox.post(Command::Distrust(id, vec![before]));
            }
            comparisons.believed = accused;
            accused
        };
        let Some(peer) = accused else {
            return false;
        };
        debug!(%id, %peer, "the one that others contradicted is believed");
        self.mailbox.post(Command::Reinstate(id));
        self.mailbox.post(Command::Only(id, Some(peer)));
        let doubted = transfer.doubt_all_but(peer);
        if doubted.is_empty() {
            // All of it is its own, and wrong.
            return false;
        }
        self.fetch_doubted(transfer, &doubted);
        true
    }

    /// Lines up what is to be compared: a block of each sender in turn, by chance. `false` when that
    /// was done before.
    fn begin_comparing(
        &self,
        transfer: &Arc<Transfer>,
        suppliers: &BTreeMap<SocketAddr, u64>,
    ) -> bool {
        let mut random = fastrand::Rng::new();
        let mut by_sender: BTreeMap<Option<SocketAddr>, Vec<ByteRange>> = BTreeMap::new();
        for (range, sender) in transfer.blocks() {
            by_sender.entry(sender).or_default().push(range);
        }
        for blocks in by_sender.values_mut() {
            random.shuffle(blocks);
        }
        let mut comparisons = transfer.comparisons();
        if std::mem::replace(&mut comparisons.is_lined_up, true) {
            return false;
        }
        let most = by_sender.values().map(Vec::len).max().unwrap_or(0);
        let mut lined_up = Vec::new();
        for turn in 0..most {
            for (sender, blocks) in &by_sender {
                if let Some(block) = blocks.get(turn) {
                    lined_up.push((*block, *sender));
                }
            }
        }
        if !comparisons.accused.is_empty() {
            lined_up.truncate(BEFORE_BELIEVING);
        }
        lined_up.reverse();
        debug!(id = %transfer.id, blocks = lined_up.len(), suppliers = suppliers.len(), "comparing");
        comparisons.to_compare = lined_up;
        true
    }
}

impl Shared {
    /// The content stands still: those who were suspended may be the only ones left, and the only one
    /// that is believed may be gone.
    pub(super) fn ask_everybody(&self, transfer: &Transfer) {
        let id = transfer.id;
        self.mailbox.post(Command::Reinstate(id));
        if transfer.end_block_trial() || transfer.comparisons().believed.take().is_some() {
            self.mailbox.post(Command::Only(id, None));
        }
    }
}
