//! Sizes, durations and peer names as people write them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

/// Reads a number of bytes: `4096`, `64MiB`, `64M` (the same), `1GB` (10^9).
///
/// # Errors
/// A sentence for the user.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const WRONG: &str = "a size is a whole number and perhaps a unit, as in 64MiB or 1G";
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = bytes_in(unit).ok_or(WRONG)?;
    let number: u64 = number.parse().map_err(|_| WRONG.to_owned())?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "that size is too large".to_owned())
}

/// Reads a number of bytes a second: a size, whose number may have decimals, and perhaps `/s`.
///
/// # Errors
/// A sentence for the user.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    const WRONG: &str =
        "a rate is a number of bytes a second and perhaps a unit, as in 500K or 1.5MiB";
    let text = text.trim();
    let text = text.strip_suffix("/s").unwrap_or(text);
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = bytes_in(unit).ok_or(WRONG)?;
    let rate = number.parse::<f64>().map_err(|_| WRONG.to_owned())? * unit as f64;
    if rate >= (1u64 << 50) as f64 {
        return Err("that rate is too large".into());
    }
    if rate > 0.0 && rate < 1.0 {
        return Err("a limit is at least one byte a second, or 0 for none".into());
    }
    Ok(rate as u64)
}

/// Bytes in a unit such as `k`, `MiB` (binary), `MB` (decimal), or none.
fn bytes_in(unit: &str) -> Option<u64> {
    let unit = unit.trim().to_ascii_lowercase();
    let (prefix, base) = match unit.as_str() {
        "" | "b" => return Some(1),
        unit => match (unit.strip_suffix("ib"), unit.strip_suffix('b')) {
            (Some(prefix), _) => (prefix, 1024u64),
            (None, Some(prefix)) => (prefix, 1000),
            (None, None) => (unit, 1024),
        },
    };
    let power = match prefix {
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    Some(base.pow(power))
}

/// Reads a duration above zero and at most a year: `5s`, `500ms`, `2m`, `1h`, or plain seconds.
///
/// # Errors
/// A sentence for the user.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const WRONG: &str = "a time is a number and perhaps a unit (ms, s, m, h), as in 5s or 500ms";
    const YEAR: f64 = 365.0 * 86_400.0;
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(WRONG.into()),
    };
    let seconds = number.parse::<f64>().map_err(|_| WRONG.to_owned())? * scale;
    if seconds > 0.0 && seconds <= YEAR {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("a time limit is above zero and at most a year".into())
    }
}

/// A peer as the user names it: `ip:port`, `[ipv6]:port` or `name:port`.
///
/// Only its form is checked when it is parsed, so that wrong usage is told apart from a name that
/// does not resolve today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerName(String);

impl FromStr for PeerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const WRONG: &str =
            "a peer is an address and a port, as in 192.0.2.1:24254 or [2001:db8::1]:24254";
        if text.parse::<SocketAddr>().is_ok_and(|a| a.port() != 0) {
            return Ok(Self(text.to_owned()));
        }
        let (name, port) = text.rsplit_once(':').ok_or(WRONG)?;
        let port_is_right = port.parse::<u16>().is_ok_and(|port| port != 0);
        let name_is_right = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
            && name.bytes().any(|b| b.is_ascii_alphabetic());
        if port_is_right && name_is_right {
            Ok(Self(text.to_owned()))
        } else {
            Err(WRONG.into())
        }
    }
}

impl PeerName {
    /// Its addresses, as the system's resolver knows them now.
    ///
    /// # Errors
    /// A sentence for the user where the name has no address.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        match self.0.to_socket_addrs().map(Vec::from_iter) {
            Ok(addresses) if !addresses.is_empty() => Ok(addresses),
            _ => Err(format!("the peer name {} has no address", self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("12b", 12),
            ("64MiB", 64 << 20),
            ("64mib", 64 << 20),
            ("64M", 64 << 20),
            ("1 G", 1 << 30),
            ("2k", 2048),
            ("3kB", 3000),
            ("1GB", 1_000_000_000),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1.5G",
            "1X",
            "1ib",
            "1kk",
            "1 MiB x",
            "99999999999T",
            "\u{661}",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates() {
        for (text, bytes) in [
            ("0", 0),
            ("500K", 500 << 10),
            ("2M", 2 << 20),
            ("1.5MiB", 3 << 19),
            ("1.5 MB/s", 1_500_000),
            ("800000", 800_000),
            ("100b/s", 100),
        ] {
            assert_eq!(parse_rate(text), Ok(bytes), "{text}");
        }
        for text in [
            "", "M", "-1", "fast", "1e9", "1..5M", "0.1", ".", "inf", "1M/h", "99999T", "1Mbit",
            "/s",
        ] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("5", 5000),
            ("5s", 5000),
            ("0.5", 500),
            ("500ms", 500),
            ("2m", 120_000),
            ("1 h", 3_600_000),
        ] {
            let read = parse_duration(text).map(|d| d.as_millis());
            assert_eq!(read, Ok(milliseconds), "{text}");
        }
        for text in [
            "",
            "s",
            "0",
            "-1",
            "1d",
            "1e9",
            "inf",
            "nan",
            "1..2",
            "9999999999h",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn peers() {
        for text in [
            "127.0.0.1:24254",
            "[::1]:1",
            "peer.example:24254",
            "localhost:1",
        ] {
            assert!(text.parse::<PeerName>().is_ok(), "{text}");
        }
        for text in [
            "",
            "127.0.0.1",
            "127.0.0.1:0",
            "::1:24254",
            "peer:",
            ":1",
            "a b:1",
            "1.2.3:1",
            "peer:65536",
        ] {
            assert!(text.parse::<PeerName>().is_err(), "{text}");
        }
    }
}
