//! The command line, defined once: parsing, help, completions and the manual all come from here.
//!
//! Options that the configuration file may also set are `Option`s without a default value, so that
//! [`super::settings`] can tell "not given" from "given the default".

mod common;

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use serde::Deserialize;

use crate::content::{ContentId, PublishedName};

pub use common::{LimitArgs, NodeArgs, StoreArgs, UserArgs, VerifyHow};

/// A file system whose files are the content of the CJP2P (LCDP) peer-to-peer network
///
/// Content is named by its SHA-256. MOUNTPOINT/<sha256> exists as soon as anyone in the network has
/// it; reading it fetches what is read, and what is complete is verified, kept and served to others.
#[derive(Debug, Parser)]
#[command(
    name = "cjp2pfs",
    version,
    propagate_version = false,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,

    /// Tell more on standard error; -vv and -vvv tell still more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Read the configuration from FILE
    ///
    /// The default is $XDG_CONFIG_HOME/cjp2pfs/config.toml, which may be missing.
    #[arg(long, global = true, value_name = "FILE", env = "CJP2PFS_CONFIG", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mount the network at a folder
    ///
    /// Returns when the mount can be used and leaves the daemon in the background. The daemon ends
    /// on SIGTERM, on SIGINT, and when the folder is unmounted.
    Mount(MountArgs),

    /// Unmount the folder and wait until its daemon has ended
    Umount(UmountArgs),

    /// Hash files and folders and serve them from where they lie
    ///
    /// The daemon of the store does it, if one runs, and this returns when everything is served; else
    /// this serves until interrupted. What is seeded is remembered and watched: what changes is
    /// hashed again, new files are served, too. Prints one line per file as sha256sum does, and a
    /// comment line "# folder/ID  PATH" per folder: ID names the folder with all its names, see
    /// `get --folder` and MOUNTPOINT/folder/ID. In folders, names that begin with a dot are left
    /// out, as are special and unreadable files; links are listed and not followed.
    Seed(SeedArgs),

    /// Serve files and folders no longer
    ///
    /// What was given to `seed` can be given to it. The files themselves are left alone.
    Unseed(UnseedArgs),

    /// Fetch content into a file
    ///
    /// Asks the daemon of the store if one runs, or else the network itself. What an interrupted
    /// run has fetched is not fetched again.
    Get(GetArgs),

    /// Print the hashes of files as sha256sum or b3sum does
    Hash(HashArgs),

    /// Show what the daemon of the store is doing
    Status(ReportArgs),

    /// Show the peers that the daemon of the store knows
    Peers(ReportArgs),

    /// Show what the peers say that they have, the latest named first
    ///
    /// Asks the known peers through the daemon of the store, counts who has what, and fetches
    /// nothing. It is hearsay: whether it is true shows when it is read.
    Recent(RecentArgs),

    /// Tell why content is not here yet: which bytes, which peers, what they answered
    ///
    /// Asks the daemon of the store. Also tells whether content is complete, and where it lies.
    Explain(ExplainArgs),

    /// Publish a file or folder under a name that can stand for something else later
    ///
    /// Seeds it, and signs with the node's key that it is what the name now stands for. Prints the
    /// path under which it is found on every mount: latest/KEY/NAME. What changes in it is published
    /// by itself while a daemon (mount or seed) runs, and others find it then. Publishing something
    /// else under the same name replaces it; --list tells the hash, or a folder's id, that each name
    /// has now.
    Publish(PublishArgs),

    /// Publish nothing under a name any more
    ///
    /// The file or folder is still seeded; unseed ends that.
    Unpublish(UnpublishArgs),

    /// List the content that is held: how much of it, when it was used, whether it is pinned
    Ls(LsArgs),

    /// Never give up this content, be it held now or later
    Pin(PinArgs),

    /// Let this content be given up again when room is needed
    Unpin(PinArgs),

    /// Give up content until the limits are kept, and what is of no use to anybody
    ///
    /// The limits are those of the daemon of the store if one runs, unless some are given here. A
    /// daemon keeps to its limits by itself.
    Gc(GcArgs),

    /// Read complete content once more and compare it with its hash
    ///
    /// A file that has rotted is set aside and never served. A running daemon fetches it again if
    /// anyone has it. Ends with 1 if anything was not right.
    Verify(VerifyArgs),

    /// Put files into the store, by sharing their blocks or the file itself where that can be
    ///
    /// Prints one line per file as sha256sum does. Folders are gone through; symbolic links inside
    /// them, special files and empty ones are left out.
    Import(ImportArgs),

    /// Check the store and this machine, and tell what is in force
    ///
    /// Ends with 1 if anything is wrong.
    Doctor(DoctorArgs),

    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },

    /// Print the manual page in roff
    #[command(hide = true)]
    Man,
}

#[derive(Debug, clap::Args)]
pub struct MountArgs {
    /// An empty folder
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mountpoint: PathBuf,

    /// Stay in the foreground
    #[arg(short, long)]
    pub foreground: bool,

    /// Let other users read the mount (needs user_allow_other in /etc/fuse.conf, except for root)
    #[arg(long)]
    pub allow_other: bool,

    /// Let programs on the mount be run; they come from strangers
    #[arg(long)]
    pub exec: bool,

    /// Answer every read, also where the kernel could read a complete file in the store by itself
    #[arg(long, env = "CJP2PFS_NO_PASSTHROUGH", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub no_passthrough: bool,

    /// Whether content that is being read is fetched to its end in the background [default: auto]
    #[arg(
        long,
        value_name = "WHEN",
        env = "CJP2PFS_COMPLETE",
        hide_env_values = true
    )]
    pub complete: Option<CompleteWhen>,

    #[command(flatten)]
    pub user: UserArgs,

    #[command(flatten)]
    pub node: NodeArgs,
}

/// `--complete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompleteWhen {
    /// When it is read from its start onward
    Auto,
    /// As soon as it is read at all
    Always,
    /// Never
    Never,
}

#[derive(Debug, clap::Args)]
pub struct UmountArgs {
    /// The folder that the network is mounted at
    #[arg(value_name = "MOUNTPOINT", value_hint = ValueHint::DirPath)]
    pub mountpoint: PathBuf,

    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub struct SeedArgs {
    /// Files and folders
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,

    /// Serve the files as they are now, only until the daemon ends
    #[arg(long)]
    pub once: bool,

    #[command(flatten)]
    pub user: UserArgs,

    #[command(flatten)]
    pub node: NodeArgs,
}

#[derive(Debug, clap::Args)]
pub struct UnseedArgs {
    /// Files and folders as they were given to `seed`
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub struct GetArgs {
    /// The SHA-256 as 64 hexadecimal digits, or blake3/ and the BLAKE3
    #[arg(value_name = "ID")]
    pub id: ContentId,

    /// Write to FILE; - is standard output [default: the hash, in the current folder]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub output: Option<PathBuf>,

    /// Fetch a published folder: ID is that of its listing, and FILE a folder to write it into
    #[arg(long)]
    pub folder: bool,

    /// Verify each block of 256 KiB as it comes by this list, whose SHA-256 is LIST
    ///
    /// The list is a text with the SHA-256 of one block a line, and is fetched first. What a peer
    /// sends wrong is noticed with the block, not with the whole. That it is the list of ID you have
    /// to know; if it is not, nothing is lost but time.
    #[arg(long, value_name = "LIST", conflicts_with = "folder")]
    pub blocks: Option<ContentId>,

    /// Replace FILE if it exists; with --folder, files in it that are others
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub node: NodeArgs,
}

#[derive(Debug, clap::Args)]
pub struct HashArgs {
    /// Files; - is standard input. With --folder: folders
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,

    /// Print BLAKE3 hashes as b3sum does
    #[arg(long, conflicts_with = "json")]
    pub blake3: bool,

    /// Print length, SHA-256 and BLAKE3 of each file as JSON
    #[arg(long)]
    pub json: bool,

    /// Take folders, and print the ids of their listings, as `seed` does
    #[arg(long, conflicts_with_all = ["blake3", "json"])]
    pub folder: bool,

    /// Print the listings themselves, which sha256sum --check can check inside the folder
    #[arg(long, requires = "folder")]
    pub list: bool,
}

#[derive(Debug, clap::Args)]
pub struct LsArgs {
    /// List what the peers say that they have instead, with how many have it; needs a daemon
    #[arg(long)]
    pub network: bool,

    /// List the files and folders that are seeded instead, with the ids of the folders
    #[arg(long, conflicts_with = "network")]
    pub seeding: bool,

    #[command(flatten)]
    pub report: ReportArgs,
}

#[derive(Debug, clap::Args)]
pub struct RecentArgs {
    /// Show at most this many
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub limit: usize,

    #[command(flatten)]
    pub report: ReportArgs,
}

#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// SHA-256s as 64 hexadecimal digits, or blake3/ and the BLAKE3 [default: all that is held]
    #[arg(value_name = "ID")]
    pub ids: Vec<ContentId>,

    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// Files and folders
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,

    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Make the index of the store again from its files first; no daemon may run
    #[arg(long)]
    pub rebuild: bool,

    #[command(flatten)]
    pub report: ReportArgs,
}

#[derive(Debug, clap::Args)]
pub struct PinArgs {
    /// SHA-256s as 64 hexadecimal digits, or blake3/ and the BLAKE3
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<ContentId>,

    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub struct GcArgs {
    /// Only print what would be given up
    #[arg(long)]
    pub dry_run: bool,

    #[command(flatten)]
    pub limits: LimitArgs,

    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The SHA-256 as 64 hexadecimal digits, or blake3/ and the BLAKE3
    #[arg(value_name = "ID")]
    pub id: ContentId,

    #[command(flatten)]
    pub report: ReportArgs,
}

#[derive(Debug, clap::Args)]
pub struct PublishArgs {
    /// A file or folder
    #[arg(value_name = "PATH", required_unless_present = "list", conflicts_with = "list", value_hint = ValueHint::AnyPath)]
    pub path: Option<PathBuf>,

    /// Publish under NAME, which may hold slashes [default: the last part of PATH]
    #[arg(long, value_name = "NAME", conflicts_with = "list")]
    pub name: Option<PublishedName>,

    /// List what is published
    #[arg(long)]
    pub list: bool,

    /// Print JSON
    #[arg(long)]
    pub json: bool,

    #[command(flatten)]
    pub store: StoreArgs,
}

#[derive(Debug, clap::Args)]
pub struct UnpublishArgs {
    /// The name
    #[arg(value_name = "NAME")]
    pub name: PublishedName,

    #[command(flatten)]
    pub store: StoreArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        super::Args::command().debug_assert();
    }
}
