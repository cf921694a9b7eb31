//! What is agreed with the kernel when a mount starts, and what is set beside it afterwards.

use std::path::Path;

use fuser::{InitFlags, KernelConfig};
use tracing::debug;

use super::mountinfo;

/// Requests that nobody waits for directly (read-ahead) and that the kernel sends at a time. Those
/// of stalled files stay, and once all are taken every cached read of the mount stops: fuser's own
/// 16 are gone with two stalled files.
const MAX_BACKGROUND: u16 = 4096;

/// Kernel read-ahead of the mount, in KiB. The kernel offers 128 KiB and takes no more while mounting.
/// Only proven content is read ahead by the kernel (and memory maps), so this hides the session's
/// latency, not the network's or the disk's, which the node does. More is slower: the bytes are
/// copied once more on their way, and are to be in the processor's cache still.
const READ_AHEAD_KIB: u32 = 256;

/// What is wanted if the kernel has it. Asynchronous reads and large requests fuser asks for itself.
const WANTED: [InitFlags; 5] = [
    // Else a lookup that waits holds up everything in its folder.
    InitFlags::FUSE_PARALLEL_DIROPS,
    // Else a shared memory map of a file that is still arriving is `ENODEV`.
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    // Asynchronous direct reads (libaio) really are.
    InitFlags::FUSE_ASYNC_DIO,
    // `ls -l` gets names and attributes at once.
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
];

/// Negotiates.
pub fn configure(config: &mut KernelConfig) {
    for flag in WANTED {
        if config.add_capabilities(flag).is_err() {
            debug!(?flag, "the kernel does not have it");
        }
    }
    // Neither can fail with a number that is not 0. The threshold is where the kernel begins to
    // leave out read-ahead: not before it must.
    let _ = config.set_max_background(MAX_BACKGROUND);
    let _ = config.set_congestion_threshold(MAX_BACKGROUND);
}

/// Has the kernel read files by itself if we then ask for it, where it can: files that lie on a file
/// system of their own, or on one layer above that if the store's are `layered`. Nothing can be
/// stacked on the mount that has as many layers as the kernel allows; hence no more than needed.
pub fn allow_passthrough(config: &mut KernelConfig, layered: bool) -> bool {
    config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
        && config
            .set_max_stack_depth(if layered { 2 } else { 1 })
            .is_ok()
}

/// Raises the read-ahead of the file system mounted on `mountpoint`, whose device number is
/// returned. Needs root; without, the kernel's own stays.
///
/// The mount itself is not asked for its number: a process that waits for its own answer when it is
/// killed waits for ever, and keeps the store with it.
pub fn raise_read_ahead(mountpoint: &Path) -> Option<u64> {
    let mount = mountinfo::at(mountpoint).ok()??;
    let device = mount.is_ours().then_some(mount.device)?;
    let file = format!(
        "/sys/class/bdi/{}:{}/read_ahead_kb",
        libc::major(device),
        libc::minor(device)
    );
    if let Err(error) = std::fs::write(&file, READ_AHEAD_KIB.to_string()) {
        debug!(%file, %error, "read-ahead stays as it is");
    }
    Some(device)
}
