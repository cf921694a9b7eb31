//! What follows from comparisons, without threads and without a network: what the network thread is
//! told, and what is written.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::node::still::Still;

const BLOCKS: u64 = 12;
const LENGTH: u64 = BLOCKS * BLOCK;

const LIAR: SocketAddr = peer(1);
const SECOND: SocketAddr = peer(2);
const THIRD: SocketAddr = peer(3);

const fn peer(number: u8) -> SocketAddr {
    let address = Ipv4Addr::new(192, 0, 2, number);
    SocketAddr::new(IpAddr::V4(address), 24254)
}

fn block(number: u64) -> ByteRange {
    ByteRange::at(number * BLOCK, BLOCK)
}

fn blocks(numbers: impl IntoIterator<Item = u64>) -> RangeSet {
    numbers.into_iter().map(block).collect()
}

fn right(range: ByteRange) -> Vec<u8> {
    vec![7; range.len() as usize]
}

fn wrong(range: ByteRange) -> Vec<u8> {
    let mut bytes = right(range);
    bytes[100] ^= 1;
    bytes
}

/// A node of which nothing runs, and content in blocks that is on its way.
struct Scene {
    still: Still,
    transfer: Arc<Transfer>,
}

impl Scene {
    fn new() -> Self {
        let still = Still::new();
        let id = ContentId::sha256([9; 32]);
        let transfer = still.shared.begin(id, LENGTH).unwrap();
        Self { still, transfer }
    }

    /// `from` sent a block, and it is written.
    fn arrives(&self, number: u64, from: SocketAddr, bytes: &[u8]) {
        let range = block(number);
        self.transfer.partial.write_at(range.start, bytes).unwrap();
        self.transfer.arrived(range, from);
    }

    /// Another is asked for a block that is here of `sender`.
    fn ask(&self, number: u64, sender: SocketAddr) {
        let mut comparisons = self.transfer.comparisons();
        let id = self.transfer.id;
        self.still
            .shared
            .ask_again(id, &mut comparisons, block(number), Some(sender));
    }

    /// The whole of what is here has another hash than that of its name.
    fn fails(&self) {
        let (epoch, _) = self.transfer.next_to_hash(LENGTH).unwrap();
        self.still.shared.whole_failed(&self.transfer, epoch);
    }

    fn answers(&self, number: u64, from: SocketAddr, bytes: Vec<u8>) -> Option<Instead> {
        let answer = Some((from, bytes));
        self.still
            .shared
            .compared(self.transfer.id, block(number), answer)
    }

    /// What the network thread was told to fetch again since it was last looked at, and whom to
    /// suspend.
    fn told(&self) -> (RangeSet, Vec<SocketAddr>) {
        let (mut again, mut suspended) = (RangeSet::new(), Vec::new());
        for command in self.still.told() {
            match command {
                Command::Refetch(_, range) => drop(again.insert(range)),
                Command::Suspend(_, peers) => suspended.extend(peers),
                _ => {}
            }
        }
        (again, suspended)
    }
}

/// Blocks 0 to 3 are the liar's, 4 to 7 others', all but block 0 right; what is lacking has arrived, and
/// waits for the writer, which gathers it, or is on its way.
fn a_liar_is_about_to_be_found() -> Scene {
    let scene = Scene::new();
    scene.arrives(0, LIAR, &wrong(block(0)));
    for number in 1..4 {
        scene.arrives(number, LIAR, &right(block(number)));
    }
    for number in 4..8 {
        scene.arrives(number, SECOND, &right(block(number)));
    }
    scene.ask(0, LIAR);
    assert!(scene.answers(0, SECOND, right(block(0))).is_none());
    scene.told();
    scene
}

/// Once all that was not written counted as lost, and up to tens of megabytes were fetched a second time.
#[test]
fn of_what_waits_for_the_writer_nothing_is_fetched_again() {
    let scene = a_liar_is_about_to_be_found();
    scene.answers(0, THIRD, right(block(0)));
    let (again, suspended) = scene.told();
    assert_eq!(suspended, [LIAR]);
    assert_eq!(again, blocks(1..4));
    assert_eq!(
        scene.transfer.lacking(ByteRange::new(0, LENGTH)),
        [
            ByteRange::new(0, 4 * BLOCK),
            ByteRange::new(8 * BLOCK, LENGTH),
        ]
    );
}

#[test]
fn the_bytes_that_two_gave_alike_take_the_place_of_the_liars() {
    let scene = a_liar_is_about_to_be_found();
    let instead = scene.answers(0, THIRD, right(block(0))).unwrap();
    assert_eq!((instead.range, instead.from), (block(0), THIRD));
    assert_eq!(instead.data, right(block(0)));
}

/// Three versions: it is not known which is right.
#[test]
fn where_no_two_gave_the_same_all_of_it_is_fetched_again() {
    let scene = a_liar_is_about_to_be_found();
    let mut third = right(block(0));
    third[200] ^= 1;
    assert!(scene.answers(0, THIRD, third).is_none());
    assert_eq!(scene.told().0, blocks(0..4));
}

#[test]
fn what_others_gave_as_the_liar_did_stays() {
    let scene = a_liar_is_about_to_be_found();
    scene.ask(2, LIAR);
    scene.answers(2, SECOND, right(block(2)));
    scene.answers(0, THIRD, right(block(0)));
    assert_eq!(scene.told().0, blocks([1, 3]));
}

/// They have been paid for.
#[test]
fn answers_that_are_on_their_way_when_a_liar_is_found_count() {
    let scene = a_liar_is_about_to_be_found();
    scene.ask(5, SECOND);
    scene.answers(0, THIRD, right(block(0)));
    scene.answers(5, THIRD, right(block(5)));
    assert!(scene.transfer.comparisons().agreed.contains(block(5)));
    // Of the liar's there is nothing to compare any more.
    scene.ask(1, LIAR);
    scene.told();
    assert!(scene.answers(1, THIRD, wrong(block(1))).is_none());
    let (again, suspended) = scene.told();
    assert!(again.is_empty() && suspended.is_empty());
}

/// What comes in the place of a liar's bytes may be another liar's: before the first is believed after
/// all, which would fetch everything from it, others' bytes are compared.
#[test]
fn a_second_liar_is_looked_for_before_the_first_is_believed() {
    let scene = a_liar_is_about_to_be_found();
    scene.answers(0, THIRD, right(block(0)));
    for number in (0..4).chain(8..BLOCKS) {
        scene.arrives(number, THIRD, &wrong(block(number)));
    }
    scene.told();
    scene.fails();
    let (mut compared, mut believed) = (0, 0);
    for command in scene.still.told() {
        match command {
            Command::AskAgain(..) => compared += 1,
            Command::Only(_, Some(_)) => believed += 1,
            _ => {}
        }
    }
    assert_eq!((compared, believed), (BLOCKS, 0));
}

/// That the whole failed is nobody's fault whom a comparison found while it was hashed.
#[test]
fn a_whole_that_was_given_up_in_part_since_it_was_hashed_has_not_failed() {
    let scene = a_liar_is_about_to_be_found();
    for number in 8..BLOCKS {
        scene.arrives(number, SECOND, &right(block(number)));
    }
    let hashed = scene.transfer.next_to_hash(LENGTH).unwrap().0;
    scene.answers(0, THIRD, right(block(0)));
    scene.told();
    scene.still.shared.whole_failed(&scene.transfer, hashed);
    assert!(scene.still.told().is_empty());
}
