//! The walk over the array of messages.
//!
//! The array is walked by hand, one element at a time, because elements stand and fall alone: a
//! message of a wrong type is skipped and the rest used. A broken frame (no array, a stray comma,
//! trailing bytes) loses the whole datagram, as it does for deployed nodes.

use serde_json::value::RawValue;
use thiserror::Error;

use super::fast::{self, Cursor};
use super::{Message, typed};

/// Elements of one datagram that are looked into. The rest is skipped: a datagram of nodes that
/// mean well holds ten or so, while 65,507 bytes have room for thousands of tiny ones.
pub const MAX_MESSAGES: usize = 256;

/// What was read from one datagram.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Decoded<'a> {
    /// The messages that were understood, in order.
    pub messages: Vec<Message<'a>>,
    /// How many others there were.
    pub skipped: u32,
}

/// Why a datagram as a whole could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Some byte is not UTF-8.
    #[error("the datagram is not UTF-8")]
    NotUtf8,
    /// It does not begin with `[` (after white space).
    #[error("the datagram is not a JSON array")]
    NotAnArray,
    /// The JSON is broken, ends early, or goes on after the array.
    #[error("the datagram is broken JSON")]
    BrokenJson,
}

/// Reads one datagram. The messages borrow from it.
pub fn decode(datagram: &[u8]) -> Result<Decoded<'_>, DecodeError> {
    // Looked at only when something is wrong: a second pass over good datagrams would be waste.
    walk(datagram, fast::message).map_err(|error| match std::str::from_utf8(datagram) {
        Ok(_) => error,
        Err(_) => DecodeError::NotUtf8,
    })
}

/// A way of taking a message off the array (see [`fast::message`]).
pub(super) type Fast<'a> = fn(&mut Cursor<'a>) -> Option<Option<Message<'a>>>;

pub(super) fn walk<'a>(datagram: &'a [u8], fast: Fast<'a>) -> Result<Decoded<'a>, DecodeError> {
    let mut cursor = Cursor::new(datagram);
    if !cursor.take(b'[') {
        return Err(DecodeError::NotAnArray);
    }
    let mut decoded = Decoded::default();
    if !cursor.take(b']') {
        let mut elements = 0usize;
        loop {
            let read = elements < MAX_MESSAGES;
            let message = element(&mut cursor, fast, read)?;
            match message.filter(|_| read) {
                Some(message) => decoded.messages.push(message),
                None => decoded.skipped = decoded.skipped.saturating_add(1),
            }
            elements = elements.saturating_add(1);
            if cursor.take(b']') {
                break;
            }
            if !cursor.take(b',') {
                return Err(DecodeError::BrokenJson);
            }
        }
    }
    if cursor.at_end() {
        Ok(decoded)
    } else {
        Err(DecodeError::BrokenJson)
    }
}

/// Takes one element off the array; `None` if it is not understood, or not to be `read`.
fn element<'a>(
    cursor: &mut Cursor<'a>,
    fast: Fast<'a>,
    read: bool,
) -> Result<Option<Message<'a>>, DecodeError> {
    if read && let Some(message) = fast(cursor) {
        return Ok(message);
    }
    // Stops at the end of the value, checks that it is UTF-8, and does not recurse.
    let mut values = serde_json::Deserializer::from_slice(cursor.rest()).into_iter::<&RawValue>();
    let value = values
        .next()
        .and_then(Result::ok)
        .ok_or(DecodeError::BrokenJson)?;
    cursor.advance(values.byte_offset());
    Ok(if read { typed::message(value) } else { None })
}
