//! The room `node`: real nodes on loopback and scripted peers.

#[path = "../node_support/mod.rs"]
mod node_support;

mod ahead;
mod blocks;
mod claims;
mod disk_ahead;
mod explain;
mod fetch;
mod giving;
mod hanging;
mod last_byte;
mod leaves;
mod lengths;
mod lookup;
mod pages;
mod passed;
mod read;
mod repair;
mod rotten;
mod seeding;
mod stop;
mod strict;
