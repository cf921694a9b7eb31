//! A real mount of the source without a network, which no test can get stuck on.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use cjp2pfs::content::ContentId;
use cjp2pfs::mount::{MountError, Mounted, Options};

use super::Fake;

/// A mount of a fake source in a folder of its own.
pub struct Mount {
    pub mounted: Option<Mounted>,
    pub folder: PathBuf,
    pub fake: Fake,
    parent: Option<tempfile::TempDir>,
    _rescue: Rescue,
}

impl Mount {
    /// Mounts, or says that it cannot be tried here.
    pub fn new() -> Option<Self> {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Option<Self> {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("mount");
        std::fs::create_dir(&folder).unwrap();
        let fake = Fake::default();
        let mounted = match Mounted::start(fake.clone(), &folder, options) {
            Ok(mounted) => mounted,
            Err(
                error @ (MountError::NoDevice
                | MountError::DeviceDenied(_)
                | MountError::NoHelper
                | MountError::Refused { .. }),
            ) if !can_mount() => {
                eprintln!("skipped: {error}");
                return None;
            }
            Err(error @ MountError::OthersNotAllowed) => {
                eprintln!("skipped: {error}");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        Some(Self {
            folder: mounted.path().to_owned(),
            _rescue: Rescue::of(&mounted),
            mounted: Some(mounted),
            fake,
            parent: Some(parent),
        })
    }

    pub fn mounted(&self) -> &Mounted {
        self.mounted.as_ref().unwrap()
    }

    pub fn path(&self, id: &ContentId) -> PathBuf {
        self.folder.join(id.to_string())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.mounted.take();
        // Whatever went wrong: nothing on the mount is to be deleted through it.
        if let Some(parent) = self.parent.take() {
            if std::fs::read_dir(&self.folder).is_ok_and(|mut folder| folder.next().is_none()) {
                drop(parent);
            } else {
                let _ = parent.keep();
            }
        }
    }
}

/// Aborts a mount that a test has got stuck on: this process could not even be killed then, as it
/// waits for itself.
struct Rescue(std::sync::mpsc::Sender<()>);

impl Rescue {
    fn of(mounted: &Mounted) -> Self {
        let path = CString::new(mounted.path().as_os_str().as_bytes()).unwrap();
        let (alive, watched) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            let waited = watched.recv_timeout(Duration::from_secs(60));
            if waited == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("aborting {}: a test is stuck", path.to_string_lossy());
                // SAFETY: a NUL-terminated path that outlives the call.
                unsafe { libc::umount2(path.as_ptr(), libc::MNT_FORCE | libc::MNT_DETACH) };
            }
        });
        Self(alive)
    }
}

fn can_mount() -> bool {
    // SAFETY: takes nothing, touches nothing, cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    root && std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .is_ok()
}
