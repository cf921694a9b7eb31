//! `unseed`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::args::UnseedArgs;
use super::exit_codes::{Outcome, one_line};
use super::{settings, tell};
use crate::control::{Client, ClientError, ToldPath, UnseedRequest};
use crate::mount::limited::within;
use crate::node::seeding::unseed;
use crate::store::Store;

/// How long a disk has to tell where a path leads.
const PATIENCE: Duration = Duration::from_secs(2);

/// What serves a path no longer, and tells how many files that were.
type By = dyn Fn(&Path) -> Result<u64>;

pub fn run(args: &UnseedArgs, config: Option<&Path>) -> Result<Outcome> {
    let dir = settings::store_dir(&args.store, config)?;
    let client = Client::new(&dir)?;
    let by: Box<By> = match client.status() {
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

/// Where it lies. What is gone, or on a disk that hangs, is taken at its word.
fn real(path: &Path) -> Result<PathBuf> {
    let asked = path.to_owned();
    match within(PATIENCE, move || asked.canonicalize()) {
        Some(Ok(real)) => Ok(real),
        Some(Err(_)) | None => std::path::absolute(path)
            .with_context(|| format!("cannot tell where {} is", path.display())),
    }
}
