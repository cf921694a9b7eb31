//! The life of one mount.
//!
//! fuser's own way to end one waits until nobody uses the mount, and unmounting a busy one leaves
//! it served by threads that nobody holds. So the end goes the other way round here: the mount is
//! detached from the tree of files, which always works; what waits is ended; the session's threads
//! stop by themselves once the last program has closed its files; and whoever does not want to wait
//! for that has the kernel cut the connection.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use fuser::{BackgroundSession, Config, INodeNo, MountOption, Session, SessionACL};
use tracing::{debug, error, info};

use super::attributes::Owner;
use super::detached;
use super::fs::FileSystem;
use super::fuse::Adaptor;
use super::kernel;
use super::limited;
use super::mountinfo::{self, SUBTYPE};
use super::mountpoint::{self, MountError};
use super::passing::{Passed, Passing};
use super::source::Source;
use super::unmount::{self, UnmountError, Unmounted};
use super::unmounter::Unmounter;

/// How long an unmount usually waits for programs to let go of their files.
pub const UNMOUNT_LIMIT: Duration = Duration::from_secs(2);

/// How long the session's threads may take to notice that the connection has been cut.
const CUT_LIMIT: Duration = Duration::from_millis(500);

/// Threads that take requests. One would do, since none waits; a second halves the time of a small
/// read, because it is awake when the first is busy with the one before. More gave nothing.
const MIN_THREADS: usize = 2;
const MAX_THREADS: usize = 4;

/// How to mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Lets every user in, not only the one that mounts. Users other than root need
    /// `user_allow_other` in `/etc/fuse.conf`.
    pub allow_other: bool,
    /// Lets programs on the mount be run. They come from strangers: not unless asked for.
    pub exec: bool,
    /// Reads everything itself, also where the kernel could read the store's files.
    pub no_passthrough: bool,
}

impl Options {
    fn config(self) -> Config {
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName(SUBTYPE.into()),
            // As text: fuser's own option does not reach the kernel where it mounts by itself, and
            // the type would be a bare `fuse`.
            MountOption::CUSTOM(format!("subtype={SUBTYPE}")),
            MountOption::DefaultPermissions,
            MountOption::RO,
            MountOption::NoSuid,
            MountOption::NoDev,
            MountOption::NoAtime,
        ];
        if !self.exec {
            config.mount_options.push(MountOption::NoExec);
        }
        config.acl = if self.allow_other {
            SessionACL::All
        } else {
            SessionACL::Owner
        };
        config.n_threads = Some(
            std::thread::available_parallelism()
                .map_or(MIN_THREADS, usize::from)
                .clamp(MIN_THREADS, MAX_THREADS),
        );
        config
    }
}

/// Told when the session has ended.
#[derive(Default)]
struct Ended {
    ended: Mutex<bool>,
    changed: Condvar,
}

impl Ended {
    fn tell(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn is_so(&self) -> bool {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            ended = self
                .changed
                .wait(ended)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether it has ended within `limit`.
    fn wait_for(&self, limit: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let (ended, _) = self
            .changed
            .wait_timeout_while(ended, limit, |ended| !*ended)
            .unwrap_or_else(PoisonError::into_inner);
        *ended
    }
}

/// What has been mounted.
pub(super) struct Begun {
    path: PathBuf,
    /// The device number of the mount, if it could be found out.
    device: Option<u64>,
    /// Where the kernel can be told to cut the connection, if we may. Open, since a process that has
    /// given up its rights cannot open it.
    abort: Option<File>,
}

/// Mounts, calls the function that it is given, and starts the threads that serve the mount.
pub(super) type Begin = Box<dyn FnOnce(Box<dyn FnOnce()>) -> Result<Begun, MountError> + Send>;

/// A mount that is served. Dropped, it is unmounted.
pub struct Mounted {
    begun: Begun,
    /// Who unmounts, if this process may not.
    unmounter: Option<Arc<Unmounter>>,
    ended: Arc<Ended>,
    /// Whether it has been unmounted: what could not be done then is left to the end of the process.
    unmounted: AtomicBool,
    /// Ends what waits.
    stop: Box<dyn Fn() + Send + Sync>,
}

impl Mounted {
    /// Mounts `source` on the folder `path`. When this returns, the mount can be used.
    pub fn start<S: Source>(source: S, path: &Path, options: Options) -> Result<Self, MountError> {
        Self::start_by(
            source,
            path,
            options,
            |begin| Ok(begin(Box::new(|| {}))),
            None,
            Passing::Own,
        )
    }

    /// The same, where `by` calls what it is given on a thread that may mount, and `unmounter` and
    /// `passing` do what this process may not.
    pub(super) fn start_by<S: Source>(
        source: S,
        path: &Path,
        options: Options,
        by: impl FnOnce(Begin) -> io::Result<Result<Begun, MountError>>,
        unmounter: Option<Arc<Unmounter>>,
        passing: Passing,
    ) -> Result<Self, MountError> {
        let refused = |source| MountError::Refused {
            path: path.to_owned(),
            source,
        };
        let fs = FileSystem::new(source).map_err(refused)?;
        let ended = Arc::new(Ended::default());
        let begin: Begin = {
            let (path, fs, ended) = (path.to_owned(), Arc::clone(&fs), Arc::clone(&ended));
            let passing = match options.no_passthrough {
                true => Passing::Off,
                false => passing,
            };
            Box::new(move |mounted| begin(&path, options, passing, fs, ended, mounted))
        };
        let begun = by(begin).map_err(refused)??;
        info!(path = %begun.path.display(), "mounted");
        Ok(Self {
            begun,
            unmounter,
            ended,
            unmounted: AtomicBool::new(false),
            stop: Box::new(move || fs.stop()),
        })
    }

    /// The mount point, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.begun.path
    }

    /// Whether the mount is gone and nobody uses it any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.is_so()
    }

    /// Waits until someone has unmounted it (`umount`, `fusermount3 -u`) and the last program has
    /// let go.
    pub fn wait(&self) {
        self.ended.wait();
    }

    /// Waits until someone has unmounted it, be it that programs still have files of it open
    /// (`umount -l`).
    pub fn wait_until_detached(&self) {
        let detached = self
            .begun
            .device
            .map(|device| detached::wait(device, || self.ended.is_so()));
        match detached {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                debug!(%error, "cannot watch the table of mounts");
                self.ended.wait();
            }
            None => self.ended.wait(),
        }
    }

    /// Unmounts, within `limit` and a second or so: detaches the mount, ends what waits with
    /// `ESHUTDOWN`, and waits for programs to close what they have open there. Those that have not
    /// after `limit` are cut off. [`Unmounted::Lazily`] says that even that took too long; the end
    /// of this process does it then.
    pub fn unmount(&self, limit: Duration) -> Result<Unmounted, UnmountError> {
        if self.ended.is_so() {
            return Ok(Unmounted::Now);
        }
        let path = self.begun.path.clone();
        let device = self.begun.device;
        let unmounter = self.unmounter.clone();
        let detached = limited::within(limit, move || {
            let detached = detach_ours(&path, device, unmounter.as_deref());
            if let Some(unmounter) = unmounter {
                unmounter.end();
            }
            detached
        });
        (self.stop)();
        self.unmounted.store(true, Ordering::SeqCst);
        detached.ok_or_else(|| UnmountError::NoAnswer(self.begun.path.clone()))??;
        if self.ended.wait_for(limit) {
            return Ok(Unmounted::Now);
        }
        self.begun.cut();
        if self.ended.wait_for(CUT_LIMIT) {
            return Ok(Unmounted::Now);
        }
        Ok(Unmounted::Lazily)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if *self.unmounted.get_mut() {
            return;
        }
        if let Err(error) = self.unmount(UNMOUNT_LIMIT) {
            error!(path = %self.begun.path.display(), %error, "cannot unmount");
        }
    }
}

fn begin<S: Source>(
    path: &Path,
    options: Options,
    passing: Passing,
    fs: Arc<FileSystem<S, Passed>>,
    ended: Arc<Ended>,
    mounted: Box<dyn FnOnce()>,
) -> Result<Begun, MountError> {
    let owner = Owner::of_this_process();
    mountpoint::check_fuse(owner.uid == 0)?;
    let path = mountpoint::prepare(path)?;
    let refused = |source: io::Error| {
        if options.allow_other && source.to_string().contains("user_allow_other") {
            return MountError::OthersNotAllowed;
        }
        MountError::Refused {
            path: path.clone(),
            source,
        }
    };
    let adaptor = Adaptor::new(Arc::clone(&fs), owner, passing.clone());
    let session = Session::new(adaptor, &path, &options.config()).map_err(refused)?;
    if let Passing::By(passer) = passing {
        passer.connect(session.as_fd().try_clone_to_owned().map_err(refused)?);
    }
    let device = kernel::raise_read_ahead(&path);
    let abort = device.and_then(way_to_cut);
    mounted();
    let session = session.spawn().map_err(refused)?;
    let notifier = session.notifier();
    fs.on_rotten(move |ino| {
        if let Err(error) = notifier.inval_inode(INodeNo(ino.0), 0, 0) {
            // It has none of its pages.
            debug!(%error, ino = ino.0, "the kernel forgot nothing of a rotten file");
        }
    });
    join(session, ended).map_err(refused)?;
    Ok(Begun {
        path,
        device,
        abort,
    })
}

/// Waits for the session on a thread of its own, so that nobody else has to.
fn join(session: BackgroundSession, ended: Arc<Ended>) -> io::Result<()> {
    std::thread::Builder::new()
        .name("cjp2pfs-mount".into())
        .spawn(move || {
            if let Err(error) = session.join() {
                // Cutting the connection ends it so, too.
                debug!(%error, "the FUSE session ended with an error");
            }
            ended.tell();
        })?;
    Ok(())
}

/// Detaches what is mounted on `path` if it is the mount of this `device`. Someone may have
/// unmounted ours already, and mounted something else.
fn detach_ours(
    path: &Path,
    device: Option<u64>,
    unmounter: Option<&Unmounter>,
) -> Result<(), UnmountError> {
    let there = mountinfo::at(path).map_err(|source| UnmountError::Refused {
        path: path.to_owned(),
        source,
    })?;
    match there {
        Some(mount) if mount.is_ours() && device.is_none_or(|device| device == mount.device) => {
            match unmounter {
                Some(unmounter) => unmounter.detach(),
                None => unmount::detach(path, true),
            }
        }
        _ => Ok(()),
    }
}

/// Where the kernel can be told to end every operation on the connection of `device` and to refuse
/// further ones (`fusectl`), where that is mounted and we may.
fn way_to_cut(device: u64) -> Option<File> {
    let file = format!("/sys/fs/fuse/connections/{}/abort", libc::minor(device));
    let opened = File::options().write(true).open(&file);
    opened
        .inspect_err(|error| debug!(%file, %error, "the connection cannot be cut"))
        .ok()
}

impl Begun {
    fn cut(&self) {
        if let Some(mut abort) = self.abort.as_ref()
            && let Err(error) = abort.write_all(b"1")
        {
            debug!(%error, "the connection stays until its last file is closed");
        }
    }
}
