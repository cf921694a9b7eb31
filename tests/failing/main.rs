//! Nodes whose disk fails: a program of its own, because calls of the C library are replaced in it.

mod failing_disk;
#[path = "../node_support/mod.rs"]
mod node_support;

mod afloat;
mod disk;
