//! Block lists: texts that name the SHA-256 of each block of some content, one a line.
//!
//! By convention of the published test files the blocks have 256 KiB, and the list is content of its
//! own. It says nothing of the content whose blocks it names: who uses it has to know that.

use thiserror::Error;

use super::{ByteRange, Hash};

/// Bytes of one block; the last one may be shorter.
pub const BLOCK: u64 = 256 << 10;

/// The longest text that is taken for a block list, in bytes.
pub const MAX_BLOCK_LIST: u64 = 16 << 20;

/// The hashes of all blocks of some content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockList(Box<[Hash]>);

/// Why a text is no block list, or not that of some content.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BlockListError {
    /// It is too long.
    #[error("it is longer than a block list can be")]
    TooLong,
    /// A line, counted from 1, is no SHA-256.
    #[error("its line {0} is not 64 hexadecimal digits")]
    NotAHash(usize),
    /// It names another number of blocks than the content has.
    #[error("it names {named} blocks, and content of {length} bytes has {blocks}")]
    OtherLength {
        /// Lines.
        named: u64,
        /// Bytes of the content.
        length: u64,
        /// Blocks of the content.
        blocks: u64,
    },
}

impl BlockList {
    /// Understands a text; a line feed after the last line may be missing.
    ///
    /// # Errors
    /// [`BlockListError::TooLong`] and [`BlockListError::NotAHash`].
    pub fn parse(text: &[u8]) -> Result<Self, BlockListError> {
        if text.len() as u64 > MAX_BLOCK_LIST {
            return Err(BlockListError::TooLong);
        }
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let hash = |(number, line): (usize, &[u8])| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            std::str::from_utf8(line)
                .ok()
                .and_then(Hash::from_hex)
                .ok_or(BlockListError::NotAHash(number.saturating_add(1)))
        };
        let lines = text.split(|byte| *byte == b'\n').enumerate();
        lines.map(hash).collect::<Result<_, _>>().map(Self)
    }

    /// Whether content of `length` bytes has as many blocks.
    ///
    /// # Errors
    /// [`BlockListError::OtherLength`] if not.
    pub fn fits(&self, length: u64) -> Result<(), BlockListError> {
        let (named, blocks) = (self.0.len() as u64, length.div_ceil(BLOCK));
        if named == blocks {
            return Ok(());
        }
        Err(BlockListError::OtherLength {
            named,
            length,
            blocks,
        })
    }

    /// The hash of the block that is `range` of content of `length` bytes, if it is a whole one.
    #[must_use]
    pub fn of(&self, range: ByteRange, length: u64) -> Option<Hash> {
        let whole = range.start.is_multiple_of(BLOCK)
            && (range.len() == BLOCK || range.end == length && range.len() < BLOCK);
        let number = usize::try_from(range.start / BLOCK).ok()?;
        self.0.get(number).copied().filter(|_| whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "cb407d7355bb63929d7f4b282684f5a2884a0c3fb73d56642455600569a6888b";

    #[test]
    fn lines_are_hashes_of_blocks() {
        let hash = Hash::from_hex(A).unwrap();
        for text in [format!("{A}\n{A}\n"), format!("{A}\r\n{A}")] {
            let list = BlockList::parse(text.as_bytes()).unwrap();
            list.fits(BLOCK + 1).unwrap();
            list.fits(2 * BLOCK).unwrap();
            let length = BLOCK + 10;
            let of = |start, end| list.of(ByteRange::new(start, end), length);
            assert_eq!(of(0, BLOCK), Some(hash));
            assert_eq!(of(BLOCK, length), Some(hash));
            for (start, end) in [
                (0, 10),
                (10, BLOCK),
                (BLOCK, length - 1),
                (2 * BLOCK, length),
            ] {
                assert_eq!(of(start, end), None, "{start} {end}");
            }
        }
    }

    #[test]
    fn other_texts_are_none() {
        let refused = |text: &str| BlockList::parse(text.as_bytes()).unwrap_err();
        assert_eq!(refused(""), BlockListError::NotAHash(1));
        assert_eq!(refused(&format!("{A}\n\n{A}")), BlockListError::NotAHash(2));
        assert_eq!(refused(&A[1..]), BlockListError::NotAHash(1));
        let long = vec![b'a'; MAX_BLOCK_LIST as usize + 1];
        assert_eq!(BlockList::parse(&long), Err(BlockListError::TooLong));
        let list = BlockList::parse(A.as_bytes()).unwrap();
        assert_eq!(
            list.fits(BLOCK + 1).unwrap_err().to_string(),
            "it names 1 blocks, and content of 262145 bytes has 2"
        );
    }
}
