//! A buffer for each thread, so that a read costs no allocation.
//!
//! A fresh mebibyte costs 256 page faults, which is more than the copy into it.

use std::cell::RefCell;

/// What a thread keeps between reads.
const KEPT: usize = 2 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Calls `use_it` with a buffer of `length` bytes that hold anything.
pub(super) fn with<T>(length: u64, use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    BUFFER.with(|cell| match cell.try_borrow_mut() {
        Ok(mut buffer) => {
            if buffer.len() < length {
                buffer.resize(length, 0);
            }
            let result = use_it(buffer.get_mut(..length).unwrap_or(&mut []));
            if buffer.len() > KEPT {
                buffer.truncate(KEPT);
                buffer.shrink_to_fit();
            }
            result
        }
        // `use_it` of an outer call reads again.
        Err(_) => use_it(&mut vec![0; length]),
    })
}
