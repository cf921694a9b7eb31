//! The whole, as users have it: the real binary, its mounts, its peers in other languages.

#[macro_use]
mod common;

mod borrowed;
mod changing;
mod explain;
mod faults;
mod flooded;
mod folder;
mod full_disk;
mod get_folder;
mod hanging_folder;
mod interrupted;
mod limits;
mod modes;
mod mount;
mod mount_model;
mod outages;
mod passthrough;
mod peer;
mod programs;
mod publish;
mod rate_limits;
mod recent;
mod reflink;
mod rights;
mod seed_get;
mod seeding;
mod stalled;
mod stream;
mod unmounted;
mod upkeep;
mod usage;
mod users;
mod wire;
