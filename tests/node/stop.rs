//! The end of a node: in time, with an answer for everybody, exactly one each.

use std::time::{Duration, Instant};

use crate::node_support::{
    Asked, Peer, Place, Reply, Running, assert_same, bytes, fetch, get, lookup, part, read, sha256,
    start_read,
};
use cjp2pfs::content::ContentId;
use cjp2pfs::node::{Failure, Node};

const LENGTH: usize = 1 << 20;
/// What is promised is 2 s.
const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn stopping_ends_a_hundred_operations_in_time() {
    let data = bytes("a hundred", LENGTH);
    let id = sha256(&data);
    let content = data.clone();
    let peer = Peer::new(move |question| {
        if question.id == id && question.is_search() {
            part(&content, question)
        } else {
            Reply::Silence
        }
    });
    let node = Running::new(&[peer.address]);
    let reader = get(&node, id);
    let unknown = |n: u8| ContentId::sha256([n; 32]);
    let lookups: Vec<_> = (0..40).map(|n| lookup(&node, unknown(n))).collect();
    let fetches: Vec<_> = (30..50).map(|n| fetch(&node, unknown(n))).collect();
    let wholes: Vec<_> = (0..10).map(|_| fetch(&node, id)).collect();
    let reads: Vec<_> = (0..30)
        .map(|n| start_read(&reader, 4096 + n * 8192, 4096))
        .collect();
    assert_eq!(node.status().operations_waiting, 100);

    let start = Instant::now();
    node.node.stop();
    let took = start.elapsed();
    assert!(took < LIMIT, "{took:?}");
    for asked in lookups.iter().chain(&fetches).chain(&wholes) {
        assert_eq!(asked.end(), Err(Failure::Stopped));
    }
    for asked in &reads {
        assert_eq!(asked.end(), Err(Failure::Stopped));
    }
    assert!(lookups.iter().all(|asked| asked.calls() == 1));
    assert!(fetches.iter().all(|asked| asked.calls() == 1));
    assert!(wholes.iter().all(|asked| asked.calls() == 1));
    assert!(reads.iter().all(|asked| asked.calls() == 1));
    assert_eq!(node.status().operations_waiting, 0);
    node.node.stop();
}

#[test]
fn what_is_begun_after_stopping_ends_at_once() {
    let data = bytes("too late", LENGTH);
    let peer = Peer::withholding(data.clone());
    let node = Running::new(&[peer.address]);
    let reader = get(&node, sha256(&data));
    node.node.stop();
    let unknown = ContentId::sha256([1; 32]);
    assert_eq!(lookup(&node, unknown).ended(), Some(Err(Failure::Stopped)));
    assert_eq!(fetch(&node, unknown).ended(), Some(Err(Failure::Stopped)));
    let late = start_read(&reader, 0, 4096);
    assert_eq!(late.ended(), Some(Err(Failure::Stopped)));
    // Its length is known, which is not enough.
    let whole = fetch(&node, sha256(&data));
    assert_eq!(whole.ended(), Some(Err(Failure::Stopped)));
}

/// Arrivals, cancels, limits and the stop race for each operation; one of them ends it.
#[test]
fn each_done_is_called_once_whoever_is_first() {
    let data = bytes("races", LENGTH);
    let holder = Running::holding(&data);
    let node = Running::with(&[holder.address()], |config| {
        config.read_timeout = Duration::from_millis(100);
    });
    let reader = get(&node, sha256(&data));
    let mut random = fastrand::Rng::with_seed(2);
    let reads: Vec<_> = (0..400)
        .map(|_| start_read(&reader, random.u64(..LENGTH as u64), 20_000))
        .collect();
    let waiting: Vec<_> = reads
        .iter()
        .filter_map(|asked| asked.pending.as_ref())
        .collect();
    std::thread::scope(|scope| {
        for start in 0..2 {
            let waiting = &waiting;
            scope.spawn(move || {
                for pending in waiting.iter().skip(start).step_by(3) {
                    pending.cancel(Failure::Interrupted);
                }
            });
        }
        scope.spawn(|| node.node.stop());
    });
    for asked in &reads {
        match asked.end() {
            Ok(data) => assert!(!data.is_empty()),
            Err(failure) => assert!(
                matches!(
                    failure,
                    Failure::Interrupted | Failure::Stopped | Failure::TimedOut
                ),
                "{failure:?}"
            ),
        }
    }
    assert!(reads.iter().all(|asked| asked.calls() == 1));
}

/// Operations that others begin while the node stops end as well.
#[test]
fn what_is_begun_while_stopping_ends() {
    let data = bytes("meanwhile", LENGTH);
    let id = sha256(&data);
    let peer = Peer::new(move |question| {
        if question.id == id && question.is_search() {
            part(&data, question)
        } else {
            Reply::Silence
        }
    });
    let node = Running::new(&[peer.address]);
    let reader = get(&node, id);
    let begin_all = |node: &Node| -> (Vec<Asked<_>>, Vec<Asked<_>>) {
        let mut reads = Vec::new();
        let mut others = Vec::new();
        for n in 0..2000u32 {
            reads.push(start_read(&reader, u64::from(n % 200) * 4096, 4096));
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&n.to_le_bytes());
            others.push(lookup(node, ContentId::sha256(hash)));
        }
        (reads, others)
    };
    let (reads, others) = std::thread::scope(|scope| {
        let begun = scope.spawn(|| begin_all(&node));
        peer.asked(|question| !question.is_search());
        node.node.stop();
        begun.join().unwrap()
    });
    for asked in &reads {
        assert_eq!(asked.end(), Err(Failure::Stopped));
    }
    for asked in &others {
        assert_eq!(asked.end(), Err(Failure::Stopped));
    }
}

#[test]
fn what_arrived_before_stopping_is_there_afterwards() {
    let data = bytes("there", LENGTH);
    let id = sha256(&data);
    let peer = Peer::serving(data.clone());
    let node = Running::new(&[peer.address]);
    let reader = get(&node, id);
    read(&reader, 0, 500_000).unwrap();
    drop(reader);
    let place: Place = node.stop();

    let node = place.start(&[], |_| {});
    let info = node.info(id).expect("the partial content");
    assert!(info.present >= 500_000 - 4096, "{} are here", info.present);
    let reader = node.open(id).unwrap();
    assert_same(&read(&reader, 8192, 400_000).unwrap(), &data[8192..408_192]);
}

#[test]
fn a_store_is_free_for_the_next_when_its_node_has_stopped() {
    let data = bytes("next", LENGTH);
    let mut place = Place::new();
    place.hold(&data);
    for _ in 0..5 {
        let node = place.start(&[], |_| {});
        assert_eq!(
            lookup(&node, sha256(&data)).end().unwrap().length,
            LENGTH as u64
        );
        place = node.stop();
    }
}

/// A node that nobody stopped ends its threads when its last handle goes.
#[test]
fn dropping_a_node_frees_its_port() {
    let place = Place::new();
    let node = Node::start(place.config(&[])).unwrap();
    let address = node.local_addr();
    drop(node);
    crate::node_support::wait("the port to be free", || {
        std::net::UdpSocket::bind(address).ok()
    });
}
