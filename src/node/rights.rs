//! What this process gives up, and what of it is in force.
//!
//! A node reads what strangers send. Should one of them ever take it over, then the less this process
//! may do the better. Rights are given up for good, by each thread for itself and for those that it
//! starts, so it is done before there are others.
//!
//! Reading stays allowed everywhere the user may read, because any folder can be seeded later. How a
//! process that has given this up mounts and unmounts is told in `mount`'s `mounter` and `unmounter`.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use serde::{Deserialize, Serialize};

use super::calls;

/// Whether [`write_only_in`] has succeeded: the kernel does not tell afterwards.
static WRITES_ONLY_IN_STORE: AtomicBool = AtomicBool::new(false);

/// What a process may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rights {
    /// The user that it acts as.
    pub uid: u32,
    /// The group that it acts as.
    pub gid: u32,
    /// Rights of root that any of its threads has, as a set of bits (capabilities(7)); 0 is none.
    pub capabilities: u64,
    /// Whether it can never gain rights by running a program.
    pub no_new_privileges: bool,
    /// Whether the kernel lets it write in its store only, run no program and use no TCP.
    pub writes_only_in_store: bool,
    /// Whether the kernel refuses it the system calls that it never makes, running programs among them.
    pub calls_refused: bool,
}

impl Rights {
    /// What is in force for this process.
    #[must_use]
    pub fn in_force() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim).unwrap_or_default()
        };
        // Real, effective, saved and file system id.
        let effective = |name| field(name).split_whitespace().nth(1)?.parse().ok();
        Self {
            uid: effective("Uid:").unwrap_or_default(),
            gid: effective("Gid:").unwrap_or_default(),
            capabilities: capabilities_of_threads(),
            no_new_privileges: field("NoNewPrivs:") == "1",
            writes_only_in_store: WRITES_ONLY_IN_STORE.load(Ordering::Relaxed),
            calls_refused: calls::are_given_up(),
        }
    }
}

/// What the threads of this process may do between them. What a thread may use and does not at the
/// moment counts.
fn capabilities_of_threads() -> u64 {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    let of_thread = |status: String| {
        let permitted = status
            .lines()
            .find_map(|line| line.strip_prefix("CapPrm:"))?;
        u64::from_str_radix(permitted.trim(), 16).ok()
    };
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok())
        .filter_map(of_thread)
        .fold(0, |all, permitted| all | permitted)
}

/// Gives up root's rights but for those in `kept` (capabilities(7)). Who acts as user 0 stays the owner of
/// root's files, and no more than that.
///
/// # Errors
/// The kernel refuses it; nothing is given up then.
pub fn keep_capabilities(kept: CapabilitySet) -> io::Result<()> {
    let left = capabilities(None)?.permitted & kept;
    let sets = CapabilitySets {
        effective: left,
        permitted: left,
        inheritable: CapabilitySet::empty(),
    };
    Ok(set_capabilities(None, sets)?)
}

/// Gives up all of root's rights. That it cannot be is told in the log and by [`Rights::in_force`].
pub fn keep_no_capabilities() {
    if let Err(error) = keep_capabilities(CapabilitySet::empty()) {
        tracing::warn!(%error, "this process keeps the rights of root that it has");
    }
}

/// Gives up gaining rights by running programs that are setuid or have capabilities.
pub fn gain_no_privileges() {
    let unused: libc::c_ulong = 0;
    // SAFETY: the call takes numbers only.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_NO_NEW_PRIVS,
            1 as libc::c_ulong,
            unused,
            unused,
            unused,
        )
    };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        tracing::warn!(%error, "this process can still gain privileges");
    }
}

/// Gives up writing anywhere but below `store`, which must exist; running programs; TCP; and signals
/// and abstract sockets of others: as much of it as this kernel can hold it to. Where it cannot hold
/// it to the first, that is told in the log and by [`Rights::in_force`].
pub fn write_only_in(store: &Path) {
    gain_no_privileges();
    match restrict(store) {
        Ok(RulesetStatus::NotEnforced) => {
            tracing::info!("this kernel has no Landlock, so only its user limits this process");
        }
        Ok(_) => WRITES_ONLY_IN_STORE.store(true, Ordering::Relaxed),
        Err(error) => tracing::warn!(%error, "Landlock does not hold this process"),
    }
}

fn restrict(store: &Path) -> Result<RulesetStatus, RulesetError> {
    // Without `IoctlDev`, which newer kernels know: it is about devices, and none are opened here.
    let writing = AccessFs::from_write(ABI::V3);
    let opened = match PathFd::new(store) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::warn!(%error, "the store cannot be opened");
            return Ok(RulesetStatus::NotEnforced);
        }
    };
    let status = Ruleset::default()
        .handle_access(writing | AccessFs::Execute)?
        .handle_access(AccessNet::from_all(ABI::V4))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .add_rule(PathBeneath::new(opened, writing))?
        .restrict_self()?;
    Ok(status.ruleset)
}
