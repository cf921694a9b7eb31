//! Mounting in a process that may not mount.
//!
//! Landlock holds each thread by itself, and those that it starts. So a thread that waits for its task
//! is started first; the others then give up their rights, start the node, and hand over what is to be
//! mounted. It mounts, gives up its rights too, and only then starts the threads that serve the mount.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracing::warn;

use super::mountpoint::MountError;
use super::passer::Passer;
use super::passing::Passing;
use super::session::{Begin, Mounted, Options};
use super::source::Source;
use super::unmount;
use super::unmounter::Unmounter;

type Task = Box<dyn FnOnce(Box<dyn FnOnce()>) + Send>;

/// A thread that may mount once, a process that may unmount, and perhaps one that may tell the kernel to
/// read files by itself.
pub struct Mounter {
    path: PathBuf,
    tasks: SyncSender<Task>,
    unmounter: Arc<Unmounter>,
    passing: Passing,
}

impl Mounter {
    /// For `mountpoint`; the kernel is to read files by itself if it `passes`. To be called before rights
    /// are given up; `give_up` does so for the thread that mounts.
    ///
    /// # Errors
    /// The mount point does not answer, or there can be no such thread or process.
    pub fn start(
        mountpoint: &Path,
        passes: bool,
        give_up: impl FnOnce() + Send + 'static,
    ) -> Result<Self, MountError> {
        let path = unmount::resolve(mountpoint)
            .ok_or_else(|| MountError::NoAnswer(mountpoint.to_owned()))?;
        let refused = |source| MountError::Refused {
            path: path.clone(),
            source,
        };
        let unmounter = Unmounter::start(path.clone()).map_err(refused)?;
        let passing = if passes { passing() } else { Passing::Off };
        let (tasks, handed): (_, Receiver<Task>) = sync_channel(1);
        std::thread::Builder::new()
            .name("cjp2pfs-mounter".into())
            .spawn(move || {
                // Else the process ends before it mounts.
                if let Ok(task) = handed.recv() {
                    task(Box::new(give_up));
                }
            })
            .map_err(refused)?;
        Ok(Self {
            path,
            tasks,
            unmounter: Arc::new(unmounter),
            passing,
        })
    }

    /// [`Mounted::start`] on the mount point that it was started for.
    pub fn mount<S: Source>(self, source: S, options: Options) -> Result<Mounted, MountError> {
        let Self {
            path,
            tasks,
            unmounter,
            passing,
        } = self;
        let by = move |begin: Begin| {
            let (told, ended) = sync_channel(1);
            let task: Task = Box::new(move |give_up| {
                let _ = told.send(begin(give_up));
            });
            let gone = |_| std::io::Error::other("the thread that mounts has ended");
            tasks.send(task).map_err(|error| gone(error.to_string()))?;
            ended.recv().map_err(|error| gone(error.to_string()))
        };
        Mounted::start_by(source, &path, options, by, Some(unmounter), passing)
    }
}

fn passing() -> Passing {
    match Passer::start() {
        Ok(passer) => Passing::By(Arc::new(passer)),
        Err(error) => {
            warn!(%error, "no process for passthrough: files are read without");
            Passing::Off
        }
    }
}
