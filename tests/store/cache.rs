//! The block cache against a model that remembers everything it was ever given.

use cjp2pfs::content::{ContentId, LEAF};
use cjp2pfs::store::BlockCache;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

const LENGTH: u64 = 5 * 65536 + 777;
const LEAVES: u64 = LENGTH.div_ceil(LEAF);

fn id(number: u8) -> ContentId {
    ContentId::sha256([number; 32])
}

fn bytes(seed: u8, length: u64) -> Vec<u8> {
    (0..length).map(|i| seed.wrapping_add(i as u8)).collect()
}

#[derive(Clone, Debug)]
enum Op {
    Put(u8, u64, u64, u8),
    Get(u8, u64, u64),
    Forget(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..4u8, 0..LEAVES, 1..40u64, any::<u8>())
            .prop_map(|(id, leaf, count, seed)| Op::Put(id, leaf, count, seed)),
        6 => (0..4u8, 0..LENGTH + 10, 0..20_000u64).prop_map(|(id, at, n)| Op::Get(id, at, n)),
        1 => (0..4u8).prop_map(Op::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/store/cache.proptest-regressions",
        ))),
        ..ProptestConfig::default()
    })]

    /// What it gives is what it was given last; and it never grows beyond its bound. With room for
    /// everything it has everything.
    #[test]
    fn agrees_with_a_model(
        ops in prop::collection::vec(op(), 0..80),
        size in prop_oneof![Just(0u64), Just(65535), Just(200_000), Just(1 << 20), Just(64 << 20)],
    ) {
        let cache = BlockCache::new(size);
        let mut model = vec![vec![None; LENGTH as usize + 30_000]; 4];
        for op in ops {
            match op {
                Op::Put(number, leaf, count, seed) => {
                    let start = leaf * LEAF;
                    let end = (start + count * LEAF).min(LENGTH);
                    let data = bytes(seed, end - start);
                    cache.put(&id(number), start, &data);
                    let known = &mut model[usize::from(number)][start as usize..];
                    for (known, byte) in known.iter_mut().zip(data) {
                        *known = Some(byte);
                    }
                }
                Op::Get(number, at, length) => {
                    let mut buffer = vec![0; length as usize];
                    let got = cache.get(&id(number), at, &mut buffer);
                    let known: Option<Vec<u8>> =
                        model[usize::from(number)][at as usize..(at + length) as usize]
                            .iter()
                            .copied()
                            .collect();
                    if got {
                        prop_assert_eq!(Some(buffer), known);
                    } else if size == 64 << 20 {
                        prop_assert_eq!(None, known);
                    }
                }
                Op::Forget(number) => {
                    cache.forget(&id(number));
                    model[usize::from(number)].fill(None);
                }
            }
            prop_assert!(cache.allocated() <= size);
        }
    }
}

#[test]
fn a_short_leaf_is_given_up_to_its_end_only() {
    let cache = BlockCache::new(1 << 20);
    let mut buffer = [0; 200];
    cache.put(&id(1), 8192, &[7; 100]);
    assert!(cache.get(&id(1), 8192, &mut buffer[..100]));
    assert!(!cache.get(&id(1), 8192, &mut buffer[..101]));
    // Whole now, and then short again.
    cache.put(&id(1), 8192, &[8; 4096]);
    assert!(cache.get(&id(1), 8192 + 90, &mut buffer));
    cache.put(&id(1), 8192, &[9; 100]);
    assert!(!cache.get(&id(1), 8192 + 90, &mut buffer));
    // Before it, whole leaves.
    cache.put(&id(1), 0, &[6; 8192]);
    assert!(cache.get(&id(1), 8192 - 100, &mut buffer));
    assert_eq!((buffer[99], buffer[100]), (6, 9));
}

#[test]
fn bytes_before_a_whole_leaf_are_left_out() {
    let cache = BlockCache::new(1 << 20);
    cache.put(&id(1), 100, &[5; 8192]);
    let mut buffer = [0; 1];
    assert!(!cache.get(&id(1), 200, &mut buffer));
    assert!(cache.get(&id(1), 4096, &mut buffer));
    cache.put(&id(1), u64::MAX - 10, &[1; 100]);
    cache.put(&id(1), 1, &[1; 10]);
    assert!(!cache.get(&id(1), u64::MAX - 1, &mut [0; 10]));
}

#[test]
fn the_longest_unused_goes_first() {
    let cache = BlockCache::new(4 * 70_000);
    for chunk in 0..4 {
        cache.put(&id(1), chunk * 65536, &[chunk as u8; 65536]);
    }
    let mut byte = [0];
    assert!(cache.get(&id(1), 0, &mut byte));
    cache.put(&id(2), 0, &[9; 4096]);
    assert!(cache.get(&id(1), 0, &mut byte));
    assert!(!cache.get(&id(1), 65536, &mut byte));
    // The buffer that was used again shows nothing of what was in it.
    assert!(cache.get(&id(2), 0, &mut [0; 4096]));
    assert!(!cache.get(&id(2), 4096, &mut byte));
}
