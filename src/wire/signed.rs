//! What a key has signed.
//!
//! Reading is cheap and checking is not (some fifty microseconds), so they are apart: the swarm first
//! reads whether what was signed matters at all, and only then checks.

use std::borrow::Cow;

use crate::content::{Hash, KeyedName, LEAF, PublicKey, SecretKey, Signature};

use super::{Encoder, Id, Message, decode, decode_base64, decoded_length};

/// Bytes in the longest signed text that is kept and passed on: a `Latest` with the longest name is
/// a quarter of it.
pub const MAX_SIGNED: usize = 4096;

/// Messages that a key is said to have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// Whose signature it is.
    pub key: PublicKey,
    /// The signature, under the bytes of `payload`.
    pub signature: Signature,
    /// A JSON array of messages.
    pub payload: Cow<'a, str>,
}

impl Signed<'_> {
    /// Whether the key did sign it.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.key.verifies(self.payload.as_bytes(), &self.signature)
    }
}

/// What a key published under a name, with the proof to pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedLatest {
    /// The key and the name.
    pub of: KeyedName,
    /// The content.
    pub sha256: Hash,
    /// The highest counts.
    pub seq: u64,
    /// The key's, under `payload`.
    pub signature: Signature,
    /// What was signed, as it came.
    pub payload: Box<str>,
}

impl SignedLatest {
    /// Signs that `sha256` is what `name` stands for from `seq` on.
    #[must_use]
    pub fn sign(secret: &SecretKey, of: KeyedName, sha256: Hash, seq: u64) -> Self {
        let payload = payload(|encoder| encoder.latest(&of, &sha256, seq));
        Self {
            signature: secret.sign(payload.as_bytes()),
            of,
            sha256,
            seq,
            payload: payload.into(),
        }
    }

    /// What is said in `signed` of names of the key that signed it; whether it verifies is not
    /// looked at. What is too long to be passed on is passed over.
    pub fn read(signed: &Signed<'_>) -> Vec<Self> {
        if signed.payload.len() > MAX_SIGNED {
            return Vec::new();
        }
        let Ok(decoded) = decode(signed.payload.as_bytes()) else {
            return Vec::new();
        };
        let own = |message| match message {
            Message::Latest { of, sha256, seq } if of.key == signed.key => Some(Self {
                of,
                sha256,
                seq,
                signature: signed.signature,
                payload: (*signed.payload).into(),
            }),
            _ => None,
        };
        decoded.messages.into_iter().filter_map(own).collect()
    }

    /// Whether the key did sign it.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.of
            .key
            .verifies(self.payload.as_bytes(), &self.signature)
    }
}

/// One block of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBlock {
    /// The stream.
    pub of: KeyedName,
    /// Where its first byte belongs: a multiple of [`LEAF`].
    pub offset: u64,
    /// At most [`LEAF`] bytes, at least one.
    pub data: Vec<u8>,
    /// The key's, under the payload that holds the block.
    pub signature: Signature,
    /// What was signed, as it came.
    pub payload: Box<str>,
}

impl SignedBlock {
    /// Signs that `data` is at `offset` of the stream.
    #[must_use]
    pub fn sign(secret: &SecretKey, of: KeyedName, offset: u64, data: Vec<u8>) -> Self {
        let payload = payload(|encoder| encoder.stream_content(&of, offset, &data));
        Self {
            signature: secret.sign(payload.as_bytes()),
            of,
            offset,
            data,
            payload: payload.into(),
        }
    }

    /// The block in `signed`, if it is one of a stream of the key that signed it; whether it verifies
    /// is not looked at.
    #[must_use]
    pub fn read(signed: &Signed<'_>) -> Option<Self> {
        let decoded = decode(signed.payload.as_bytes()).ok()?;
        let [
            Message::Content {
                id: Id::Other(id),
                offset,
                base64,
                ..
            },
        ] = &decoded.messages[..]
        else {
            return None;
        };
        let of = KeyedName::from_stream_id(id)?;
        let length = decoded_length(base64);
        let fits = offset % LEAF == 0 && length > 0 && length as u64 <= LEAF;
        if of.key != signed.key || !fits {
            return None;
        }
        let mut data = Vec::new();
        decode_base64(base64, &mut data).ok()?;
        Some(Self {
            of,
            offset: *offset,
            data,
            signature: signed.signature,
            payload: (*signed.payload).into(),
        })
    }

    /// Whether the key did sign it.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.of
            .key
            .verifies(self.payload.as_bytes(), &self.signature)
    }
}

/// The array of messages that `write` writes.
fn payload(write: impl FnOnce(&mut Encoder<'_>)) -> String {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes);
    write(&mut encoder);
    encoder.finish();
    // The encoder writes JSON out of texts, so this loses nothing.
    String::from_utf8(bytes).unwrap_or_default()
}
