//! `import`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::args::ImportArgs;
use super::checksum_line::write_checksum_line;
use super::exit_codes::{self, Outcome};
use super::store_access::{self, Access};
use super::tell;
use crate::content::Hash;
use crate::store::Imported;

pub fn run(args: &ImportArgs, config: Option<&Path>) -> Result<Outcome> {
    for path in &args.paths {
        fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let access = store_access::open_or_make(&args.store, config)?;
    let mut out = io::stdout().lock();
    let mut outcome = Outcome::Done;
    for named in &args.paths {
        let mut left = vec![named.clone()];
        while let Some(path) = left.pop() {
            // A link is followed only where it is named.
            let found = if path == *named {
                fs::metadata(&path)
            } else {
                fs::symlink_metadata(&path)
            };
            let taken = found.map_err(anyhow::Error::from).and_then(|found| {
                if found.is_dir() {
                    left.extend(inside(&path)?);
                    return Ok(None);
                }
                if !found.is_file() || found.len() == 0 {
                    tell(&format!(
                        "{} is left out: it has no content",
                        path.display()
                    ));
                    return Ok(None);
                }
                import(&access, &path).map(Some)
            });
            match taken {
                Ok(Some(imported)) => {
                    if let Some(hash) = Hash::from_hex(&imported.sha256) {
                        write_checksum_line(&mut out, &hash, &path)?;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    let why = exit_codes::one_line(&error);
                    tell(&format!("cannot import {}: {why}", path.display()));
                    outcome = Outcome::Failed;
                }
            }
        }
    }
    out.flush()?;
    Ok(outcome)
}

fn import(access: &Access, path: &Path) -> Result<Imported> {
    let path = std::path::absolute(path)?;
    Ok(match access {
        Access::Daemon(client) => client.import(&path)?,
        Access::Store(store) => store.import(&path)?,
    })
}

/// What lies in a folder, the first name last.
fn inside(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}
