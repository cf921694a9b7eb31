//! System calls that this process gives up: the kernel then refuses them with `EPERM` (seccomp).
//!
//! Given up is what a node never does and who has taken it over would do next: run programs, look into
//! other processes, reach for the kernel's larger doors, mount, change the machine. It is a list of what
//! is refused, not of what is allowed, so that no release of the C library or of a crate stops a node.
//! For good, as all of `rights`.

use std::sync::atomic::{AtomicBool, Ordering};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// Whether [`give_up`] has succeeded: a container may have its own filter, which is another.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// What is refused.
const REFUSED: &[libc::c_long] = &[
    // Programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Large parts of the kernel that a node has no use for.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // Kernels and their modules.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    // Namespaces and mounts; unmounting stays.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    // Files by other ways than their names.
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_personality,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Which threads give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// This one, and those that it starts.
    This,
    /// All of the process.
    All,
}

/// Gives up the system calls that a node does not make, running programs among them. Only who can gain
/// no privileges may do so (see [`super::rights::gain_no_privileges`]). Where it cannot be, that is told
/// in the log and by [`super::rights::Rights::in_force`].
pub fn give_up(threads: Threads) {
    let result = filter().and_then(|program| match threads {
        Threads::This => seccompiler::apply_filter(&program),
        Threads::All => seccompiler::apply_filter_all_threads(&program),
    });
    match result {
        Ok(()) => GIVEN_UP.store(true, Ordering::Relaxed),
        Err(error) => tracing::warn!(%error, "this process may make any system call"),
    }
}

/// Whether the filter is in force.
pub(super) fn are_given_up() -> bool {
    GIVEN_UP.load(Ordering::Relaxed)
}

fn filter() -> Result<BpfProgram, seccompiler::Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    // No rule: whatever its arguments are.
    let rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?;
    Ok(BpfProgram::try_from(filter)?)
}
