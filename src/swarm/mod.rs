//! (stub)
mod time;
pub use time::Time;
