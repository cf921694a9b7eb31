//! Floods a node on loopback for some seconds and tells how much it sent. For scripts/bench-flood.
//!
//!     flood ADDRESS ID LENGTH SECONDS RATE KIND...
//!
//! ID is content of LENGTH bytes that the node has, RATE datagrams a second of each kind (0: as many
//! as it can), KIND `requests`, `garbage` or `spoofed`; without one all of them. Every second it prints
//! how many datagrams a second have left so far. The ADDRESS `nobody` is a socket that nobody reads: such
//! a flood takes the same of the machine, and nothing of a node.

mod flood;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use flood::{Flood, Kind};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, id, length, seconds, rate, kinds @ ..] = &arguments[..] else {
        eprintln!("usage: flood ADDRESS ID LENGTH SECONDS RATE KIND...");
        std::process::exit(2);
    };
    let mut kinds: Vec<Kind> = kinds
        .iter()
        .map(|kind| match kind.as_str() {
            "requests" => Kind::Requests,
            "garbage" => Kind::Garbage,
            "spoofed" => Kind::Spoofed,
            other => panic!("{other} is no kind of flood"),
        })
        .collect();
    if kinds.is_empty() {
        kinds = Kind::ALL.to_vec();
    }
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let rate = Some(number(rate)).filter(|rate| *rate > 0);
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = match address.as_str() {
        "nobody" => {
            // Who proves his address needs somebody to prove it to.
            kinds.retain(|kind| *kind != Kind::Requests);
            kinds.push(Kind::Garbage);
            nobody.local_addr().expect("its address")
        }
        address => address.parse().expect("an address"),
    };
    let (start, limit) = (Instant::now(), Duration::from_secs(number(seconds)));
    let flood = Flood::start(address, id, number(length), &kinds, rate);
    while start.elapsed() < limit {
        std::thread::sleep(
            limit
                .saturating_sub(start.elapsed())
                .min(Duration::from_secs(1)),
        );
        println!("{:.0}", flood.sent() as f64 / start.elapsed().as_secs_f64());
    }
}
