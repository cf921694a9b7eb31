#![no_main]

use cjp2pfs_fuzz::store_map;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| store_map::run(data));
