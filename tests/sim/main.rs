//! The swarm in a simulated network: virtual time, seeded chance, no sockets.
//!
//! [`net`] carries datagrams between hosts over [`link`]s; the hosts are real swarms ([`node`]),
//! mimics of [`deployed`] nodes, TCP flows ([`cubic`]), [`liar`]s, [`flood`]ers and the [`greedy`]. The other modules are scenarios, each
//! of which prints its figures on a line (`cargo test --test sim -- --nocapture`).

mod agenda;
mod content;
mod cubic;
mod deployed;
mod flood;
mod greedy;
mod host;
mod liar;
mod link;
mod many;
mod message;
mod net;
mod node;
mod rng;
mod traffic;
mod world;

mod away;
mod crowd;
mod explain;
mod faults;
mod goals;
mod lies;
mod limits;
mod model;
mod neighbour;
mod network;
mod round_trips;
mod scale;
mod transfer;
mod urgent;
