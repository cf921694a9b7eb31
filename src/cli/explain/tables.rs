//! What the answer rests on: ranges and peers, in tables. A table without entries is left out.

use std::io::{self, Write};

use super::answer::condition;
use crate::cli::human::{self, bytes, rate, seconds};
use crate::node::explain::{
    Answer, AskedOf, Explanation, FlightStory, Network, PathStory, PeerStory, Want, Why,
};

/// Writes the tables, each after an empty line.
pub fn write(out: &mut impl Write, told: &Explanation) -> io::Result<()> {
    let wants = told.wants.iter().map(want);
    write_table(
        out,
        &[
            "WANTED AT",
            "LENGTH",
            "MISSING",
            "BY",
            "WAITS",
            "FAILS IN",
            "ASKED",
        ],
        wants,
        told.wants_left_out,
        false,
    )?;
    if let Some(network) = &told.network {
        write_table(
            out,
            &["ON ITS WAY", "LENGTH", "REQUESTS", "URGENT", "FROM"],
            network.flights.iter().map(flight),
            network.flights_left_out,
            false,
        )?;
    }
    let here = told.present_ranges.iter();
    write_table(
        out,
        &["HERE FROM", "TO", "LENGTH"],
        here.map(|it| vec![it.start.to_string(), it.end.to_string(), bytes(it.len())]),
        told.present_ranges_left_out,
        true,
    )?;
    match &told.network {
        Some(network) => write_network(out, network),
        None => Ok(()),
    }
}

fn write_network(out: &mut impl Write, network: &Network) -> io::Result<()> {
    if network.claims.len() > 1 {
        let claims = network.claims.iter().map(|claim| {
            let names: Vec<String> = claim.peers.iter().map(ToString::to_string).collect();
            vec![
                claim.length.to_string(),
                claim.count.to_string(),
                names.join(" "),
            ]
        });
        write_table(out, &["LENGTH", "CLAIMED BY", "SUCH AS"], claims, 0, false)?;
    }
    let rows = network.peers.iter().map(|it| peer(network, it));
    let asked = network
        .peers
        .iter()
        .filter(|it| it.asked_seconds_ago.is_some());
    write_table(
        out,
        &["PEER", "HAS IT", "SAID", "ASKED", "NOW"],
        rows,
        network.asked.saturating_sub(asked.count()),
        false,
    )?;
    let paths = network
        .peers
        .iter()
        .filter_map(|it| Some((it, it.path.as_ref()?)));
    let listed = paths.clone().count();
    write_table(
        out,
        &[
            "PATH TO",
            "ROUND TRIP",
            "LOSS",
            "RATE",
            "WINDOW",
            "IN FLIGHT",
            "REPLY",
            "SUPPLIED",
            "SILENT",
        ],
        paths.map(|(peer, path)| self::path(peer, path)),
        network.sources.saturating_sub(listed),
        true,
    )
}

fn write_table(
    out: &mut impl Write,
    titles: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    left_out: usize,
    right: bool,
) -> io::Result<()> {
    let mut table = vec![titles.iter().map(|it| (*it).to_owned()).collect()];
    table.extend(rows);
    if table.len() == 1 {
        return Ok(());
    }
    writeln!(out)?;
    human::table(out, &table, right)?;
    if left_out > 0 {
        writeln!(out, "and {left_out} more")?;
    }
    Ok(())
}

fn want(want: &Want) -> Vec<String> {
    vec![
        want.range.start.to_string(),
        bytes(want.range.len()),
        bytes(want.missing),
        match want.why {
            Why::Read => "a read",
            Why::ReadAhead => "read-ahead",
            Why::Tree => "leaf checks",
            Why::Completion => "completion",
            Why::Fetch => "a fetch",
        }
        .to_owned(),
        time(want.waiting_seconds),
        time(want.fails_in_seconds),
        asked(&want.asked),
    ]
}

fn flight(flight: &FlightStory) -> Vec<String> {
    vec![
        flight.range.start.to_string(),
        bytes(flight.range.len()),
        flight.requests.to_string(),
        if flight.urgent { "yes" } else { "no" }.to_owned(),
        asked(&flight.from),
    ]
}

fn asked(of: &[AskedOf]) -> String {
    if of.is_empty() {
        return "nobody now".to_owned();
    }
    let names: Vec<String> = of
        .iter()
        .map(|it| format!("{} {} ago", it.peer, seconds(it.seconds_ago)))
        .collect();
    names.join(", ")
}

fn peer(network: &Network, peer: &PeerStory) -> Vec<String> {
    let ago = |time: Option<f64>| time.map_or("-".to_owned(), |it| format!("{} ago", seconds(it)));
    vec![
        peer.address.to_string(),
        match peer.answer {
            Answer::Yes { length: None } => "yes".to_owned(),
            Answer::Yes {
                length: Some(length),
            } => format!("yes, {}", bytes(length)),
            Answer::Parts { held, length } => format!("{} of {}", bytes(held), bytes(length)),
            Answer::No => "no".to_owned(),
            Answer::Elsewhere { peers } => format!("perhaps {peers} others"),
            Answer::Nothing => "silence".to_owned(),
        },
        ago(peer.answered_seconds_ago),
        match peer.times_asked {
            0 | 1 => ago(peer.asked_seconds_ago),
            times => format!("{}, {times} times", ago(peer.asked_seconds_ago)),
        },
        condition(network, peer),
    ]
}

fn path(peer: &PeerStory, path: &PathStory) -> Vec<String> {
    vec![
        peer.address.to_string(),
        path.round_trip_ms
            .map_or("-".to_owned(), |ms| format!("{ms:.1} ms")),
        format!("{:.1}%", path.loss * 100.0),
        path.rate.map_or("-".to_owned(), rate),
        bytes(path.window),
        bytes(path.in_flight),
        bytes(path.reply_length),
        bytes(path.supplied),
        time(path.silent_seconds),
    ]
}

fn time(time: Option<f64>) -> String {
    time.map_or("-".to_owned(), seconds)
}
