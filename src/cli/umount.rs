//! `umount`.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::args::UmountArgs;
use super::exit_codes::Outcome;
use super::settings;
use crate::control::Client;
use crate::mount::{resolve, unmount_path};

/// How long the daemon may take; it gives itself no longer.
const LIMIT: Duration = Duration::from_secs(3);
/// Beyond its own limit: the time to be scheduled and torn down.
const GRACE: Duration = Duration::from_millis(500);

pub fn run(args: &UmountArgs, config: Option<&Path>) -> Result<Outcome> {
    let store = settings::store_dir(&args.store, config)?;
    let mountpoint = std::path::absolute(&args.mountpoint)
        .with_context(|| format!("cannot find {}", args.mountpoint.display()))?;
    let Some(daemon) = daemon_of(&store, &mountpoint) else {
        unmount_path(&mountpoint)?;
        return Ok(Outcome::Done);
    };
    let client = Client::new(&store)?;
    if let Err(error) = client.stop() {
        tracing::debug!(%error, "the daemon cannot be asked, so its folder is unmounted");
        unmount_path(&mountpoint)?;
    }
    let until = Instant::now() + LIMIT + GRACE;
    while is_alive(daemon) {
        if Instant::now() > until {
            // Whatever holds the daemon up, the folder can be freed.
            let _ = unmount_path(&mountpoint);
            bail!(
                "the daemon (process {daemon}) has not ended within {} s",
                LIMIT.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(Outcome::Done)
}

/// The process that has mounted the network at `mountpoint`, if it is the daemon of `store`.
fn daemon_of(store: &Path, mountpoint: &Path) -> Option<u32> {
    let status = Client::new(store).ok()?.status().ok()?;
    let serves = status.mountpoint?;
    let same = serves == mountpoint || resolve(mountpoint).is_some_and(|path| serves == path);
    same.then_some(status.pid)
}

/// Whether the process runs. One that has ended and was not yet waited for by its parent has.
fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the name, which stands in parentheses and may hold any character (proc(5)).
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_zombie_is_not_alive() {
        assert!(is_alive(std::process::id()));
        let mut child = Command::new("true").spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while is_alive(child.id()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        assert!(!is_alive(child.id()));
        child.wait().unwrap();
    }
}
