use super::*;

const PIECE: u64 = 900;

fn at(milliseconds: u64) -> Time {
    Time::from_start(Duration::from_millis(milliseconds))
}

/// A peer at 20 ms that has answered for a second, and then falls silent with these requests pending.
fn silenced(pending: usize) -> (Congestion, Vec<Sent>) {
    let mut congestion = Congestion::new(at(0));
    for n in 0..50 {
        let sent = congestion.on_sent(at(20 * n), PIECE, true);
        congestion.on_answer(at(20 * n + 20), &sent, PIECE, PIECE, true, PIECE);
    }
    let sent = (0..pending).map(|_| congestion.on_sent(at(1020), PIECE, true));
    let sent: Vec<Sent> = sent.collect();
    for n in 0..4 {
        congestion.on_timeout(at(2000 + 500 * n));
    }
    (congestion, sent)
}

#[test]
fn what_waited_through_a_silence_says_nothing_of_the_path() {
    let (mut congestion, pending) = silenced(40);
    assert!(congestion.is_silent());
    for sent in &pending {
        congestion.on_answer(at(7000), sent, PIECE, PIECE, false, PIECE);
    }
    assert!(!congestion.is_silent());
    let timeout = congestion.timeout();
    assert!(timeout < Duration::from_millis(250), "{timeout:?}");
}

/// The path itself is a hundred times longer than before: that is learnt from each silence's end.
#[test]
fn a_path_that_is_much_longer_after_a_silence_is_believed_in_the_end() {
    let (mut congestion, _) = silenced(1);
    let mut now = 7000;
    for _ in 0..12 {
        let sent = congestion.on_sent(at(now), PIECE, true);
        let late = congestion.timeout() < Duration::from_secs(2);
        if late {
            congestion.on_timeout(at(now + 500));
            congestion.on_timeout(at(now + 1500));
        }
        now += 2000;
        congestion.on_answer(at(now), &sent, PIECE, PIECE, !late, PIECE);
    }
    let timeout = congestion.timeout();
    assert!(timeout > Duration::from_secs(2), "{timeout:?}");
}

/// A source that gives 8 MB/s and answers a first question in 100 us, of which 16 pieces are asked at once
/// whenever the last 16 have come.
#[test]
fn what_is_answered_at_once_after_a_rest_is_no_faster_path() {
    const LENGTH: u64 = 40_000;
    let micros = |micros| Time::from_start(Duration::from_micros(micros));
    let mut congestion = Congestion::new(at(0));
    congestion.phase = Phase::Steady;
    congestion.settled_rate = 8e6;
    congestion.rtt.sample(at(0), Duration::from_micros(100));
    congestion.keep_rate(8e6);
    let mut now = 1000;
    for _ in 0..50 {
        let sent: Vec<Sent> = (0..16)
            .map(|_| congestion.on_sent(micros(now), LENGTH, false))
            .collect();
        now += 100;
        for sent in &sent {
            congestion.on_answer(micros(now), sent, LENGTH, LENGTH, true, LENGTH);
            now += 5000;
        }
        let rate = congestion.rate().unwrap_or_default();
        assert!((7e6..9e6).contains(&rate), "{rate}");
    }
}

/// A path of 200 MB/s that was taken for one of 3, because a core was busy: each request is answered before
/// the pacer allows the next.
#[test]
fn a_rate_that_was_taken_for_too_low_is_found() {
    const LENGTH: u64 = 40_000;
    const ANSWER: Duration = Duration::from_micros(200);
    let mut congestion = Congestion::new(at(0));
    congestion.phase = Phase::Steady;
    congestion.settled_rate = 3e6;
    congestion.rtt.sample(at(0), ANSWER);
    congestion.keep_rate(3e6);
    let mut now = at(1);
    while congestion.rate().is_some_and(|rate| rate < 100e6) {
        now = now.max(congestion.next_send());
        let sent = congestion.on_sent(now, LENGTH, false);
        now = now + ANSWER;
        congestion.on_answer(now, &sent, LENGTH, LENGTH, true, LENGTH);
        assert!(now < at(3000), "{:?}", congestion.rate());
    }
}
