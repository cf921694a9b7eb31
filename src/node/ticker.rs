//! The ticker thread: everything that ends because time passes. It never waits for the disk: what may
//! have to is the disk ticker's, which it wakes.
//!
//! Time in which this process did not run does not count: when a laptop wakes up, or a virtual machine
//! goes on, what waited has had no chance yet.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tracing::{debug, info};

use super::addresses::Addresses;
use super::messages::{Command, Keep};
use super::reassembly::Reassembly;
use super::shared::Shared;

/// How exactly limits are kept.
const TICK: Duration = Duration::from_millis(100);
/// A tick that comes later than this by so much means that nothing here ran meanwhile.
const SLEPT: Duration = Duration::from_secs(1);
/// How long content that nobody reads stays in memory.
const IDLE: Duration = Duration::from_secs(10);
/// How long a source on trial may be silent.
const TRIAL: Duration = Duration::from_secs(3);
/// How often the host's failed reassemblies are counted.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How often peers are written down.
const REMEMBER_EVERY: Duration = Duration::from_secs(30);

/// Runs until `stop` is dropped; wakes the disk ticker at every tick.
pub(super) fn run(shared: &Shared, stop: &Receiver<()>) {
    let mut remember_at = Instant::now() + Duration::from_secs(3);
    let mut reassembly = Reassembly::new();
    let mut count_at = Instant::now();
    let mut addresses = Addresses::new(count_at);
    loop {
        let waited_from = Instant::now();
        match stop.recv_timeout(TICK) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return,
        }
        let now = Instant::now();
        let lost = now.duration_since(waited_from).saturating_sub(TICK);
        if lost >= SLEPT {
            info!(
                seconds = lost.as_secs_f64(),
                "this process did not run for a while"
            );
            shared.postpone_limits(lost);
        }
        if addresses.has_new(now) || lost >= SLEPT {
            debug!("this host may have another address now");
            shared.mailbox.post(Command::Moved);
        }
        shared.wake_disk_ticker();
        shared.end_overdue_lookups(now);
        shared.expire_names(Some(now));
        shared.expire_streams(Some(now));
        for transfer in shared.transfers() {
            let (mut released, changed) = transfer.expire(now, shared.config.read_timeout);
            for whole in std::mem::take(&mut released.wholes) {
                if let Some(done) = whole.ticket.take() {
                    done(Err(super::Failure::TimedOut));
                }
            }
            shared.release(&transfer, released);
            if changed {
                shared.want_anew(&transfer);
            }
            if transfer.is_stalled(now, TRIAL) {
                shared.next_on_trial(transfer.id, TRIAL);
                shared.ask_everybody(&transfer);
                // Should anything that arrived have gone astray on its way, this finds it.
                for range in transfer.lacking_of_wanted() {
                    shared.mailbox.post(Command::Refetch(transfer.id, range));
                }
                shared.want_anew(&transfer);
                transfer.note_retry();
            }
            shared.done_with(transfer);
        }
        shared.drop_idle(now, IDLE);
        if now >= count_at {
            count_at = now + COUNT_EVERY;
            if reassembly.has_failed() {
                shared.mailbox.post(Command::FragmentsFail);
            }
        }
        if now >= remember_at {
            remember_at = now + REMEMBER_EVERY;
            remember_peers(shared);
        }
    }
}

impl Shared {
    /// Gives everybody who waits so much longer.
    fn postpone_limits(&self, by: Duration) {
        self.postpone_lookups(by);
        for transfer in self.transfers() {
            transfer.postpone_limits(by);
        }
    }
}

/// Writes down the peers that answer.
pub(super) fn remember_peers(shared: &Shared) {
    let (to, report) = std::sync::mpsc::channel();
    shared.mailbox.post(Command::Report(to));
    if let Ok(report) = report.recv_timeout(Duration::from_secs(1))
        && !report.good_peers.is_empty()
    {
        let _ = shared.to_keep.send(Keep::Peers(report.good_peers));
    }
}
