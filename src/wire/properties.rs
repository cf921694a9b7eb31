//! What holds for every datagram.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;

use super::tests::{hex, messages, read};
use super::*;
use crate::content::{ByteRange, ContentId, Hash};

fn content_id() -> impl Strategy<Value = ContentId> {
    (any::<[u8; 32]>(), 0..3).prop_map(|(hash, kind)| match kind {
        0 => ContentId::sha256(hash),
        1 => ContentId::blake3(hash),
        _ => ContentId::tree_v2(hash),
    })
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(|(ip, port)| (Ipv4Addr::from(ip), port).into()),
        any::<(u128, u16)>().prop_map(|(ip, port)| (Ipv6Addr::from(ip), port).into()),
    ]
    .prop_map(normalise)
}

fn addresses() -> impl Strategy<Value = Vec<SocketAddr>> {
    prop::collection::vec(address(), 0..MAX_PEERS)
}

const NUMBER: std::ops::RangeInclusive<u64> = 0..=MAX_NUMBER;

/// What is sent, with what it needs.
#[derive(Clone, Debug)]
enum Sent {
    PleaseSendPeers,
    Peers(Vec<SocketAddr>),
    /// Which of the four, and the text.
    Cookie(u8, String),
    PleaseSendContent(ContentId, u64, u64),
    Content(ContentId, u64, u64, Vec<u8>),
    Maybe(ContentId, Vec<SocketAddr>),
    IDoNot(ContentId),
    WhatBlake3(ContentId),
    Blake3(ContentId, Hash, u64),
    WhichParts(ContentId),
    Parts(ContentId, u64, Vec<ByteRange>),
    PleaseListContent,
    ContentList(Vec<(ContentId, u64)>),
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        Just(Sent::PleaseSendPeers),
        addresses().prop_map(Sent::Peers),
        (0..4u8, ".{0,40}").prop_map(|(kind, text)| Sent::Cookie(kind, text)),
        (content_id(), NUMBER, NUMBER).prop_map(|(i, o, l)| Sent::PleaseSendContent(i, o, l)),
        (
            content_id(),
            NUMBER,
            NUMBER,
            prop::collection::vec(any::<u8>(), 0..300)
        )
            .prop_map(|(i, o, e, d)| Sent::Content(i, o, e, d)),
        (content_id(), addresses()).prop_map(|(i, a)| Sent::Maybe(i, a)),
        content_id().prop_map(Sent::IDoNot),
        content_id().prop_map(Sent::WhatBlake3),
        (content_id(), any::<[u8; 32]>(), NUMBER).prop_map(|(i, h, e)| Sent::Blake3(i, Hash(h), e)),
        content_id().prop_map(Sent::WhichParts),
        (
            content_id(),
            NUMBER,
            prop::collection::vec((0..MAX_NUMBER, 1..1000u64), 0..20)
        )
            .prop_map(|(i, e, parts)| {
                let part = |(start, length): (u64, u64)| {
                    ByteRange::new(start, start.saturating_add(length).min(MAX_NUMBER))
                };
                Sent::Parts(i, e, parts.into_iter().map(part).collect())
            }),
        Just(Sent::PleaseListContent),
        prop::collection::vec((content_id(), NUMBER), 0..20).prop_map(Sent::ContentList),
    ]
}

fn send(encoder: &mut Encoder<'_>, sent: &Sent) {
    match sent {
        Sent::PleaseSendPeers => encoder.please_send_peers(),
        Sent::Peers(peers) => encoder.peers(peers),
        Sent::Cookie(0, text) => encoder.please_return_this_message(text),
        Sent::Cookie(1, text) => encoder.please_always_return_this_message(text),
        Sent::Cookie(kind, text) => {
            let raw = serde_json::json!({ "cookie": text }).to_string();
            if *kind == 2 {
                encoder.returned_message(&raw);
            } else {
                encoder.always_returned(&raw);
            }
        }
        Sent::PleaseSendContent(id, offset, length) => {
            encoder.please_send_content(id, *offset, *length);
        }
        Sent::Content(id, offset, eof, data) => encoder.content(id, *offset, *eof, data),
        Sent::Maybe(id, peers) => encoder.maybe_they_have_some(id, peers),
        Sent::IDoNot(id) => encoder.i_do_not_have_that(id),
        Sent::WhatBlake3(id) => encoder.what_is_its_blake3(id),
        Sent::Blake3(id, hash, eof) => encoder.its_blake3_is(id, hash, *eof),
        Sent::WhichParts(id) => encoder.which_parts_do_you_have(id),
        Sent::Parts(id, eof, parts) => encoder.i_have_these_parts(id, *eof, parts.iter().copied()),
        Sent::PleaseListContent => encoder.please_list_content(),
        Sent::ContentList(list) => encoder.content_list(list.iter().copied()),
    }
}

fn same(sent: &Sent, got: &Message<'_>) -> bool {
    let is = |id: &Id<'_>, expected: &ContentId| id.content() == Some(*expected);
    match (sent, got) {
        (Sent::PleaseSendPeers, Message::PleaseSendPeers)
        | (Sent::PleaseListContent, Message::PleaseListContent) => true,
        (Sent::Peers(a), Message::Peers(b)) => a == b,
        (Sent::Cookie(0, text), Message::PleaseReturnThisMessage(cookie))
        | (Sent::Cookie(1, text), Message::PleaseAlwaysReturnThisMessage(cookie))
        | (Sent::Cookie(2, text), Message::ReturnedMessage(cookie))
        | (Sent::Cookie(3, text), Message::AlwaysReturned(cookie)) => {
            cookie.text().as_deref() == Some(text)
        }
        (Sent::PleaseSendContent(i, o, l), Message::PleaseSendContent { id, offset, length }) => {
            is(id, i) && o == offset && l == length
        }
        (
            Sent::Content(i, o, e, d),
            Message::Content {
                id,
                offset,
                eof,
                base64,
            },
        ) => {
            let mut data = Vec::new();
            let mut over = vec![7; d.len() / 2];
            decode_base64(base64, &mut data).is_ok()
                && super::decode_base64_over(base64, &mut over).is_ok()
                && over == data
                && decoded_length(base64) == d.len()
                && (is(id, i) && o == offset && Some(*e) == *eof && *d == data)
        }
        (Sent::Maybe(i, a), Message::MaybeTheyHaveSome { id, peers }) => is(id, i) && a == peers,
        (Sent::IDoNot(i), Message::IDoNotHaveThat { id })
        | (Sent::WhatBlake3(i), Message::WhatIsItsBlake3 { id })
        | (Sent::WhichParts(i), Message::WhichPartsDoYouHave { id }) => is(id, i),
        (Sent::Blake3(i, h, e), Message::ItsBlake3Is { id, blake3, eof }) => {
            is(id, i) && h == blake3 && e == eof
        }
        (Sent::Parts(i, e, p), Message::IHaveTheseParts { id, eof, parts }) => {
            is(id, i) && e == eof && p == parts
        }
        (Sent::ContentList(a), Message::ContentList(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is(&b.0, &a.0) && a.1 == b.1)
        }
        _ => false,
    }
}

/// JSON with white space of some sort wherever it may stand.
fn spaced(json: &str, space: &str) -> String {
    let mut out = String::new();
    let (mut text, mut escaped) = (false, false);
    for c in json.chars() {
        if !text && !escaped && "[]{},:\"".contains(c) {
            out.push_str(space);
        }
        out.push(c);
        match c {
            '"' if !escaped => text = !text,
            '\\' if text && !escaped => {
                escaped = true;
                continue;
            }
            _ => {}
        }
        escaped = false;
        if !text && "[]{},:\"".contains(c) {
            out.push_str(space);
        }
    }
    out
}

/// Pieces of which `Content` messages are made, good and bad.
fn field() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        (0..=u64::MAX).prop_map(|n| n.to_string()),
        Just("\"AAAA\"".to_owned()),
        Just("\"x\\/y\\u0041\"".to_owned()),
        Just("\"é\"".to_owned()),
        Just(format!("\"{}\"", hex())),
        Just("null".to_owned()),
        Just("-7".to_owned()),
        Just("1.5".to_owned()),
        Just("[{}]".to_owned()),
    ];
    let name = prop::sample::select(vec![
        "id", "offset", "base64", "eof", "cookie", "other", "\\u0069d",
    ]);
    (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"))
}

/// The four fields of a good `Content`, in any order, with others in between.
fn fields() -> impl Strategy<Value = Vec<String>> {
    let good = (NUMBER, NUMBER).prop_map(|(offset, eof)| {
        vec![
            format!("\"id\":\"{}\"", hex()),
            format!("\"offset\":{offset}"),
            format!("\"eof\":{eof}"),
            "\"base64\":\"QUJD\"".to_owned(),
        ]
    });
    let mixed = (good, prop::collection::vec(field(), 0..2)).prop_map(|(mut good, more)| {
        good.extend(more);
        good
    });
    prop_oneof![mixed.prop_shuffle(), prop::collection::vec(field(), 0..6)]
}

proptest! {
    /// What is sent arrives, and the encoder tells its size in advance.
    #[test]
    fn what_is_sent_arrives(all in prop::collection::vec(sent(), 0..12)) {
        let mut buffer = b"left from before".to_vec();
        let mut encoder = Encoder::new(&mut buffer);
        for one in &all {
            let before = encoder.len();
            prop_assert_eq!(encoder.is_empty(), before == 2);
            send(&mut encoder, one);
            if let Sent::Content(_, _, _, data) = one {
                let added = encoder.len() - before;
                prop_assert!(added <= content_datagram_bound(data.len()));
            }
        }
        let length = encoder.len();
        prop_assert_eq!(encoder.finish(), length);
        prop_assert_eq!(buffer.len(), length);
        let decoded = read(&buffer).unwrap();
        prop_assert_eq!(decoded.skipped, 0);
        prop_assert_eq!(decoded.messages.len(), all.len());
        for (one, got) in all.iter().zip(&decoded.messages) {
            prop_assert!(same(one, got), "{:?} became {:?}", one, got);
        }
    }

    /// White space changes nothing.
    #[test]
    fn white_space_means_nothing(all in prop::collection::vec(sent(), 0..4), space in "[ \t\r\n]{0,2}") {
        let mut buffer = Vec::new();
        let mut encoder = Encoder::new(&mut buffer);
        for one in all.iter().filter(|one| !matches!(one, Sent::Cookie(..))) {
            send(&mut encoder, one);
        }
        encoder.finish();
        let wide = spaced(std::str::from_utf8(&buffer).unwrap(), &space);
        prop_assert_eq!(read(wide.as_bytes()), read(&buffer));
    }

    /// The two paths agree on any order and any choice of fields.
    #[test]
    fn both_paths_agree(fields in fields(), kind in 0..3usize, space in "[ \n]?") {
        let kind = ["Content", "AlwaysReturned", "ReturnedMessage"][kind];
        let datagram = format!("[{{\"{kind}\":{{{}}}}}]", fields.join(","));
        let _ = read(datagram.as_bytes());
        let _ = read(spaced(&datagram, &space).as_bytes());
    }

    /// The order of the fields means nothing.
    #[test]
    fn fields_come_in_any_order(order in Just(vec![0, 1, 2, 3]).prop_shuffle(), offset in NUMBER, eof in NUMBER) {
        let fields = [
            format!("\"id\":\"{}\"", hex()),
            format!("\"offset\":{offset}"),
            format!("\"eof\":{eof}"),
            "\"base64\":\"QUJD\"".to_owned(),
        ];
        let body: Vec<_> = order.iter().map(|&i: &usize| fields[i].as_str()).collect();
        let datagram = format!("[{{\"Content\":{{{}}}}}]", body.join(","));
        let expected = Message::Content {
            id: Id::Content(ContentId::sha256([0xbe; 32])),
            offset,
            eof: Some(eof),
            base64: Cow::Borrowed("QUJD"),
        };
        prop_assert_eq!(messages(&datagram), [expected]);
    }

    /// No bytes make it panic.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(&bytes);
        let _ = read(&[b"[{\"Content\":{\"base64\":\"", &bytes[..]].concat());
    }

    /// No damage to a good datagram makes it panic, or the two paths differ.
    #[test]
    fn any_damage_is_survived(
        all in prop::collection::vec(sent(), 1..4),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, any::<u8>()), 1..5),
    ) {
        let mut buffer = Vec::new();
        let mut encoder = Encoder::new(&mut buffer);
        all.iter().for_each(|one| send(&mut encoder, one));
        encoder.finish();
        for (at, kind, byte) in damage {
            if buffer.is_empty() {
                break;
            }
            let at = at.index(buffer.len());
            match kind {
                0 => buffer[at] = byte,
                1 => buffer[at] = b"\"\\{}[],:0-.eu \x1f\x80"[usize::from(byte) % 16],
                2 => { buffer.remove(at); }
                _ => buffer.truncate(at),
            }
        }
        let _ = read(&buffer);
    }
}
