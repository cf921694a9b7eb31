//! How fast datagrams become content and content becomes datagrams.
//!
//! Throughput is in bytes of content. `naive` is the named baseline: a general JSON parser into
//! owned strings and the scalar base64 engine.

use std::hint::black_box;

use base64::Engine as _;
use cjp2pfs::content::{ContentHasher, ContentId, Proof};
use cjp2pfs::wire::{self, Encoder, Message};
use divan::Bencher;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

const LENGTHS: &[usize] = &[960, 4096, 40_960];

fn data(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| (i * 31 + (i >> 8) * 17) as u8)
        .collect()
}

/// What a deployed node answers to a question with a ping beside it.
fn answer(length: usize) -> Vec<u8> {
    let mut datagram = Vec::new();
    let mut encoder = Encoder::new(&mut datagram);
    encoder.content(&ContentId::sha256([0xbe; 32]), 4096, 1 << 28, &data(length));
    encoder.returned_message("{\"cookie\":\"1f3a\"}");
    encoder.always_returned("{\"cookie\":\"5f482b04\"}");
    encoder.finish();
    datagram
}

#[divan::bench(args = LENGTHS, sample_size = 50)]
fn decode(bencher: Bencher, length: usize) {
    let datagram = answer(length);
    let mut out = Vec::new();
    bencher.counter(BytesCount::new(length)).bench_local(|| {
        let decoded = wire::decode(black_box(&datagram)).unwrap();
        for message in &decoded.messages {
            if let Message::Content { base64, .. } = message {
                out.clear();
                wire::decode_base64(base64, &mut out).unwrap();
            }
        }
        assert_eq!(out.len(), length);
    });
}

#[divan::bench(args = LENGTHS, sample_size = 50)]
fn decode_without_base64(bencher: Bencher, length: usize) {
    let datagram = answer(length);
    bencher
        .counter(BytesCount::new(length))
        .bench_local(|| wire::decode(black_box(&datagram)).unwrap().messages.len());
}

#[divan::bench(args = LENGTHS, sample_size = 50)]
fn decode_naive(bencher: Bencher, length: usize) {
    let datagram = answer(length);
    bencher.counter(BytesCount::new(length)).bench_local(|| {
        let array: serde_json::Value = serde_json::from_slice(black_box(&datagram)).unwrap();
        let text = array[0]["Content"]["base64"].as_str().unwrap();
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap()
    });
}

#[divan::bench(args = LENGTHS, sample_size = 50)]
fn base64_vectorised(bencher: Bencher, length: usize) {
    let text = base64::engine::general_purpose::STANDARD.encode(data(length));
    let mut out = Vec::new();
    bencher.counter(BytesCount::new(length)).bench_local(|| {
        out.clear();
        wire::decode_base64(black_box(&text), &mut out)
    });
}

#[divan::bench(args = LENGTHS, sample_size = 50)]
fn base64_scalar(bencher: Bencher, length: usize) {
    let engine = base64::engine::general_purpose::STANDARD;
    let text = engine.encode(data(length));
    let mut out = Vec::new();
    bencher.counter(BytesCount::new(length)).bench_local(|| {
        out.clear();
        engine.decode_vec(black_box(&text), &mut out)
    });
}

#[divan::bench(args = LENGTHS, sample_size = 50)]
fn encode(bencher: Bencher, length: usize) {
    let data = data(length);
    let id = ContentId::sha256([0xbe; 32]);
    let mut datagram = Vec::new();
    bencher.counter(BytesCount::new(length)).bench_local(|| {
        let mut encoder = Encoder::new(&mut datagram);
        encoder.content(&id, 4096, 1 << 28, black_box(&data));
        encoder.finish()
    });
}

/// The most elements that fit, none of them a message: what a stranger can make us do.
#[divan::bench(args = ["7,", "{},", "[],", "{\"Content\":{}},", "\"\","])]
fn decode_rubbish(bencher: Bencher, element: &str) {
    let mut datagram = b"[".to_vec();
    while datagram.len() + element.len() < wire::MAX_DATAGRAM {
        datagram.extend_from_slice(element.as_bytes());
    }
    *datagram.last_mut().unwrap() = b']';
    bencher
        .counter(BytesCount::new(datagram.len()))
        .bench_local(|| wire::decode(black_box(&datagram)).unwrap().skipped);
}

const CONTENT: usize = 1 << 20;

#[divan::bench]
fn hash_everything(bencher: Bencher) {
    let bytes = data(CONTENT);
    bencher.counter(BytesCount::new(CONTENT)).bench_local(|| {
        let mut hasher = ContentHasher::new();
        hasher.update(black_box(&bytes));
        hasher.finish()
    });
}

#[divan::bench(args = [true, false])]
fn prove(bencher: Bencher, sha256: bool) {
    let bytes = data(CONTENT);
    let id = if sha256 {
        ContentId::sha256([0; 32])
    } else {
        ContentId::blake3([0; 32])
    };
    bencher.counter(BytesCount::new(CONTENT)).bench_local(|| {
        let mut proof = Proof::new(id).unwrap();
        proof.update(black_box(&bytes));
        proof.holds()
    });
}
