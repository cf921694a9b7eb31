//! Every known message, from any JSON that says it.
//!
//! Works on raw values, which the walk has already found to be complete JSON, one level at a time;
//! so nothing here recurses, however deep a stranger nests.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use crate::content::{ByteRange, Hash, KeyedName, PublicKey, Signature};

use super::{
    Cookie, Id, MAX_LISTED, MAX_NUMBER, MAX_PARTS, MAX_PEERS, Message, Signed, decode_base64,
    normalise,
};

/// Reads one element of the array; `None` if it is none of the known messages.
pub(super) fn message(raw: &RawValue) -> Option<Message<'_>> {
    let (kind, value) = single(raw.get())?;
    let raw = value.get();
    Some(match &*kind {
        "PleaseReturnThisMessage" => Message::PleaseReturnThisMessage(Cookie::new(raw)?),
        "ReturnedMessage" => Message::ReturnedMessage(Cookie::new(raw)?),
        "PleaseAlwaysReturnThisMessage" => {
            Message::PleaseAlwaysReturnThisMessage(Cookie::new(raw)?)
        }
        "AlwaysReturned" => Message::AlwaysReturned(Cookie::new(raw)?),
        _ => body(&kind, object(raw)?)?,
    })
}

/// Reads the messages whose value is always an object.
fn body<'a>(kind: &str, raw: &'a str) -> Option<Message<'a>> {
    Some(match kind {
        "PleaseSendPeers" => Message::PleaseSendPeers,
        "PleaseListContent" => Message::PleaseListContent,
        "Content" => {
            let body: ContentBody<'a> = parse(raw)?;
            Message::Content {
                id: Id::from_text(body.id)?,
                offset: number(body.offset)?,
                eof: body.eof.map_or(Some(None), |eof| number(eof).map(Some))?,
                base64: body.base64,
            }
        }
        "PleaseSendContent" => {
            let body: QuestionBody<'a> = parse(raw)?;
            Message::PleaseSendContent {
                id: Id::from_text(body.id)?,
                offset: number(body.offset)?,
                length: number(body.length)?,
            }
        }
        "Peers" => {
            let body: PeersBody<'a> = parse(raw)?;
            Message::Peers(addresses(body.peers)?)
        }
        "MaybeTheyHaveSome" => {
            let body: MaybeBody<'a> = parse(raw)?;
            Message::MaybeTheyHaveSome {
                id: Id::from_text(body.id)?,
                peers: addresses(body.peers)?,
            }
        }
        "IDoNotHaveThat" => {
            let body: IdBody<'a> = parse(raw)?;
            Message::IDoNotHaveThat {
                id: Id::from_text(body.id)?,
            }
        }
        "WhatIsItsBlake3" => {
            let body: IdBody<'a> = parse(raw)?;
            Message::WhatIsItsBlake3 {
                id: Id::from_text(body.id)?,
            }
        }
        "ItsBlake3Is" => {
            let body: Blake3Body<'a> = parse(raw)?;
            Message::ItsBlake3Is {
                id: Id::from_text(body.id)?,
                blake3: Hash::from_hex(&body.blake3)?,
                eof: number(body.eof)?,
            }
        }
        "WhichPartsDoYouHave" => {
            let body: IdBody<'a> = parse(raw)?;
            Message::WhichPartsDoYouHave {
                id: Id::from_text(body.id)?,
            }
        }
        "IHaveTheseParts" => {
            let body: PartsBody<'a> = parse(raw)?;
            let part = |raw: &'a RawValue| {
                let (start, end): (u64, u64) = parse(raw.get())?;
                (start < end && end <= MAX_NUMBER).then(|| ByteRange::new(start, end))
            };
            Message::IHaveTheseParts {
                id: Id::from_text(body.id)?,
                eof: number(body.eof)?,
                parts: list(body.parts, MAX_PARTS, part)?,
            }
        }
        "ContentList" => {
            let body: ListBody<'a> = parse(raw)?;
            let pair = |raw: &'a RawValue| {
                let (Text(id), length): (Text<'a>, u64) = parse(raw.get())?;
                Some((Id::from_text(id)?, number(length)?))
            };
            Message::ContentList(list(body.results, MAX_LISTED, pair)?)
        }
        "MyPublicKey" => Message::MyPublicKey(node_key(raw)?),
        "WhereAreThey" => Message::WhereAreThey(node_key(raw)?),
        "Forwarded" => {
            let body: ForwardedBody<'a> = parse(raw)?;
            Message::Forwarded {
                source: address(&body.src)?,
                messages: body.messages,
            }
        }
        "SignedMessage" => Message::SignedMessage(signed(parse(raw)?)?),
        "GetLatest" => {
            let body: NameBody<'a> = parse(raw)?;
            Message::GetLatest(keyed_name(&body.ed25519, &body.name)?)
        }
        "Latest" => {
            let body: LatestBody<'a> = parse(raw)?;
            Message::Latest {
                of: keyed_name(&body.ed25519, &body.name)?,
                sha256: Hash::from_hex(&body.sha256)?,
                seq: number(body.seq)?,
            }
        }
        _ => return None,
    })
}

fn node_key(raw: &str) -> Option<PublicKey> {
    let body: KeyBody<'_> = parse(raw)?;
    PublicKey::from_hex(&body.ed25519h)
}

fn keyed_name(key: &str, name: &str) -> Option<KeyedName> {
    Some(KeyedName {
        key: PublicKey::from_hex(key)?,
        name: name.parse().ok()?,
    })
}

fn signed(body: SignedBody<'_>) -> Option<Signed<'_>> {
    let mut signature = Vec::new();
    decode_base64(&body.signature, &mut signature).ok()?;
    let payload = match (body.payload_json, body.payload) {
        (Some(json), _) => json,
        (None, Some(old)) => {
            let mut bytes = Vec::new();
            decode_base64(&old, &mut bytes).ok()?;
            Cow::Owned(String::from_utf8(bytes).ok()?)
        }
        (None, None) => return None,
    };
    Some(Signed {
        key: PublicKey::from_hex(&body.ed25519)?,
        signature: Signature(signature.try_into().ok()?),
        payload,
    })
}

#[derive(Deserialize)]
struct KeyBody<'a> {
    #[serde(borrow)]
    ed25519h: Cow<'a, str>,
}

#[derive(Deserialize)]
struct ForwardedBody<'a> {
    #[serde(borrow)]
    src: Cow<'a, str>,
    #[serde(borrow)]
    messages: Cow<'a, str>,
}

#[derive(Deserialize)]
struct SignedBody<'a> {
    #[serde(borrow)]
    ed25519: Cow<'a, str>,
    #[serde(borrow)]
    signature: Cow<'a, str>,
    #[serde(borrow, default)]
    payload_json: Option<Cow<'a, str>>,
    /// The old form: the same bytes in base64.
    #[serde(borrow, default)]
    payload: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct NameBody<'a> {
    #[serde(borrow)]
    ed25519: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct LatestBody<'a> {
    #[serde(borrow)]
    ed25519: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    sha256: Cow<'a, str>,
    seq: u64,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct ContentBody<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    offset: u64,
    eof: Option<u64>,
    #[serde(borrow)]
    base64: Cow<'a, str>,
}

#[derive(Deserialize)]
struct QuestionBody<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    offset: u64,
    length: u64,
}

#[derive(Deserialize)]
struct PeersBody<'a> {
    #[serde(borrow)]
    peers: &'a RawValue,
}

#[derive(Deserialize)]
struct MaybeBody<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    peers: &'a RawValue,
}

#[derive(Deserialize)]
struct IdBody<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Blake3Body<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    blake3: Cow<'a, str>,
    eof: u64,
}

#[derive(Deserialize)]
struct PartsBody<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    eof: u64,
    #[serde(borrow)]
    parts: &'a RawValue,
}

#[derive(Deserialize)]
struct ListBody<'a> {
    #[serde(borrow)]
    results: &'a RawValue,
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a str) -> Option<T> {
    serde_json::from_str(raw).ok()
}

/// Derived types would also be read from an array of their fields; the wire has objects only.
fn object(raw: &str) -> Option<&str> {
    raw.starts_with('{').then_some(raw)
}

fn number(value: u64) -> Option<u64> {
    (value <= MAX_NUMBER).then_some(value)
}

/// The key and the value of an object that has exactly one.
fn single(raw: &str) -> Option<(Cow<'_, str>, &RawValue)> {
    struct Single;
    impl<'de> Visitor<'de> for Single {
        type Value = (Cow<'de, str>, &'de RawValue);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object with one key")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let entry = map.next_entry::<Text<'de>, &'de RawValue>()?;
            let (Text(key), value) = entry.ok_or_else(|| A::Error::custom("no key"))?;
            if map.next_key::<IgnoredAny>()?.is_some() {
                return Err(A::Error::custom("more than one key"));
            }
            Ok((key, value))
        }
    }
    let raw = object(raw)?;
    serde_json::Deserializer::from_str(raw)
        .deserialize_map(Single)
        .ok()
}

/// The elements of an array that `read` understands, at most `limit`; `None` if it is no array.
fn list<'a, T>(
    raw: &'a RawValue,
    limit: usize,
    read: impl FnMut(&'a RawValue) -> Option<T>,
) -> Option<Vec<T>> {
    struct List<F>(usize, F);
    impl<'de, T, F: FnMut(&'de RawValue) -> Option<T>> Visitor<'de> for List<F> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while items.len() < self.0
                && let Some(raw) = seq.next_element()?
            {
                items.extend((self.1)(raw));
            }
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(items)
        }
    }
    serde_json::Deserializer::from_str(raw.get())
        .deserialize_seq(List(limit, read))
        .ok()
}

/// The addresses in an array of texts; what is no address is left out.
fn addresses(raw: &RawValue) -> Option<Vec<SocketAddr>> {
    list(raw, MAX_PEERS, |raw| {
        let Text(text) = parse(raw.get())?;
        address(&text)
    })
}

fn address(text: &str) -> Option<SocketAddr> {
    let mut address: SocketAddr = text.parse().ok()?;
    if let SocketAddr::V6(v6) = &mut address {
        // The number of an interface of somebody else's machine means nothing here.
        v6.set_scope_id(0);
    }
    Some(normalise(address))
}
