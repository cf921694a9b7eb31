//! The room `store`: what is kept, what is verified, what is given up.

mod cache;
mod complete;
mod full;
mod hashing;
mod import;
mod lent;
mod limits;
mod names;
mod newer;
mod one_leaf;
mod open;
mod partial;
mod passed;
mod sample;
mod scrub;
mod seeded;
