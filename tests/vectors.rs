//! The published test vectors (`tests/vectors`): datagrams as they were on the wire, contents and
//! their hashes and trees.

use cjp2pfs::content::{ContentHasher, ContentId, Hash, Proof, tree};
use cjp2pfs::wire::{self, Encoder, Id, Message};
use serde_json::Value;

fn vectors(name: &str) -> Value {
    let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The kinds of message that this crate reads.
const KNOWN: &[&str] = &[
    "PleaseSendPeers",
    "Peers",
    "PleaseReturnThisMessage",
    "ReturnedMessage",
    "PleaseAlwaysReturnThisMessage",
    "AlwaysReturned",
    "PleaseSendContent",
    "Content",
    "MaybeTheyHaveSome",
    "PleaseListContent",
    "ContentList",
];

/// Those with keys and signatures; `signed_vectors` holds the code to them.
const KEYED: &[&str] = &[
    "MyPublicKey",
    "WhereAreThey",
    "SignedMessage",
    "GetLatest",
    "Forwarded",
];

fn content_id(id: &Id<'_>) -> ContentId {
    id.content().expect("the vectors name content by hash")
}

/// Writes `message` again.
fn encode(encoder: &mut Encoder<'_>, message: &Message<'_>) {
    match message {
        Message::PleaseSendPeers => encoder.please_send_peers(),
        Message::Peers(peers) => encoder.peers(peers),
        Message::PleaseReturnThisMessage(cookie) => {
            encoder.please_return_this_message(&cookie.text().unwrap());
        }
        Message::ReturnedMessage(cookie) => encoder.returned_message(cookie.raw()),
        Message::PleaseAlwaysReturnThisMessage(cookie) => {
            encoder.please_always_return_this_message(&cookie.text().unwrap());
        }
        Message::AlwaysReturned(cookie) => encoder.always_returned(cookie.raw()),
        Message::PleaseSendContent { id, offset, length } => {
            encoder.please_send_content(&content_id(id), *offset, *length);
        }
        Message::Content {
            id,
            offset,
            eof,
            base64,
        } => {
            let mut data = Vec::new();
            wire::decode_base64(base64, &mut data).unwrap();
            assert_eq!(data.len(), wire::decoded_length(base64));
            encoder.content(&content_id(id), *offset, eof.unwrap(), &data);
        }
        Message::MaybeTheyHaveSome { id, peers } => {
            encoder.maybe_they_have_some(&content_id(id), peers);
        }
        Message::IDoNotHaveThat { id } => encoder.i_do_not_have_that(&content_id(id)),
        Message::PleaseListContent => encoder.please_list_content(),
        Message::ContentList(list) => {
            encoder.content_list(list.iter().map(|(id, length)| (content_id(id), *length)));
        }
        other => panic!("unexpected {other:?}"),
    }
}

/// Every element of a known kind is understood, and what is understood is written again exactly
/// as the deployed node wrote it.
#[test]
fn datagrams_are_read_and_written_as_deployed_nodes_do() {
    let vectors = vectors("datagrams.json");
    let mut all_known = 0;
    for vector in vectors["datagrams"].as_array().unwrap() {
        let datagram = vector["datagram"].as_str().unwrap();
        let elements: Value = serde_json::from_str(datagram).unwrap();
        let elements = elements.as_array().unwrap();
        let decoded = wire::decode(datagram.as_bytes()).unwrap();
        let known = |element: &&Value| {
            let Some((kind, body)) = element.as_object().and_then(|o| o.iter().next()) else {
                return false;
            };
            let whole = kind != "PleaseSendContent" || body.get("offset").is_some();
            whole && (KNOWN.contains(&kind.as_str()) || KEYED.contains(&kind.as_str()))
        };
        let expected = elements.iter().filter(known).count();
        assert_eq!(decoded.messages.len(), expected, "{datagram}");
        assert_eq!(decoded.skipped as usize, elements.len() - expected);

        if let Some(answer) = vector["answer_must_hold"].as_str() {
            let Message::PleaseAlwaysReturnThisMessage(cookie) = &decoded.messages[0] else {
                panic!("no cookie in {datagram}");
            };
            let mut buffer = Vec::new();
            let mut encoder = Encoder::new(&mut buffer);
            encoder.always_returned(cookie.raw());
            let length = encoder.finish();
            assert_eq!(length, buffer.len());
            assert!(String::from_utf8(buffer).unwrap().contains(answer));
            continue;
        }
        let keyed = |element: &Value| KEYED.iter().any(|kind| element.get(kind).is_some());
        if decoded.skipped > 0 || elements.iter().any(keyed) {
            continue;
        }
        let mut buffer = b"left from before".to_vec();
        let mut encoder = Encoder::new(&mut buffer);
        for message in &decoded.messages {
            encode(&mut encoder, message);
        }
        encoder.finish();
        let written: Value = serde_json::from_slice(&buffer).unwrap();
        assert_eq!(written, Value::Array(elements.to_vec()));
        // Deployed nodes sort the fields of the questions that they ask themselves.
        let reordered = datagram.contains("\"length\":4096,\"offset\":0");
        assert!(reordered || buffer == datagram.as_bytes(), "{datagram}");
        all_known += 1;
    }
    assert!(all_known > 20);
}

/// The content of a vector, by its formula.
fn content(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i * 31 + (i >> 8) * 17) as u8)
        .collect()
}

fn hash(value: &Value) -> Hash {
    Hash::from_hex(value.as_str().unwrap()).unwrap()
}

#[test]
fn contents_have_their_hashes_and_trees() {
    for vector in vectors("tree_v2.json")["contents"].as_array().unwrap() {
        let length = vector["length"].as_u64().unwrap();
        let bytes = content(length as usize);
        let (sha256, blake3) = (hash(&vector["sha256"]), hash(&vector["blake3"]));
        for step in [1, 1000, 4096, 10_000, usize::MAX] {
            let mut hasher = ContentHasher::new();
            bytes.chunks(step).for_each(|piece| hasher.update(piece));
            let digests = hasher.finish();
            assert_eq!(digests.length, length);
            assert_eq!(digests.sha256, sha256);
            assert_eq!(digests.blake3, blake3);
            assert_eq!(digests.tree.len() as u64, vector["tree_length"]);
            let of_tree = ContentId::sha256(hash(&vector["tree_sha256"]).0);
            let mut proof = Proof::new(of_tree).unwrap();
            proof.update(&digests.tree);
            assert!(proof.holds());
            if let Some(hex) = vector["tree_hex"].as_str() {
                let written: String = digests.tree.iter().map(|b| format!("{b:02x}")).collect();
                assert_eq!(written, hex);
            }
        }
        assert_eq!(tree::tree_length(length), vector["tree_length"]);
        let leaves = vector["leaves"].as_u64();
        assert_eq!(tree::leaves_of(tree::tree_length(length)), leaves);
        for id in [ContentId::sha256(sha256.0), ContentId::blake3(blake3.0)] {
            let mut proof = Proof::new(id).unwrap();
            bytes.chunks(999).for_each(|piece| proof.update(piece));
            assert_eq!(proof.hashed(), length);
            assert!(proof.clone().holds());
            proof.update(b"more");
            assert!(!proof.holds());
        }
    }
}
