//! # cjp2pfs
//!
//! A Linux file system whose files are the content of the CJP2P peer-to-peer network:
//! `<mountpoint>/<sha256>` exists as soon as anyone in the network has it.
//!
//! The crate is a house of eight rooms. Each may use the rooms below it and none above
//! (`tests/rooms.rs` holds them to it):
//!
//! | room | is | knows nothing of |
//! |---|---|---|
//! | [`cli`] | the commands, their output, the exit codes | |
//! | [`mount`] | the FUSE adaptor and the tree of names | sockets, the wire |
//! | [`control`] | what a running daemon tells local programs | FUSE |
//! | [`node`] | the shell: network thread, timers, tasks; joins swarm and store | FUSE, HTTP |
//! | [`swarm`] | the protocol's brain, a deterministic state machine | sockets, clocks, threads, disk |
//! | [`store`] | verified persistent content, partial content, block cache | the network |
//! | [`wire`] | datagrams to messages and back | everything |
//! | [`content`] | ids, lengths, ranges, hashes, trees | everything |

pub mod cli;
pub mod content;
pub mod control;
pub mod mount;
pub mod node;
pub mod store;
pub mod swarm;
pub mod wire;
