//! The ticker thread: everything that ends because time passes. It never waits for the disk: what may
//! have to is the disk ticker's, which it wakes.
//!
//! Time in which this process did not run does not count: when a laptop wakes up, or a virtual machine
//! goes on, what waited has had no chance yet.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tracing::{debug, info};

use super::addresses::Addresses;
use super::messages::{Arrival, Command, Keep};
use super::reassembly::Reassembly;
use super::shared::Shared;
use super::transfer::Transfer;

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
        shared.look_for_held();
        shared.end_overdue_lookups(now);
        shared.expire_aside(Some(now));
        shared.serving.drop_overdue(now);
        shared.expire_names(Some(now));
        shared.expire_streams(Some(now));
        for transfer in shared.transfers() {
            shared.look_after(transfer, now);
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
    /// Ends what waits for a transfer beyond its limit, and sees to it that what does not come is asked for
    /// again.
    fn look_after(&self, transfer: Arc<Transfer>, now: Instant) {
        let (mut released, changed) = transfer.expire(now, self.config.read_timeout);
        for whole in std::mem::take(&mut released.wholes) {
            if let Some(done) = whole.ticket.take() {
                done(Err(super::Failure::TimedOut));
            }
        }
        self.release(&transfer, released);
        if changed {
            self.want_anew(&transfer);
        }
        if let Some(since) = transfer.stalled_since(now, TRIAL) {
            transfer.note_retry();
            // What has come may wait for the disk. The writer knows, and goes on with `ask_anew`.
            let again = Arc::clone(&transfer);
            let _ = self.arrivals.send(Arrival::Stalled(again, since));
        }
        self.done_with(transfer);
    }

    /// Asks everybody for all that is wanted of a transfer for which nothing comes. Not before all that
    /// did come is written: with a disk that takes seconds it looks the same, and to ask for it again
    /// would fetch it twice, and to ask those who were found to lie would bring what is wrong.
    pub(super) fn ask_anew(&self, transfer: &Arc<Transfer>) {
        self.next_on_trial(transfer.id, TRIAL);
        self.ask_everybody(transfer);
        // Should anything that arrived have gone astray on its way, this finds it.
        for range in transfer.lacking_of_wanted() {
            self.mailbox.post(Command::Refetch(transfer.id, range));
        }
        self.want_anew(transfer);
    }

    /// Gives everybody who waits so much longer.
    fn postpone_limits(&self, by: Duration) {
        self.postpone_lookups(by);
        self.postpone_aside(by);
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::super::messages::Arrival;
    use super::super::shared::lock;
    use super::super::still::Still;
    use super::super::writer;
    use super::*;
    use crate::content::{ByteRange, ContentId};

    const LENGTH: u64 = 8 << 20;

    /// What is fetched again of content for which nothing was seen to come, all of it wanted, of which
    /// `arrived` bytes wait for the writer.
    fn fetched_again(arrived: usize) -> Vec<ByteRange> {
        let still = Still::new();
        let id = ContentId::sha256([9; 32]);
        let transfer = still.shared.begin(id, LENGTH).unwrap();
        let (done, _ended) = std::sync::mpsc::channel();
        let waiting = still
            .shared
            .fetch(id, Box::new(move |end| drop(done.send(end))));
        still.shared.found(id, LENGTH);
        let later = Instant::now() + 2 * TRIAL;
        let since = transfer
            .stalled_since(later, TRIAL)
            .expect("it is wanted and does not come");
        still.told();
        let arrivals = &still.shared.arrivals;
        if arrived > 0 {
            let from = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
            let data = vec![7; arrived];
            let offset = 0;
            arrivals
                .send(Arrival::Data {
                    id,
                    offset,
                    data,
                    from,
                })
                .unwrap();
        }
        arrivals.send(Arrival::Stalled(transfer, since)).unwrap();
        arrivals.send(Arrival::Stop).unwrap();
        writer::run(&still.shared, &still.arrived);
        drop(waiting);
        let again = still
            .told()
            .into_iter()
            .filter_map(|command| match command {
                Command::Refetch(_, range) => Some(range),
                _ => None,
            });
        again.collect()
    }

    /// A disk that took seconds looked like peers that send nothing, and all that waited for it was
    /// fetched twice.
    #[test]
    fn what_waits_for_the_disk_is_not_fetched_again() {
        assert!(fetched_again(40_960).is_empty());
    }

    /// Closing a file takes as long as the disk likes, and the ticker keeps everybody's limits.
    #[test]
    fn what_ends_while_the_ticker_looks_at_it_is_left_to_the_keeper() {
        let still = Still::new();
        let id = ContentId::sha256([9; 32]);
        let transfer = still.shared.begin(id, LENGTH).unwrap();
        let left_to_the_keeper = || still.keeping.try_iter().collect::<Vec<_>>();
        // As long as others have it, it is theirs.
        still
            .shared
            .look_after(Arc::clone(&transfer), Instant::now());
        assert!(left_to_the_keeper().is_empty());
        lock(&still.shared.transfers).clear();
        still.shared.look_after(transfer, Instant::now());
        let left = left_to_the_keeper();
        assert!(matches!(&left[..], [Keep::Ended(last)] if last.id == id));
    }

    #[test]
    fn what_went_astray_is_fetched_again() {
        assert_eq!(fetched_again(0), [ByteRange::new(0, LENGTH)]);
    }
}
