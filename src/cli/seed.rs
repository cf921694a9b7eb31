//! `seed`.
//!
//! The daemon of the store seeds, if one runs; else a node in this process does, until it is told to
//! end.

mod by_daemon;
mod shown;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::{Context, Result};

use super::args::SeedArgs;
use super::exit_codes::Outcome;
use super::{node_run, settings, signals, tell};
use crate::control::{Client, ClientError, Daemon, Server};
use crate::node::publishing;
use crate::node::seeding::{Options, SeededRoot, Seeder};
use crate::store::StoreError;
use shown::Shown;

/// What ends the command or the hashing.
enum Event {
    Hashed(Result<Vec<SeededRoot>, StoreError>),
    End,
}

pub fn run(args: &SeedArgs, config: Option<&Path>) -> Result<Outcome> {
    let node_config = settings::node_config(&args.node, None, config)?;
    // A name that was mistyped is told at once, not after hours of hashing the others.
    for path in &args.paths {
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let client = Client::new(&node_config.store)?;
    match client.status() {
        Ok(_) => return by_daemon::run(&client, args),
        Err(ClientError::NoDaemon { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    drop(client);
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
    let options = Options {
        background: false,
        ..Options::default()
    };
    let named: Vec<PathBuf> = args
        .paths
        .iter()
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    let seeder =
        Seeder::start(node.store().clone(), options, &named).context("cannot start seeding")?;
    publishing::follow(&node, &seeder);
    seeder
        .resume(&named)
        .context("cannot go on with what was seeded before")?;
    let (asked, stop) = (tell_event.clone(), Arc::clone(&shown));
    let server = Server::start(Daemon {
        node: node.clone(),
        command: "seed",
        mountpoint: None,
        seeder: Some(seeder.clone()),
        on_stop: Box::new(move || {
            stop.stop.store(true, Ordering::Relaxed);
            let _ = asked.send(Event::End);
        }),
    })?;
    let (hasher, paths, once) = (seeder.clone(), args.paths.clone(), args.once);
    let observer = Arc::clone(&shown);
    let hashing = thread::Builder::new()
        .name("seeding".into())
        .spawn(move || {
            let result = hasher.seed_if_any(&paths, once, &*observer);
            let _ = tell_event.send(Event::Hashed(result));
        })
        .context("cannot start hashing")?;

    let mut outcome = Ok(Outcome::Done);
    while let Ok(Event::Hashed(result)) = events.recv() {
        shown.bar.finish_and_clear();
        match result {
            Err(error) => {
                outcome = Err(error.into());
                break;
            }
            Ok(_) if shown.stop.load(Ordering::Relaxed) => break,
            Ok(roots) => shown.show_folders(&roots),
        }
        shown.tell_skipped();
        let Some(served) = shown.served(shown.seeded.load(Ordering::Relaxed)) else {
            tell("nothing to serve");
            outcome = Ok(Outcome::Failed);
            break;
        };
        let _ = writeln!(
            io::stderr(),
            "serving {served} on {}; Ctrl-C ends",
            node.local_addr()
        );
    }
    shown.bar.finish_and_clear();
    seeder.stop();
    // It looks at the wish to stop at least once per MiB; a disk that hangs is not waited for.
    drop(hashing);
    drop(server);
    node_run::stop(&node, signals::END_LIMIT)?;
    outcome
}
