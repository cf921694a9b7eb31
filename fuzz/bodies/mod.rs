//! What is fuzzed: each target takes any bytes and panics when something is wrong.
//!
//! `cargo fuzz run TARGET` drives them from `fuzz/fuzz_targets`; `tests/fuzz_seeds.rs` runs the same
//! code in every `cargo test`, over the committed seeds and over changed ones.

pub mod config;
pub mod datagram;
pub mod driven;
pub mod forged;
pub mod listing;
pub mod ranges;
pub mod store_map;
pub mod swarm;
pub mod tree;
pub mod values;

/// A target: its name and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("config", config::run),
    ("datagram", datagram::run),
    ("listing", listing::run),
    ("ranges", ranges::run),
    ("store_map", store_map::run),
    ("swarm", swarm::run),
    ("tree", tree::run),
    ("values", values::run),
];
