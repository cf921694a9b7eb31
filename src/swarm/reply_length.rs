//! How many bytes a peer is asked for at a time.
//!
//! An answer that fits one packet always gets through. A larger one costs less: fewer headers, and a
//! fraction of the work for each byte at both ends, which is what bounds a fast network. But it
//! travels in fragments. One lost fragment loses all of it, the fragments of an incomplete answer
//! fill a memory that the whole host shares for 30 seconds, and once that is full no fragmented
//! answer of any peer gets through (RFC 8900, 3.2); some networks drop all fragments.
//!
//! So the first questions are of one packet, and larger ones are tried only where they pay (much
//! arrives) and are safe (so few were lost for so long that the memory which lost fragments would pin
//! stays a small part of the host's). A few requests probe the next length; when all of them are
//! answered it is adopted, when single packets arrive and these do not it is left alone for minutes.
//! Any loss beyond what is safe, no gain in the rate, or the host's own count of failed reassemblies
//! leads back to one packet.

use std::time::Duration;

use super::Time;

/// Content bytes that fit one packet of 1,500 bytes with the JSON around them, over IPv6 and PPPoE
/// as well.
pub const ONE_PACKET: u64 = 900;
/// The lengths that are tried in turn. Deployed nodes ask for 4,096 and give up to 40,960.
const LADDER: [u64; 5] = [ONE_PACKET, 4096, 8192, 16_384, 40_960];
/// The least that is worth asking for at a time.
const LEAST: u64 = 256;
/// Seconds that the path may take for one answer: beyond that a larger one would make everybody who
/// waits for a small one wait longer, and saves little: nobody's processor is busy on a slow path.
const TURN: f64 = 0.002;
/// Of this many requests one is a probe: three per cent.
const PROBE_EACH: u32 = 32;
/// Requests after which probes that were neither answered nor given up are forgotten.
const FORGOTTEN: u32 = 4096;
/// Probes that must be answered, all of them, before their length is adopted.
const PROBES: u32 = 8;
/// Bytes of the host's memory for reassembly (4 MiB by default) that one peer's lost fragments may
/// pin, and for how long each does (`ipfrag_time`).
const PINNED: f64 = 512.0 * 1024.0;
const PINNED_FOR: f64 = 30.0;
/// Memory that a fragment pins for each byte of content in it: base64, and the kernel's bookkeeping.
const OVERHEAD: f64 = 2.8;
/// Answers without a loss that are wanted at least before a larger length is tried.
const CLEAN: f64 = 256.0;
/// How long a length that failed is left alone: at first, and at most.
const REST: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(600);
/// How long a new length has for showing that it brings no less than the one before.
const TRIAL: Duration = Duration::from_secs(2);
/// Answers after which a peer that was shortened by silence is asked for full lengths again.
const ANSWERS_TO_LENGTHEN: u32 = 64;

/// What one peer is asked for at a time.
#[derive(Clone, Debug)]
pub(super) struct ReplyLength {
    /// What it is asked for now.
    length: u64,
    /// What it is asked for when it is not away.
    full: u64,
    /// Never more than this: what it gives.
    cap: u64,
    /// Whether its answers travel in fragments where they are long.
    fragments: bool,
    /// Answers since the last one that was lost.
    clean: f64,
    since_probe: u32,
    /// Probes of the next length: sent, answered.
    probes: (u32, u32),
    rest: Duration,
    rest_until: Time,
    /// Since when the present length is on trial, and the rate before.
    trial: Option<(Time, f64)>,
    answers_since_shortened: u32,
}

impl ReplyLength {
    /// Begins with `length`; `fragments`: where longer answers are fragmented.
    pub fn new(length: u64, fragments: bool) -> Self {
        Self {
            length,
            full: length,
            cap: u64::MAX,
            fragments,
            clean: 0.0,
            since_probe: 0,
            probes: (0, 0),
            rest: REST,
            rest_until: Time::ZERO,
            trial: None,
            answers_since_shortened: 0,
        }
    }

    /// Bytes that it is asked for at a time now, probes apart.
    pub fn get(&self) -> u64 {
        self.length
    }

    /// The length of the next request, which nobody waits for. `rate` is the peer's, in content bytes
    /// a second.
    pub fn next(&mut self, now: Time, rate: Option<f64>) -> u64 {
        self.judge(now, rate);
        let Some(longer) = self.longer().filter(|it| self.may_try(now, *it, rate)) else {
            return self.length;
        };
        self.since_probe += 1;
        if self.since_probe > FORGOTTEN {
            self.probes = (0, 0);
        }
        if self.since_probe < PROBE_EACH || self.probes.0 >= PROBES {
            return self.length;
        }
        longer
    }

    /// It was asked for `asked` bytes, which may be less than [`ReplyLength::next`] said.
    pub fn asked(&mut self, asked: u64) {
        if self.is_probe(asked) {
            self.since_probe = 0;
            self.probes.0 += 1;
        }
    }

    /// Whether a request of `asked` bytes tells of the next length.
    fn is_probe(&self, asked: u64) -> bool {
        self.longer()
            .is_some_and(|longer| asked > self.full.midpoint(longer))
    }

    /// The next length above the present one.
    fn longer(&self) -> Option<u64> {
        let longer = LADDER.into_iter().find(|rung| *rung > self.full)?;
        (self.fragments && self.length == self.full && longer <= self.cap).then_some(longer)
    }

    fn may_try(&self, now: Time, longer: u64, rate: Option<f64>) -> bool {
        let rate = rate.unwrap_or(0.0);
        now >= self.rest_until
            && self.trial.is_none()
            && longer as f64 <= rate * TURN
            && self.clean >= clean_wanted(rate)
    }

    /// Whether the length on trial has brought less than the one before.
    fn judge(&mut self, now: Time, rate: Option<f64>) {
        if let Some((since, before)) = self.trial
            && now.since(since) >= TRIAL
        {
            self.trial = None;
            if rate.unwrap_or(0.0) < before * 0.95 {
                self.fall_back(now);
            }
        }
    }

    /// A request of `asked` bytes was answered.
    pub fn answered(&mut self, now: Time, asked: u64, rate: Option<f64>) {
        self.clean += 1.0;
        if self.length < self.full {
            self.answers_since_shortened += 1;
            if self.answers_since_shortened >= ANSWERS_TO_LENGTHEN {
                self.length = self.full;
            }
            return;
        }
        let Some(longer) = self.longer() else {
            return;
        };
        if !self.is_probe(asked) || self.probes.0 == 0 {
            return;
        }
        self.probes.1 += 1;
        if self.probes.1 >= PROBES {
            self.probes = (0, 0);
            self.trial = Some((now, rate.unwrap_or(0.0)));
            self.clean = 0.0;
            self.full = longer;
            self.length = longer;
        }
    }

    /// A request of `asked` bytes was given up.
    pub fn lost(&mut self, now: Time, asked: u64, rate: Option<f64>) {
        let clean = std::mem::take(&mut self.clean);
        if self.is_probe(asked) && self.probes.0 > 0 {
            // Single packets arrive, or nothing would be probed.
            self.probes = (0, 0);
            self.put_off(now);
        } else if self.full > ONE_PACKET
            && self.fragments
            && asked > ONE_PACKET
            && clean < clean_wanted(rate.unwrap_or(0.0))
        {
            self.fall_back(now);
        }
    }

    /// The host could not put fragments together: nothing is asked for in fragments for a while.
    pub fn fragments_fail(&mut self, now: Time) {
        if self.fragments && (self.full > ONE_PACKET || self.probes.0 > 0) {
            self.fall_back(now);
        }
    }

    fn fall_back(&mut self, now: Time) {
        self.full = self.full.min(ONE_PACKET);
        self.length = self.length.min(ONE_PACKET);
        self.trial = None;
        self.probes = (0, 0);
        self.clean = 0.0;
        self.put_off(now);
    }

    fn put_off(&mut self, now: Time) {
        self.rest_until = now + self.rest;
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }

    /// It gave `given` bytes where more were asked for and were there: that much is asked of it from
    /// now on, if it is worth asking for.
    pub fn cap(&mut self, given: u64) {
        if (LEAST..self.length).contains(&given) {
            self.length = given;
            self.full = given;
        }
        if given >= LEAST {
            self.cap = self.cap.min(given);
            self.probes = (0, 0);
        }
    }

    /// It is silent: it is asked for less at a time until it has answered for a while, since large
    /// answers may not get through at all.
    pub fn shorten(&mut self) {
        self.answers_since_shortened = 0;
        self.probes = (0, 0);
        self.length = match self.length {
            16_385.. => 16_384,
            4097.. => 4096,
            length => length.min(ONE_PACKET),
        };
    }
}

/// Answers without a loss between two losses at which fragments pin no more than they may: what is
/// lost each second, times its size, times how long it is kept, is within the bounds.
fn clean_wanted(rate: f64) -> f64 {
    (rate * PINNED_FOR * OVERHEAD / PINNED).max(CLEAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path of `rate` bytes a second; every `lose_each`-th datagram of more than one packet is lost,
    /// and of those longer than `up_to` all. Returns the length in use after `seconds`, and the share
    /// of requests that were longer than one packet while they got lost.
    fn run(seconds: u64, rate: f64, lose_each: u64, up_to: u64) -> (u64, f64) {
        let mut length = ReplyLength::new(ONE_PACKET, true);
        let (mut now, mut count) = (Time::ZERO, 0u64);
        let (mut lost, mut all) = (0u64, 0u64);
        while now < Time::ZERO + Duration::from_secs(seconds) {
            let asked = length.next(now, Some(rate));
            length.asked(asked);
            all += 1;
            now = now + Duration::from_secs_f64(asked as f64 / rate);
            count += u64::from(asked > ONE_PACKET);
            let gone = asked > ONE_PACKET && (asked > up_to || count.is_multiple_of(lose_each));
            if gone {
                lost += 1;
                length.lost(now, asked, Some(rate));
            } else {
                length.answered(now, asked, Some(rate));
            }
        }
        (length.get(), lost as f64 / all as f64)
    }

    #[test]
    fn a_fast_clean_path_is_asked_for_all_that_a_node_gives() {
        assert_eq!(run(30, 1e8, u64::MAX, u64::MAX).0, 40_960);
    }

    #[test]
    fn on_a_slow_path_no_answer_takes_long() {
        assert_eq!(run(30, 1e6, u64::MAX, u64::MAX).0, ONE_PACKET);
        assert_eq!(run(30, 1e7, u64::MAX, u64::MAX).0, 16_384);
    }

    #[test]
    fn where_fragments_are_dropped_few_requests_are_wasted() {
        let (length, lost) = run(60, 1e7, u64::MAX, ONE_PACKET);
        assert_eq!(length, ONE_PACKET);
        assert!(lost < 1e-4, "{lost}");
        let (length, lost) = run(60, 1e7, u64::MAX, 8192);
        assert!(length <= 8192);
        assert!(lost < 1e-3, "{lost}");
    }

    /// The cliff: 4 MiB of memory at 83 KB for each lost answer of 40,960, for 30 s.
    #[test]
    fn lost_fragments_never_fill_the_host_s_memory() {
        for rate in [4e6, 2e7, 1e8] {
            for lose_each in [2, 10, 100, 1000, 10_000] {
                let mut length = ReplyLength::new(ONE_PACKET, true);
                let (mut now, mut count) = (Time::ZERO, 0u64);
                let mut pinned: std::collections::VecDeque<(Time, f64)> = Default::default();
                let mut worst = 0.0f64;
                while now < Time::ZERO + Duration::from_secs(90) {
                    let asked = length.next(now, Some(rate));
                    length.asked(asked);
                    now = now + Duration::from_secs_f64(asked as f64 / rate);
                    if asked <= ONE_PACKET {
                        length.answered(now, asked, Some(rate));
                        continue;
                    }
                    count += 1;
                    if count.is_multiple_of(lose_each) {
                        pinned.push_back((now, asked as f64 * OVERHEAD));
                        length.lost(now, asked, Some(rate));
                    } else {
                        length.answered(now, asked, Some(rate));
                    }
                    while pinned
                        .front()
                        .is_some_and(|(at, _)| now.since(*at).as_secs_f64() > 30.0)
                    {
                        pinned.pop_front();
                    }
                    worst = worst.max(pinned.iter().map(|(_, bytes)| bytes).sum());
                }
                assert!(worst < 2.0 * PINNED, "{rate} {lose_each}: {worst}");
            }
        }
    }

    #[test]
    fn failed_reassemblies_lead_back_to_one_packet() {
        let mut length = ReplyLength::new(ONE_PACKET, true);
        let mut now = Time::ZERO;
        while length.get() < 40_960 {
            let asked = length.next(now, Some(1e8));
            length.asked(asked);
            length.answered(now, asked, Some(1e8));
            now = now + Duration::from_micros(10);
            assert!(now < Time::ZERO + Duration::from_secs(100));
        }
        length.fragments_fail(now);
        assert_eq!(length.get(), ONE_PACKET);
        for _ in 0..100_000 {
            assert_eq!(length.next(now, Some(1e8)), ONE_PACKET);
            length.answered(now, ONE_PACKET, Some(1e8));
        }
    }

    #[test]
    fn a_length_that_brings_less_is_given_up() {
        let mut length = ReplyLength::new(ONE_PACKET, true);
        let mut now = Time::ZERO;
        let rate = |length: u64| Some(if length > 4096 { 5e6 } else { 1e7 });
        let mut seen = 0;
        while now < Time::ZERO + Duration::from_secs(25) {
            let rate = rate(length.get());
            let asked = length.next(now, rate);
            length.asked(asked);
            length.answered(now, asked, rate);
            now = now + Duration::from_secs_f64(asked as f64 / 1e7);
            seen = seen.max(length.get());
        }
        assert_eq!((seen, length.get()), (8192, ONE_PACKET));
    }

    #[test]
    fn what_a_peer_gives_is_not_exceeded() {
        let mut length = ReplyLength::new(40_960, false);
        length.cap(8192);
        assert_eq!(length.get(), 8192);
        length.shorten();
        assert_eq!(length.get(), 4096);
        for _ in 0..ANSWERS_TO_LENGTHEN {
            length.answered(Time::ZERO, 4096, None);
        }
        assert_eq!(length.get(), 8192);
        length.cap(10);
        assert_eq!(length.get(), 8192);
        assert_eq!(length.next(Time::ZERO, Some(1e9)), 8192);
    }
}
