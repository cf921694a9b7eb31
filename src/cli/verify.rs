//! `verify`.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};

use super::args::VerifyArgs;
use super::exit_codes::Outcome;
use super::store_access::{self, Access};
use super::{human, progress, signals, tell};
use crate::content::ContentId;
use crate::control::{ClientError, ScrubEvent};
use crate::store::Store;

/// What was seen so far.
#[derive(Default)]
struct Seen {
    files: u64,
    bytes: u64,
    bad: u64,
}

impl Seen {
    fn take_in(&mut self, event: &ScrubEvent, say: impl Fn(&str)) {
        match event {
            ScrubEvent::Right { length, .. } => {
                self.files += 1;
                self.bytes += length;
            }
            ScrubEvent::Rotten { id, length, aside } => {
                self.files += 1;
                self.bytes += length;
                self.bad += 1;
                say(&format!("{id} is rotten: set aside as {}", aside.display()));
            }
            ScrubEvent::Unreadable { id, reason } => {
                self.files += 1;
                self.bad += 1;
                say(&format!("{id} cannot be read: {reason}"));
            }
            ScrubEvent::FetchedAgain { id } => say(&format!("{id} was fetched again")),
            ScrubEvent::NotFetched { id, reason } => {
                say(&format!("{id} cannot be fetched again: {reason}"));
            }
            ScrubEvent::Done { .. } | ScrubEvent::Failed { .. } => {}
        }
    }
}

pub fn run(args: &VerifyArgs, config: Option<&Path>) -> Result<Outcome> {
    let signalled = Arc::new(AtomicI32::new(0));
    let signal = Arc::clone(&signalled);
    signals::on_first_signal(move |number| signal.store(number, Ordering::Relaxed))
        .context("cannot listen for signals")?;
    let access = store_access::open(&args.store, config)?;
    let bar = progress::bar(0, "verifying");
    let seen = Mutex::new(Seen::default());
    let hear = |event: &ScrubEvent| {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.take_in(event, |line| bar.suspend(|| tell(line)));
        bar.set_position(seen.bytes);
    };
    let wanted = || signalled.load(Ordering::Relaxed) == 0;
    match &access {
        Access::Daemon(client) => {
            let done = client.scrub(&args.ids, |event| {
                if let Some(event) = event {
                    hear(event);
                }
                if wanted() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            match done {
                Err(ClientError::Interrupted) => {}
                done => done?,
            }
        }
        Access::Store(store) => {
            let ids = held(store, &args.ids)?;
            store.scrub(ids.as_deref(), &|id, length, verdict| {
                hear(&ScrubEvent::of(id, length, verdict));
                wanted()
            })?;
        }
    }
    bar.finish_and_clear();
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !args.ids.is_empty() && seen.files == 0 && wanted() {
        bail!("none of that is held");
    }
    let mut out = std::io::stdout().lock();
    let bytes = human::bytes(seen.bytes);
    writeln!(
        out,
        "{} files with {bytes} read, {} not right",
        seen.files, seen.bad
    )?;
    Ok(match (signalled.load(Ordering::Relaxed), seen.bad) {
        (0, 0) => Outcome::Done,
        (0, _) => Outcome::Failed,
        (signal, _) => Outcome::Interrupted(signal),
    })
}

/// The ids under which the store has files of its own.
fn held(store: &Store, ids: &[ContentId]) -> Result<Option<Vec<ContentId>>> {
    if ids.is_empty() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for id in ids {
        found.push(*id);
        found.extend(store.paired(id));
    }
    Ok(Some(found))
}
