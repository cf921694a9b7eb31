//! The writer thread: what arrived goes into the backing file and the cache, then to who waits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use tracing::warn;

use super::messages::{Arrival, Keep};
use super::shared::{Shared, io_failure};
use super::transfer::{Phase, Transfer};
use crate::content::{ByteRange, Kind};

/// Bytes after whose writing the keeper is asked to sync without waiting for its time.
const SYNC_AFTER: u64 = 64 << 20;

/// Runs until it is told to stop.
pub(super) fn run(shared: &Shared, arrivals: &Receiver<Arrival>) {
    let mut warned = false;
    while let Ok(arrival) = arrivals.recv() {
        match arrival {
            Arrival::Found(id, length) => shared.found(id, length),
            Arrival::LatestAsked(of, heard) => shared.asked_latest(of, heard),
            Arrival::Data {
                id,
                offset,
                data,
                from,
            } => {
                let length = data.len() as u64;
                if let Some(transfer) = shared.transfer(&id)
                    && transfer.phase() == Phase::Arriving
                {
                    let range = ByteRange::at(offset, length);
                    // What is here may have been hashed and given out: it is never overwritten.
                    for part in transfer.lacking(range) {
                        match write(shared, &transfer, part, offset, &data, from) {
                            Ok(()) => warned = false,
                            Err(error) => {
                                if !warned {
                                    warn!(%id, %error, "could not write what arrived");
                                    warned = true;
                                }
                                transfer.fail_all(io_failure(&error));
                                shared.lost(id, part);
                            }
                        }
                    }
                } else {
                    shared.lost(id, ByteRange::at(offset, length));
                }
                shared.unwritten.fetch_sub(length, Ordering::Relaxed);
            }
            Arrival::Stop => return,
        }
    }
}

/// Writes the bytes of `part`, of `data` that begins at `offset`, and wakes who waits for them.
fn write(
    shared: &Shared,
    transfer: &Arc<Transfer>,
    part: ByteRange,
    offset: u64,
    data: &[u8],
    from: SocketAddr,
) -> io::Result<()> {
    let start = (part.start - offset) as usize;
    let Some(data) = data.get(start..start + part.len() as usize) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    transfer.partial.write_at(part.start, data)?;
    // The disk works beside the network: little is left to wait for at the end.
    let before = shared.unsynced.fetch_add(part.len(), Ordering::Relaxed);
    if before < SYNC_AFTER && before + part.len() >= SYNC_AFTER {
        let _ = shared.to_keep.send(Keep::Sync);
    }
    if transfer.is_vouched() {
        shared.landed(transfer, part, data, from);
        return Ok(());
    }
    let (released, leaves, to_prove) = transfer.arrived(part, from);
    if transfer.id.kind == Kind::TreeV2 {
        shared.nodes_arrived(transfer, part, from);
    }
    shared.remember_leaves(transfer, part, data, leaves);
    if to_prove {
        let _ = shared.to_prove.send(Some(Arc::clone(transfer)));
    }
    shared.release(transfer, released);
    Ok(())
}
