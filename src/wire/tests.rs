//! The wire as strangers use it: one case after another.

use std::borrow::Cow;

use super::decode::walk;
use super::*;
use crate::content::{ByteRange, ContentId};

/// Both paths, which must agree.
pub(super) fn read(datagram: &[u8]) -> Result<Decoded<'_>, DecodeError> {
    let decoded = decode(datagram);
    match (&decoded, walk(datagram, |_| None)) {
        (Ok(fast), Ok(slow)) => assert_eq!(*fast, slow),
        (Err(_), Err(_)) => {}
        (fast, slow) => panic!("{fast:?} but {slow:?}"),
    }
    decoded
}

pub(super) fn messages(datagram: &str) -> Vec<Message<'_>> {
    read(datagram.as_bytes()).expect("a good frame").messages
}

pub(super) fn hex() -> String {
    "be".repeat(32)
}

#[test]
fn a_bad_element_is_skipped_alone() {
    let id = hex();
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let long = format!(
        "{{\"AlwaysReturned\":{{\"cookie\":\"{}\"}}}}",
        "c".repeat(500)
    );
    for bad in [
        "7",
        "-0.5e-7",
        "null",
        "\"text\"",
        "[]",
        "{}",
        "1e999",
        "\"\\ud800\"",
        &deep,
        &long,
        r#"{"SomeFutureMessage":{"a":[1]}}"#,
        r#"{"PleaseSendPeers":{},"PleaseListContent":{}}"#,
        r#"{"PleaseSendPeers":{},"PleaseSendPeers":{}}"#,
        r#"{"PleaseSendPeers":null}"#,
        r#"{"PleaseSendPeers":[]}"#,
        r#"{"Peers":{}}"#,
        r#"{"Peers":{"peers":{}}}"#,
        r#"{"Peers":{"peers":null}}"#,
        r#"{"Peers":[["127.0.0.1:1"]]}"#,
        r#"{"IDoNotHaveThat":{"id":"../x"}}"#,
        r#"{"IDoNotHaveThat":{"id":7}}"#,
        r#"{"WhatIsItsBlake3":{}}"#,
        r#"{"ItsBlake3Is":{"id":"ID","eof":1}}"#,
        r#"{"ItsBlake3Is":{"id":"ID","blake3":"ID","eof":-1}}"#,
        r#"{"ItsBlake3Is":{"id":"ID","blake3":"ab","eof":1}}"#,
        r#"{"ItsBlake3Is":{"id":"ID","blake3":"ID"}}"#,
        r#"{"WhichPartsDoYouHave":{"id":"/x"}}"#,
        r#"{"IHaveTheseParts":{"id":"ID","eof":1}}"#,
        r#"{"IHaveTheseParts":{"id":"ID","parts":[]}}"#,
        r#"{"IHaveTheseParts":{"id":"ID","eof":1,"parts":{}}}"#,
        r#"{"ContentList":{"results":7}}"#,
        r#"{"Content":{"id":"ID","offset":-1,"base64":"","eof":1}}"#,
        r#"{"Content":{"id":"ID","offset":-0,"base64":"","eof":1}}"#,
        r#"{"Content":{"id":"ID","offset":0.0,"base64":"","eof":1}}"#,
        r#"{"Content":{"id":"ID","offset":1e3,"base64":"","eof":1}}"#,
        r#"{"Content":{"id":"ID","offset":"0","base64":"","eof":1}}"#,
        r#"{"Content":{"id":"ID","offset":9223372036854775808,"base64":""}}"#,
        r#"{"Content":{"id":"ID","offset":99999999999999999999,"base64":""}}"#,
        r#"{"Content":{"id":"ID","offset":0,"base64":"","eof":9223372036854775808}}"#,
        r#"{"Content":{"id":"ID","offset":0,"base64":"","eof":-1}}"#,
        r#"{"Content":{"id":"ID","offset":1e999,"base64":"","eof":1}}"#,
        r#"{"Content":{"id":"ID","offset":0,"offset":0,"base64":"","eof":1}}"#,
        r#"{"Content":{"id":"ID","base64":"","eof":1}}"#,
        r#"{"Content":{"id":"ID","offset":0,"eof":1}}"#,
        r#"{"Content":{"id":"","offset":0,"base64":"","eof":1}}"#,
        r#"{"Content":{"id":"ID","offset":0,"base64":"\ud800","eof":1}}"#,
        r#"{"Content":["ID",0,1,""]}"#,
        r#"{"PleaseSendContent":{"id":"ID","offset":0}}"#,
        r#"{"PleaseSendContent":{"id":"ID","offset":0,"length":0.5}}"#,
        r#"{"PleaseSendContent":{"id":"ID","offset":0,"length":9223372036854775808}}"#,
    ] {
        let bad = bad.replace("ID", &id);
        let datagram = format!(" [\n{bad} ,{{\"PleaseSendPeers\":{{}}}},{bad}\t]\r\n");
        let decoded = read(datagram.as_bytes()).expect(&datagram);
        assert_eq!(decoded.messages, [Message::PleaseSendPeers], "{bad}");
        assert_eq!(decoded.skipped, 2);
    }
}

#[test]
fn a_broken_frame_loses_the_datagram() {
    let good = r#"{"AlwaysReturned":{"cookie":"c"}}"#;
    for (broken, error) in [
        ("", DecodeError::NotAnArray),
        ("{}", DecodeError::NotAnArray),
        ("\u{feff}[]", DecodeError::NotAnArray),
        ("[", DecodeError::BrokenJson),
        ("[GOOD", DecodeError::BrokenJson),
        ("[GOOD,]", DecodeError::BrokenJson),
        ("[,GOOD]", DecodeError::BrokenJson),
        ("[GOOD GOOD]", DecodeError::BrokenJson),
        ("[GOOD]x", DecodeError::BrokenJson),
        ("[GOOD][]", DecodeError::BrokenJson),
        ("[GOOD]\0", DecodeError::BrokenJson),
        ("[GOOD,tru]", DecodeError::BrokenJson),
        ("[GOOD,01]", DecodeError::BrokenJson),
        ("[GOOD,{\"a\"}]", DecodeError::BrokenJson),
        (
            "[{\"AlwaysReturned\":{\"cookie\":\"a\nb\"}}]",
            DecodeError::BrokenJson,
        ),
        (
            "[{\"Content\":{\"id\":\"x\",\"offset\":007,\"base64\":\"\"}}]",
            DecodeError::BrokenJson,
        ),
        (
            "[{\"Content\":{\"id\":\"x\",\"offset\":7,\"base64\":\"\u{1}\"}}]",
            DecodeError::BrokenJson,
        ),
    ] {
        let broken = broken.replace("GOOD", good);
        assert_eq!(read(broken.as_bytes()), Err(error), "{broken}");
    }
    for bytes in [
        &b"[\"\xff\"]"[..],
        b"[{\"Content\":{\"id\":\"x\",\"offset\":7,\"base64\":\"\x80\"}}]",
        b"[{\"AlwaysReturned\":{\"cookie\":\"\xc3\"}}]",
        b"\xff",
        b"[]\xff",
    ] {
        assert_eq!(read(bytes), Err(DecodeError::NotUtf8), "{bytes:?}");
    }
    assert_eq!(read(b" [ ] "), Ok(Decoded::default()));
}

/// Nesting costs no stack: deployed nodes refuse it at 127, we need not care.
#[test]
fn deep_nesting_is_harmless() {
    let deep = |open: &str, close: &str| {
        let times = 60_000 / (open.len() + close.len());
        (open.repeat(times), close.repeat(times))
    };
    let (arrays, ends) = deep("[", "]");
    let (objects, object_ends) = deep("{\"a\":", "}");
    let mut datagrams = vec![
        "[".repeat(1 << 16),
        "{\"Peers\":".repeat(7000),
        format!("[{objects}"),
    ];
    for (open, close) in [(&arrays, &ends), (&objects, &object_ends)] {
        for kind in ["Peers", "Content", "AlwaysReturned", "ContentList", "Other"] {
            datagrams.push(format!("[{{\"{kind}\":{open}7{close}}}]"));
            for field in [
                "id", "offset", "base64", "peers", "results", "cookie", "other",
            ] {
                datagrams.push(format!("[{{\"{kind}\":{{\"{field}\":{open}7{close}}}}}]"));
                datagrams.push(format!("[{{\"{kind}\":{{\"{field}\":[{open}7{close}]}}}}]"));
            }
        }
    }
    let small = std::thread::Builder::new().stack_size(128 << 10);
    let thread = small.spawn(move || {
        for datagram in &datagrams {
            let _ = read(datagram.as_bytes());
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn what_one_datagram_gives_is_bounded() {
    let many = |element: &str, times: usize| vec![element; times].join(",");
    let pings = format!("[{}]", many(r#"{"AlwaysReturned":1}"#, 1000));
    let decoded = read(pings.as_bytes()).unwrap();
    assert_eq!(decoded.messages.len(), MAX_MESSAGES);
    assert_eq!(decoded.skipped as usize, 1000 - MAX_MESSAGES);
    let rubbish = format!("[{},{{\"PleaseSendPeers\":{{}}}}]", many("7", 1000));
    assert_eq!(read(rubbish.as_bytes()).unwrap().messages, []);

    let peers = format!(
        r#"[{{"Peers":{{"peers":[{}]}}}}]"#,
        many("\"1.2.3.4:5\"", 1000)
    );
    assert_eq!(
        messages(&peers),
        [Message::Peers(vec![
            "1.2.3.4:5".parse().unwrap();
            MAX_PEERS
        ])]
    );
    let pair = format!("[\"{}\",5]", hex());
    let list = format!(
        r#"[{{"ContentList":{{"results":[{}]}}}}]"#,
        many(&pair, 800)
    );
    let [Message::ContentList(list)] = &messages(&list)[..] else {
        panic!("no list");
    };
    assert_eq!(list.len(), MAX_LISTED);
}

#[test]
fn addresses_are_normalised_and_rubbish_among_them_ignored() {
    let datagram = r#"[{"MaybeTheyHaveSome":{"peers":["[::ffff:1.2.3.4]:5",7,null,"x","1.2.3.4",
        "1.2.3.4:99999",["1.2.3.4:6"],"[2001:db8::1]:7","[fe80::1%3]:8","1.2.3.4:9"],"id":"1M"}}]"#;
    let expected = ["1.2.3.4:5", "[2001:db8::1]:7", "[fe80::1]:8", "1.2.3.4:9"];
    assert_eq!(
        messages(datagram),
        [Message::MaybeTheyHaveSome {
            id: Id::Other(Cow::Borrowed("1M")),
            peers: expected.map(|a| a.parse().unwrap()).to_vec(),
        }]
    );
}

#[test]
fn ids_that_could_act_as_paths_are_refused() {
    for bad in [
        "",
        "/",
        "a/",
        ".a",
        "a/.b",
        "a\\b",
        "a\0",
        "..",
        "/etc/passwd",
        &"x".repeat(1025),
    ] {
        assert_eq!(Id::from_text(Cow::Borrowed(bad)), None, "{bad}");
    }
    for good in ["1M", "stream/ab/name.txt", "blake3/xyz", "é", "a//b", "a."] {
        assert_eq!(
            Id::from_text(Cow::Borrowed(good)),
            Some(Id::Other(Cow::Borrowed(good)))
        );
    }
    let upper = hex().to_uppercase();
    assert_eq!(
        Id::from_text(Cow::Owned(upper)).and_then(|id| id.content()),
        Some(ContentId::sha256([0xbe; 32]))
    );
}

#[test]
fn cookies_tell_their_text() {
    for (raw, text) in [
        (r#"{"cookie":"plain"}"#, Some("plain")),
        (r#"{"cookie":""}"#, Some("")),
        (r#"{ "other" : [1], "cookie" : "spaced" }"#, Some("spaced")),
        (r#"{"cookie":"q\"\u00e9"}"#, Some("q\"é")),
        (r#"{"cookie":"a","b":"c"}"#, Some("a")),
        (r#"{"cookie":7}"#, None),
        (r#"["cookie"]"#, None),
        (r#""cookie""#, None),
        ("null", None),
    ] {
        for kind in ["AlwaysReturned", "PleaseReturnThisMessage"] {
            let datagram = format!("[{{\"{kind}\": {raw} }}]");
            let (Message::AlwaysReturned(cookie) | Message::PleaseReturnThisMessage(cookie)) =
                messages(&datagram)[0]
            else {
                panic!("no cookie in {datagram}");
            };
            assert_eq!(cookie.raw(), raw);
            assert_eq!(cookie.text().as_deref(), text);
        }
    }
}

#[test]
fn base64_is_strict_but_for_padding() {
    for (text, bytes) in [
        ("", Some(&b""[..])),
        ("AA==", Some(b"\0")),
        ("AA", Some(b"\0")),
        ("AAA=", Some(b"\0\0")),
        ("AAA", Some(b"\0\0")),
        ("AAAA", Some(b"\0\0\0")),
        ("A", None),
        ("AB==", None),
        ("A-_A", None),
        ("AA==AA==", None),
        ("AA AA", None),
        ("é", None),
    ] {
        let mut out = b"before".to_vec();
        let result = decode_base64(text, &mut out);
        let mut over = vec![7; 5];
        assert_eq!(
            super::decode_base64_over(text, &mut over),
            result,
            "{text:?}"
        );
        assert_eq!(over.is_empty(), result.is_err() || text.is_empty());
        assert_eq!(result.is_ok(), bytes.is_some(), "{text}");
        assert_eq!(out, [b"before", bytes.unwrap_or_default()].concat());
        if let Some(bytes) = bytes {
            assert_eq!(decoded_length(text), bytes.len());
        }
    }
}

/// An offset of 2^63 kills a deployed node.
#[test]
fn no_number_of_2_to_63_is_ever_sent() {
    let id = ContentId::blake3([7; 32]);
    let mut buffer = Vec::new();
    let mut encoder = Encoder::new(&mut buffer);
    for (a, b) in [(1 << 63, 1), (1, 1 << 63), (u64::MAX, u64::MAX)] {
        encoder.please_send_content(&id, a, b);
        encoder.content(&id, a, b, b"data");
    }
    assert!(encoder.is_empty());
    encoder.content_list([(id, 1 << 63), (id, 5)].into_iter());
    encoder.finish();
    let text = std::str::from_utf8(&buffer).unwrap();
    assert_eq!(
        text,
        format!("[{{\"ContentList\":{{\"results\":[[\"{id}\",5]]}}}}]")
    );
}

#[test]
fn parts_that_mean_nothing_are_left_out() {
    let id = hex();
    let many = "[0,1],".repeat(MAX_PARTS + 7);
    let datagram = format!(
        r#"[{{"IHaveTheseParts":{{"id":"{id}","eof":9,"parts":[[3,2],[4,4],[1],"x",[-1,3],[0,9223372036854775808],{many}[5,6]]}}}}]"#
    );
    let decoded = decode(datagram.as_bytes()).unwrap();
    match &decoded.messages[..] {
        [Message::IHaveTheseParts { parts, .. }] => {
            assert_eq!(parts.len(), MAX_PARTS);
            assert!(parts.iter().all(|part| *part == ByteRange::new(0, 1)));
        }
        other => panic!("{other:?}"),
    }
}
