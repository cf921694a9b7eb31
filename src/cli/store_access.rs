//! The store, for the commands that look after it: by way of its daemon if one runs, or opened here.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::args::StoreArgs;
use super::settings;
use crate::control::{Client, ClientError};
use crate::store::{Store, StoreError};

/// Who is asked.
pub enum Access {
    Daemon(Client),
    Store(Store),
}

/// # Errors
/// There is no store, or it is in use by something that cannot be asked.
pub fn open(args: &StoreArgs, config: Option<&Path>) -> Result<Access> {
    access(args, config, false)
}

/// The same; where there is no store, one is made.
///
/// # Errors
/// As [`open`].
pub fn open_or_make(args: &StoreArgs, config: Option<&Path>) -> Result<Access> {
    access(args, config, true)
}

fn access(args: &StoreArgs, config: Option<&Path>, make: bool) -> Result<Access> {
    let dir = settings::store_dir(args, config)?;
    let client = Client::new(&dir)?;
    match client.status() {
        Ok(_) => return Ok(Access::Daemon(client)),
        Err(ClientError::NoDaemon { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    if !make && !dir.join("version").is_file() {
        bail!("there is no store in {}", dir.display());
    }
    match Store::open(&dir) {
        Ok(store) => Ok(Access::Store(store)),
        Err(error @ StoreError::InUse { .. }) => {
            Err(error).context("another command is at work; try again when it is done")
        }
        Err(error) => Err(error.into()),
    }
}
