//! The wire as the mimics speak it: through `serde_json`, independently of the crate's own `wire`,
//! so that a mistake there does not cancel itself out here.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The messages of a datagram: `(type, value)` of every object with exactly one key, as a deployed
/// node reads it. A datagram that is no JSON array has none.
pub fn parse(datagram: &[u8]) -> Vec<(String, Value)> {
    let Ok(Value::Array(elements)) = serde_json::from_slice(datagram) else {
        return Vec::new();
    };
    elements
        .into_iter()
        .filter_map(|element| match element {
            Value::Object(object) if object.len() == 1 => object.into_iter().next(),
            _ => None,
        })
        .collect()
}

/// The cookie of a message of one of the cookie types, if it has the form of today.
pub fn cookie(value: &Value) -> Option<&str> {
    value.get("cookie")?.as_str()
}

/// The addresses of `Peers` and `MaybeTheyHaveSome`.
pub fn peers(value: &Value) -> Vec<SocketAddr> {
    let texts = value.get("peers").and_then(Value::as_array);
    texts
        .into_iter()
        .flatten()
        .filter_map(|text| text.as_str()?.parse().ok())
        .collect()
}

/// A question for content: id, offset and length.
pub fn question(value: &Value) -> Option<(&str, u64, u64)> {
    Some((
        value.get("id")?.as_str()?,
        value.get("offset")?.as_u64()?,
        value.get("length")?.as_u64()?,
    ))
}

/// An answer: id, offset, `eof` and data.
pub fn content_of(value: &Value) -> Option<(&str, u64, Option<u64>, Vec<u8>)> {
    Some((
        value.get("id")?.as_str()?,
        value.get("offset")?.as_u64()?,
        value.get("eof").and_then(Value::as_u64),
        STANDARD.decode(value.get("base64")?.as_str()?).ok()?,
    ))
}

pub fn content(id: &str, offset: u64, eof: u64, data: &[u8]) -> String {
    let base64 = STANDARD.encode(data);
    format!(r#"{{"Content":{{"id":"{id}","offset":{offset},"base64":"{base64}","eof":{eof}}}}}"#)
}

pub fn please_send_content(id: &str, offset: u64, length: u64) -> String {
    format!(r#"{{"PleaseSendContent":{{"id":"{id}","length":{length},"offset":{offset}}}}}"#)
}

pub fn maybe_they_have_some(id: &str, peers: &[SocketAddr]) -> String {
    json!({ "MaybeTheyHaveSome": { "id": id, "peers": texts(peers) } }).to_string()
}

pub fn peers_message(peers: &[SocketAddr]) -> String {
    json!({ "Peers": { "peers": texts(peers) } }).to_string()
}

/// A message of one of the four cookie types.
pub fn with_cookie(kind: &str, cookie: &str) -> String {
    json!({ kind: { "cookie": cookie } }).to_string()
}

/// One datagram of these messages.
pub fn datagram(messages: &[String]) -> Vec<u8> {
    format!("[{}]", messages.join(",")).into_bytes()
}

fn texts(peers: &[SocketAddr]) -> Vec<String> {
    peers.iter().map(SocketAddr::to_string).collect()
}
