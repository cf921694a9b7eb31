//! `get --folder`: a published folder becomes a folder of the user's.
//!
//! The files go through the daemon of the store, or one that this process is for as long as it
//! takes, and are written under temporary names, checked by their hashes, and renamed. Durable they
//! are made all at once, at the end: a sync for each of ten thousand small files would take longer
//! than fetching them. So what an interrupted run has left is not believed but hashed; that costs
//! little beside fetching it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use super::args::GetArgs;
use super::beneath::{Folder, dress};
use super::exit_codes::{Outcome, one_line};
use super::{node_run, progress, settings, signals, tell};
use crate::content::listing::{Entry, Listed, MAX_LISTING};
use crate::content::{ContentId, Hash, Kind, Listing};
use crate::control::{Client, ClientError, Daemon, FetchEvent, Server};
use crate::node::{Node, Verify};

/// Files fetched at once.
const WORKERS: usize = 8;
/// After so many lines about single files only their number is told.
const LINES: usize = 20;
/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// What files are called that are not whole yet, before two numbers.
const PART: &str = ".cjp2pfs-";

pub fn run(args: &GetArgs, config: Option<&Path>) -> Result<Outcome> {
    let node_config = settings::node_config(&args.node, None, config)?;
    if args.id.kind != Kind::Sha256 {
        bail!("a folder is named by the SHA-256 of its listing");
    }
    let target = match &args.output {
        Some(path) if path == Path::new("-") => {
            bail!("a folder cannot be written to standard output")
        }
        Some(path) => path.clone(),
        None => PathBuf::from(args.id.hash.to_string()),
    };
    let signalled = Arc::new(AtomicI32::new(0));
    let number = Arc::clone(&signalled);
    signals::on_first_signal(move |signal| number.store(signal, Ordering::Relaxed))
        .context("cannot listen for signals")?;
    let dir = node_config.store.clone();
    let own = match Client::new(&dir)?.status() {
        Ok(_) => None,
        Err(ClientError::NoDaemon { .. }) => Some(OwnDaemon::start(node_config)?),
        Err(error) => return Err(error.into()),
    };
    let job = Job {
        store: dir,
        force: args.force,
        signalled,
        bar: progress::bar(0, "looking"),
        done: AtomicU64::new(0),
        total: AtomicU64::new(0),
        failed: AtomicUsize::new(0),
    };
    let result = job.run(&args.id, &target);
    job.bar.finish_and_clear();
    drop(own);
    match (result, job.signalled.load(Ordering::Relaxed)) {
        (Ok(()), _) if job.failed.load(Ordering::Relaxed) > 0 => Ok(Outcome::Failed),
        (Ok(()), _) => Ok(Outcome::Done),
        (Err(_), signal) if signal != 0 => {
            tell("interrupted; what is there is kept, and the next run goes on from it");
            Ok(Outcome::Interrupted(signal))
        }
        (Err(error), _) => Err(error.context(format!("cannot get the folder {}", args.id))),
    }
}

/// A node of this process, which is its own client.
struct OwnDaemon {
    node: Node,
    server: Option<Server>,
}

impl OwnDaemon {
    fn start(config: crate::node::Config) -> Result<Self> {
        let node = node_run::start(config, tell)?;
        let server = Server::start(Daemon {
            node: node.clone(),
            command: "get",
            mountpoint: None,
            seeder: None,
            on_stop: Box::new(|| ()),
        });
        match server {
            Ok(server) => Ok(Self {
                node,
                server: Some(server),
            }),
            Err(error) => {
                node_run::stop(&node, signals::END_LIMIT)?;
                Err(error.into())
            }
        }
    }
}

impl Drop for OwnDaemon {
    fn drop(&mut self) {
        drop(self.server.take());
        if let Err(error) = node_run::stop(&self.node, signals::END_LIMIT) {
            tracing::warn!("{error}");
        }
    }
}

struct Job {
    store: PathBuf,
    force: bool,
    signalled: Arc<AtomicI32>,
    bar: ProgressBar,
    done: AtomicU64,
    total: AtomicU64,
    failed: AtomicUsize,
}

impl Job {
    fn flow(&self) -> ControlFlow<()> {
        match self.signalled.load(Ordering::Relaxed) {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }

    fn run(&self, id: &ContentId, target: &Path) -> Result<()> {
        let listing = self.listing(id)?;
        let cannot = || format!("cannot write {}", target.display());
        let root = Folder::create(target).with_context(cannot)?;
        let files = listing.files().count() as u64;
        self.total.store(files, Ordering::Relaxed);
        self.bar
            .set_length(listing.files().map(|file| file.1).sum());
        self.bar.reset_eta();
        let parts = part_names(&listing);
        let next = AtomicUsize::new(0);
        let stop = Mutex::new(None);
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    if let Err(error) = self.work(&root, listing.entries(), &parts, &next) {
                        *stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    }
                });
            }
        });
        if let Some(error) = stop.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let entries = listing.entries();
        let out = entries.iter().filter(|it| it.leads_out()).count();
        root.sync_all().with_context(cannot)?;
        self.bar.suspend(|| {
            if out > 0 {
                let link = |it: &&Entry| matches!(it.what, Listed::Link { .. });
                let links = entries.iter().filter(link).count();
                tell(&format!(
                    "left out: {out} of {links} links, which lead out of the folder"
                ));
            }
            match self.failed.load(Ordering::Relaxed) {
                0 => {}
                failed => tell(&format!(
                    "missing: {failed} of {} files, links and folders",
                    entries.len()
                )),
            }
        });
        Ok(())
    }

    /// Fetches the listing and reads it.
    fn listing(&self, id: &ContentId) -> Result<Listing> {
        let client = Client::new(&self.store)?;
        let mut too_long = false;
        let fetched = client.fetch(id, None, |event| {
            if let FetchEvent::Fetching { length, .. } = event
                && *length > MAX_LISTING
            {
                too_long = true;
                return ControlFlow::Break(());
            }
            self.flow()
        });
        if too_long {
            bail!("this is no folder listing");
        }
        fetched?;
        let mut text = Bounded(Vec::new());
        client.content(id, Verify::Auto, &mut text, |_| self.flow())?;
        Ok(Listing::parse(&text.0)?)
    }

    /// Makes one entry after the other, as long as there are any. An error ends all.
    fn work(
        &self,
        root: &Folder,
        entries: &[Entry],
        parts: &str,
        next: &AtomicUsize,
    ) -> Result<()> {
        let client = Client::new(&self.store)?;
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(entry) = entries.get(at) else {
                return Ok(());
            };
            if self.flow().is_break() {
                bail!("interrupted");
            }
            let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
            let made = root
                .below(folder)
                .map_err(anyhow::Error::from)
                .and_then(|folder| {
                    let part = format!("{parts}{at}.part");
                    self.make(&client, &folder, name, &part, entry)
                });
            if let Err(error) = made {
                if self.flow().is_break() {
                    bail!("interrupted");
                }
                // Without a daemon or a disk the others fail as well.
                if is_hopeless(&error) {
                    next.store(entries.len(), Ordering::Relaxed);
                    return Err(error);
                }
                if self.failed.fetch_add(1, Ordering::Relaxed) < LINES {
                    let line = format!("{:?}: {}", &*entry.path, one_line(&error));
                    self.bar.suspend(|| tell(&line));
                }
            }
        }
    }

    fn make(
        &self,
        client: &Client,
        folder: &Folder,
        name: &str,
        part: &str,
        entry: &Entry,
    ) -> Result<()> {
        match &entry.what {
            Listed::Link { .. } if entry.leads_out() => Ok(()),
            Listed::Link { target } => self.make_link(folder, name, target),
            Listed::EmptyFolder => {
                folder.below(name)?;
                Ok(())
            }
            Listed::File {
                length,
                modified,
                mode,
                sha256,
                ..
            } => {
                let file = match self.there(folder, name, *length, sha256)? {
                    Some(file) => {
                        self.bar.inc(*length);
                        file
                    }
                    None => {
                        let file = self.fetch(client, folder, part, *length, sha256);
                        let file = file.inspect_err(|_| {
                            let _ = folder.remove(part);
                        })?;
                        folder.rename(part, name, self.force).map_err(exists)?;
                        file
                    }
                };
                dress(&file, mode | 0o400, *modified)?;
                let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
                let total = self.total.load(Ordering::Relaxed);
                self.bar.set_message(format!("{done} of {total} files"));
                Ok(())
            }
        }
    }

    fn make_link(&self, folder: &Folder, name: &str, target: &str) -> Result<()> {
        if folder.link_target(name).as_deref() == Some(target.as_bytes()) {
            return Ok(());
        }
        if self.force {
            folder.remove(name)?;
        }
        folder.link(target, name).map_err(exists)
    }

    /// The file if it is there and right.
    fn there(
        &self,
        folder: &Folder,
        name: &str,
        length: u64,
        sha256: &Hash,
    ) -> Result<Option<File>> {
        let file = match folder.open(name) {
            Ok(None) => return Ok(None),
            Ok(Some(file)) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.force => {
                return Ok(None);
            }
            Err(error) => return Err(exists(error)),
        };
        if file.metadata()?.len() == length && self.hash(&file)? == *sha256 {
            return Ok(Some(file));
        }
        if self.force {
            return Ok(None);
        }
        Err(exists(io::ErrorKind::AlreadyExists.into()))
    }

    fn hash(&self, mut file: &File) -> Result<Hash> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(Hash(hasher.finalize().into())),
                Ok(count) => hasher.update(buffer.get(..count).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
            if self.flow().is_break() {
                bail!("interrupted");
            }
        }
    }

    fn fetch(
        &self,
        client: &Client,
        folder: &Folder,
        part: &str,
        length: u64,
        sha256: &Hash,
    ) -> Result<File> {
        let mut out = Checked {
            file: folder.create_file(part)?,
            hasher: Sha256::new(),
            left: length,
        };
        if length > 0 {
            let id = ContentId::sha256(sha256.0);
            client.content(&id, Verify::Auto, &mut out, |bytes| {
                self.bar.inc(bytes);
                self.flow()
            })?;
        }
        if out.left > 0 || Hash(out.hasher.finalize().into()) != *sha256 {
            bail!("the listing lies about its length");
        }
        Ok(out.file)
    }
}

/// What the names of files begin with that are not whole yet. The next run over the same listing
/// takes the same names, and nothing in the listing has one of them: it comes from a stranger.
fn part_names(listing: &Listing) -> String {
    let names = listing.entries().iter().flat_map(|it| it.path.split('/'));
    let taken: HashSet<&str> = names
        .filter_map(|name| name.strip_prefix(PART)?.split_once('-'))
        .map(|(number, _)| number)
        .collect();
    let mut numbers = (0u64..).map(|number| number.to_string());
    let free = numbers.find(|number| !taken.contains(&**number));
    format!("{PART}{}-", free.unwrap_or_default())
}

/// Whether others would fail in the same way.
fn is_hopeless(error: &anyhow::Error) -> bool {
    let full = |error: &io::Error| {
        matches!(
            error.raw_os_error(),
            Some(libc::ENOSPC | libc::EDQUOT | libc::EROFS | libc::EIO)
        )
    };
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Output(error)) => full(error),
        Some(ClientError::Refused(_) | ClientError::BrokenOff) => false,
        Some(_) => true,
        None => error.downcast_ref::<io::Error>().is_some_and(full),
    }
}

fn exists(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::AlreadyExists {
        anyhow!("something else is there; --force replaces it")
    } else {
        error.into()
    }
}

/// Takes no more than a listing may have.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() as u64 + bytes.len() as u64 > MAX_LISTING {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to a file no more than it is to have, and hashes it on the way.
struct Checked {
    file: File,
    hasher: Sha256,
    left: u64,
}

impl Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            return Err(io::Error::other("it is longer than the listing says"));
        };
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.left = left;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
