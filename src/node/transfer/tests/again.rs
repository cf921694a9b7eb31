//! One fault of a memory map is several reads, and has one limit.

use super::*;

const LENGTH: u64 = 1 << 20;
const WINDOW: ByteRange = ByteRange {
    start: 100 * 4096,
    end: 200 * 4096,
};
const PAGE: ByteRange = ByteRange {
    start: 150 * 4096,
    end: 151 * 4096,
};
const LIMIT: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_millis(100);

/// The thread that waits.
const ONE: u32 = 11;
const OTHER: u32 = 12;

fn fill(scene: &Scene, thread: u32, range: ByteRange, now: Instant) -> Admission {
    let (limit, filling) = (LIMIT, Some(thread));
    let asked = Asked {
        now,
        limit,
        filling,
    };
    scene.ask(0, range, asked)
}

fn expire(scene: &Scene, now: Instant) {
    scene.release(scene.transfer.expire(now, LIMIT).0);
}

/// A signal comes for whoever waits.
fn interrupt(scene: &Scene) {
    for waiter in &scene.transfer.state().waiters {
        waiter.ticket.fail(Failure::Interrupted);
    }
}

fn waits(admission: &Admission) -> bool {
    matches!(admission, Admission::Waits(_))
}

fn has_had_its_time(admission: &Admission) -> bool {
    matches!(admission, Admission::Fails(Failure::TimedOut))
}

/// A window that was not filled in time, and when that was.
fn timed_out() -> (Scene, Instant) {
    let scene = Scene::new(LENGTH);
    let now = Instant::now();
    assert!(waits(&fill(&scene, ONE, WINDOW, now)));
    expire(&scene, now + LIMIT);
    assert_eq!(scene.transfer.waiting(), 0);
    (scene, now + LIMIT)
}

#[test]
fn what_did_not_come_in_time_is_not_waited_for_at_once_again() {
    let (scene, then) = timed_out();
    for thread in [ONE, OTHER, 0] {
        for range in [PAGE, WINDOW] {
            assert!(has_had_its_time(&fill(&scene, thread, range, then + SOON)));
        }
    }
    // Each time that it is asked for, until it is asked for later.
    assert!(has_had_its_time(&fill(&scene, ONE, PAGE, then + SOON * 5)));
    let later = then + Duration::from_millis(1100);
    assert!(waits(&fill(&scene, ONE, PAGE, later)));
    expire(&scene, later + LIMIT - SOON);
    assert_eq!(scene.transfer.waiting(), 1, "for as long as any other");
}

#[test]
fn what_nobody_has_waited_for_is_waited_for() {
    let (scene, then) = timed_out();
    for range in [
        ByteRange::new(WINDOW.start - 4096, WINDOW.start + 4096),
        ByteRange::new(WINDOW.end - 1, WINDOW.end + 1),
        ByteRange::new(0, 4096),
    ] {
        assert!(waits(&fill(&scene, ONE, range, then)));
    }
}

/// The kernel reads ahead in windows, and begins another where a page of one is wanted.
#[test]
fn what_several_have_waited_for_together_is_not_waited_for_at_once_again() {
    let scene = Scene::new(LENGTH);
    let (begun, middle) = (Instant::now(), WINDOW.start + 50 * 4096);
    for range in [
        ByteRange::new(WINDOW.start, middle),
        ByteRange::new(middle, WINDOW.end),
    ] {
        assert!(waits(&fill(&scene, ONE, range, begun)));
    }
    expire(&scene, begun + LIMIT);
    let across = ByteRange::new(WINDOW.start + 4096, WINDOW.end - 4096);
    assert!(has_had_its_time(&fill(
        &scene,
        OTHER,
        across,
        begun + LIMIT
    )));
}

#[test]
fn a_program_that_reads_once_more_waits() {
    let (scene, then) = timed_out();
    let asked = |now| Asked {
        now,
        limit: LIMIT,
        filling: None,
    };
    assert!(waits(&scene.ask(0, PAGE, asked(then))));
    expire(&scene, then + LIMIT);
    assert!(waits(&scene.ask(0, PAGE, asked(then + LIMIT))));
    assert!(waits(&fill(&scene, ONE, PAGE, then + LIMIT + SOON * 20)));
}

#[test]
fn once_anything_comes_reads_wait_again() {
    let (scene, _) = timed_out();
    scene.arrive(ByteRange::new(0, 4096));
    assert!(waits(&fill(&scene, ONE, PAGE, Instant::now())));
}

#[test]
fn a_signal_gives_no_more_time() {
    let scene = Scene::new(LENGTH);
    let begun = Instant::now();
    assert!(waits(&fill(&scene, ONE, WINDOW, begun)));
    for second in 1..30 {
        let now = begun + Duration::from_secs(second);
        interrupt(&scene);
        if second % 2 == 0 {
            // The ticker may come before the kernel asks again, or after.
            expire(&scene, now);
        }
        assert!(waits(&fill(&scene, ONE, PAGE, now)));
        expire(&scene, now);
        assert_eq!(scene.transfer.waiting(), 1);
    }
    interrupt(&scene);
    let now = begun + LIMIT - SOON;
    assert!(waits(&fill(&scene, OTHER, PAGE, now)));
    assert!(waits(&fill(&scene, ONE, PAGE, now)));
    expire(&scene, begun + LIMIT);
    assert_eq!(scene.transfer.waiting(), 1, "another's time is its own");
    assert!(has_had_its_time(&fill(&scene, ONE, PAGE, begun + LIMIT)));
}

#[test]
fn whoever_comes_back_after_a_signal_has_all_the_time() {
    let scene = Scene::new(LENGTH);
    let begun = Instant::now();
    assert!(waits(&fill(&scene, ONE, WINDOW, begun)));
    interrupt(&scene);
    expire(&scene, begun + LIMIT / 2);
    let back = begun + LIMIT / 2 + Duration::from_millis(1100);
    assert!(waits(&fill(&scene, ONE, WINDOW, back)));
    expire(&scene, begun + LIMIT);
    assert_eq!(scene.transfer.waiting(), 1);
}

#[test]
fn few_reads_that_have_ended_are_remembered() {
    let scene = Scene::new(LENGTH);
    let now = Instant::now();
    for thread in 1..1000 {
        assert!(waits(&fill(&scene, thread, PAGE, now)));
    }
    interrupt(&scene);
    expire(&scene, now);
    assert_eq!(scene.transfer.state().ended_lately.len(), 256);
    assert!(waits(&fill(&scene, ONE, PAGE, now + LIMIT / 2)));
    interrupt(&scene);
    expire(&scene, now + LIMIT / 2);
    assert_eq!(scene.transfer.state().ended_lately.len(), 1);
}
