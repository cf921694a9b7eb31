#![no_main]

use cjp2pfs_fuzz::ranges;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ranges::run(data));
