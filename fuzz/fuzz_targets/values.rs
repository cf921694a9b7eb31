#![no_main]

use cjp2pfs_fuzz::values;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| values::run(data));
