//! Datagrams to messages and back.
//!
//! One datagram is one JSON array of messages, each an object with one key. Strangers send them, so
//! [`decode`] holds three lines: nothing makes it panic or recurse, what it does not understand
//! costs only that one message, and the number and size of what it gives back is bounded. What is
//! left open here is meaning: whether an offset, an address or a length makes sense is for the
//! swarm to judge.
//!
//! Nearly every byte that a node receives lies in the base64 text of a `Content` message, so that
//! shape has a path of its own (`fast`), which finds the text without copying or unescaping it;
//! everything else goes through `serde_json`. Sending has one path: [`Encoder`] writes straight
//! into the datagram.

mod base64;
mod decode;
mod encode;
mod fast;
mod message;
#[cfg(test)]
mod properties;
mod signed;
#[cfg(test)]
mod tests;
mod typed;

pub use base64::{Base64Error, decode_base64, decode_base64_over, decoded_length};
pub use decode::{DecodeError, Decoded, MAX_MESSAGES, decode};
pub use encode::{Encoder, content_datagram_bound};
pub use message::{
    Cookie, Id, MAX_COOKIE, MAX_ID, MAX_LISTED, MAX_PARTS, MAX_PEERS, Message, normalise,
};
pub use signed::{MAX_SIGNED, Signed, SignedBlock, SignedLatest};

/// Bytes in the largest UDP payload over IPv4: 65,535 less 20 of IP and 8 of UDP header.
pub const MAX_DATAGRAM: usize = 65_507;

/// The largest offset, length or `eof` on the wire: a larger offset kills a deployed node, and no
/// file has a larger one.
const MAX_NUMBER: u64 = i64::MAX as u64;
