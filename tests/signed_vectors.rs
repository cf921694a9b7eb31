//! Signed messages: the published vectors, and what we write read back.

use cjp2pfs::content::{Hash, KeyedName, PublicKey, SecretKey};
use cjp2pfs::wire::{Encoder, Message, Signed, SignedBlock, SignedLatest, decode};
use serde_json::Value;

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/crypto.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn with_signed<T>(datagram: &str, look: impl FnOnce(&Signed<'_>) -> T) -> T {
    let decoded = decode(datagram.as_bytes()).unwrap();
    match &decoded.messages[..] {
        [Message::SignedMessage(signed)] => look(signed),
        other => panic!("{other:?}"),
    }
}

fn secret(vectors: &Value, owner: &str) -> SecretKey {
    let seed = Hash::from_hex(vectors[owner]["seed"].as_str().unwrap()).unwrap();
    SecretKey::from_seed(&seed.0)
}

#[test]
fn keys_grow_from_their_seeds() {
    let vectors = vectors();
    for owner in ["recipient", "other"] {
        let public = secret(&vectors, owner).public().to_string();
        assert_eq!(vectors[owner]["ed25519_public"], public);
    }
}

#[test]
fn good_signatures_verify_and_bad_ones_do_not() {
    let vectors = vectors();
    for vector in vectors["signed"].as_array().unwrap() {
        let datagram = format!("[{}]", vector["message"]);
        let verifies = with_signed(&datagram, |signed| signed.verifies());
        assert_eq!(vector["verifies"], verifies, "{vector}");
    }
}

#[test]
fn the_same_is_signed_as_in_the_vectors() {
    let vectors = vectors();
    let secret = secret(&vectors, "recipient");
    let message = &vectors["signed"][0]["message"]["SignedMessage"];
    let payload: Value = serde_json::from_str(message["payload_json"].as_str().unwrap()).unwrap();
    let said = &payload[0]["Latest"];
    let of = KeyedName {
        key: secret.public(),
        name: said["name"].as_str().unwrap().parse().unwrap(),
    };
    let sha256 = Hash::from_hex(said["sha256"].as_str().unwrap()).unwrap();
    let ours = SignedLatest::sign(&secret, of, sha256, said["seq"].as_u64().unwrap());
    assert_eq!(*ours.payload, *message["payload_json"].as_str().unwrap());
    let mut datagram = Vec::new();
    let mut encoder = Encoder::new(&mut datagram);
    encoder.signed_message(&ours.of.key, &ours.signature, &ours.payload);
    encoder.finish();
    let written: Value = serde_json::from_slice(&datagram).unwrap();
    assert_eq!(written[0]["SignedMessage"], *message);
}

fn pass_on(key: PublicKey, latest: &SignedLatest) -> String {
    let mut datagram = Vec::new();
    let mut encoder = Encoder::new(&mut datagram);
    encoder.signed_message(&key, &latest.signature, &latest.payload);
    encoder.finish();
    String::from_utf8(datagram).unwrap()
}

#[test]
fn odd_names_come_through() {
    let secret = SecretKey::from_seed(&[3; 32]);
    for name in ["a/b c", "\u{e9}\u{1f600}", "q\"uote", "tab\tin"] {
        let of = KeyedName {
            key: secret.public(),
            name: name.parse().unwrap(),
        };
        let latest = SignedLatest::sign(&secret, of, Hash([9; 32]), 5);
        let read = with_signed(&pass_on(secret.public(), &latest), |signed| {
            assert!(signed.verifies());
            SignedLatest::read(signed)
        });
        assert_eq!(read, [latest]);
    }
}

#[test]
fn a_key_speaks_for_itself_only() {
    let (one, other) = (
        SecretKey::from_seed(&[3; 32]),
        SecretKey::from_seed(&[4; 32]),
    );
    let of = KeyedName {
        key: other.public(),
        name: "x".parse().unwrap(),
    };
    let theirs = SignedLatest::sign(&one, of.clone(), Hash([9; 32]), 5);
    let read = with_signed(&pass_on(one.public(), &theirs), SignedLatest::read);
    assert!(read.is_empty());
    let block = SignedBlock::sign(&one, of, 0, vec![1]);
    let signed = Signed {
        key: one.public(),
        signature: block.signature,
        payload: (*block.payload).into(),
    };
    assert_eq!(SignedBlock::read(&signed), None);
}

#[test]
fn blocks_of_streams_lie_where_blocks_lie() {
    let secret = SecretKey::from_seed(&[3; 32]);
    let of = KeyedName {
        key: secret.public(),
        name: "radio".parse().unwrap(),
    };
    for (offset, length, good) in [
        (0, 4096, true),
        (8192, 1, true),
        (1, 10, false),
        (0, 0, false),
        (0, 4097, false),
    ] {
        let block = SignedBlock::sign(&secret, of.clone(), offset, vec![7; length]);
        let signed = Signed {
            key: secret.public(),
            signature: block.signature,
            payload: (*block.payload).into(),
        };
        let read = SignedBlock::read(&signed);
        assert_eq!(read.is_some(), good, "{offset} {length}");
        assert!(read.is_none_or(|read| read == block && read.verifies()));
    }
}
