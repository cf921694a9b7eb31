//! Hashing in the background leaves processor and disk to whoever else wants them.

use rustix::thread::gettid;

/// As `nice -n 10` has it.
const NICE: i32 = 10;
/// `ioprio_set(2)`: this thread, the best-effort class, its last level.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const IOPRIO_LAST: libc::c_int = (2 << 13) | 7;

/// Lowers the priority of the calling thread. That it cannot be lowered is no reason not to hash.
pub(super) fn lower() {
    let thread = gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICE) {
        tracing::debug!(%error, "the priority of hashing could not be lowered");
    }
    // SAFETY: three numbers; the call touches no memory and concerns this thread alone.
    unsafe {
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            thread.as_raw_nonzero().get(),
            IOPRIO_LAST,
        );
    }
}
