//! What a command runs with: flags, then environment, then `config.toml`, then defaults.
//!
//! clap has already put the environment behind the flags; here come the file and the defaults.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use etcetera::BaseStrategy;

use super::args::{CompleteWhen, LimitArgs, MountArgs, NodeArgs, StoreArgs, VerifyHow};
use super::config_file::ConfigFile;
use crate::store::Limits;
use crate::{mount, node};

/// The port of the network by convention.
const PORT: u16 = 24254;
const CACHE: u64 = 256 << 20;
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The folder of the store, absolute.
///
/// # Errors
/// The configuration is wrong, or the user has no home folder and named none.
pub fn store_dir(args: &StoreArgs, config: Option<&Path>) -> Result<PathBuf> {
    choose_store(args, &ConfigFile::load(config)?)
}

/// What the node is started with.
///
/// # Errors
/// The configuration is wrong, or a peer's name does not resolve.
pub fn node_config(
    args: &NodeArgs,
    complete: Option<CompleteWhen>,
    config: Option<&Path>,
) -> Result<node::Config> {
    merge(args, complete, &ConfigFile::load(config)?)
}

/// How the network is mounted.
///
/// # Errors
/// The configuration is wrong.
pub fn mount_options(args: &MountArgs, config: Option<&Path>) -> Result<mount::Options> {
    let file = ConfigFile::load(config)?;
    Ok(mount::Options {
        allow_other: args.allow_other,
        exec: args.exec,
        no_passthrough: args.no_passthrough || file.no_passthrough,
    })
}

fn choose_store(args: &StoreArgs, file: &ConfigFile) -> Result<PathBuf> {
    let chosen = match args.store.as_ref().or(file.store.as_ref()) {
        Some(dir) => dir.clone(),
        None => etcetera::choose_base_strategy()
            .context("cannot tell where the store is; give --store DIR")?
            .data_dir()
            .join("cjp2pfs"),
    };
    std::path::absolute(&chosen)
        .with_context(|| format!("cannot use {} as the store", chosen.display()))
}

/// How much a store may take where no daemon runs for it.
///
/// # Errors
/// The configuration is wrong.
pub fn store_limits(args: &LimitArgs, config: Option<&Path>) -> Result<Limits> {
    Ok(merge_limits(args, &ConfigFile::load(config)?))
}

fn merge_limits(args: &LimitArgs, file: &ConfigFile) -> Limits {
    Limits {
        most: limit(args.store_limit, file.store_limit),
        least_free: limit(args.min_free, file.min_free),
    }
}

/// Zero, too, is no limit: with it a flag undoes what the file says.
fn limit(given: Option<u64>, file: Option<u64>) -> Option<u64> {
    given.or(file).filter(|rate| *rate > 0)
}

fn merge(
    args: &NodeArgs,
    complete: Option<CompleteWhen>,
    file: &ConfigFile,
) -> Result<node::Config> {
    let names = if args.peer.is_empty() {
        &file.peer
    } else {
        &args.peer
    };
    let mut peers = Vec::new();
    for name in names {
        peers.extend(name.resolve().map_err(|e| anyhow!(e))?);
    }
    Ok(node::Config {
        store: choose_store(&args.store, file)?,
        bind: args
            .bind
            .or(file.bind)
            .unwrap_or(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), PORT)),
        peers,
        bootstrap: !(args.no_bootstrap || file.no_bootstrap),
        lan: !(args.no_lan || file.no_lan),
        cache: args.cache.or(file.cache).unwrap_or(CACHE),
        limits: merge_limits(&args.limits, file),
        upload_limit: limit(args.upload_limit, file.upload_limit),
        upload_limit_per_address: limit(
            args.upload_limit_per_address,
            file.upload_limit_per_address,
        ),
        download_limit: limit(args.download_limit, file.download_limit),
        lookup_timeout: args
            .lookup_timeout
            .or(file.lookup_timeout)
            .unwrap_or(LOOKUP_TIMEOUT),
        read_timeout: args
            .read_timeout
            .or(file.read_timeout)
            .unwrap_or(READ_TIMEOUT),
        complete: match complete.or(file.complete).unwrap_or(CompleteWhen::Auto) {
            CompleteWhen::Auto => node::Complete::Auto,
            CompleteWhen::Always => node::Complete::Always,
            CompleteWhen::Never => node::Complete::Never,
        },
        verify: match args.verify.or(file.verify).unwrap_or(VerifyHow::Auto) {
            VerifyHow::Auto => node::Verify::Auto,
            VerifyHow::Strict => node::Verify::Strict,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> ConfigFile {
        ConfigFile {
            store: Some("/from/file".into()),
            bind: Some("127.0.0.1:1".parse().unwrap()),
            peer: vec!["127.0.0.1:2".parse().unwrap()],
            no_lan: true,
            cache: Some(3),
            store_limit: Some(7),
            min_free: Some(8),
            read_timeout: Some(Duration::from_secs(4)),
            upload_limit: Some(5),
            upload_limit_per_address: Some(6),
            download_limit: Some(0),
            complete: Some(CompleteWhen::Never),
            verify: Some(VerifyHow::Strict),
            ..ConfigFile::default()
        }
    }

    #[test]
    fn flags_win_over_the_file() {
        let args = NodeArgs {
            store: StoreArgs {
                store: Some("/from/flag".into()),
            },
            bind: Some("127.0.0.1:10".parse().unwrap()),
            peer: vec!["127.0.0.1:20".parse().unwrap()],
            cache: Some(30),
            limits: LimitArgs {
                store_limit: Some(0),
                min_free: Some(80),
            },
            read_timeout: Some(Duration::from_secs(40)),
            upload_limit: Some(0),
            upload_limit_per_address: Some(60),
            verify: Some(VerifyHow::Auto),
            ..NodeArgs::default()
        };
        let merged = merge(&args, Some(CompleteWhen::Always), &file()).unwrap();
        assert_eq!(merged.store, Path::new("/from/flag"));
        assert_eq!(merged.bind.port(), 10);
        assert_eq!(merged.peers, ["127.0.0.1:20".parse().unwrap()]);
        assert_eq!(merged.cache, 30);
        assert_eq!(merged.limits.most, None);
        assert_eq!(merged.limits.least_free, Some(80));
        assert_eq!(merged.read_timeout, Duration::from_secs(40));
        assert_eq!(merged.complete, node::Complete::Always);
        assert_eq!(merged.upload_limit, None);
        assert_eq!(merged.upload_limit_per_address, Some(60));
        assert_eq!(merged.verify, node::Verify::Auto);
    }

    #[test]
    fn the_file_wins_over_the_defaults() {
        let merged = merge(&NodeArgs::default(), None, &file()).unwrap();
        assert_eq!(merged.store, Path::new("/from/file"));
        assert_eq!(merged.bind.port(), 1);
        assert_eq!(merged.peers.len(), 1);
        assert_eq!(merged.cache, 3);
        assert_eq!(merged.limits.most, Some(7));
        assert_eq!(merged.limits.least_free, Some(8));
        assert_eq!(merged.lookup_timeout, LOOKUP_TIMEOUT);
        assert_eq!(merged.complete, node::Complete::Never);
        assert_eq!(merged.upload_limit, Some(5));
        assert_eq!(merged.verify, node::Verify::Strict);
        assert_eq!(merged.download_limit, None);
        assert!(merged.bootstrap && !merged.lan);
    }
}
