#![no_main]

use cjp2pfs_fuzz::listing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| listing::run(data));
