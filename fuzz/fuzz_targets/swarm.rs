#![no_main]

use cjp2pfs_fuzz::swarm;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| swarm::run(data));
