//! `get`.
//!
//! Either the daemon of the store fetches, or a node in this process. Both put the content into
//! the store first, verified, and the file is written from there: so an interrupted run loses
//! nothing, and no file of the user's is ever half right.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use indicatif::ProgressBar;

use super::args::GetArgs;
use super::exit_codes::Outcome;
use super::export::{self, Export};
use super::{borrow, get_folder, human, node_run, progress, settings, signals, tell};
use crate::content::{BlockList, BlockListError, ContentId, Kind, MAX_BLOCK_LIST};
use crate::control::{Client, ClientError, FetchEvent};
use crate::node::{Config, ContentInfo, Failure, Node, Verify};

/// How often the progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Bytes read at once on the way to standard output.
const CHUNK: u32 = 1 << 20;

/// Where the content goes.
enum Target {
    File { path: PathBuf, force: bool },
    StandardOutput,
}

/// Why it did not work, as either side tells it.
enum Stop {
    Signal(i32),
    Error(anyhow::Error),
}

impl Stop {
    fn context(self, what: impl FnOnce() -> String) -> Self {
        match self {
            Self::Error(error) => Self::Error(error.context(what())),
            Self::Signal(_) => self,
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

pub fn run(args: &GetArgs, config: Option<&Path>) -> Result<Outcome> {
    if args.folder {
        return get_folder::run(args, config);
    }
    let node_config = settings::node_config(&args.node, None, config)?;
    if args.blocks.is_some() && args.id.kind != Kind::Sha256 {
        bail!("--blocks is for content by SHA-256");
    }
    let target = match &args.output {
        Some(path) if path == Path::new("-") => Target::StandardOutput,
        Some(path) => Target::File {
            path: path.clone(),
            force: args.force,
        },
        None => Target::File {
            path: args.id.hash.to_string().into(),
            force: args.force,
        },
    };
    if let Target::File { path, force } = &target {
        export::check(path, *force)?;
    }
    let (wake, events) = mpsc::channel();
    let signalled = Signalled::default();
    let (number, waker) = (signalled.clone(), wake.clone());
    signals::on_first_signal(move |signal| {
        number.0.store(signal, Ordering::Relaxed);
        let _ = waker.send(Event::Signal);
    })
    .context("cannot listen for signals")?;

    let progress = Progress {
        bar: progress::bar(0, "looking"),
    };
    let client = Client::new(&node_config.store)?;
    let result = match client.status() {
        Ok(_) => {
            if !args.node.peer.is_empty() {
                tell("a daemon runs for this store and asks its own peers; --peer has no effect");
            }
            let verify = node_config.verify;
            through_daemon(&client, args, verify, &target, &progress, &signalled)
        }
        Err(ClientError::NoDaemon { .. }) => {
            let run = InProcess {
                id: args.id,
                blocks: args.blocks,
                progress: &progress,
                signalled: &signalled,
                wake,
                events,
            };
            run.run(node_config, &target)
        }
        Err(error) => Err(error.into()),
    };
    // Before the bar ends, which moves it to its end.
    let kept = progress.kept();
    progress.bar.finish_and_clear();
    match result {
        Ok(()) => Ok(Outcome::Done),
        Err(Stop::Signal(signal)) => {
            tell(&format!("interrupted{kept}"));
            Ok(Outcome::Interrupted(signal))
        }
        Err(Stop::Error(error)) => Err(error.context(format!("cannot get {}{kept}", args.id))),
    }
}

/// The signal that came, 0 if none did.
#[derive(Clone, Default)]
struct Signalled(Arc<AtomicI32>);

impl Signalled {
    fn check(&self) -> Result<(), Stop> {
        match self.0.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Stop::Signal(signal)),
        }
    }

    fn flow(&self) -> ControlFlow<()> {
        match self.check() {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// What the user sees, and how far it got.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn show(&self, length: u64, present: u64) {
        if self.bar.length() != Some(length) {
            // What an earlier run had is no part of this run's speed.
            self.bar.set_length(length);
            self.bar.set_message("fetching");
            self.bar.set_position(present);
            self.bar.reset_eta();
        }
        self.bar.set_position(present);
    }

    /// In brackets, what is not lost.
    fn kept(&self) -> String {
        match (self.bar.position(), self.bar.length()) {
            (present, Some(length)) if present > 0 => format!(
                " ({} of {} are in the store, and the next run goes on from there)",
                human::bytes(present),
                human::bytes(length)
            ),
            _ => String::new(),
        }
    }
}

fn through_daemon(
    client: &Client,
    args: &GetArgs,
    verify: Verify,
    target: &Target,
    progress: &Progress,
    signalled: &Signalled,
) -> Result<(), Stop> {
    let interrupted = |error: ClientError| match (error, signalled.check()) {
        (_, Err(stop)) => stop,
        (error, Ok(())) => error.into(),
    };
    let (id, blocks) = (&args.id, args.blocks.as_ref());
    let tell = |event: &FetchEvent| {
        if let FetchEvent::Fetching { length, present } = event {
            progress.show(*length, *present);
        }
        signalled.flow()
    };
    let Target::File { path, force } = target else {
        if blocks.is_some() {
            client.fetch(id, blocks, tell).map_err(interrupted)?;
        }
        let mut out = io::stdout().lock();
        client
            .content(id, verify, &mut out, |_| signalled.flow())
            .map_err(interrupted)?;
        out.flush()?;
        return Ok(());
    };
    let length = client.fetch(id, blocks, tell).map_err(interrupted)?;
    progress.show(length, length);
    let mut export = Export::begin(path, *force)?;
    if length == 0 || !borrow::borrow(client, id, &mut export)? {
        client
            .content(id, verify, export.file(), |_| signalled.flow())
            .map_err(interrupted)?;
    }
    export.keep(length)?;
    Ok(())
}

enum Event {
    Signal,
    Found(Result<ContentInfo, Failure>),
    Fetched(Result<ContentInfo, Failure>),
    Read(Result<Vec<u8>, Failure>),
}

struct InProcess<'a> {
    id: ContentId,
    blocks: Option<ContentId>,
    progress: &'a Progress,
    signalled: &'a Signalled,
    wake: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
}

impl InProcess<'_> {
    fn run(&self, config: Config, target: &Target) -> Result<(), Stop> {
        let node = node_run::start(config, |line| self.progress.bar.suspend(|| tell(line)))?;
        let result = self.fetch(&node, target);
        node_run::stop(&node, signals::END_LIMIT)?;
        result
    }

    fn fetch(&self, node: &Node, target: &Target) -> Result<(), Stop> {
        // Should the store have to give up content, then other content.
        let _hold = node.store().hold(&self.id);
        if let Some(list) = self.blocks {
            let _hold = node.store().hold(&list);
            let known = self.fetch_list(node, list);
            let known = known.map_err(|stop| stop.context(|| format!("the block list {list}")))?;
            node.verify_by_blocks(self.id, known);
        }
        let info = self.look_up(node, self.id)?;
        self.progress.show(info.length, info.present);
        match target {
            Target::File { path, force } => {
                let length = self.fetch_all(node)?.length;
                let mut export = Export::begin(path, *force)?;
                let lend = |path: &Path, mode| Ok(node.store().lend(&self.id, path, mode)?);
                if length > 0 && export.lent_by(lend)? {
                    return Ok(export.keep(length)?);
                }
                match node.store().open_content(&self.id)? {
                    Some(content) => export.copy_of(&content)?,
                    None if length == 0 => {}
                    None => return Err(anyhow!("it is not in the store any more").into()),
                }
                Ok(export.keep(length)?)
            }
            Target::StandardOutput => self.stream(node),
        }
    }

    fn look_up(&self, node: &Node, id: ContentId) -> Result<ContentInfo, Stop> {
        let wake = self.wake.clone();
        let _looking = node.lookup(
            id,
            Box::new(move |result| drop(wake.send(Event::Found(result)))),
        );
        loop {
            if let Some(Event::Found(result)) = self.next()? {
                return Ok(result?);
            }
        }
    }

    fn fetch_list(&self, node: &Node, list: ContentId) -> Result<BlockList, Stop> {
        if self.look_up(node, list)?.length > MAX_BLOCK_LIST {
            return Err(BlockListError::TooLong.into());
        }
        let wake = self.wake.clone();
        let _fetching = node.fetch(
            list,
            Box::new(move |result| drop(wake.send(Event::Fetched(result)))),
        );
        loop {
            if let Some(Event::Fetched(result)) = self.next()? {
                result?;
                return Ok(node.block_list(&list)?);
            }
            // Most may come to claim another length meanwhile.
            let length = node.info(list).map_or(0, |info| info.length);
            if length > MAX_BLOCK_LIST {
                return Err(BlockListError::TooLong.into());
            }
        }
    }

    fn fetch_all(&self, node: &Node) -> Result<ContentInfo, Stop> {
        self.begin_fetch(node);
        loop {
            match self.next()? {
                Some(Event::Fetched(result)) => return Ok(result?),
                Some(_) => {}
                None => {
                    if let Some(info) = node.info(self.id) {
                        self.progress.show(info.length, info.present);
                    }
                }
            }
        }
    }

    /// Writes it as it comes, in order. The node keeps the rule that the last byte is not given out
    /// before the whole is proven.
    fn stream(&self, node: &Node) -> Result<(), Stop> {
        if node.verify() == Verify::Strict {
            // A read that waits for the whole would end at the limit of reads.
            self.fetch_all(node)?;
        } else {
            self.begin_fetch(node);
        }
        let reader = node.open(self.id)?;
        let mut out = io::stdout().lock();
        let mut offset = 0;
        while offset < reader.length() {
            let wake = self.wake.clone();
            let _reading = reader.read(
                offset,
                CHUNK,
                Box::new(move |result| {
                    drop(wake.send(Event::Read(result.map(<[u8]>::to_vec))));
                }),
            );
            let data = loop {
                match self.next()? {
                    Some(Event::Read(result)) => break result?,
                    // Why the whole cannot be had, the read that needs it tells.
                    Some(_) => {}
                    None => {
                        if let Some(info) = node.info(self.id) {
                            self.progress.show(info.length, info.present);
                        }
                    }
                }
            };
            if data.is_empty() {
                return Err(anyhow!("it ended early").into());
            }
            out.write_all(&data)?;
            offset += data.len() as u64;
        }
        out.flush()?;
        Ok(())
    }

    fn begin_fetch(&self, node: &Node) {
        let wake = self.wake.clone();
        let _fetching = node.fetch(
            self.id,
            Box::new(move |result| drop(wake.send(Event::Fetched(result)))),
        );
    }

    /// The next event, or `None` when it is time to look at the progress.
    fn next(&self) -> Result<Option<Event>, Stop> {
        let event = self.events.recv_timeout(LOOK_EVERY).ok();
        self.signalled.check()?;
        Ok(event)
    }
}
