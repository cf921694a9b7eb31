//! The last byte rule where handles see what others have read: pages of memory maps.

use std::sync::mpsc;

use crate::node_support::{Peer, Running, SOON, assert_same, bytes, get, read, sha256};
use cjp2pfs::node::{Failure, Reader};

const LENGTH: u64 = 100_000;
const TAIL: u64 = 4096 * 24;

fn fill(reader: &Reader, offset: u64, length: u64) -> Result<Vec<u8>, Failure> {
    let (tell, told) = mpsc::channel();
    let _pending = reader.fill(
        0,
        offset,
        u32::try_from(length).unwrap(),
        Box::new(move |end| {
            let _ = tell.send(end.map(<[u8]>::to_vec));
        }),
    );
    told.recv_timeout(SOON).expect("a fill ends")
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Read,
    Fill,
}

fn by(way: Way, reader: &Reader, offset: u64, length: u64) -> Result<Vec<u8>, Failure> {
    match way {
        Way::Read => read(reader, offset, u32::try_from(length).unwrap()),
        Way::Fill => fill(reader, offset, length),
    }
}

/// Of wrong content two handles see, together, all but what would make it whole for one of them.
#[test]
fn pages_that_two_handles_see_are_not_the_whole_of_wrong_content() {
    for (first, second) in [
        (Way::Fill, Way::Fill),
        (Way::Read, Way::Fill),
        (Way::Fill, Way::Read),
    ] {
        let data = bytes("wrong pages", LENGTH as usize);
        let liar = Peer::corrupting(data.clone(), &[50_000]);
        let node = Running::new(&[liar.address]);
        let (one, other) = (get(&node, sha256(&data)), get(&node, sha256(&data)));
        // Read-ahead may have brought the rest, and with it the verdict, before this ends.
        let head = by(first, &one, 0, TAIL);
        assert!(
            head.is_ok() || head == Err(Failure::WrongContent),
            "{head:?}"
        );
        let tail = by(second, &other, TAIL, LENGTH - TAIL);
        assert_eq!(
            tail,
            Err(Failure::WrongContent),
            "{first:?}, then {second:?}"
        );
    }
}

/// And right content comes to its end in every such order.
#[test]
fn nobody_waits_for_ever_for_what_is_held_back() {
    for (first, second) in [
        (Way::Fill, Way::Fill),
        (Way::Read, Way::Fill),
        (Way::Fill, Way::Read),
        (Way::Read, Way::Read),
    ] {
        let data = bytes("right pages", LENGTH as usize);
        let peer = Peer::serving(data.clone());
        let node = Running::new(&[peer.address]);
        let (one, other) = (get(&node, sha256(&data)), get(&node, sha256(&data)));
        let (tail, head) = (LENGTH - TAIL, TAIL);
        assert_same(&by(first, &one, 0, head).unwrap(), &data[..TAIL as usize]);
        // It is not fetched by anybody else: nothing is completed in the background here.
        drop(one);
        let rest = by(second, &other, head, tail).unwrap();
        assert_same(&rest, &data[TAIL as usize..]);
        assert_same(&by(second, &other, 0, LENGTH).unwrap(), &data);
    }
}
