//! `mount`.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::args::MountArgs;
use super::background::{self, Parent};
use super::exit_codes::Outcome;
use super::{node_run, settings, signals, tell};
use crate::control::{Daemon, Server};
use crate::mount::{Mounted, Mounter, NodeSource};
use crate::node::calls::{self, Threads};
use crate::node::publishing;
use crate::node::rights;
use crate::node::seeding::{self, Seeder};

/// The part of the time to end that unmounting may take; the node gets the rest.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(1);

/// Why a mount ends.
enum Ending {
    Signal(i32),
    /// A client of the control socket wants it.
    Asked,
    /// Someone unmounted the folder.
    Unmounted,
}

pub fn run(args: &MountArgs, config: Option<&Path>, parent: Option<&Parent>) -> Result<Outcome> {
    let node_config = settings::node_config(&args.node, args.complete, config)?;
    let options = settings::mount_options(args, config)?;
    match parent {
        None if !args.foreground => return background::start(&node_config.store),
        None => {}
        Some(parent) => parent.leave_its_session(),
    }
    // Others need a helper that is setuid to mount and to unmount.
    // SAFETY: it takes and touches nothing.
    let needs_no_helper = unsafe { libc::geteuid() } == 0;
    if needs_no_helper {
        rights::gain_no_privileges();
    }
    let passes = needs_no_helper && !options.no_passthrough;
    let mounter = mounter(&args.mountpoint, passes, &node_config.store);
    if mounter.is_some() {
        node_run::confine(&node_config.store)?;
    }
    let bound = node_run::bind(&node_config)?;
    // Before there are threads: each has its own.
    if mounter.is_some() {
        rights::keep_no_capabilities();
    }
    let notice = |line: &str| match parent {
        Some(parent) => parent.tell_notice(line),
        None => tell(line),
    };

    let (end, ended) = mpsc::channel();
    let signalled = end.clone();
    signals::on_first_signal(move |signal| {
        let _ = signalled.send(Ending::Signal(signal));
    })
    .context("cannot listen for signals")?;

    let node = node_run::start_on(node_config, bound, notice)?;
    let store = node.store().dir().to_owned();
    let seeder = Seeder::start(node.store().clone(), seeding::Options::default(), &[])
        .context("cannot start seeding")?;
    publishing::follow(&node, &seeder);
    let source = NodeSource::new(node.clone(), store).with_seeder(seeder.clone());
    let mounted = Arc::new(match mounter {
        Some(mounter) => mounter.mount(source, options)?,
        None => {
            let mounted = Mounted::start(source, &args.mountpoint, options)?;
            if needs_no_helper {
                calls::give_up(Threads::All);
            }
            mounted
        }
    });
    let asked = end.clone();
    let server = Server::start(Daemon {
        node: node.clone(),
        command: "mount",
        mountpoint: Some(mounted.path().to_owned()),
        seeder: Some(seeder.clone()),
        on_stop: Box::new(move || {
            let _ = asked.send(Ending::Asked);
        }),
    })?;
    let watched = Arc::clone(&mounted);
    thread::Builder::new()
        .name("unmounted".into())
        .spawn(move || {
            watched.wait_until_detached();
            let _ = end.send(Ending::Unmounted);
        })
        .context("cannot watch the mount")?;

    let wanted = match parent {
        None => true,
        Some(parent) => {
            // Not to keep some other mount busy by standing in it.
            let _ = std::env::set_current_dir("/");
            parent.tell_ready().is_ok()
        }
    };
    if wanted {
        seeder
            .resume(&[])
            .context("cannot go on with what was seeded before")?;
        match ended.recv() {
            Ok(Ending::Signal(signal)) => tracing::info!(signal, "ending"),
            Ok(Ending::Asked) => tracing::info!("asked to end"),
            Ok(Ending::Unmounted) | Err(_) => tracing::info!("unmounted"),
        }
    }

    let since = Instant::now();
    seeder.stop();
    let unmounted = mounted.unmount(UNMOUNT_LIMIT);
    drop(server);
    node_run::stop(&node, signals::END_LIMIT.saturating_sub(since.elapsed()))?;
    unmounted?;
    Ok(Outcome::Done)
}

/// Who mounts and unmounts while the rest of this process may not. Without, it may do more.
fn mounter(mountpoint: &Path, passes: bool, store: &Path) -> Option<Mounter> {
    let store = store.to_owned();
    let give_up = move || {
        rights::write_only_in(&store);
        calls::give_up(Threads::This);
        rights::keep_no_capabilities();
    };
    Mounter::start(mountpoint, passes, give_up)
        .inspect_err(|error| tracing::warn!(%error, "this process keeps all rights of its user"))
        .ok()
}
