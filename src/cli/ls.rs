//! `ls`.

mod seeding;

use std::path::Path;

use anyhow::Result;

use super::args::LsArgs;
use super::exit_codes::Outcome;

pub fn run(args: &LsArgs, config: Option<&Path>) -> Result<Outcome> {
    seeding::run(&args.report, config)
}
