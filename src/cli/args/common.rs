//! Options that several commands share.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ValueEnum, ValueHint};
use serde::Deserialize;

use super::super::values::{PeerName, parse_duration, parse_rate, parse_size};

/// Which store, for every command that has to do with one.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct StoreArgs {
    /// Keep content, and find the daemon, in DIR [default: $XDG_DATA_HOME/cjp2pfs]
    #[arg(long, value_name = "DIR", env = "CJP2PFS_STORE", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub store: Option<PathBuf>,
}

/// How much the store may take of the disk.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LimitArgs {
    /// Let the store take at most this much of the disk, as in 500GiB; 0 is no limit [default: 0]
    ///
    /// What was not used for the longest time is given up first; never what is pinned, open or being
    /// fetched, nor files of your own that are served or were fetched to your own folder.
    #[arg(long, value_name = "SIZE", env = "CJP2PFS_STORE_LIMIT", hide_env_values = true, value_parser = parse_size)]
    pub store_limit: Option<u64>,

    /// Give up content when less than this is free on the disk; 0 is no limit [default: 0]
    #[arg(long, value_name = "SIZE", env = "CJP2PFS_MIN_FREE", hide_env_values = true, value_parser = parse_size)]
    pub min_free: Option<u64>,
}

/// What every command that runs a node takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NodeArgs {
    #[command(flatten)]
    pub store: StoreArgs,

    /// Listen on this UDP address; a taken port is replaced by a free one [default: [::]:24254]
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "CJP2PFS_BIND",
        hide_env_values = true
    )]
    pub bind: Option<SocketAddr>,

    /// Ask this peer; may be given several times
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "CJP2PFS_PEER",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub peer: Vec<PeerName>,

    /// Do not ask the well-known nodes for peers
    #[arg(long, env = "CJP2PFS_NO_BOOTSTRAP", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub no_bootstrap: bool,

    /// Do not look for neighbours on the local network
    #[arg(long, env = "CJP2PFS_NO_LAN", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub no_lan: bool,

    /// Keep at most this much content in memory, as in 64MiB or 1G [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "CJP2PFS_CACHE", hide_env_values = true, value_parser = parse_size)]
    pub cache: Option<u64>,

    #[command(flatten)]
    pub limits: LimitArgs,

    /// Send others at most this much a second, as in 500K or 1.5MiB; 0 is no limit [default: 0]
    #[arg(long, value_name = "RATE", env = "CJP2PFS_UPLOAD_LIMIT", hide_env_values = true, value_parser = parse_rate)]
    pub upload_limit: Option<u64>,

    /// Send each IP address at most this much a second; 0 is no limit [default: 0]
    #[arg(long, value_name = "RATE", env = "CJP2PFS_UPLOAD_LIMIT_PER_ADDRESS", hide_env_values = true, value_parser = parse_rate)]
    pub upload_limit_per_address: Option<u64>,

    /// Fetch at most this much a second, as it travels; 0 is no limit [default: 0]
    #[arg(long, value_name = "RATE", env = "CJP2PFS_DOWNLOAD_LIMIT", hide_env_values = true, value_parser = parse_rate)]
    pub download_limit: Option<u64>,

    /// Give up after this long when nobody has the content, as in 5s or 500ms [default: 5s]
    #[arg(long, value_name = "TIME", env = "CJP2PFS_LOOKUP_TIMEOUT", hide_env_values = true, value_parser = parse_duration)]
    pub lookup_timeout: Option<Duration>,

    /// Give up after this long when those who have it do not send it [default: 30s]
    #[arg(long, value_name = "TIME", env = "CJP2PFS_READ_TIMEOUT", hide_env_values = true, value_parser = parse_duration)]
    pub read_timeout: Option<Duration>,

    /// How much is given out of content that is not proven yet [default: auto]
    ///
    /// What a peer is sent is always proven. A program is given parts of content by SHA-256 before
    /// the whole can be proven, and never all of it, unless this is strict.
    #[arg(
        long,
        value_name = "HOW",
        env = "CJP2PFS_VERIFY",
        hide_env_values = true
    )]
    pub verify: Option<VerifyHow>,
}

/// `--verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyHow {
    /// The parts that are read, and never all of it
    Auto,
    /// Nothing: a read waits until the whole is here and proven, up to the read limit
    Strict,
}

/// As whom a daemon runs.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct UserArgs {
    /// Become this user first, by number; only for root [default: stay who one is]
    ///
    /// From then on all is as if that user had started it: the store, the files that are seeded and
    /// the mountpoint must be within reach of that user.
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,

    /// Become a member of this group only, by number [default: the group of --uid]
    #[arg(long, value_name = "GID")]
    pub gid: Option<u32>,
}
