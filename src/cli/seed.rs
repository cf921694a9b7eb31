//! `seed`.

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use super::args::SeedArgs;
use super::checksum_line::write_checksum_line;
use super::exit_codes::Outcome;
use super::{node_run, progress, settings, signals, tell};
use crate::control::{Daemon, Server};
use crate::node::seeding::{Observer, SeededFile, Skip, seed_paths};

/// What ends the command or the hashing.
enum Event {
    Hashed(Result<(), crate::store::StoreError>),
    End,
}

pub fn run(args: &SeedArgs, config: Option<&Path>) -> Result<Outcome> {
    let node_config = settings::node_config(&args.node, None, config)?;
    // A name that was mistyped is told at once, not after hours of hashing the others.
    for path in &args.paths {
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    node_run::confine(&node_config.store)?;
    let (tell_event, events) = mpsc::channel();

    let shown = Arc::new(Shown::default());
    let (signalled, stop) = (tell_event.clone(), Arc::clone(&shown));
    signals::on_first_signal(move |_| {
        stop.stop.store(true, Ordering::Relaxed);
        let _ = signalled.send(Event::End);
    })
    .context("cannot listen for signals")?;

    let node = node_run::start(node_config, tell)?;
    let (asked, stop) = (tell_event.clone(), Arc::clone(&shown));
    let server = Server::start(Daemon {
        node: node.clone(),
        command: "seed",
        mountpoint: None,
        on_stop: Box::new(move || {
            stop.stop.store(true, Ordering::Relaxed);
            let _ = asked.send(Event::End);
        }),
    })?;
    let (store, paths) = (node.store().clone(), args.paths.clone());
    let observer = Arc::clone(&shown);
    let hashing = thread::Builder::new()
        .name("seeding".into())
        .spawn(move || {
            let result = seed_paths(&store, &paths, &*observer);
            let _ = tell_event.send(Event::Hashed(result));
        })
        .context("cannot start hashing")?;

    let mut failure = None;
    while let Ok(Event::Hashed(result)) = events.recv() {
        shown.bar.finish_and_clear();
        match result {
            Err(error) => {
                failure = Some(error);
                break;
            }
            Ok(()) if shown.stop.load(Ordering::Relaxed) => break,
            Ok(()) => {}
        }
        shown.tell_skipped();
        let count = shown.seeded.load(Ordering::Relaxed);
        if count == 0 {
            tell("nothing to serve");
            drop(server);
            node_run::stop(&node, signals::END_LIMIT)?;
            return Ok(Outcome::Failed);
        }
        let files = if count == 1 { "file" } else { "files" };
        let _ = writeln!(
            io::stderr(),
            "serving {count} {files} on {}; Ctrl-C ends",
            node.local_addr()
        );
    }
    shown.bar.finish_and_clear();
    // It looks at the wish to stop at least once per MiB; a disk that hangs is not waited for.
    drop(hashing);
    drop(server);
    node_run::stop(&node, signals::END_LIMIT)?;
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(Outcome::Done),
    }
}

/// What the user sees of the hashing.
struct Shown {
    bar: ProgressBar,
    stop: AtomicBool,
    seeded: AtomicU64,
    skipped: [AtomicU64; 3],
    total: AtomicU64,
    /// Lines about single files that may still be printed.
    lines_left: AtomicI32,
}

/// After so many lines about single files only their number is told.
const LINES: i32 = 20;

impl Default for Shown {
    fn default() -> Self {
        Self {
            bar: progress::bar(0, "hashing"),
            stop: AtomicBool::new(false),
            seeded: AtomicU64::new(0),
            skipped: Default::default(),
            total: AtomicU64::new(0),
            lines_left: AtomicI32::new(LINES),
        }
    }
}

impl Shown {
    fn tell_skipped(&self) {
        let names = [
            "empty",
            "symbolic links or special files",
            "unreadable or changing",
        ];
        let parts: Vec<String> = names
            .iter()
            .zip(&self.skipped)
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        if !parts.is_empty() {
            tell(&format!("left out: {}", parts.join(", ")));
        }
    }
}

impl Observer for Shown {
    fn found(&self, length: u64) {
        let total = self.total.fetch_add(length, Ordering::Relaxed) + length;
        self.bar.set_length(total);
    }

    fn progress(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    fn seeded(&self, file: &SeededFile<'_>) {
        self.seeded.fetch_add(1, Ordering::Relaxed);
        self.bar.suspend(|| {
            // Serving goes on when nobody reads the list any more.
            let mut out = io::stdout().lock();
            let _ = write_checksum_line(&mut out, &file.sha256, file.path);
            let _ = out.flush();
        });
    }

    fn skipped(&self, path: &Path, why: &Skip) {
        let path = path.display();
        let (kind, line) = match why {
            Skip::OwnStore => return,
            Skip::Empty => (0, None),
            Skip::SymbolicLink | Skip::Special => (1, None),
            Skip::Unreadable(error) => {
                let error = anyhow::anyhow!("{error}");
                let cause = super::exit_codes::one_line(&error);
                (2, Some(format!("cannot read {path}: {cause}")))
            }
            Skip::Changing => (
                2,
                Some(format!("{path} is being changed, so it is left out")),
            ),
            Skip::TooDeep => (2, Some(format!("{path} lies too deep, so it is left out"))),
        };
        if let Some(count) = self.skipped.get(kind) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(line) = line
            && self.lines_left.fetch_sub(1, Ordering::Relaxed) > 0
        {
            self.bar.suspend(|| tell(&line));
        }
    }

    fn wanted(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}
