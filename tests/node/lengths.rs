//! How long content is, where peers disagree: what is here is not thrown away for what peers say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::node_support::{
    Peer, Place, Question, Reply, Running, assert_same, bytes, digests, fetch, get, part, read,
    sha256, start_read, wait,
};
use cjp2pfs::content::{ContentId, LEAF};

const LENGTH: usize = 4 << 20;
/// Another, which liars claim.
const LIE: usize = 300_000;

/// A peer that has the content and gives of it only what lies before an end that can be moved.
struct Honest {
    peer: Peer,
    end: Arc<AtomicU64>,
}

impl Honest {
    /// Of other ids it gives what `others` says.
    fn new(
        id: ContentId,
        data: Vec<u8>,
        end: u64,
        mut others: impl FnMut(&Question) -> Reply + Send + 'static,
    ) -> Self {
        let end = Arc::new(AtomicU64::new(end));
        let until = Arc::clone(&end);
        let peer = Peer::new(move |question| {
            if question.id != id {
                return others(question);
            }
            if question.is_search() || question.end() <= until.load(Ordering::SeqCst) {
                part(&data, question)
            } else {
                Reply::Silence
            }
        });
        Self { peer, end }
    }

    fn gives_all(&self) {
        self.end.store(u64::MAX, Ordering::SeqCst);
    }

    /// Bytes before `end` of `id` that it was asked for since this was last told.
    fn asked_before(&self, id: ContentId, end: u64) -> u64 {
        let questions = self.peer.questions();
        let pieces = questions
            .iter()
            .filter(|question| question.id == id && !question.is_search());
        pieces
            .map(|question| question.end().min(end).saturating_sub(question.offset))
            .sum()
    }
}

/// Peers that say nothing yet.
fn silent_peers() -> Vec<Peer> {
    (0..3).map(|_| Peer::silent()).collect()
}

/// From now on they all give `lie` for `id`.
fn lie(liars: &[Peer], id: ContentId, lie: &[u8]) {
    for liar in liars {
        let lie = lie.to_vec();
        liar.now(move |question| match question.id == id {
            true => part(&lie, question),
            false => Reply::Silence,
        });
    }
}

fn addresses(honest: &Honest, liars: &[Peer]) -> Vec<std::net::SocketAddr> {
    let mut addresses: Vec<_> = liars.iter().map(|liar| liar.address).collect();
    addresses.push(honest.peer.address);
    addresses
}

/// Waits until `node` has heard all the liars claim their length.
fn all_have_claimed(node: &Running, id: ContentId, liars: &[Peer]) {
    wait("the liars to claim their length", || {
        let explained = node.explain(id).network?;
        let claims = explained.claims.iter();
        claims
            .filter(|claim| claim.length == LIE as u64)
            .any(|claim| claim.count >= liars.len())
            .then_some(())
    });
}

#[test]
fn what_is_here_outlasts_another_length_that_most_peers_claim() {
    let data = bytes("outlasts another length", LENGTH);
    let id = sha256(&data);
    let first = 1 << 20;
    let honest = Honest::new(id, data.clone(), first, |_| Reply::No);
    let liars = silent_peers();
    let node = Running::new(&addresses(&honest, &liars));
    let fetched = fetch(&node, id);
    wait("the first quarter", || {
        node.info(id).filter(|info| info.present >= first)
    });
    lie(&liars, id, &bytes("a lie", LIE));
    for liar in &liars {
        liar.asked(|question| question.id == id && !question.is_search());
    }
    let before = honest.asked_before(id, first);
    assert!(before >= first);
    honest.gives_all();
    assert_eq!(fetched.end().unwrap().length, LENGTH as u64);
    assert_eq!(
        honest.asked_before(id, first),
        0,
        "bytes were fetched again"
    );
    let reader = node.open(id).unwrap();
    assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), &data);
}

#[test]
fn what_is_here_outlasts_another_length_over_a_restart() {
    let data = bytes("over a restart", LENGTH);
    let id = sha256(&data);
    let first = 1 << 20;
    let honest = Honest::new(id, data.clone(), first, |_| Reply::No);
    let node = Running::new(&[honest.peer.address]);
    let _fetched = fetch(&node, id);
    wait("the first quarter", || {
        node.info(id).filter(|info| info.present >= first)
    });
    let place: Place = node.stop();
    honest.asked_before(id, first);
    honest.gives_all();

    let liars = silent_peers();
    lie(&liars, id, &bytes("a lie", LIE));
    let node = place.start(&addresses(&honest, &liars), |_| {});
    assert_eq!(fetch(&node, id).end().unwrap().length, LENGTH as u64);
    assert_eq!(
        honest.asked_before(id, first),
        0,
        "bytes were fetched again"
    );
}

/// Most of it is here: going on costs less than beginning anew, and shows who is right.
#[test]
fn what_is_nearly_here_is_gone_on_with_and_handles_stay_good() {
    let data = bytes("nearly here", LENGTH);
    let id = sha256(&data);
    let first = 3 << 20;
    let honest = Honest::new(id, data.clone(), first, |_| Reply::No);
    let liars = silent_peers();
    let node = Running::new(&addresses(&honest, &liars));
    let reader = get(&node, id);
    let fetched = fetch(&node, id);
    wait("three quarters", || {
        node.info(id).filter(|info| info.present >= first)
    });
    lie(&liars, id, &bytes("a lie", LIE));
    all_have_claimed(&node, id, &liars);
    honest.gives_all();
    assert_eq!(fetched.end().unwrap().length, LENGTH as u64);
    assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), &data);
}

/// The last leaf is what shows how long content is: once it is verified nobody's word counts.
#[test]
fn a_proven_length_stands_whatever_peers_claim_and_however_long_nothing_comes() {
    let data = bytes("a proven length", LENGTH);
    let digests = digests(&data);
    let id = ContentId::blake3(digests.blake3.0);
    let tree_id = ContentId::tree_v2(digests.blake3.0);
    let tree = digests.tree.clone();
    let last = (LENGTH as u64 - LEAF)..LENGTH as u64;
    let gives_all = Arc::new(AtomicU64::new(0));
    let (all, content) = (Arc::clone(&gives_all), data.clone());
    let honest = Peer::new(move |question| {
        if question.id == tree_id {
            return part(&tree, question);
        }
        let given =
            all.load(Ordering::SeqCst) > 0 || question.is_search() || question.offset >= last.start;
        match given {
            true => part(&content, question),
            false => Reply::Silence,
        }
    });
    let liars = silent_peers();
    let mut peers: Vec<_> = liars.iter().map(|liar| liar.address).collect();
    peers.push(honest.address);
    let node = Running::new(&peers);
    let reader = get(&node, id);
    let end = read(&reader, LENGTH as u64 - LEAF, LEAF as u32).unwrap();
    assert_same(&end, &data[LENGTH - LEAF as usize..]);

    // Far less than half of it is here, and nothing comes any more.
    let begin = start_read(&reader, 0, 4096);
    lie(&liars, id, &bytes("a lie", LIE));
    all_have_claimed(&node, id, &liars);
    for liar in &liars {
        liar.questions();
    }
    // Longer than a length that is not proven would be believed without any bytes.
    let mut asked = vec![liars[0].questions_during(Duration::from_secs(7))];
    asked.extend(liars.iter().map(Peer::questions));
    assert!(begin.ended().is_none());
    for pieces in asked {
        assert!(pieces.iter().all(Question::is_search), "{pieces:?}");
    }
    gives_all.store(1, Ordering::SeqCst);
    assert_same(&begin.end().unwrap(), &data[..4096]);
    assert_same(&read(&reader, 0, LENGTH as u32).unwrap(), &data);
}
