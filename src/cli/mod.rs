//! The commands: one file each, and beside them what they share.
//!
//! A command returns how it ended or an error; only here is the error printed and the exit code
//! chosen.

mod args;
mod background;
mod beneath;
mod borrow;
mod checksum_line;
mod config_file;
mod descriptor_limit;
mod doctor;
mod exit_codes;
mod explain;
mod export;
#[doc(hidden)]
pub mod fuzzing;
mod gc;
mod generate;
mod get;
mod get_folder;
mod hash;
mod human;
mod import;
mod logging;
mod ls;
mod mount;
mod network_list;
mod node_run;
mod pin;
mod progress;
mod publish;
mod report;
mod seed;
mod settings;
mod signals;
mod store_access;
mod umount;
mod unseed;
mod user;
mod values;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{Args, Command};
use exit_codes::Outcome;

use crate::mount::helper;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    match helper::serve() {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(_)) => return ExitCode::FAILURE,
        None => {}
    }
    let args = Args::parse();
    let parent = background::Parent::of_this_process();
    logging::start(args.verbose, parent.is_some());
    match run(args, parent.as_ref()) {
        Ok(outcome) => outcome.into(),
        Err(error) if exit_codes::is_broken_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            let line = exit_codes::one_line(&error);
            match parent {
                Some(parent) => parent.tell_failure(&line),
                None => tell(&line),
            }
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args, parent: Option<&background::Parent>) -> Result<Outcome> {
    let config = args.config.as_deref();
    match &args.command {
        Command::Mount(mount) => user::become_named(&mount.user)?,
        Command::Seed(seed) => user::become_named(&seed.user)?,
        _ => {}
    }
    match args.command {
        Command::Mount(mount) => mount::run(&mount, config, parent),
        Command::Umount(umount) => umount::run(&umount, config),
        Command::Seed(seed) => seed::run(&seed, config),
        Command::Unseed(unseed) => unseed::run(&unseed, config),
        Command::Get(get) => get::run(&get, config),
        Command::Hash(hash) => hash::run(&hash),
        Command::Status(status) => report::status(&status, config),
        Command::Peers(peers) => report::peers(&peers, config),
        Command::Recent(recent) => network_list::recent(&recent, config),
        Command::Explain(explain) => explain::run(&explain, config),
        Command::Publish(publish) => publish::publish(&publish, config),
        Command::Unpublish(unpublish) => publish::unpublish(&unpublish, config),
        Command::Ls(ls) => ls::run(&ls, config),
        Command::Pin(pin) => pin::pin(&pin, config),
        Command::Unpin(pin) => pin::unpin(&pin, config),
        Command::Gc(gc) => gc::run(&gc, config),
        Command::Verify(verify) => verify::run(&verify, config),
        Command::Import(import) => import::run(&import, config),
        Command::Doctor(doctor) => doctor::run(&doctor, config),
        Command::Completions { shell } => generate::completions(shell),
        Command::Man => generate::man(),
    }
}

/// One line on standard error. That nobody may read it is no reason to fail.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "cjp2pfs: {line}");
}
