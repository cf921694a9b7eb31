//! `ls --network` and `recent`: what the peers say that they have.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::args::{RecentArgs, ReportArgs};
use super::exit_codes::Outcome;
use super::human;
use super::report;
use crate::node::NetworkContent;

/// Prints what peers say that they have, the latest named first.
pub fn recent(args: &RecentArgs, config: Option<&Path>) -> Result<Outcome> {
    let mut listed = report::client(&args.report, config)?.network()?;
    listed.truncate(args.limit);
    print(&args.report, &listed)
}

/// Prints all of it, what most of them have first.
pub fn all(args: &ReportArgs, config: Option<&Path>) -> Result<Outcome> {
    let mut listed = report::client(args, config)?.network()?;
    listed.sort_by(|a, b| b.peers.cmp(&a.peers).then_with(|| a.id.cmp(&b.id)));
    print(args, &listed)
}

fn print(args: &ReportArgs, listed: &[NetworkContent]) -> Result<Outcome> {
    let mut out = io::stdout().lock();
    if args.json {
        report::write_json(&mut out, &listed)?;
    } else {
        write_table(&mut out, listed)?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

fn write_table(out: &mut impl Write, listed: &[NetworkContent]) -> io::Result<()> {
    let mut rows = vec![report::header(&["ID", "LENGTH", "PEERS", "HERE", "NAMED"])];
    for content in listed {
        let ago = Duration::try_from_secs_f64(content.named_seconds_ago).unwrap_or_default();
        rows.push(vec![
            content.id.clone(),
            human::bytes(content.length),
            content.peers.to_string(),
            if content.held { "yes" } else { "no" }.to_owned(),
            format!("{} ago", human::duration(ago)),
        ]);
    }
    human::table(out, &rows, true)
}
