#![no_main]

use cjp2pfs_fuzz::config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| config::run(data));
