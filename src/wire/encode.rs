//! Messages into a datagram, written in place.
//!
//! Fields stand in the order in which deployed nodes write them. Nothing is allocated beyond the
//! buffer itself, which the caller keeps and hands in again.

use std::io::Write as _;
use std::net::SocketAddr;

use crate::content::{ByteRange, ContentId, Hash, KeyedName, Kind, PublicKey, Signature};

use super::{MAX_NUMBER, MAX_PARTS, base64};

/// Writes one datagram into a buffer.
///
/// The caller watches the size: [`Encoder::len`] tells what the datagram would come to, and
/// [`content_datagram_bound`] what an answer would add.
#[derive(Debug)]
pub struct Encoder<'b> {
    buffer: &'b mut Vec<u8>,
}

impl<'b> Encoder<'b> {
    /// Begins a datagram; what was in the buffer is gone.
    pub fn new(buffer: &'b mut Vec<u8>) -> Self {
        buffer.clear();
        buffer.push(b'[');
        Self { buffer }
    }

    /// Bytes in the datagram if it were finished now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() + 1
    }

    /// Whether it holds no message yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.len() <= 1
    }

    /// Lets `write` add messages, and takes them back where the datagram would then be longer than
    /// `limit` bytes. Returns whether they stay.
    pub fn within(&mut self, limit: usize, write: impl FnOnce(&mut Self)) -> bool {
        let before = self.buffer.len();
        write(self);
        let fits = self.len() <= limit;
        if !fits {
            self.buffer.truncate(before);
        }
        fits
    }

    /// Ends the datagram; returns its bytes.
    pub fn finish(self) -> usize {
        self.buffer.push(b']');
        self.buffer.len()
    }

    /// Asks for peers.
    pub fn please_send_peers(&mut self) {
        self.message(b"PleaseSendPeers", |out| out.raw(b"{}"));
    }

    /// Names peers.
    pub fn peers(&mut self, peers: &[SocketAddr]) {
        self.message(b"Peers", |out| {
            out.raw(b"{\"peers\":");
            out.addresses(peers);
            out.raw(b"}");
        });
    }

    /// A ping that is to bring `cookie` back.
    pub fn please_return_this_message(&mut self, cookie: &str) {
        self.message(b"PleaseReturnThisMessage", |out| out.cookie(cookie));
    }

    /// Answers a ping; `raw` is the JSON value that came with it (see [`super::Cookie::raw`]).
    pub fn returned_message(&mut self, raw: &str) {
        self.message(b"ReturnedMessage", |out| out.raw(raw.as_bytes()));
    }

    /// Asks to have `cookie` in every datagram that the receiver sends.
    pub fn please_always_return_this_message(&mut self, cookie: &str) {
        self.message(b"PleaseAlwaysReturnThisMessage", |out| out.cookie(cookie));
    }

    /// Returns what the receiver asked to have in every datagram, as it came.
    pub fn always_returned(&mut self, raw: &str) {
        self.message(b"AlwaysReturned", |out| out.raw(raw.as_bytes()));
    }

    /// Asks for `length` bytes from `offset`. Writes nothing when either is 2^63 or more: that
    /// would kill a deployed node.
    pub fn please_send_content(&mut self, id: &ContentId, offset: u64, length: u64) {
        if offset.max(length) > MAX_NUMBER {
            return;
        }
        self.message(b"PleaseSendContent", |out| {
            out.raw(b"{\"id\":");
            out.id(id);
            out.raw(b",\"offset\":");
            out.number(offset);
            out.raw(b",\"length\":");
            out.number(length);
            out.raw(b"}");
        });
    }

    /// Gives the bytes at `offset` of content that is `eof` bytes long. Writes nothing when either
    /// number is 2^63 or more.
    pub fn content(&mut self, id: &ContentId, offset: u64, eof: u64, data: &[u8]) {
        if offset.max(eof) > MAX_NUMBER {
            return;
        }
        self.message(b"Content", |out| {
            out.raw(b"{\"id\":");
            out.id(id);
            out.raw(b",\"offset\":");
            out.number(offset);
            out.raw(b",\"base64\":\"");
            base64::encode(data, out.0);
            out.raw(b"\",\"eof\":");
            out.number(eof);
            out.raw(b"}");
        });
    }

    /// Names peers that showed an interest in `id`.
    pub fn maybe_they_have_some(&mut self, id: &ContentId, peers: &[SocketAddr]) {
        self.message(b"MaybeTheyHaveSome", |out| {
            out.raw(b"{\"id\":");
            out.id(id);
            out.raw(b",\"peers\":");
            out.addresses(peers);
            out.raw(b"}");
        });
    }

    /// Says "no".
    pub fn i_do_not_have_that(&mut self, id: &ContentId) {
        self.about(b"IDoNotHaveThat", id);
    }

    /// Asks for the BLAKE3 of the content with a SHA-256.
    pub fn what_is_its_blake3(&mut self, id: &ContentId) {
        self.about(b"WhatIsItsBlake3", id);
    }

    /// Says that the content `id`, of `eof` bytes, has this BLAKE3. Writes nothing when `eof` is
    /// 2^63 or more.
    pub fn its_blake3_is(&mut self, id: &ContentId, blake3: &Hash, eof: u64) {
        if eof > MAX_NUMBER {
            return;
        }
        self.message(b"ItsBlake3Is", |out| {
            out.raw(b"{\"id\":");
            out.id(id);
            out.raw(b",\"blake3\":\"");
            out.raw(&blake3.to_hex());
            out.raw(b"\",\"eof\":");
            out.number(eof);
            out.raw(b"}");
        });
    }

    /// Asks which bytes of `id` the receiver has.
    pub fn which_parts_do_you_have(&mut self, id: &ContentId) {
        self.about(b"WhichPartsDoYouHave", id);
    }

    /// Says which bytes of `id`, which has `eof` of them, are here: at most the first
    /// [`MAX_PARTS`] of `parts`. Writes nothing when `eof` is 2^63 or more.
    pub fn i_have_these_parts(
        &mut self,
        id: &ContentId,
        eof: u64,
        parts: impl Iterator<Item = ByteRange>,
    ) {
        if eof > MAX_NUMBER {
            return;
        }
        self.message(b"IHaveTheseParts", |out| {
            out.raw(b"{\"id\":");
            out.id(id);
            out.raw(b",\"eof\":");
            out.number(eof);
            out.raw(b",\"parts\":[");
            let sayable = parts.filter(|part| !part.is_empty() && part.end <= MAX_NUMBER);
            for (index, part) in sayable.take(MAX_PARTS).enumerate() {
                out.raw(if index == 0 { b"[" } else { b",[" });
                out.number(part.start);
                out.raw(b",");
                out.number(part.end);
                out.raw(b"]");
            }
            out.raw(b"]}");
        });
    }

    /// Asks what the receiver has.
    pub fn please_list_content(&mut self) {
        self.message(b"PleaseListContent", |out| out.raw(b"{}"));
    }

    /// Lists ids and lengths. A length of 2^63 or more is left out.
    pub fn content_list(&mut self, contents: impl Iterator<Item = (ContentId, u64)>) {
        self.message(b"ContentList", |out| {
            out.raw(b"{\"results\":[");
            let listed = contents.filter(|&(_, length)| length <= MAX_NUMBER);
            for (index, (id, length)) in listed.enumerate() {
                out.raw(if index == 0 { b"[" } else { b",[" });
                out.id(&id);
                out.raw(b",");
                out.number(length);
                out.raw(b"]");
            }
            out.raw(b"]}");
        });
    }

    /// Says which key the sender has.
    pub fn my_public_key(&mut self, key: &PublicKey) {
        self.about_key(b"MyPublicKey", key);
    }

    /// Asks where the node with `key` was last seen.
    pub fn where_are_they(&mut self, key: &PublicKey) {
        self.about_key(b"WhereAreThey", key);
    }

    /// Answers [`Encoder::where_are_they`]: `key` was last seen at `source`.
    pub fn forwarded_key(&mut self, source: SocketAddr, key: &PublicKey) {
        self.message(b"Forwarded", |out| {
            out.raw(b"{\"src\":");
            out.address(source);
            out.raw(b",\"from_ed25519\":null,\"messages\":\"[{\\\"MyPublicKey\\\":{\\\"ed25519h\\\":\\\"");
            out.raw(&key.to_hex());
            out.raw(b"\\\"}}]\",\"might_be_ip_spoofing\":false}");
        });
    }

    /// Asks what was last published under a name.
    pub fn get_latest(&mut self, of: &KeyedName) {
        self.message(b"GetLatest", |out| {
            out.raw(b"{\"ed25519\":\"");
            out.raw(&of.key.to_hex());
            out.raw(b"\",\"name\":");
            out.text(of.name.as_str());
            out.raw(b"}");
        });
    }

    /// Says what is published under a name; counts only when it is signed.
    pub fn latest(&mut self, of: &KeyedName, sha256: &Hash, seq: u64) {
        self.message(b"Latest", |out| {
            out.raw(b"{\"ed25519\":\"");
            out.raw(&of.key.to_hex());
            out.raw(b"\",\"name\":");
            out.text(of.name.as_str());
            out.raw(b",\"sha256\":\"");
            out.raw(&sha256.to_hex());
            out.raw(b"\",\"seq\":");
            out.number(seq);
            out.raw(b"}");
        });
    }

    /// Passes on what `key` has signed.
    pub fn signed_message(&mut self, key: &PublicKey, signature: &Signature, payload: &str) {
        self.message(b"SignedMessage", |out| {
            out.raw(b"{\"ed25519\":\"");
            out.raw(&key.to_hex());
            out.raw(b"\",\"signature\":\"");
            base64::encode(&signature.0, out.0);
            out.raw(b"\",\"payload_json\":");
            out.text(payload);
            out.raw(b"}");
        });
    }

    /// Asks for `length` bytes from `offset` of a stream.
    pub fn please_send_stream(&mut self, stream: &KeyedName, offset: u64, length: u64) {
        if offset.max(length) > MAX_NUMBER {
            return;
        }
        self.message(b"PleaseSendContent", |out| {
            out.raw(b"{\"id\":");
            out.text(&stream.stream_id());
            out.raw(b",\"offset\":");
            out.number(offset);
            out.raw(b",\"length\":");
            out.number(length);
            out.raw(b"}");
        });
    }

    /// Gives the bytes at `offset` of a stream, which has no end to tell; counts only when it is
    /// signed.
    pub fn stream_content(&mut self, stream: &KeyedName, offset: u64, data: &[u8]) {
        if offset > MAX_NUMBER {
            return;
        }
        self.message(b"Content", |out| {
            out.raw(b"{\"id\":");
            out.text(&stream.stream_id());
            out.raw(b",\"offset\":");
            out.number(offset);
            out.raw(b",\"base64\":\"");
            base64::encode(data, out.0);
            out.raw(b"\"}");
        });
    }

    fn about_key(&mut self, kind: &[u8], key: &PublicKey) {
        self.message(kind, |out| {
            out.raw(b"{\"ed25519h\":\"");
            out.raw(&key.to_hex());
            out.raw(b"\"}");
        });
    }

    /// A message that holds an id alone.
    fn about(&mut self, kind: &[u8], id: &ContentId) {
        self.message(kind, |out| {
            out.raw(b"{\"id\":");
            out.id(id);
            out.raw(b"}");
        });
    }

    fn message(&mut self, kind: &[u8], value: impl FnOnce(&mut Json<'_>)) {
        let first = self.is_empty();
        let mut out = Json(self.buffer);
        out.raw(if first { b"{\"" } else { b",{\"" });
        out.raw(kind);
        out.raw(b"\":");
        value(&mut out);
        out.raw(b"}");
    }
}

/// An upper bound of the bytes that [`Encoder::content`] adds to a datagram, the comma included.
#[must_use]
pub fn content_datagram_bound(data_length: usize) -> usize {
    // `,{"Content":{"id":"","offset":,"base64":"","eof":}}`, the longest id (the prefix of a tree
    // file and 64 digits) and two numbers of 19 digits, the most that 2^63 - 1 has.
    const AROUND: usize = 51 + 15 + 64 + 2 * 19;
    base64::encoded_length(data_length).saturating_add(AROUND)
}

/// The pieces of JSON that messages consist of.
struct Json<'b>(&'b mut Vec<u8>);

impl Json<'_> {
    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, mut value: u64) {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        for (index, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
            start = index;
            if value == 0 {
                break;
            }
        }
        self.raw(&digits[start..]);
    }

    fn id(&mut self, id: &ContentId) {
        self.raw(match id.kind {
            Kind::Sha256 => b"\"",
            Kind::Blake3 => b"\"blake3/",
            Kind::TreeV2 => b"\"blake3_tree_v2/",
        });
        self.raw(&id.hash.to_hex());
        self.raw(b"\"");
    }

    fn cookie(&mut self, cookie: &str) {
        self.raw(b"{\"cookie\":");
        self.text(cookie);
        self.raw(b"}");
    }

    fn text(&mut self, text: &str) {
        self.raw(b"\"");
        for &byte in text.as_bytes() {
            match byte {
                b'"' | b'\\' => self.raw(&[b'\\', byte]),
                0..0x20 => {
                    self.raw(b"\\u00");
                    self.raw(&[
                        b'0' + (byte >> 4),
                        b"0123456789abcdef"[usize::from(byte & 15)],
                    ]);
                }
                _ => self.0.push(byte),
            }
        }
        self.raw(b"\"");
    }

    fn addresses(&mut self, addresses: &[SocketAddr]) {
        self.raw(b"[");
        for (index, address) in addresses.iter().enumerate() {
            if index > 0 {
                self.raw(b",");
            }
            self.address(*address);
        }
        self.raw(b"]");
    }

    fn address(&mut self, address: SocketAddr) {
        self.raw(b"\"");
        // Writing to a vector cannot fail. Of a v6 address the interface is left out, which means
        // nothing elsewhere.
        let _ = match address {
            SocketAddr::V4(v4) => write!(self.0, "{v4}"),
            SocketAddr::V6(v6) => write!(self.0, "[{}]:{}", v6.ip(), v6.port()),
        };
        self.raw(b"\"");
    }
}
