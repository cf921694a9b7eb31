//! `publish` and `unpublish`.
//!
//! With a daemon it does the work, so that it also knows at once; without one the store is used
//! directly, and the next daemon tells of it.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow, bail};

use super::args::{PublishArgs, UnpublishArgs};
use super::exit_codes::Outcome;
use super::store_access::{self, Access};
use super::{progress, report, settings, signals, tell};
use crate::content::{KeyedName, PublishedName};
use crate::control::{Client, ClientError, PublishEvent, PublishedEntry};
use crate::node;
use crate::node::publishing::{PublishError, prepare};
use crate::store::{Published, Store};

pub fn publish(args: &PublishArgs, config: Option<&Path>) -> Result<Outcome> {
    let Some(path) = &args.path else {
        return list(args, config);
    };
    let dir = settings::store_dir(&args.store, config)?;
    let client = Client::new(&dir)?;
    let path = std::path::absolute(path)
        .with_context(|| format!("cannot use {} as a path", path.display()))?;
    std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => default_name(&path)?,
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    signals::on_first_signal(move |_| flag.store(true, Ordering::Relaxed))
        .context("cannot listen for signals")?;
    let bar = progress::bar(0, "hashing");
    let result = client.publish(&path, &name, |event| {
        if let PublishEvent::Hashing { done, length } = event {
            bar.set_length(*length);
            bar.set_position(*done);
        }
        if interrupted.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let entry = match result {
        Err(ClientError::NoDaemon { .. }) => {
            let store = open(&dir)?;
            let told = |done, length| {
                bar.set_length(length);
                bar.set_position(done);
                !interrupted.load(Ordering::Relaxed)
            };
            let prepared = match prepare(&store, None, &path, &name, &told) {
                Err(PublishError::Interrupted) => return Ok(Outcome::Interrupted(libc::SIGINT)),
                prepared => prepared?,
            };
            let (sha256, real) = prepared;
            let signed = node::publish(&store, &store.node_key()?, &name, sha256, &real)?;
            let published = Published {
                name,
                sha256,
                seq: signed.seq,
                path: real,
            };
            bar.finish_and_clear();
            tell("no daemon runs for this store: others are told when one does");
            PublishedEntry::new(&signed.of.key, &published)
        }
        Err(ClientError::Interrupted) => return Ok(Outcome::Interrupted(libc::SIGINT)),
        result => result?,
    };
    bar.finish_and_clear();
    let mut out = io::stdout().lock();
    if args.json {
        report::write_json(&mut out, &entry)?;
    } else {
        writeln!(out, "latest/{}/{}", entry.key, entry.name)?;
    }
    Ok(Outcome::Done)
}

fn open(dir: &Path) -> Result<Store> {
    Ok(Store::open(dir)?)
}

/// The path's last part, as `cp` would name it.
fn default_name(path: &Path) -> Result<PublishedName> {
    let real = std::fs::canonicalize(path);
    let named = path
        .file_name()
        .or_else(|| real.as_ref().ok().and_then(|real| real.file_name()));
    let text = named.and_then(|name| name.to_str()).ok_or_else(|| {
        anyhow!(
            "{} does not end in a name that can be used; give --name",
            path.display()
        )
    })?;
    text.parse()
        .with_context(|| format!("`{text}` cannot be used; give --name"))
}

fn list(args: &PublishArgs, config: Option<&Path>) -> Result<Outcome> {
    let entries = match store_access::open(&args.store, config)? {
        Access::Daemon(client) => client.published()?,
        Access::Store(store) => {
            let key = store.node_key()?.public();
            let entry = |published: &Published| PublishedEntry::new(&key, published);
            store.published()?.iter().map(entry).collect()
        }
    };
    let mut out = io::stdout().lock();
    if args.json {
        report::write_json(&mut out, &entries)?;
        return Ok(Outcome::Done);
    }
    for entry in entries {
        writeln!(
            out,
            "{}  latest/{}/{}  {}",
            entry.sha256, entry.key, entry.name, entry.path
        )?;
    }
    Ok(Outcome::Done)
}

pub fn unpublish(args: &UnpublishArgs, config: Option<&Path>) -> Result<Outcome> {
    let was = match store_access::open(&args.store, config)? {
        Access::Daemon(client) => client.unpublish(&args.name)?,
        Access::Store(store) => {
            let key = store.node_key()?.public();
            store.unpublish(&KeyedName {
                key,
                name: args.name.clone(),
            })?
        }
    };
    if !was {
        bail!("nothing is published under the name {}", args.name);
    }
    Ok(Outcome::Done)
}
