#![no_main]

use cjp2pfs_fuzz::datagram;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| datagram::run(data));
