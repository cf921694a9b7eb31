//! `status` and `peers`: what the daemon of the store tells, for people or as JSON.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::args::ReportArgs;
use super::exit_codes::Outcome;
use super::{human, settings};
use crate::control::{Client, DaemonStatus};
use crate::node::rights::Rights;
use crate::node::{PeerStatus, Status, Verify};

pub fn status(args: &ReportArgs, config: Option<&Path>) -> Result<Outcome> {
    let status = client(args, config)?.status()?;
    let mut out = io::stdout().lock();
    if args.json {
        write_json(&mut out, &status)?;
    } else {
        write_status(&mut out, &status)?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

pub fn peers(args: &ReportArgs, config: Option<&Path>) -> Result<Outcome> {
    let peers = client(args, config)?.peers()?;
    let mut out = io::stdout().lock();
    if args.json {
        write_json(&mut out, &peers)?;
    } else {
        write_peers(&mut out, &peers)?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

pub(super) fn client(args: &ReportArgs, config: Option<&Path>) -> Result<Client> {
    let store = settings::store_dir(&args.store, config)?;
    Ok(Client::new(&store)?)
}

pub(super) fn write_json(out: &mut impl Write, value: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)
}

fn write_status(out: &mut impl Write, status: &DaemonStatus) -> io::Result<()> {
    let node = &status.node;
    let what = match &status.mountpoint {
        Some(mountpoint) => format!("{} at {}", status.command, mountpoint.display()),
        None => status.command.clone(),
    };
    let row = |name: &str, text: String| vec![name.to_owned(), text];
    let uptime = Duration::try_from_secs_f64(node.uptime_seconds).unwrap_or_default();
    let rows = [
        row("daemon", format!("{what}, process {}", status.pid)),
        row("rights", describe(&status.rights)),
        row("version", node.version.clone()),
        row("running for", human::duration(uptime)),
        row("listening on", node.address.to_string()),
        row("key", node.public_key.clone()),
        row(
            "peers",
            format!("{} answering of {}", node.peers_answering, node.peers_known),
        ),
        row("fetched", human::bytes(node.bytes_fetched)),
        row("served", human::bytes(node.bytes_served)),
        row("datagrams", datagrams(node)),
        row(
            "content",
            format!(
                "{} held, {} seeded",
                node.contents_held, node.contents_seeded
            ),
        ),
        row("disk", disk(node)),
        row("verify", verifying(node.verify).to_owned()),
        row("waiting", node.operations_waiting.to_string()),
    ];
    human::table(out, &rows, false)?;
    if let Some(trouble) = &node.disk_trouble {
        writeln!(
            out,
            "\n{}: content is read through memory ({} now) and not kept",
            trouble.reason,
            human::bytes(trouble.in_memory)
        )?;
    }
    if node.fetching.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut rows = vec![header(&[
        "FETCHING",
        "LENGTH",
        "HERE",
        "IN FLIGHT",
        "SOURCES",
    ])];
    for fetch in &node.fetching {
        rows.push(vec![
            fetch.id.clone(),
            human::bytes(fetch.length),
            human::percent(fetch.present, fetch.length),
            human::bytes(fetch.in_flight),
            fetch.sources.to_string(),
        ]);
    }
    human::table(out, &rows, true)
}

/// What a daemon may do, in a line.
pub fn describe(rights: &Rights) -> String {
    let root = match (rights.uid, rights.capabilities) {
        (0, 0) => "user 0 without the rights of root".to_owned(),
        (uid, 0) => format!("user {uid}"),
        (0, _) => "root".to_owned(),
        (uid, _) => format!("user {uid} with capabilities"),
    };
    let gains = match rights.no_new_privileges {
        true => "gains none",
        false => "may gain more by setuid programs",
    };
    let writes = match rights.writes_only_in_store {
        true => "writes in its store only",
        false => "writes where its user may",
    };
    let calls = match (rights.calls_refused, rights.writes_only_in_store) {
        (true, _) => "; runs no programs, makes no unusual system calls",
        (false, true) => "; runs no programs",
        (false, false) => "",
    };
    format!("{root}; {gains}; {writes}{calls}")
}

/// What is given out before it is proven, in a line.
pub fn verifying(verify: Verify) -> &'static str {
    match verify {
        Verify::Auto => "auto: gives programs parts before the whole is proven, peers nothing",
        Verify::Strict => "strict: gives nothing that is not proven",
    }
}

fn datagrams(node: &Status) -> String {
    let (came, went, dropped) = (
        node.datagrams_in,
        node.datagrams_out,
        node.datagrams_dropped,
    );
    let mut text = format!("{came} in, {went} out, {dropped} dropped");
    // What never came in: it is told where there was any.
    for (count, what) in [
        (node.datagrams_sifted, "sifted out of a flood"),
        (node.datagrams_overflowed, "not taken in time"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text
}

/// What the store takes, and what it must keep to.
fn disk(node: &Status) -> String {
    let mut text = match node.disk {
        Some(usage) => format!(
            "{} taken, {} free",
            human::bytes(usage.complete.saturating_add(usage.partial)),
            human::bytes(usage.free)
        ),
        None => "unknown".to_owned(),
    };
    if let Some(most) = node.store_limit {
        text.push_str(&format!("; takes at most {}", human::bytes(most)));
    }
    if let Some(least) = node.min_free {
        text.push_str(&format!("; leaves at least {} free", human::bytes(least)));
    }
    text
}

fn write_peers(out: &mut impl Write, peers: &[PeerStatus]) -> io::Result<()> {
    let mut rows = vec![header(&[
        "PEER",
        "ANSWERING",
        "ROUND TRIP",
        "RECEIVED",
        "SENT",
        "LAST HEARD",
    ])];
    for peer in peers {
        let heard = peer
            .last_heard_seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        rows.push(vec![
            peer.address.to_string(),
            if peer.answering { "yes" } else { "no" }.to_owned(),
            peer.round_trip_ms
                .map_or("-".to_owned(), |ms| format!("{ms:.1} ms")),
            human::bytes(peer.bytes_received),
            human::bytes(peer.bytes_sent),
            heard.map_or("never".to_owned(), |t| {
                format!("{} ago", human::duration(t))
            }),
        ]);
    }
    human::table(out, &rows, true)
}

pub(super) fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
