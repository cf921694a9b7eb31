//! `ls --seeding`: what is given to others from where it lies.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;

use super::super::args::ReportArgs;
use super::super::exit_codes::Outcome;
use super::super::report::write_json;
use super::super::store_access::{self, Access};
use super::super::{human, tell};
use crate::control::Seeding;
use crate::node::seeding::statuses;

pub fn run(args: &ReportArgs, config: Option<&Path>) -> Result<Outcome> {
    let all = match store_access::open(&args.store, config)? {
        Access::Daemon(client) => client.seeding()?,
        // What would be seeded if a daemon ran.
        Access::Store(store) => {
            let all = statuses(&store).into_iter().filter(|root| !root.once);
            all.map(Seeding::from).collect()
        }
    };
    let mut out = io::stdout().lock();
    if args.json {
        write_json(&mut out, &all)?;
    } else {
        write_table(&mut out, &all)?;
        if all.iter().any(|one| one.watch == "rescans") {
            tell(
                "changes are looked for every minute only, since the system gives no more watches \
                 (fs.inotify.max_user_watches)",
            );
        }
    }
    out.flush()?;
    Ok(Outcome::Done)
}

fn write_table(out: &mut impl Write, all: &[Seeding]) -> io::Result<()> {
    if all.is_empty() {
        return Ok(());
    }
    let words = |words: [&str; 5]| words.map(str::to_owned).to_vec();
    let mut rows = vec![words(["FILES", "SIZE", "STATE", "FOLDER", "PATH"])];
    for one in all {
        let state = match one.hashing {
            Some((done, found)) => format!("hashing {}", human::percent(done, found)),
            None if one.once => "once".to_owned(),
            None => "seeded".to_owned(),
        };
        rows.push(vec![
            one.files.to_string(),
            human::bytes(one.bytes),
            state,
            one.id.clone().unwrap_or_else(|| "-".to_owned()),
            one.path.as_path().display().to_string(),
        ]);
    }
    human::table(out, &rows, false)
}
