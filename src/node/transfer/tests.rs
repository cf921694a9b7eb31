//! A transfer alone, without threads or a network: who may be given what, and when.

mod again;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::node::pending::Ticket;
use crate::node::pending::Waiting;
use crate::store::Store;
use crate::swarm::Class;

const LATER: Duration = Duration::from_secs(1000);

fn supplier() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 24254))
}

/// What happened to one read: who read, what, and how it ended.
type Ends = Arc<Mutex<Vec<(usize, ByteRange, Result<(), Failure>)>>>;

/// A transfer with handles that note what they are given.
struct Scene {
    transfer: Transfer,
    handles: Vec<Arc<Mutex<Given>>>,
    ends: Ends,
    _folder: TempDir,
}

impl Scene {
    fn new(length: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let id = ContentId::sha256([3; 32]);
        Self {
            transfer: Transfer::new(store.partial(&id, length).unwrap()),
            handles: (0..3).map(|_| Arc::default()).collect(),
            ends: Arc::default(),
            _folder: folder,
        }
    }

    fn note(&self, handle: usize, range: ByteRange, end: Result<(), Failure>) {
        self.ends.lock().unwrap().push((handle, range, end));
    }

    fn read_until(&self, handle: usize, range: ByteRange, deadline: Instant) -> Admission {
        let now = Instant::now();
        let limit = deadline.saturating_duration_since(now);
        let filling = None;
        let asked = Asked {
            now,
            limit,
            filling,
        };
        self.ask(handle, range, asked)
    }

    fn ask(&self, handle: usize, range: ByteRange, asked: Asked) -> Admission {
        let range = range.intersection(ByteRange::new(0, self.transfer.length));
        let ends = Arc::clone(&self.ends);
        let admission = self
            .transfer
            .admit(range, &self.handles[handle], asked, || {
                Ticket::new(Box::new(move |end| {
                    ends.lock().unwrap().push((handle, range, end.map(drop)));
                }))
            });
        match &admission {
            Admission::Ready => self.note(handle, range, Ok(())),
            Admission::Fails(failure) => self.note(handle, range, Err(*failure)),
            Admission::Waits(_) => {}
        }
        admission
    }

    fn read(&self, handle: usize, range: ByteRange) -> Admission {
        self.read_until(handle, range, Instant::now() + LATER)
    }

    fn release(&self, released: Released) {
        for (_, ticket) in released.ready {
            if let Some(done) = ticket.take() {
                done(Ok(&[]));
            }
        }
        for (failure, ticket) in released.failed {
            ticket.fail(failure);
        }
    }

    fn arrive(&self, range: ByteRange) {
        let range = range.intersection(ByteRange::new(0, self.transfer.length));
        self.release(self.transfer.arrived(range, supplier()).0);
    }

    fn arrive_all(&self) {
        self.arrive(ByteRange::new(0, self.transfer.length));
    }

    /// What a handle was given, and whether one of its reads failed.
    fn given(&self, handle: usize) -> (RangeSet, bool) {
        let ends = self.ends.lock().unwrap();
        let own = || ends.iter().filter(|(by, ..)| *by == handle);
        let given = own()
            .filter(|(.., end)| end.is_ok())
            .map(|(_, range, _)| *range)
            .collect();
        (given, own().any(|(.., end)| end.is_err()))
    }
}

#[derive(Clone, Debug)]
enum Op {
    Read(usize, u64, u64),
    Arrive(u64, u64),
}

fn ops(length: u64) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (0..3usize, 0..length, 1..=length).prop_map(|(h, a, n)| Op::Read(h, a, n)),
        (0..3usize, 0..length, 1..3000u64).prop_map(|(h, a, n)| Op::Read(h, a, n)),
        (0..length, 1..=length / 2 + 1).prop_map(|(a, n)| Op::Arrive(a, n)),
    ];
    prop::collection::vec(op, 1..40)
}

fn lengths_and_ops() -> impl Strategy<Value = (u64, Vec<Op>)> {
    prop_oneof![Just(1), Just(LEAF), Just(LEAF + 1), 1..30_000u64]
        .prop_flat_map(|length| (Just(length), ops(length)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Before the proof no handle has all bytes, after a failed one none gets any, and nobody
    /// waits who need not.
    #[test]
    fn no_handle_has_all_bytes_unproven((length, ops) in lengths_and_ops(), right in any::<bool>()) {
        let scene = Scene::new(length);
        let whole = ByteRange::new(0, length);
        for op in ops {
            match op {
                Op::Read(handle, offset, most) => {
                    let range = ByteRange::at(offset, most).intersection(whole);
                    let (mut with, _) = scene.given(handle);
                    with.insert(range);
                    if let Admission::Waits(missing) = scene.read(handle, range) {
                        let held_back = with.bytes() == length || length <= LEAF;
                        prop_assert!(!missing.is_empty() || held_back, "it waits for nothing");
                    }
                }
                Op::Arrive(offset, most) => scene.arrive(ByteRange::at(offset, most)),
            }
            for handle in 0..3 {
                let (given, failed) = scene.given(handle);
                prop_assert!(!failed);
                prop_assert!(given.bytes() < length);
                prop_assert!(given.is_empty() || length > LEAF);
            }
        }
        scene.arrive_all();
        for handle in 0..3 {
            prop_assert!(scene.given(handle).0.bytes() < length);
        }
        if right {
            scene.transfer.hashed(0, length);
            let released = scene.transfer.proved();
            scene.release(released);
            prop_assert!(matches!(scene.read(0, whole), Admission::Ready));
            prop_assert!(!scene.given(0).1);
        } else {
            let before: Vec<_> = (0..3).map(|handle| scene.given(handle).0).collect();
            let (released, suppliers) = scene.transfer.is_wrong(Failure::WrongContent);
            scene.release(released);
            prop_assert_eq!(suppliers.values().sum::<u64>(), length);
            for (handle, before) in before.iter().enumerate() {
                prop_assert!(matches!(
                    scene.read(handle, ByteRange::new(0, 1)),
                    Admission::Fails(Failure::WrongContent)
                ));
                prop_assert_eq!(scene.given(handle).0.bytes(), before.bytes());
            }
        }
        prop_assert_eq!(scene.transfer.waiting(), 0);
    }
}

#[test]
fn a_read_ends_at_its_limit_and_is_wanted_no_more() {
    let scene = Scene::new(100_000);
    let now = Instant::now();
    let range = ByteRange::new(8192, 9000);
    scene.read_until(0, range, now + LATER);
    assert_eq!(scene.transfer.wants(), [(range, Class::Urgent)]);
    let (released, changed) = scene.transfer.expire(now, LATER);
    assert!(released.failed.is_empty() && !changed);
    let (released, changed) = scene.transfer.expire(now + LATER, LATER);
    assert!(changed);
    scene.release(released);
    let ends = scene.ends.lock().unwrap().clone();
    assert_eq!(ends, [(0, range, Err(Failure::TimedOut))]);
    assert!(scene.transfer.wants().is_empty());
}

/// With all bytes here the rest is the hash's work, which goes on by itself.
#[test]
fn a_read_that_waits_for_the_proof_alone_has_no_limit() {
    let scene = Scene::new(LEAF);
    let now = Instant::now();
    scene.read_until(0, ByteRange::new(0, 10), now);
    scene.arrive_all();
    scene.transfer.note_progress();
    let (released, _) = scene.transfer.expire(Instant::now(), LATER);
    assert!(released.failed.is_empty());
    let (released, _) = scene.transfer.expire(Instant::now() + LATER * 2, LATER);
    assert_eq!(released.failed.len(), 1, "unless that stands still");
}

#[test]
fn what_a_closed_handle_expected_is_wanted_no_more() {
    let scene = Scene::new(100_000);
    let transfer = &scene.transfer;
    let given = Arc::default();
    let attach = || transfer.attach_reader([&given, &given]).0;
    let (one, other) = (attach(), attach());
    let (near, far) = (ByteRange::new(0, 5000), ByteRange::new(50_000, 60_000));
    assert_eq!(transfer.expect(one, vec![near], near), [near]);
    assert_eq!(transfer.expect(other, vec![far], far), [far]);
    assert_eq!(transfer.wants().len(), 2);
    transfer.detach_reader(one);
    assert_eq!(transfer.wants(), [(far, Class::ReadAhead)]);
    let later = Instant::now() + LATER;
    assert!(!transfer.is_idle(later, Duration::ZERO));
    transfer.detach_reader(other);
    assert!(transfer.wants().is_empty());
    assert!(transfer.is_idle(later, Duration::ZERO));
}

#[test]
fn one_leaf_is_wanted_as_a_whole() {
    let scene = Scene::new(3000);
    let whole = ByteRange::new(0, 3000);
    let Admission::Waits(missing) = scene.read(0, ByteRange::new(100, 200)) else {
        panic!("nothing is here");
    };
    assert_eq!(missing, [whole]);
    assert_eq!(scene.transfer.wants(), [(whole, Class::Urgent)]);
}

#[test]
fn only_a_prefix_is_hashed_and_each_byte_once() {
    let scene = Scene::new(100_000);
    let transfer = &scene.transfer;
    scene.arrive(ByteRange::new(50_000, 100_000));
    assert_eq!(transfer.next_to_hash(1000), None);
    scene.arrive(ByteRange::new(0, 1500));
    assert_eq!(
        transfer.next_to_hash(1000),
        Some((0, ByteRange::new(0, 1000)))
    );
    transfer.hashed(0, 1000);
    assert_eq!(
        transfer.next_to_hash(1000),
        Some((0, ByteRange::new(1000, 1500)))
    );
    transfer.hashed(0, 1500);
    assert_eq!(transfer.next_to_hash(1000), None);
    let (_, _, to_prove) = transfer.arrived(ByteRange::new(1500, 50_000), supplier());
    assert!(to_prove, "all is here now");
    assert!(!transfer.needs_proof(), "it was told already");
}
