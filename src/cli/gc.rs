//! `gc`: gives up content until the limits are kept.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;

use super::args::GcArgs;
use super::exit_codes::Outcome;
use super::store_access::{self, Access};
use super::{human, settings, tell};
use crate::control::Removed;

pub fn run(args: &GcArgs, config: Option<&Path>) -> Result<Outcome> {
    let given = args.limits.store_limit.is_some() || args.limits.min_free.is_some();
    let limits = settings::store_limits(&args.limits, config)?;
    let removed: Vec<Removed> = match store_access::open(&args.store, config)? {
        Access::Daemon(client) => client.collect(given.then_some(limits), args.dry_run)?,
        Access::Store(store) => {
            let gone = store.collect(Some(limits), args.dry_run)?;
            gone.into_iter().map(Removed::from).collect()
        }
    };
    let mut out = io::stdout().lock();
    let mut bytes = 0u64;
    for gone in &removed {
        bytes = bytes.saturating_add(gone.on_disk);
        let part = if gone.complete { "" } else { "  (partial)" };
        writeln!(out, "{:>10}  {}{part}", human::bytes(gone.on_disk), gone.id)?;
    }
    out.flush()?;
    let what = if args.dry_run {
        "would be given up"
    } else {
        "were given up"
    };
    tell(&format!(
        "{} files with {} {what}",
        removed.len(),
        human::bytes(bytes)
    ));
    Ok(Outcome::Done)
}
