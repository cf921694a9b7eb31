//! The completions and the manual page, from the definition in [`super::args`].

use std::io::{self, Write};

use anyhow::Result;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::args::Args;
use super::exit_codes::Outcome;

/// What clap does not know. Lines of roff.
const EXIT_STATUS: &str = r#".SH "EXIT STATUS"
.TP
.B 0
It did what was asked. A daemon ended by SIGTERM, SIGINT or by unmounting ends with 0, too.
.TP
.B 1
It failed; one line on standard error says why.
.TP
.B 2
It was called wrongly.
.TP
.B 130
.B get
was interrupted before it was done. What it had fetched is kept, and the next run goes on from there.
"#;

const ENVIRONMENT: &str = r#".SH ENVIRONMENT
Flags win over the environment, the environment over the configuration file.
.TP
.BR CJP2PFS_STORE ", " CJP2PFS_BIND ", " CJP2PFS_CACHE ", " CJP2PFS_STORE_LIMIT ", " CJP2PFS_MIN_FREE ", " CJP2PFS_LOOKUP_TIMEOUT ", " CJP2PFS_READ_TIMEOUT ", " CJP2PFS_COMPLETE ", " CJP2PFS_CONFIG
As the flags of the same names.
.TP
.B CJP2PFS_PEER
Peers, separated by commas.
.TP
.BR CJP2PFS_NO_BOOTSTRAP ", " CJP2PFS_NO_LAN
As the flags, unless empty, 0, no, off or false.
.TP
.B CJP2PFS_LOG
What to tell on standard error, where no
.B \-v
is given: a level (error, warn, info, debug, trace), or a list such as
.IR warn,cjp2pfs::node=debug .
.TP
.BR XDG_DATA_HOME ", " XDG_CONFIG_HOME
Where the store and the configuration are.
"#;

const FILES: &str = r#".SH FILES
.TP
.I $XDG_CONFIG_HOME/cjp2pfs/config.toml
The configuration. Its keys are the names of the flags: store, bind, peer (a list), no\-bootstrap, no\-lan (true or false), cache, store\-limit, min\-free, lookup\-timeout, read\-timeout, complete. Any other key is an error.
.TP
.I $XDG_DATA_HOME/cjp2pfs
The store: what was fetched, and the index of what is seeded. One daemon at a time uses it.
.TP
.I control.sock
In the store: where the other commands reach the daemon (HTTP on a Unix socket).
.TP
.I mount.log
In the store: what a daemon in the background tells.
"#;

const EXAMPLES: &str = r#".SH EXAMPLES
Serve a folder, and keep the list of what is in it:
.PP
.RS
.nf
cjp2pfs seed ~/Videos > videos.sha256
.fi
.RE
.PP
Mount the network, play something, unmount:
.PP
.RS
.nf
cjp2pfs mount /mnt/cjp2p
mpv /mnt/cjp2p/<sha256>.mp4
cjp2pfs umount /mnt/cjp2p
.fi
.RE
.PP
Fetch into a file, from one known peer only:
.PP
.RS
.nf
cjp2pfs get <sha256> \-o film.mp4 \-\-peer 192.0.2.1:24254 \-\-no\-bootstrap \-\-no\-lan
.fi
.RE
.SH "SEE ALSO"
.BR sha256sum (1),
.BR fusermount3 (1),
.BR mount.fuse3 (8)
"#;

/// Prints the completions for `shell`.
pub fn completions(shell: Shell) -> Result<Outcome> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut visible(), "cjp2pfs", &mut text);
    io::stdout().write_all(&text)?;
    Ok(Outcome::Done)
}

/// Prints the manual page.
pub fn man() -> Result<Outcome> {
    let mut page = Vec::new();
    write_page(&mut page)?;
    io::stdout().write_all(&page)?;
    Ok(Outcome::Done)
}

/// The definition without the commands that only the build of this project needs.
fn visible() -> Command {
    let full = Args::command();
    let shown: Vec<Command> = full
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .cloned()
        .collect();
    let mut command = Command::new("cjp2pfs")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .args(full.get_arguments().cloned())
        .subcommands(shown);
    if let Some(about) = full.get_about() {
        command = command.about(about.clone());
    }
    if let Some(about) = full.get_long_about() {
        command = command.long_about(about.clone());
    }
    command
}

/// One page for all commands: they share most of their options and files, and a reader who does
/// not yet know which command it is finds it.
fn write_page(out: &mut Vec<u8>) -> io::Result<()> {
    let command = visible().subcommand_value_name("COMMAND");
    let commands: Vec<Command> = command.get_subcommands().cloned().collect();
    let page = Man::new(command).manual("User Commands");
    page.render_title(out)?;
    for section in [
        Man::render_name_section,
        Man::render_synopsis_section,
        Man::render_description_section,
        Man::render_options_section,
    ] {
        write_section(out, &page, section)?;
    }
    for command in commands {
        let name = command.get_name().to_owned();
        writeln!(out, ".SH \"{}\"", name.to_uppercase())?;
        // Apart from its parent it shows its own options only; the global ones stand above.
        let command = command
            .bin_name(format!("cjp2pfs {name}"))
            .disable_help_flag(true);
        let page = Man::new(command);
        let mut text = Vec::new();
        write_section(&mut text, &page, Man::render_synopsis_section)?;
        write_section(&mut text, &page, Man::render_description_section)?;
        write_section(&mut text, &page, Man::render_options_section)?;
        let text = String::from_utf8_lossy(&text).replace(".SH ", ".SS ");
        out.extend_from_slice(text.as_bytes());
    }
    for section in [EXIT_STATUS, ENVIRONMENT, FILES, EXAMPLES] {
        out.extend_from_slice(section.as_bytes());
    }
    Ok(())
}

/// Writes a section without the preamble that each comes with; the title has brought it.
fn write_section(
    out: &mut Vec<u8>,
    page: &Man,
    section: fn(&Man, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut text = Vec::new();
    section(page, &mut text)?;
    let text = String::from_utf8_lossy(&text);
    for line in text.lines() {
        if !line.starts_with(".ie ") && !line.starts_with(".el ") {
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    Ok(())
}
