//! Trees of BLAKE3 leaves: whatever tree and leaf come, only the right leaf is taken for right.

use arbitrary::{Result, Unstructured};
use cjp2pfs::content::tree::{leaves_of, tree_length, verify_leaf, verify_tree};
use cjp2pfs::content::{ByteRange, Hash, LEAF, TreeHasher};
use std::io;

pub fn run(data: &[u8]) {
    let _ = lie(&mut Unstructured::new(data));
}

fn read_from(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> io::Result<()> + '_ {
    |offset, buffer| {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(buffer.len());
        let part = end.and_then(|end| bytes.get(start..end));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn lie(u: &mut Unstructured<'_>) -> Result<()> {
    // Shorter content has a tree that proves nothing; `verify_leaf` needs none.
    let length = u.int_in_range(LEAF + 1..=9 * LEAF)?;
    let fill: u8 = u.arbitrary()?;
    let content: Vec<u8> = (0..length).map(|n| (n / 7) as u8 ^ fill).collect();
    let mut tree = Vec::new();
    let mut write_at = |offset: u64, bytes: &[u8]| {
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        tree.resize(tree.len().max(end), 0);
        tree[start..end].copy_from_slice(bytes);
        Ok(())
    };
    let mut hasher = TreeHasher::new(length).expect("a length that can be");
    hasher.update(&content, &mut write_at).expect("memory");
    let root = hasher
        .finish(&mut write_at)
        .expect("memory")
        .expect("all of it");
    assert_eq!(tree.len() as u64, tree_length(length));
    assert_eq!(leaves_of(tree.len() as u64), Some(length.div_ceil(LEAF)));

    let mut claimed = tree.clone();
    for _ in 0..u.int_in_range(0..=4)? {
        match u.int_in_range(0..=5u8)? {
            0 if !claimed.is_empty() => claimed.truncate(u.choose_index(claimed.len())?),
            1 => claimed.extend_from_slice(u.arbitrary::<[u8; 32]>()?.as_slice()),
            2 if claimed.len() >= 128 => {
                let at = u.choose_index(claimed.len() / 32 - 1)? * 32;
                claimed.copy_within(at..at + 32, at + 32);
            }
            _ if !claimed.is_empty() => {
                let at = u.choose_index(claimed.len())?;
                claimed[at] ^= u.arbitrary::<u8>()?;
            }
            _ => {}
        }
    }
    let claimed_length = match u.ratio(1, 3)? {
        true => u.arbitrary()?,
        false => claimed.len() as u64,
    };
    if let Ok(true) = verify_tree(root, claimed_length, read_from(&claimed)) {
        // Whole, or cut to its upper levels: nothing in it says how long the content is.
        let taken = &claimed[..claimed_length as usize];
        assert!(tree.starts_with(taken), "a wrong tree passed");
    }
    let _ = leaves_of(u.arbitrary()?);

    let index = u.int_in_range(0..=10u64)?;
    let of = ByteRange::at(index * LEAF, LEAF).intersection(ByteRange::new(0, length));
    let right = content
        .get(of.start as usize..of.end as usize)
        .unwrap_or_default();
    let mut piece = right.to_vec();
    match u.int_in_range(0..=5u8)? {
        0 if !piece.is_empty() => {
            let at = u.choose_index(piece.len())?;
            piece[at] ^= u.arbitrary::<u8>()?;
        }
        1 => piece.push(0),
        2 => drop(piece.pop()),
        _ => {}
    }
    let length_said = match u.ratio(1, 4)? {
        true => u.arbitrary()?,
        false => length,
    };
    let holds = verify_leaf(root, length_said, index, &piece, read_from(&claimed));
    if let Ok(true) = holds {
        assert!(piece == right, "a wrong leaf passed");
        // Only the last leaf tells how long the whole is: before it, other lengths have the same way up.
        let is_last = index == length_said.div_ceil(LEAF) - 1;
        assert!(!is_last || length_said == length, "a wrong length passed");
    }
    let honest = verify_leaf(root, length, index, right, read_from(&tree)).expect("all is there");
    assert_eq!(honest, !right.is_empty());
    let other = Hash(u.arbitrary()?);
    if other != root {
        assert!(!matches!(
            verify_tree(other, tree.len() as u64, read_from(&tree)),
            Ok(true)
        ));
    }
    Ok(())
}
