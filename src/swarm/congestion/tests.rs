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
