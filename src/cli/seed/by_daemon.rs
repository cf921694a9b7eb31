//! Seeding that a running daemon does: this command only shows it.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context, Result};

use super::super::args::SeedArgs;
use super::super::exit_codes::Outcome;
use super::super::{signals, tell};
use super::shown::Shown;
use crate::content::Hash;
use crate::control::{Client, ClientError, SeedEvent, SeedRequest, ToldPath};

pub fn run(client: &Client, args: &SeedArgs) -> Result<Outcome> {
    let mut paths = Vec::new();
    for path in &args.paths {
        let path =
            std::path::absolute(path).with_context(|| format!("cannot read {}", path.display()))?;
        paths.push(ToldPath::from(&*path));
    }
    let signalled = Arc::new(AtomicI32::new(0));
    let number = Arc::clone(&signalled);
    signals::on_first_signal(move |signal| number.store(signal, Ordering::Relaxed))
        .context("cannot listen for signals")?;
    let request = SeedRequest {
        paths,
        once: args.once,
    };
    let shown = Shown::default();
    let seeded = client.seed(&request, |event| {
        if let Some(event) = event {
            show(&shown, event);
        }
        match signalled.load(Ordering::Relaxed) {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    });
    shown.bar.finish_and_clear();
    match seeded {
        Ok(files) => {
            shown.tell_skipped();
            let Some(served) = shown.served(files) else {
                tell("nothing to serve");
                return Ok(Outcome::Failed);
            };
            tell(&format!("the daemon of this store serves {served}"));
            Ok(Outcome::Done)
        }
        Err(ClientError::Interrupted) => {
            tell("the daemon goes on hashing; unseed ends that");
            Ok(Outcome::Interrupted(signalled.load(Ordering::Relaxed)))
        }
        Err(error) => Err(error.into()),
    }
}

fn show(shown: &Shown, event: &SeedEvent) {
    match event {
        SeedEvent::Progress { files, found, done } => shown.show_progress(*files, *found, *done),
        SeedEvent::Seeded { path, sha256 } => {
            if let Some(sha256) = Hash::from_hex(sha256) {
                shown.show_seeded(path.as_path(), &sha256);
            }
        }
        SeedEvent::Skipped { path, why, reason } => {
            shown.show_skipped(path.as_path(), why, reason.as_deref());
        }
        SeedEvent::Folder { path, id, reason } => {
            let path: &Path = path.as_path();
            match id {
                Some(id) => shown.show_folder(path, Ok(id)),
                None => shown.show_folder(path, Err(reason.as_deref().unwrap_or("unknown"))),
            }
        }
        SeedEvent::Done { .. } | SeedEvent::Failed { .. } => {}
    }
}
