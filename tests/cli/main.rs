//! What the command line promises: texts, exit codes, generated files.

mod daemon;
mod generated;
mod hash;
mod usage;
