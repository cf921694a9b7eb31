//! What a node tells of one id: the store, the transfer and the swarm joined.

use std::time::Duration;

use crate::node_support::{
    Peer, Place as Folder, Reply, Running, bytes, digests, get, lookup, part, read, sha256,
    start_read, wait,
};
use cjp2pfs::content::ContentId;
use cjp2pfs::node::Failure;
use cjp2pfs::node::explain::{
    Answer, ContentState, Explanation, PeerStory, Place, Standing, Verified, Why,
};

const LENGTH: usize = 1 << 20;

fn story<'a>(told: &'a Explanation, peer: &Peer) -> Option<&'a PeerStory> {
    let peers = &told.network.as_ref()?.peers;
    peers.iter().find(|it| it.address == peer.address)
}

#[test]
fn a_waiting_read_is_told_with_its_range_and_all_who_were_asked() {
    let data = bytes("content", LENGTH);
    let stingy = Peer::withholding(data.clone());
    let without = Peer::new(|_| Reply::No);
    let silent = Peer::silent();
    let node = Running::new(&[stingy.address, without.address, silent.address]);
    let id = sha256(&data);
    let reader = get(&node, id);
    let waiting = start_read(&reader, 262_144, 131_072);
    let told = wait("everybody to be asked", || {
        let told = node.explain(id);
        let heard = story(&told, &without)?.answer == Answer::No
            && story(&told, &silent).is_some()
            && story(&told, &stingy)?.standing == Standing::Benched;
        heard.then_some(told)
    });
    assert_eq!(told.state, ContentState::Arriving);
    assert_eq!((told.length, told.present), (Some(LENGTH as u64), 0));
    assert_eq!((told.handles, &told.place), (1, &None));
    let want = &told.wants[0];
    assert_eq!((want.range.start, want.range.end), (262_144, 393_216));
    assert_eq!((want.missing, want.why), (131_072, Why::Read));
    assert!(want.waiting_seconds.unwrap() > 0.0);
    let limit = crate::node_support::SOON.as_secs_f64();
    let times = want.waiting_seconds.unwrap() + want.fails_in_seconds.unwrap();
    assert!((limit - 0.01..limit + 0.01).contains(&times), "{want:?}");
    assert!(told.wants.iter().all(|it| it.why != Why::Fetch));

    let network = told.network.as_ref().unwrap();
    assert_eq!((network.asked, network.sources), (3, 1));
    assert!(network.missing >= 131_072);
    assert_eq!(network.expected_seconds, None);
    let stingy = story(&told, &stingy).unwrap();
    let length = Some(LENGTH as u64);
    assert_eq!(stingy.answer, Answer::Yes { length });
    assert!(stingy.again_in_seconds.is_some() && stingy.path.is_some());
    let silent = story(&told, &silent).unwrap();
    assert_eq!(silent.answer, Answer::Nothing);
    assert_eq!(silent.standing, Standing::NoSource);
    assert!(silent.asked_seconds_ago.is_some() && silent.answered_seconds_ago.is_none());

    // What ended is not told any more.
    waiting.cancel(Failure::Interrupted);
    let told = node.explain(id);
    assert!(told.wants.iter().all(|it| it.why != Why::Read), "{told:?}");
}

#[test]
fn what_is_in_flight_is_told_with_whom_it_was_asked_of() {
    let data = bytes("content", LENGTH);
    let stingy = Peer::withholding(data.clone());
    let node = Running::new(&[stingy.address]);
    let id = sha256(&data);
    let reader = get(&node, id);
    let _waiting = start_read(&reader, 262_144, 131_072);
    // A flight comes and goes as the silent peer is probed.
    let told = wait("a flight", || {
        let told = node.explain(id);
        (!told.wants.first()?.asked.is_empty()).then_some(told)
    });
    assert_eq!(told.wants[0].asked[0].peer, stingy.address);
    let flight = &told.network.as_ref().unwrap().flights[0];
    assert!(flight.range.start < 393_216 && flight.range.end > 262_144);
    assert_eq!(flight.from[0].peer, stingy.address);
}

#[test]
fn wrong_content_is_told_with_who_sent_it() {
    let data = bytes("wrong", LENGTH);
    let liar = Peer::corrupting(data.clone(), &[LENGTH / 2]);
    let node = Running::new(&[liar.address]);
    let id = sha256(&data);
    let reader = get(&node, id);
    let whole = read(&reader, 0, LENGTH as u32);
    assert_eq!(whole, Err(Failure::WrongContent));
    let told = node.explain(id);
    assert_eq!(told.state, ContentState::Wrong);
    assert!(told.wrong_seconds_ago.is_some() && told.wants.is_empty());
    let refused = wait("the liar to be refused", || {
        let told = node.explain(id);
        let standing = story(&told, &liar)?.standing;
        (standing == Standing::Refused).then_some(told)
    });
    assert_eq!(refused.network.unwrap().sources, 0);
}

#[test]
fn found_partial_held_and_missed_content_say_so() {
    let data = bytes("content", LENGTH);
    let id = sha256(&data);
    let (first, all) = (data.clone(), data);
    let half = Peer::new(move |question| match question.id == id {
        true if question.end() <= 1 << 19 => part(&first, question),
        _ => Reply::Silence,
    });
    let nobody = sha256(b"nobody has it");
    let node = Running::with(&[half.address], |config| {
        config.lookup_timeout = Duration::from_millis(300);
    });
    assert_eq!(node.explain(id).state, ContentState::Unknown);
    lookup(&node, id).end().unwrap();
    let found = node.explain(id);
    assert_eq!((found.state, found.present), (ContentState::Found, 0));
    assert_eq!(found.length, Some(LENGTH as u64));
    assert_eq!(lookup(&node, nobody).end(), Err(Failure::NotFound));
    let missed = node.explain(nobody);
    assert_eq!(missed.state, ContentState::Unknown);
    assert!(missed.missed_seconds_ago.is_some() && missed.wrong_seconds_ago.is_none());

    let reader = get(&node, id);
    assert!(read(&reader, 0, 1 << 17).is_ok());
    let arriving = node.explain(id);
    assert_eq!(arriving.state, ContentState::Arriving);
    let ranges = &arriving.present_ranges;
    assert_eq!(ranges[0].start, 0);
    assert!(ranges[0].end >= 1 << 17, "{ranges:?}");
    let bytes: u64 = ranges.iter().map(|range| range.len()).sum();
    assert_eq!(arriving.present, bytes);
    drop(reader);

    // After a restart nobody has it open; what came is here still.
    let place = node.stop();
    let peer = Peer::serving(all);
    let node = place.start(&[peer.address], |_| {});
    let partial = node.explain(id);
    assert_eq!(partial.state, ContentState::Partial);
    assert!(partial.present >= 1 << 17 && partial.present <= 1 << 19);
    let fetched = crate::node_support::fetch(&node, id).end().unwrap();
    assert!(fetched.proven);
    let held = node.explain(id);
    assert_eq!(held.state, ContentState::Held);
    assert_eq!(held.place, Some(Place::Store));
    assert!(held.network.is_none() && !held.network_unknown);
}

#[test]
fn a_seeded_file_is_told_with_its_path_and_the_empty_content_is_held() {
    let data = bytes("content", 5000);
    let folder = Folder::new();
    let digests = folder.hold(&data);
    let node = folder.start(&[], |_| {});
    let told = node.explain(sha256(&data));
    let Some(Place::Seeded { path }) = told.place else {
        panic!("{:?}", told.place);
    };
    assert!(path.ends_with(&digests.sha256.to_string()), "{path}");
    let empty = node.explain(sha256(b""));
    assert_eq!((empty.state, empty.length), (ContentState::Held, Some(0)));
}

#[test]
fn leaves_that_wait_for_their_tree_name_it() {
    let data = bytes("content", LENGTH);
    let digests = digests(&data);
    let id = ContentId::blake3(digests.blake3.0);
    let tree = ContentId::tree_v2(digests.blake3.0);
    let treeless = Peer::new(move |question| match question.id == id {
        true => part(&data, question),
        false => Reply::Silence,
    });
    let node = Running::new(&[treeless.address]);
    let reader = get(&node, id);
    let _waiting = start_read(&reader, 262_144, 131_072);
    // Until it is given up on, which is long after the bytes are here.
    let told = wait("the leaves to land", || {
        let told = node.explain(id);
        (told.wants.first()?.missing == 0).then_some(told)
    });
    assert_eq!(told.wants[0].why, Why::Read);
    assert_eq!(told.verified, Verified::ByLeaves);
    assert!(told.unverified >= 131_072 && told.unverified <= told.present);
    assert_eq!(told.tree, Some(tree.to_string()));
    let told = node.explain(tree);
    assert_eq!(told.state, ContentState::Arriving);
    assert!(told.wants.iter().any(|it| it.why == Why::Tree), "{told:?}");
}
