//! Real kernel mounts, detached when dropped.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Finished, LATER, Node, Process, SOON, Settings, run, wait};

/// Whether this user can mount, and if not, why not.
pub fn can_mount() -> Result<(), String> {
    if !is_root() && !on_path("fusermount3") {
        return Err("neither root nor fusermount3".into());
    }
    fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .map(drop)
        .map_err(|error| format!("/dev/fuse: {error}"))
}

pub fn is_root() -> bool {
    // SAFETY: geteuid takes and touches nothing.
    unsafe { libc::geteuid() == 0 }
}

pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).exists())
}

/// Whether something is mounted exactly at `path`, alive or dead.
pub fn is_mounted(path: &Path) -> bool {
    let wanted = path.to_string_lossy();
    // A test may have given its thread mounts of its own.
    fs::read_to_string("/proc/thread-self/mountinfo")
        .unwrap()
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(&*wanted))
}

/// A node with a mount, in the foreground so that its process id is known.
pub struct Mounted {
    pub node: Node,
    pub at: PathBuf,
    // Dropped after the node: the mount is detached when its daemon is gone.
    _detach: Detach,
}

/// Detaches the mount at this path when dropped.
pub struct Detach(pub PathBuf);

impl Mounted {
    /// `cjp2pfs mount -f AT`, ready when the kernel shows the mount and `status` is answered.
    #[track_caller]
    pub fn new(settings: Settings, at: &Path) -> Self {
        fs::create_dir_all(&settings.store).unwrap();
        // A mountpoint that a killed daemon left cannot be created or looked at, and need not be.
        let _ = fs::create_dir_all(at);
        let detach = Detach(at.to_owned());
        let mut command = settings.command("mount");
        command.arg("-f").arg(at);
        let node = Node::start(settings, &mut command);
        wait("the mount", SOON, || is_alive(at).then_some(()));
        Self {
            node,
            at: at.to_owned(),
            _detach: detach,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// `cat` of a name, in a process of its own that can be killed.
    #[track_caller]
    pub fn cat(&self, name: &str) -> Finished {
        run(Command::new("cat").arg(self.path(name)), LATER)
    }

    /// The same, left running.
    pub fn start_cat(&self, name: &str) -> Process {
        Process::start(Command::new("cat").arg(self.path(name)))
    }

    /// `dd` of `length` bytes at `offset`.
    #[track_caller]
    pub fn dd(&self, name: &str, offset: u64, length: u64) -> Finished {
        let mut command = Command::new("dd");
        command
            .arg(format!("if={}", self.path(name).display()))
            .arg(format!("skip={offset}"))
            .arg(format!("count={length}"))
            .args([
                "iflag=skip_bytes,count_bytes,fullblock",
                "status=none",
                "bs=64K",
            ]);
        run(&mut command, LATER)
    }

    /// `cjp2pfs umount`, which returns when the daemon has ended.
    #[track_caller]
    pub fn umount(mut self) -> Finished {
        let mut command = super::cjp2pfs();
        command
            .arg("umount")
            .arg(&self.at)
            .arg("--store")
            .arg(&self.node.settings.store);
        let done = run(&mut command, SOON).ok();
        assert!(!is_mounted(&self.at), "still mounted");
        self.node.process.wait(SOON);
        done
    }
}

/// Whether a FUSE mount is there and its daemon answers.
pub fn is_alive(at: &Path) -> bool {
    is_mounted(at)
        && run(Command::new("stat").arg("-f").arg(at), SOON)
            .status
            .success()
}

impl Drop for Detach {
    fn drop(&mut self) {
        if !is_mounted(&self.0) {
            return;
        }
        let path = CString::new(self.0.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path is a valid C string for the duration of the call.
        let detached = unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) } == 0;
        if !detached {
            let _ = Command::new("fusermount3")
                .arg("-uzq")
                .arg(&self.0)
                .status();
        }
    }
}
