//! An emulated path for measurements: rate, queue, delay, jitter and loss, drawn from a seed.
//!
//! ```text
//! relay udp LISTEN SERVER [OPTION...]            prints the address that clients are to send to
//! relay tun NETNS/DEVICE NETNS/DEVICE [OPTION...]   a wire between two namespaces; prints "ready"
//!
//!   --rate BYTES    a second on the wire, with IP headers   [default: no limit]
//!   --queue MS      what may wait, as time at that rate     [default: 100]
//!   --delay MS      each way                                [default: 0]
//!   --jitter MS     more delay, uniform from 0 to this      [default: 0]
//!   --loss SHARE    of IP packets, behind the queue         [default: 0]
//!   --mtu BYTES     for the fragments of `udp`              [default: 1500]
//!   --seed NUMBER                                           [default: 1]
//!   --log FILE      a line of JSON each 100 ms
//! ```
//!
//! All options hold for both directions. SIGINT or SIGTERM ends it with a report in JSON.
//! `scripts/bench-net` measures the product over it.

mod ends;
mod link;
mod relay;
mod tun;
mod udp;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use ends::Ends;
use link::Settings;
use relay::Relay;

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn stop(_: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// What the command line says, beside the two ends.
struct Options {
    settings: Settings,
    mtu: usize,
    seed: u64,
    log: Option<BufWriter<File>>,
}

fn main() -> Result<()> {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler does nothing but store to an atomic.
        unsafe {
            libc::signal(signal, stop as *const () as libc::sighandler_t);
        }
    }
    // SAFETY: takes numbers only. Timers that fire 50 microseconds late would be a jitter.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1_000);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["udp", listen, server, rest @ ..] => {
            let options = options(rest)?;
            let listen: SocketAddr = listen.parse().context(listen.to_string())?;
            let server = server.parse().context(server.to_string())?;
            let ends = udp::Udp::new(listen, server, options.mtu)?;
            let ready = ends.address()?.to_string();
            run(ends, options, &ready)
        }
        ["tun", left, right, rest @ ..] => {
            let options = options(rest)?;
            let ends = tun::Tun::new(left, right).context("cannot attach to the devices")?;
            run(ends, options, "ready")
        }
        _ => bail!(
            "usage: relay udp LISTEN SERVER | relay tun NETNS/DEVICE NETNS/DEVICE, and options"
        ),
    }
}

fn run(ends: impl Ends, options: Options, ready: &str) -> Result<()> {
    let mut relay = Relay::new(ends, &options.settings, options.seed);
    println!("{ready}");
    io::stdout().flush()?;
    relay.run(&STOP, options.log)?;
    println!("{}", relay.report());
    Ok(())
}

fn options(words: &[&str]) -> Result<Options> {
    let mut rate = None;
    let mut queue = 0.1;
    let mut options = Options {
        settings: Settings {
            rate: None,
            queue: 0.0,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0.0,
        },
        mtu: 1500,
        seed: 1,
        log: None,
    };
    for pair in words.chunks(2) {
        let &[name, value] = pair else {
            bail!("{}: a value is missing", pair.concat());
        };
        let settings = &mut options.settings;
        match name {
            "--rate" => rate = Some(number::<f64>(value)?.max(1.0)),
            "--queue" => queue = number::<f64>(value)? / 1e3,
            "--delay" => settings.delay = milliseconds(value)?,
            "--jitter" => settings.jitter = milliseconds(value)?,
            "--loss" => settings.loss = number(value)?,
            "--mtu" => options.mtu = number(value)?,
            "--seed" => options.seed = number(value)?,
            "--log" => options.log = Some(BufWriter::new(File::create(value)?)),
            _ => bail!("no such option: {name}"),
        }
    }
    options.settings.rate = rate;
    options.settings.queue = queue * rate.unwrap_or(0.0);
    Ok(options)
}

fn number<T: FromStr>(value: &str) -> Result<T> {
    match value.parse() {
        Ok(number) => Ok(number),
        Err(_) => bail!("not a number: {value}"),
    }
}

fn milliseconds(value: &str) -> Result<Duration> {
    let seconds = number::<f64>(value)? / 1e3;
    Duration::try_from_secs_f64(seconds).with_context(|| format!("not a time: {value}"))
}
