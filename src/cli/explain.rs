//! `explain`: why content is not here yet. First the answer in a few lines, then what it rests on.

mod answer;
mod tables;

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;

use super::args::ExplainArgs;
use super::exit_codes::Outcome;
use super::report;

pub fn run(args: &ExplainArgs, config: Option<&Path>) -> Result<Outcome> {
    let told = report::client(&args.report, config)?.explain(&args.id)?;
    let mut out = io::stdout().lock();
    if args.report.json {
        report::write_json(&mut out, &told)?;
    } else {
        for line in answer::lines(&told) {
            writeln!(out, "{line}")?;
        }
        tables::write(&mut out, &told)?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}
