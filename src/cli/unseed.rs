//! `unseed`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::args::UnseedArgs;
use super::exit_codes::{Outcome, one_line};
use super::{settings, tell};
use crate::control::{Client, ClientError, ToldPath, UnseedRequest};
use crate::node::seeding::unseed;
use crate::store::Store;

pub fn run(args: &UnseedArgs, config: Option<&Path>) -> Result<Outcome> {
    let dir = settings::store_dir(&args.store, config)?;
    let client = Client::new(&dir)?;
    let mut by: Box<dyn FnMut(&Path) -> Result<u64>> = match client.status() {
        Ok(_) => Box::new(move |path| {
            let request = UnseedRequest {
                path: ToldPath::from(path),
            };
            Ok(client.unseed(&request)?.files)
        }),
        Err(ClientError::NoDaemon { .. }) => {
            let store = Store::open(&dir)?;
            Box::new(move |path| Ok(unseed(&store, path)?))
        }
        Err(error) => return Err(error.into()),
    };
    let mut outcome = Outcome::Done;
    let mut out = io::stdout().lock();
    for path in &args.paths {
        match real(path).and_then(|real| by(&real)) {
            Ok(1) => writeln!(out, "1 file of {} is no longer served", path.display())?,
            Ok(files) => writeln!(
                out,
                "{files} files of {} are no longer served",
                path.display()
            )?,
            Err(error) => {
                tell(&one_line(&error));
                outcome = Outcome::Failed;
            }
        }
    }
    out.flush()?;
    Ok(outcome)
}

/// Where it lies. What is gone is taken at its word.
fn real(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .or_else(|_| std::path::absolute(path))
        .with_context(|| format!("cannot tell where {} is", path.display()))
}
