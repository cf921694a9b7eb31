//! `recent`: what the peers say that they have.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::args::RecentArgs;
use super::exit_codes::Outcome;
use super::human;
use super::report;
use crate::node::NetworkContent;

/// Prints what peers say that they have, the latest named first.
pub fn recent(args: &RecentArgs, config: Option<&Path>) -> Result<Outcome> {
    let mut listed = report::client(&args.report, config)?.network()?;
    listed.truncate(args.limit);
    let mut out = io::stdout().lock();
    if args.report.json {
        report::write_json(&mut out, &listed)?;
    } else {
        write_table(&mut out, &listed)?;
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
