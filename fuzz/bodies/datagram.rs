//! The datagram decoder: no bytes make it panic, or give back more than it promises, or disagree with
//! a JSON parser about where the messages are.

use cjp2pfs::wire::{
    MAX_COOKIE, MAX_LISTED, MAX_MESSAGES, MAX_PARTS, MAX_PEERS, Message, decode, decode_base64,
    decoded_length,
};
use serde_json::value::RawValue;

pub fn run(data: &[u8]) {
    let decoded = decode(data);
    // It goes deeper than the parser does, which is why the reverse need not hold.
    if let Ok(elements) = serde_json::from_slice::<Vec<&RawValue>>(data) {
        let decoded = decoded.as_ref().expect("a JSON array is read");
        let seen = decoded.messages.len() + decoded.skipped as usize;
        assert_eq!(seen, elements.len());
    }
    let Ok(decoded) = decoded else { return };
    assert!(decoded.messages.len() <= MAX_MESSAGES);
    for message in &decoded.messages {
        match message {
            Message::Peers(peers) | Message::MaybeTheyHaveSome { peers, .. } => {
                assert!(peers.len() <= MAX_PEERS);
            }
            Message::IHaveTheseParts { parts, .. } => assert!(parts.len() <= MAX_PARTS),
            Message::ContentList(listed) => assert!(listed.len() <= MAX_LISTED),
            Message::PleaseAlwaysReturnThisMessage(cookie)
            | Message::AlwaysReturned(cookie)
            | Message::PleaseReturnThisMessage(cookie)
            | Message::ReturnedMessage(cookie) => {
                assert!(cookie.raw().len() <= MAX_COOKIE);
                let _ = cookie.text();
            }
            Message::PleaseSendContent { offset, length, .. } => {
                assert!(*offset < 1 << 63 && *length < 1 << 63);
            }
            Message::Content { base64, .. } => {
                let mut bytes = Vec::new();
                if decode_base64(base64, &mut bytes).is_ok() {
                    assert!(bytes.len() <= decoded_length(base64));
                }
            }
            _ => {}
        }
    }
}
