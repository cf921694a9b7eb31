//! The swarm in a simulated network: virtual time, seeded chance, no sockets.
//!
//! [`net`] carries datagrams between hosts over [`link`]s; the hosts are real swarms, mimics of
//! [`deployed`] nodes, [`liar`]s and [`flood`]ers. Each scenario prints one line of figures
//! (`cargo test --test sim -- --nocapture`).

mod content;
mod deployed;
mod figures;
mod flood;
mod liar;
mod link;
mod message;
mod net;
mod network;
mod rng;
mod traffic;
