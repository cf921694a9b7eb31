//! `config.toml`: what flags and environment leave open.
//!
//! The keys are the names of the flags. A key that is not known is an error, because a misspelt
//! limit that is silently ignored is worse than a command that does not start.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use etcetera::BaseStrategy;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::args::{CompleteWhen, VerifyHow};
use super::values::{PeerName, parse_duration, parse_rate, parse_size};

/// The configuration file; every key may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ConfigFile {
    pub store: Option<PathBuf>,
    pub bind: Option<SocketAddr>,
    #[serde(deserialize_with = "peers")]
    pub peer: Vec<PeerName>,
    pub no_bootstrap: bool,
    pub no_lan: bool,
    #[serde(deserialize_with = "size")]
    pub cache: Option<u64>,
    #[serde(deserialize_with = "size")]
    pub store_limit: Option<u64>,
    #[serde(deserialize_with = "size")]
    pub min_free: Option<u64>,
    #[serde(deserialize_with = "rate")]
    pub upload_limit: Option<u64>,
    #[serde(deserialize_with = "rate")]
    pub upload_limit_per_address: Option<u64>,
    #[serde(deserialize_with = "rate")]
    pub download_limit: Option<u64>,
    #[serde(deserialize_with = "duration")]
    pub lookup_timeout: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    pub read_timeout: Option<Duration>,
    pub complete: Option<CompleteWhen>,
    pub verify: Option<VerifyHow>,
    pub no_passthrough: bool,
}

impl ConfigFile {
    /// Reads `named`, or the user's file where none is named; only the latter may be missing.
    ///
    /// # Errors
    /// The file cannot be read or understood; the error names the file and the line.
    pub fn load(named: Option<&Path>) -> Result<Self> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => match etcetera::choose_base_strategy() {
                Ok(base) => base.config_dir().join("cjp2pfs/config.toml"),
                Err(_) => return Ok(Self::default()),
            },
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text)
                .with_context(|| format!("cannot use the configuration {}", path.display())),
            Err(e) if named.is_none() && e.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => {
                Err(e).with_context(|| format!("cannot read the configuration {}", path.display()))
            }
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|error| {
            let message = error.message().replace('\n', " ");
            match error.span() {
                Some(span) => {
                    let before = text.get(..span.start).unwrap_or(text);
                    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
                    anyhow!("line {line}: {message}")
                }
                None => anyhow!("{message}"),
            }
        })
    }
}

/// A number, or text with a unit.
#[derive(Deserialize)]
#[serde(untagged)]
enum Quantity {
    Whole(u64),
    Decimal(f64),
    Text(String),
}

impl Quantity {
    fn into_text(self) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Decimal(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

fn size<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    let text = Quantity::deserialize(value)?.into_text();
    parse_size(&text).map(Some).map_err(D::Error::custom)
}

fn rate<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u64>, D::Error> {
    let text = Quantity::deserialize(value)?.into_text();
    parse_rate(&text).map(Some).map_err(D::Error::custom)
}

fn duration<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let text = Quantity::deserialize(value)?.into_text();
    parse_duration(&text).map(Some).map_err(D::Error::custom)
}

fn peers<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<PeerName>, D::Error> {
    let names = Vec::<String>::deserialize(value)?;
    names
        .iter()
        .map(|name| name.parse().map_err(D::Error::custom))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_understood() {
        let file = ConfigFile::parse(
            r#"
            store = "/srv/cjp2pfs"
            bind = "127.0.0.1:5000"
            peer = ["127.0.0.1:24254", "peer.example:1"]
            no-bootstrap = true
            no-lan = true
            cache = "64MiB"
            store-limit = "2TiB"
            min-free = 1000
            upload-limit = "1.5MiB"
            upload-limit-per-address = 500000
            download-limit = "2M/s"
            lookup-timeout = 2
            read-timeout = "1m"
            complete = "never"
            verify = "strict"
            no-passthrough = true
            "#,
        )
        .unwrap();
        assert_eq!(file.store, Some("/srv/cjp2pfs".into()));
        assert_eq!(file.peer.len(), 2);
        assert_eq!(file.cache, Some(64 << 20));
        assert_eq!(file.store_limit, Some(2 << 40));
        assert_eq!(file.min_free, Some(1000));
        assert_eq!(file.upload_limit, Some(3 << 19));
        assert_eq!(file.upload_limit_per_address, Some(500_000));
        assert_eq!(file.download_limit, Some(2 << 20));
        assert_eq!(file.lookup_timeout, Some(Duration::from_secs(2)));
        assert_eq!(file.read_timeout, Some(Duration::from_secs(60)));
        assert_eq!(file.complete, Some(CompleteWhen::Never));
        assert_eq!(file.verify, Some(VerifyHow::Strict));
        assert!(file.no_passthrough);
        assert!(file.no_bootstrap && file.no_lan);
    }

    #[test]
    fn a_wrong_key_is_told_with_its_line() {
        let error = ConfigFile::parse("no-lan = true\nlookup-timeuot = 5\n").unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("line 2: unknown field `lookup-timeuot`"),
            "{text}"
        );
        assert!(!text.contains('\n'));
    }

    #[test]
    fn wrong_values_are_told() {
        for text in [
            "cache = \"much\"",
            "upload-limit = \"fast\"",
            "download-limit = -1",
            "read-timeout = 0",
            "complete = \"maybe\"",
            "verify = \"perhaps\"",
            "peer = [\"nowhere\"]",
            "bind = \"localhost\"",
            "store = ",
        ] {
            assert!(ConfigFile::parse(text).is_err(), "{text}");
        }
    }
}
