//! `pin` and `unpin`.

use std::path::Path;

use anyhow::{Context, Result};

use super::args::PinArgs;
use super::exit_codes::Outcome;
use super::store_access::{self, Access};
use super::tell;
use crate::content::ContentId;

pub fn pin(args: &PinArgs, config: Option<&Path>) -> Result<Outcome> {
    change(args, config, true)
}

pub fn unpin(args: &PinArgs, config: Option<&Path>) -> Result<Outcome> {
    change(args, config, false)
}

fn change(args: &PinArgs, config: Option<&Path>, pin: bool) -> Result<Outcome> {
    let access = store_access::open(&args.store, config)?;
    for id in &args.ids {
        let changed = set(&access, id, pin)
            .with_context(|| format!("cannot {} {id}", if pin { "pin" } else { "unpin" }))?;
        if !changed {
            let already = if pin { "pinned already" } else { "not pinned" };
            tell(&format!("{id} is {already}"));
        }
    }
    Ok(Outcome::Done)
}

fn set(access: &Access, id: &ContentId, pin: bool) -> Result<bool> {
    Ok(match (access, pin) {
        (Access::Daemon(client), _) => client.set_pinned(id, pin)?,
        (Access::Store(store), true) => store.pin(id)?,
        (Access::Store(store), false) => store.unpin(id)?,
    })
}
