//! The writer thread: what arrived goes into the backing file and the cache, then to who waits.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::messages::{Arrival, Keep};
use super::runs::{LINGER, MAX_UNHASHED, RUN, Run, Runs};
use super::shared::{Shared, errno, io_failure};
use super::transfer::{Phase, Transfer};
use crate::content::{ByteRange, Kind};

/// Bytes after whose writing the keeper is asked to sync without waiting for its time.
const SYNC_AFTER: u64 = 64 << 20;
/// How long a full run waits at most for the prover, which is busy with earlier ones. Going through
/// the page cache instead costs more than the prover lacks (`perf`: a sixth of all that `get` did).
const HOLD: Duration = Duration::from_secs(1);

/// Runs until it is told to stop.
pub(super) fn run(shared: &Shared, arrivals: &Receiver<Arrival>) {
    let mut writer = Writer {
        shared,
        runs: Runs::new(Arc::clone(&shared.pool)),
        held: VecDeque::new(),
        warned: false,
    };
    loop {
        let now = Instant::now();
        writer.write_held(now);
        writer.end_stale(now);
        let arrival = if writer.runs.is_empty() && writer.held.is_empty() {
            arrivals.recv().map_err(RecvTimeoutError::from)
        } else {
            arrivals.recv_timeout(LINGER)
        };
        match arrival {
            Ok(Arrival::Found(id, length)) => shared.found(id, length),
            Ok(Arrival::Claimed(id, claim)) => shared.claimed(id, claim),
            Ok(Arrival::Again(id, range, answer)) => {
                if let Some(it) = shared.compared(id, range, answer) {
                    writer.take_in(&it.transfer, it.range.start, &it.data, it.from);
                }
            }
            Ok(Arrival::Stalled(transfer, since)) => {
                writer.write_all();
                if transfer.stands_still_since(since) {
                    shared.ask_anew(&transfer);
                }
            }
            Ok(Arrival::Block(block)) => shared.block_arrived(*block),
            Ok(Arrival::LatestAsked(of, heard)) => shared.asked_latest(of, heard),
            Ok(Arrival::Data {
                id,
                offset,
                data,
                from,
            }) => {
                let length = data.len() as u64;
                if let Some(transfer) = shared.transfer(&id)
                    && transfer.phase() == Phase::Arriving
                {
                    writer.take_in(&transfer, offset, &data, from);
                } else {
                    shared.lost(id, ByteRange::at(offset, length));
                }
                shared.pool.return_answer(data);
                shared.unwritten.fetch_sub(length, Ordering::Relaxed);
            }
            // What has waited long enough is looked at above.
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Arrival::Stop) | Err(RecvTimeoutError::Disconnected) => {
                writer.write_all();
                return;
            }
        }
    }
}

struct Writer<'a> {
    shared: &'a Shared,
    runs: Runs,
    /// Full runs that wait for the prover, the oldest first, and since when. They count as unwritten,
    /// so that the network asks for less meanwhile.
    held: VecDeque<(Instant, Run)>,
    warned: bool,
}

impl Writer<'_> {
    /// Writes what has arrived, or gathers it where nobody waits for it.
    fn take_in(&mut self, transfer: &Arc<Transfer>, offset: u64, data: &[u8], from: SocketAddr) {
        // What is here may have been hashed and given out: it is never overwritten.
        for part in transfer.lacking(ByteRange::at(offset, data.len() as u64)) {
            let start = (part.start - offset) as usize;
            let Some(bytes) = data.get(start..start + part.len() as usize) else {
                continue;
            };
            if transfer.is_unread() && transfer.length >= RUN && transfer.id.kind != Kind::TreeV2 {
                let now = Instant::now();
                for run in self.runs.add(transfer, part.start, bytes, from, now) {
                    self.write_run(run);
                }
            } else {
                self.end_runs(|run| Arc::ptr_eq(&run.transfer, transfer));
                self.write(transfer, part, bytes, from);
            }
        }
    }

    /// Writes the runs that have waited for more in vain. Where others are held for a prover that is
    /// busy it is for that that nothing arrives, so these wait, too.
    fn end_stale(&mut self, now: Instant) {
        let holds = |(_, run): &(Instant, Run)| run.transfer.is_being_hashed();
        if self.held.front().is_some_and(holds) {
            return;
        }
        for run in self.runs.take_stale(now) {
            self.write_run(run);
        }
    }

    fn end_runs(&mut self, which: impl Fn(&Run) -> bool) {
        for run in self.runs.take(which) {
            self.write_run(run);
        }
    }

    /// Writes whatever has been gathered or held.
    fn write_all(&mut self) {
        self.end_runs(|_| true);
        self.write_held(Instant::now() + HOLD);
    }

    /// Writes the bytes of `part` and wakes who waits for them.
    fn write(&mut self, transfer: &Arc<Transfer>, part: ByteRange, data: &[u8], from: SocketAddr) {
        let written = self.replace(transfer, part, data).and_then(|()| {
            if transfer.avoids_disk() {
                Err(io::Error::from_raw_os_error(libc::EIO))
            } else {
                transfer.partial.write_at(part.start, data)
            }
        });
        if self.is_written(transfer, part, data, written) {
            self.announce(transfer, part, data, from);
        }
    }

    /// `data` is about to be written over bytes that may have been given out.
    fn replace(&self, transfer: &Arc<Transfer>, part: ByteRange, data: &[u8]) -> io::Result<()> {
        if transfer.has_doubted(part) {
            let released = transfer.replace(part, data)?;
            self.shared.release(transfer, released);
        }
        Ok(())
    }

    /// Writes a run, or holds it until the prover is less busy.
    fn write_run(&mut self, run: Run) {
        if !self.runs.may_wait_for_hash() {
            // Runs that came long before their turn must not keep the memory from all others.
            let late = run.range().end.saturating_add(MAX_UNHASHED);
            run.transfer.unhashed.let_go_from(late);
        }
        let waits = run.transfer.is_unread()
            && !run.transfer.is_vouched()
            && !run.transfer.avoids_disk()
            && (!self.runs.may_wait_for_hash() || !self.held.is_empty());
        if waits {
            self.shared
                .unwritten
                .fetch_add(run.range().len(), Ordering::Relaxed);
            self.held.push_back((Instant::now(), run));
        } else {
            self.write_now(run);
        }
    }

    /// Writes those of the held runs that need not wait any more at `now`.
    fn write_held(&mut self, now: Instant) {
        while let Some((since, run)) = self.held.front() {
            // With nothing to hash the prover waits for something that may be in one of these.
            let waits = run.transfer.is_unread()
                && !self.runs.may_wait_for_hash()
                && run.transfer.is_being_hashed()
                && now.saturating_duration_since(*since) < HOLD;
            if waits {
                return;
            }
            if let Some((_, run)) = self.held.pop_front() {
                let length = run.range().len();
                self.write_now(run);
                self.shared.unwritten.fetch_sub(length, Ordering::Relaxed);
            }
        }
    }

    fn write_now(&mut self, mut run: Run) {
        let transfer = Arc::clone(&run.transfer);
        let range = run.range();
        if transfer.phase() != Phase::Arriving {
            self.shared.lost(transfer.id, range);
            return;
        }
        let pieces = std::mem::take(&mut run.pieces);
        if transfer.lacking(range) != [range] || transfer.has_doubted(range) {
            // Some of it has come by another way meanwhile, or was here before.
            for (piece, from) in pieces {
                for part in transfer.lacking(piece) {
                    if let Some(data) = run.slice(part) {
                        self.write(&transfer, part, data, from);
                    }
                }
            }
            return;
        }
        let vouched = transfer.is_vouched();
        let past_cache = transfer.is_unread() && (vouched || self.runs.may_wait_for_hash());
        let written = if transfer.avoids_disk() {
            Err(io::Error::from_raw_os_error(libc::EIO))
        } else if past_cache {
            transfer.partial.write_past_cache(range.start, run.bytes())
        } else {
            transfer.partial.write_at(range.start, run.bytes())
        };
        if !self.is_written(&transfer, range, run.bytes(), written) {
            return;
        }
        let run = Arc::new(self.runs.written(run));
        if past_cache && !vouched {
            // Before the prover hears of it.
            transfer.unhashed.push(Arc::clone(&run));
        }
        for (piece, from) in pieces {
            if let Some(data) = run.slice(piece) {
                self.announce(&transfer, piece, data, from);
            }
        }
    }

    /// Whether `part` is in the backing file, or in memory where the disk does not take it; if not, it is fetched again when it is wanted again.
    fn is_written(
        &mut self,
        transfer: &Arc<Transfer>,
        part: ByteRange,
        data: &[u8],
        written: io::Result<()>,
    ) -> bool {
        let Err(error) = written else {
            self.warned = false;
            return true;
        };
        let errno = errno(&error);
        if self.shared.floats(errno) {
            let kept = self.shared.write_to_memory(transfer, part, data, errno);
            if !kept {
                self.shared.lost(transfer.id, part);
            }
            return kept;
        }
        if !self.warned {
            warn!(id = %transfer.id, %error, "could not write what arrived");
            self.warned = true;
        }
        transfer.fail_all(io_failure(&error));
        self.shared.lost(transfer.id, part);
        false
    }

    /// `part` is in the backing file: marks it, and wakes who waits for it.
    fn announce(&self, transfer: &Arc<Transfer>, part: ByteRange, data: &[u8], from: SocketAddr) {
        let shared = self.shared;
        // The disk works beside the network: little is left to wait for at the end.
        let before = shared.unsynced.fetch_add(part.len(), Ordering::Relaxed);
        if before < SYNC_AFTER && before + part.len() >= SYNC_AFTER {
            let _ = shared.to_keep.send(Keep::Sync);
        }
        if transfer.is_vouched() {
            shared.landed(transfer, part, data, from);
            return;
        }
        if shared.waits_for_claim(transfer, part) {
            transfer.land(part, from);
            for leaves in transfer.landed_leaves(part) {
                shared.verify_landed(transfer, leaves, Some((part.start, data)));
            }
            return;
        }
        let suppliers = transfer.supplier_count();
        let (released, leaves, to_prove) = transfer.arrived(part, from);
        if transfer.id.kind == Kind::TreeV2 {
            shared.nodes_arrived(transfer, part, from);
        }
        shared.remember_leaves(transfer, part, data, leaves);
        if to_prove {
            let _ = shared.to_prove.send(Some(Arc::clone(transfer)));
        }
        shared.release(transfer, released);
        if transfer.id.kind == Kind::Sha256 {
            if transfer.supplier_count() > suppliers.max(1) {
                shared.verify_by_claim(transfer);
            }
            shared.compare_some(transfer, part, from);
        }
    }
}
