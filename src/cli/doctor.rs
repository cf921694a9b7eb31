//! `doctor`: what is in force here, and what is wrong.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Result, bail};
use serde::Serialize;

use super::args::{DoctorArgs, LimitArgs};
use super::exit_codes::{self, Outcome};
use super::store_access::{self, Access};
use super::{human, report, settings};
use crate::control::DaemonStatus;
use crate::store::{Limits, Store, Usage};

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    what: &'static str,
    fine: bool,
    found: String,
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, what: &'static str, found: Result<String>) {
        let (fine, found) = match found {
            Ok(found) => (true, found),
            Err(error) => (false, exit_codes::one_line(&error)),
        };
        self.0.push(Check { what, fine, found });
    }
}

pub fn run(args: &DoctorArgs, config: Option<&Path>) -> Result<Outcome> {
    let mut checks = Checks::default();
    checks.add(
        "configuration",
        settings::store_limits(&LimitArgs::default(), config).map(|_| "understood".into()),
    );
    let dir = settings::store_dir(&args.report.store, config)?;
    checks.add("store", Ok(dir.display().to_string()));
    match store_access::open(&args.report.store, config) {
        Ok(Access::Daemon(_)) if args.rebuild => {
            bail!("a daemon runs for this store; stop it to have the index made again")
        }
        Ok(Access::Daemon(client)) => daemon(&mut checks, &client.status()?),
        Ok(Access::Store(store)) => {
            if args.rebuild {
                let rebuilt = store
                    .rebuild_index()
                    .map(|()| "made again from the files".into());
                checks.add("rebuilding", rebuilt.map_err(Into::into));
            }
            let limits = settings::store_limits(&LimitArgs::default(), config).unwrap_or_default();
            opened(&mut checks, &store, limits);
        }
        Err(error) => checks.add("index", Err(error)),
    }
    checks.add("FUSE", fuse());
    checks.add("mounting", mounting());
    checks.add("passthrough", Ok(passthrough()));
    let mut out = io::stdout().lock();
    if args.report.json {
        report::write_json(&mut out, &checks.0)?;
    } else {
        let rows: Vec<Vec<String>> = checks
            .0
            .iter()
            .map(|check| {
                let mark = if check.fine { "ok" } else { "WRONG" };
                vec![check.what.to_owned(), mark.to_owned(), check.found.clone()]
            })
            .collect();
        human::table(&mut out, &rows, false)?;
    }
    out.flush()?;
    let fine = checks.0.iter().all(|check| check.fine);
    Ok(if fine { Outcome::Done } else { Outcome::Failed })
}

fn daemon(checks: &mut Checks, status: &DaemonStatus) {
    let rights = report::describe(&status.rights);
    let status = &status.node;
    checks.add("daemon", Ok(format!("runs, version {}", status.version)));
    checks.add("rights", Ok(rights));
    let counts = format!(
        "{} held, {} seeded",
        status.contents_held, status.contents_seeded
    );
    checks.add("index", Ok(counts));
    let limits = Limits {
        most: status.store_limit,
        least_free: status.min_free,
    };
    disk(checks, status.disk, limits);
    checks.add("verify", Ok(report::verifying(status.verify).into()));
    if let Some(trouble) = &status.disk_trouble {
        checks.add("writing", Err(anyhow::anyhow!("{}", trouble.reason)));
    }
}

fn opened(checks: &mut Checks, store: &Store, limits: Limits) {
    checks.add("daemon", Ok("none runs".into()));
    let counts = store.counts();
    let text = format!("{} held, {} seeded", counts.held, counts.seeded);
    checks.add("index", Ok(text));
    disk(checks, store.usage().ok(), limits);
    checks.add(
        "set aside",
        match store.aside() {
            Ok(aside) if aside.is_empty() => Ok("nothing has rotted".into()),
            Ok(aside) => Err(anyhow::anyhow!(
                "{} rotten files in {}",
                aside.len(),
                store.dir().join("aside").display()
            )),
            Err(error) => Err(error.into()),
        },
    );
}

fn disk(checks: &mut Checks, usage: Option<Usage>, limits: Limits) {
    let Some(usage) = usage else {
        checks.add(
            "disk",
            Err(anyhow::anyhow!("it cannot be told what is free")),
        );
        return;
    };
    let taken = usage.complete.saturating_add(usage.partial);
    let text = format!(
        "{} taken, {} free",
        human::bytes(taken),
        human::bytes(usage.free)
    );
    checks.add("disk", Ok(text));
    let limit = |limit: Option<u64>| limit.map_or("none".to_owned(), human::bytes);
    let text = format!(
        "takes at most: {}; leaves free: {}",
        limit(limits.most),
        limit(limits.least_free)
    );
    let over = limits.most.is_some_and(|most| taken > most)
        || limits.least_free.is_some_and(|least| usage.free < least);
    checks.add(
        "limits",
        if over {
            Err(anyhow::anyhow!("{text}: exceeded"))
        } else {
            Ok(text)
        },
    );
}

fn fuse() -> Result<String> {
    let systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !Path::new("/dev/fuse").exists() {
        bail!("there is no /dev/fuse");
    }
    if !can("/dev/fuse", libc::R_OK | libc::W_OK) {
        bail!("no permission to open /dev/fuse");
    }
    if !systems.lines().any(|line| line.trim() == "nodev\tfuse") {
        return Ok("/dev/fuse is there; the kernel loads its module when it is used".into());
    }
    Ok(format!("Linux {}", kernel()))
}

fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    release.map_or("of unknown version".into(), |text| text.trim().to_owned())
}

fn mounting() -> Result<String> {
    if is_root() {
        return Ok("as root, without a helper".into());
    }
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join("fusermount3").is_file())
    });
    if !found {
        bail!("fusermount3 is not installed (Debian: apt-get install fuse3)");
    }
    let fuse_conf = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    let others = fuse_conf
        .lines()
        .any(|line| line.trim() == "user_allow_other");
    let others = if others { "can" } else { "cannot" };
    Ok(format!("by fusermount3; --allow-other {others} be used"))
}

fn passthrough() -> String {
    let release = kernel();
    let mut numbers = release
        .split(['.', '-'])
        .map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    match (version >= (6, 9), is_root()) {
        (true, true) => "the kernel can, and this user may".into(),
        (true, false) => "the kernel can; only root may".into(),
        (false, _) => "needs Linux 6.9".into(),
    }
}

fn is_root() -> bool {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn can(path: &str, mode: libc::c_int) -> bool {
    let Ok(path) = CString::new(path) else {
        return false;
    };
    // SAFETY: the path is a C string that outlives the call.
    unsafe { libc::access(path.as_ptr(), mode) == 0 }
}
