#![no_main]

use cjp2pfs_fuzz::tree;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| tree::run(data));
