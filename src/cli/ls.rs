//! `ls`: what the store holds.

mod seeding;

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::args::{LsArgs, ReportArgs};
use super::exit_codes::Outcome;
use super::human;
use super::network_list;
use super::store_access::{self, Access};
use crate::store::{Held, HeldAs};

/// Entries asked for at a time.
const PAGE: usize = 1000;

pub fn run(args: &LsArgs, config: Option<&Path>) -> Result<Outcome> {
    if args.network {
        return network_list::all(&args.report, config);
    }
    if args.seeding {
        return seeding::run(&args.report, config);
    }
    list_held(&args.report, config)
}

fn list_held(args: &ReportArgs, config: Option<&Path>) -> Result<Outcome> {
    let access = store_access::open(&args.store, config)?;
    let mut out = io::stdout().lock();
    let mut from: Option<String> = None;
    let mut first = true;
    loop {
        let (held, next) = match &access {
            Access::Daemon(client) => client.held(from.as_deref())?,
            Access::Store(store) => store.held(from.as_deref(), PAGE)?,
        };
        for held in held {
            if args.json {
                write!(out, "{}", if first { "[\n  " } else { ",\n  " })?;
                serde_json::to_writer(&mut out, &held).map_err(io::Error::from)?;
            } else {
                if first {
                    write_line(&mut out, HEADER.map(str::to_owned), "NAME")?;
                }
                write_held(&mut out, &held)?;
            }
            first = false;
        }
        match next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    if args.json {
        writeln!(out, "{}", if first { "[]" } else { "\n]" })?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

const HEADER: [&str; 5] = ["LENGTH", "ON DISK", "HERE", "USED", "PINNED"];
/// Columns of a fixed width, since a list may be long and is written as it comes.
const WIDTHS: [usize; 5] = [10, 10, 8, 14, 6];

fn write_line(out: &mut impl Write, cells: [String; 5], name: &str) -> io::Result<()> {
    for (cell, width) in cells.iter().zip(WIDTHS) {
        write!(out, "{cell:>width$}  ")?;
    }
    writeln!(out, "{name}")
}

fn write_held(out: &mut impl Write, held: &Held) -> io::Result<()> {
    let here = match held.state {
        HeldAs::Complete => "all".to_owned(),
        HeldAs::Seeded => "seeded".to_owned(),
        HeldAs::Partial => human::percent(held.present, held.length),
    };
    let cells = [
        human::bytes(held.length),
        human::bytes(held.on_disk),
        here,
        held.used.map_or("-".to_owned(), ago),
        if held.pinned { "yes" } else { "-" }.to_owned(),
    ];
    let name = match &held.path {
        Some(path) => format!("{}  {}", held.id, path.display()),
        None => held.id.clone(),
    };
    write_line(out, cells, &name)
}

/// How long ago that was, in seconds since 1970.
fn ago(used: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    format!(
        "{} ago",
        human::duration(Duration::from_secs(now.saturating_sub(used)))
    )
}
