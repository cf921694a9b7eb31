//! The prover thread: hashes the complete prefix of what arrives, beside the transfer, so that the
//! proof of the whole is made a moment after its last byte.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use tracing::{debug, warn};

use super::messages::Keep;
use super::shared::Shared;
use super::transfer::{NextCheck, Phase, Transfer};
use crate::content::{ContentId, Kind, Proof, tree};

/// Bytes hashed at a time: they stay in the second-level cache between the copy and the hash.
const CHUNK: usize = 256 << 10;
/// Bytes of one transfer before another has its turn.
const TURN: u64 = 64 << 20;

/// Runs until it is told to stop (`None`).
pub(super) fn run(
    shared: &Shared,
    queue: &Receiver<Option<Arc<Transfer>>>,
    again: &Sender<Option<Arc<Transfer>>>,
) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(Some(transfer)) = queue.recv() {
        if shared.is_stopping() {
            return;
        }
        if hash_a_turn(shared, &transfer, &mut buffer) {
            let _ = again.send(Some(transfer));
        }
    }
}

/// Verifies and hashes up to a turn's worth; `true` when there is more.
fn hash_a_turn(shared: &Shared, transfer: &Arc<Transfer>, buffer: &mut [u8]) -> bool {
    if transfer.checks_leaves() {
        match verify_a_turn(shared, transfer) {
            Turn::More => return true,
            Turn::Done => return false,
            Turn::Hash => {}
        }
        shared.repair_if_failed(transfer);
    }
    let mut slot = transfer.proof.lock().unwrap_or_else(|e| e.into_inner());
    let by_blocks = transfer.block_check().is_some();
    let mut hashed = 0;
    let mut done = 0;
    while let Some((epoch, mut range)) = transfer.next_to_hash(buffer.len() as u64) {
        if shared.is_stopping() {
            return false;
        }
        if slot.0 != epoch {
            *slot = (epoch, Proof::new(transfer.id));
        }
        let Some(chunk) = buffer.get_mut(..range.len() as usize) else {
            return false;
        };
        let in_memory = match by_blocks {
            true => None,
            false => transfer.unhashed.at(range.start),
        };
        let in_memory = in_memory.as_deref().and_then(|run| run.from(range.start));
        if let (Some(proof), Some(bytes)) = (slot.1.as_mut(), in_memory) {
            let chunk = bytes.get(..chunk.len()).unwrap_or(bytes);
            proof.update(chunk);
            range.end = range.start + chunk.len() as u64;
        } else if let Some(proof) = slot.1.as_mut() {
            match transfer.partial.read_at(range.start, chunk) {
                Ok(read) if read == chunk.len() => {
                    if !shared.block_is_right(transfer, range, chunk) {
                        continue;
                    }
                    proof.update(chunk);
                }
                // Let go since it was looked at: it is looked at again.
                Err(error) if error.raw_os_error() == Some(libc::ESTALE) => return true,
                result => {
                    warn!(id = %transfer.id, ?result, "could not read back what arrived");
                    transfer.unreadable();
                    transfer.fail_all(super::Failure::Disk(libc::EIO));
                    return false;
                }
            }
        }
        transfer.hashed(epoch, range.end);
        transfer.note_progress();
        done = range.end;
        hashed += range.len();
        if hashed >= TURN && done < transfer.length {
            return true;
        }
    }
    if done < transfer.length {
        return transfer.has_more_to_verify();
    }
    transfer.unhashed.clear();
    let epoch = slot.0;
    let right = match slot.1.take() {
        Some(proof) => proof.holds(),
        None => tree_holds(transfer),
    };
    drop(slot);
    if right {
        is_proven(shared, transfer);
    } else {
        shared.whole_failed(transfer, epoch);
    }
    false
}

fn is_proven(shared: &Shared, transfer: &Arc<Transfer>) {
    debug!(id = %transfer.id, length = transfer.length, "proven");
    // While the claim is still known; that it was right matters only if this holds.
    let claim = shared.checked_claim(transfer);
    let released = transfer.proved();
    if let Some(blake3) = claim.filter(|_| transfer.phase() == Phase::Proven) {
        shared.claim_is_proven(transfer, blake3);
    }
    shared.release(transfer, released);
    if transfer.phase() == Phase::Proven {
        shared.backlog.add();
        let _ = shared.to_keep.send(Keep::Proven(Arc::clone(transfer)));
    } else if transfer.needs_proof() {
        let _ = shared.to_prove.send(Some(Arc::clone(transfer)));
    }
}

/// What came of verifying leaves.
enum Turn {
    /// There are more to verify.
    More,
    /// The rest is to be hashed.
    Hash,
    Done,
}

/// Verifies leaves that have landed, up to a turn's worth.
fn verify_a_turn(shared: &Shared, transfer: &Arc<Transfer>) -> Turn {
    let mut checked = 0;
    while checked < TURN && !shared.is_stopping() {
        match transfer.next_check() {
            NextCheck::Check(range) => {
                for leaves in transfer.landed_leaves(range) {
                    shared.verify_landed(transfer, leaves, None);
                }
                checked += range.len();
            }
            NextCheck::Whole => {
                is_proven(shared, transfer);
                return Turn::Done;
            }
            NextCheck::Hash => return Turn::Hash,
            NextCheck::Nothing => return Turn::Done,
        }
    }
    Turn::More
}

/// A tree file proves itself: its levels lead to the root in its id.
fn tree_holds(transfer: &Transfer) -> bool {
    let ContentId { kind, hash } = transfer.id;
    kind == Kind::TreeV2
        && tree::verify_tree(hash, transfer.length, |offset, buffer| {
            match transfer.partial.read_at(offset, buffer)? {
                read if read == buffer.len() => Ok(()),
                _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
            }
        })
        .unwrap_or(false)
}
