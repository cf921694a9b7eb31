//! The walk over the array of messages.
//!
//! The array is walked by hand, one element at a time, because elements stand and fall alone: a
//! message of a wrong type is skipped and the rest used. A broken frame (no array, a stray comma,
//! trailing bytes) loses the whole datagram, as it does for deployed nodes.

use serde_json::value::RawValue;
use thiserror::Error;

use super::fast::{self, Cursor};
use super::{Message, typed};

/// Messages taken from one datagram. Past it the rest is skipped: a datagram of nodes that mean
/// well holds ten or so, while 65,507 bytes have room for thousands of tiny ones.
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
    let text = std::str::from_utf8(datagram).map_err(|_| DecodeError::NotUtf8)?;
    let mut cursor = Cursor::new(text);
    if !cursor.take(b'[') {
        return Err(DecodeError::NotAnArray);
    }
    let mut decoded = Decoded::default();
    if !cursor.take(b']') {
        loop {
            element(&mut cursor, &mut decoded)?;
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

/// Takes one element off the array, into `decoded` if it is understood and there is room.
fn element<'a>(cursor: &mut Cursor<'a>, decoded: &mut Decoded<'a>) -> Result<(), DecodeError> {
    let full = decoded.messages.len() >= MAX_MESSAGES;
    let message = match fast::message(cursor) {
        Some(message) => message,
        None => {
            let raw = value(cursor)?;
            if full { None } else { typed::message(raw) }
        }
    };
    match message {
        Some(message) if !full => decoded.messages.push(message),
        _ => decoded.skipped = decoded.skipped.saturating_add(1),
    }
    Ok(())
}

/// Takes one JSON value of any form off the array, without recursion.
fn value<'a>(cursor: &mut Cursor<'a>) -> Result<&'a RawValue, DecodeError> {
    let mut values = serde_json::Deserializer::from_str(cursor.rest()).into_iter::<&RawValue>();
    let value = values
        .next()
        .and_then(Result::ok)
        .ok_or(DecodeError::BrokenJson)?;
    cursor.advance(values.byte_offset());
    Ok(value)
}
