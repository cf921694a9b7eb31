//! Leaves and nodes against the root: which are right, and who sent those that are not.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use super::{Leaves, Tree, Verdicts};
use crate::content::ByteRange;
use crate::node::pieces::{Piece, sole_sender};

impl Leaves {
    /// Verifies whole leaves of one group; `bytes` are those of `range`. `senders` tells who sent what
    /// of those that a claim is to verify.
    pub(super) fn verify(
        &mut self,
        range: ByteRange,
        bytes: &[u8],
        senders: impl Fn(ByteRange) -> Vec<Piece>,
    ) -> io::Result<Verdicts> {
        let mut verdicts = Verdicts::default();
        if !self.groups.trusts(range) && !self.trust(range.start, &mut verdicts)? {
            return Ok(verdicts);
        }
        let Self {
            groups,
            tree,
            pieces,
            disputes,
            standing,
            ..
        } = self;
        let read = |offset, buffer: &mut [u8]| tree.read(offset, buffer);
        groups.check(range.start, bytes, read, |leaf, right| {
            let skip = (leaf.start - range.start) as usize;
            let found = bytes.get(skip..skip + leaf.len() as usize).unwrap_or(&[]);
            let by = match standing {
                // Should the claim prove wrong, it matters still.
                Some(_) => senders(leaf),
                None => pieces.remove(leaf),
            };
            if let Some(standing) = standing
                && let Some(sender) = sole_sender(&by, leaf)
            {
                standing.witness(sender, right);
            }
            if right {
                verdicts.right.insert(leaf);
                if !disputes.is_empty() {
                    verdicts.liars.extend(disputes.settle(leaf, found));
                }
            } else {
                verdicts.wrong.insert(leaf);
                verdicts.liars.extend(disputes.open(leaf, found, by));
            }
        })?;
        self.progress_at = Instant::now();
        Ok(verdicts)
    }

    /// Who sent all of these nodes, if it was one peer.
    fn sole_supplier(&self, nodes: &[ByteRange]) -> Option<SocketAddr> {
        let mut senders = BTreeSet::new();
        for node in nodes {
            let by = self.tree_pieces.senders(*node);
            if by.iter().map(|(piece, _)| piece.len()).sum::<u64>() < node.len() {
                return None;
            }
            senders.extend(by.into_iter().map(|(_, who)| who));
        }
        senders.pop_first().filter(|_| senders.is_empty())
    }

    /// Whether the nodes of the group that holds `byte` are here and right.
    fn trust(&mut self, byte: u64, verdicts: &mut Verdicts) -> io::Result<bool> {
        let nodes = self.groups.nodes(byte);
        if !self.tree.holds(&nodes) {
            return Ok(false);
        }
        let tree = &self.tree;
        let right = self
            .groups
            .trust(byte, |at, buffer| tree.read(at, buffer))?;
        if !right {
            verdicts.tree_liars.extend(self.sole_supplier(&nodes));
        }
        if right && let Tree::Arriving(tree) = &self.tree {
            tree.trust(&nodes);
        }
        for node in nodes {
            let mut bytes = vec![0; usize::try_from(node.len()).unwrap_or(0)];
            tree.read(node.start, &mut bytes)?;
            if right {
                if !self.tree_disputes.is_empty() {
                    let liars = self.tree_disputes.settle(node, &bytes);
                    verdicts.tree_liars.extend(liars);
                }
                self.tree_pieces.remove(node);
            } else {
                // Any of these places may be the wrong one.
                let by = self.tree_pieces.remove(node);
                self.tree_disputes.keep(node, &bytes, by);
                verdicts.wrong_nodes.push(node);
            }
        }
        Ok(right)
    }
}
