//! The writer thread: what arrived goes into the backing file and the cache, then to who waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use tracing::warn;

use super::shared::{Arrival, Shared, io_failure};
use super::transfer::Phase;
use crate::content::ByteRange;

/// Runs until it is told to stop.
pub(super) fn run(shared: &Shared, arrivals: &Receiver<Arrival>) {
    let mut warned = false;
    while let Ok(arrival) = arrivals.recv() {
        match arrival {
            Arrival::Found(id, length) => shared.found(id, length),
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
                    match transfer.partial.write_at(offset, &data) {
                        Ok(()) => {
                            warned = false;
                            shared.cache.put(&id, offset, &data);
                            let (released, to_prove) = transfer.arrived(range, from);
                            if to_prove {
                                let _ = shared.to_prove.send(Some(Arc::clone(&transfer)));
                            }
                            shared.release(&transfer, released);
                        }
                        Err(error) => {
                            if !warned {
                                warn!(%id, %error, "could not write what arrived");
                                warned = true;
                            }
                            transfer.fail_all(io_failure(&error));
                            shared.want_anew(&transfer);
                        }
                    }
                }
                shared.unwritten.fetch_sub(length, Ordering::Relaxed);
            }
            Arrival::Stop => return,
        }
    }
}
