//! Wrong usage, where settings come from, and errors in one line.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use snapbox::assert_data_eq;
use snapbox::str;

const ID: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// The program, with no setting of the user who runs the tests.
fn cjp2pfs(home: &Path) -> Command {
    let mut command = Command::cargo_bin("cjp2pfs").unwrap();
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CJP2PFS_") {
            command.env_remove(name);
        }
    }
    command
        .env("HOME", home)
        .env_remove("XDG_DATA_HOME")
        .env_remove("XDG_CONFIG_HOME")
        .current_dir(home);
    command
}

fn stderr(command: &mut Command, code: i32) -> String {
    let assert = command.assert().code(code).stdout("");
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

#[test]
fn wrong_usage_ends_with_2() {
    let home = tempfile::tempdir().unwrap();
    let long = format!("{ID}0");
    for arguments in [
        &[][..],
        &["unknown"],
        &["mount"],
        &["mount", "/mnt", "--unknown"],
        &["mount", "/mnt", "--complete", "perhaps"],
        &["mount", "/mnt", "--cache", "lots"],
        &["mount", "/mnt", "--upload-limit", "fast"],
        &["seed", "x", "--upload-limit-per-address", "-1"],
        &["get", ID, "--download-limit", "2Mbit"],
        &["mount", "/mnt", "--read-timeout", "0"],
        &["mount", "/mnt", "--bind", "here"],
        &["mount", "/mnt", "--peer", "127.0.0.1"],
        &["seed"],
        &["get"],
        &["get", "../etc/passwd"],
        &["get", &long],
        &["explain"],
        &["explain", "../etc/passwd"],
        &["hash"],
        &["hash", "--json", "--blake3", "-"],
        &["completions", "tcsh-3"],
    ] {
        let mut command = cjp2pfs(home.path());
        let text = stderr(command.args(arguments), 2);
        assert!(!text.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_names_the_commands() {
    let home = tempfile::tempdir().unwrap();
    let assert = cjp2pfs(home.path()).arg("-h").assert().success();
    let help = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    assert_data_eq!(
        help,
        str![[r#"
A file system whose files are the content of the CJP2P (LCDP) peer-to-peer network

Usage: cjp2pfs [OPTIONS] <COMMAND>

Commands:
  mount        Mount the network at a folder
  umount       Unmount the folder and wait until its daemon has ended
  seed         Hash files and folders and serve them from where they lie
  unseed       Serve files and folders no longer
  get          Fetch content into a file
  hash         Print the hashes of files as sha256sum or b3sum does
  status       Show what the daemon of the store is doing
  peers        Show the peers that the daemon of the store knows
  recent       Show what the peers say that they have, the latest named first
  explain      Tell why content is not here yet: which bytes, which peers, what they answered
  publish      Publish a file or folder under a name that can stand for something else later
  unpublish    Publish nothing under a name any more
  ls           List the content that is held: how much of it, when it was used, whether it is pinned
  pin          Never give up this content, be it held now or later
  unpin        Let this content be given up again when room is needed
  gc           Give up content until the limits are kept, and what is of no use to anybody
  verify       Read complete content once more and compare it with its hash
  import       Put files into the store, by sharing their blocks or the file itself where that can
               be
  doctor       Check the store and this machine, and tell what is in force
  completions  Print the completions for a shell

Options:
  -v, --verbose...     Tell more on standard error; -vv and -vvv tell still more
      --config <FILE>  Read the configuration from FILE [env: CJP2PFS_CONFIG]
  -h, --help           Print help (see more with '--help')
  -V, --version        Print version

"#]]
    );
}

/// The error of `status` names the store that it would have asked.
#[test]
fn flags_then_environment_then_file_then_defaults() {
    let home = tempfile::tempdir().unwrap();
    let home = fs::canonicalize(home.path()).unwrap();
    let line = |dir: &str| format!("cjp2pfs: no daemon runs for the store {dir}\n");

    let default = home.join(".local/share/cjp2pfs");
    let text = stderr(cjp2pfs(&home).arg("status"), 1);
    assert_eq!(text, line(default.to_str().unwrap()));

    let data = home.join("data");
    let text = stderr(cjp2pfs(&home).arg("status").env("XDG_DATA_HOME", &data), 1);
    assert_eq!(text, line(data.join("cjp2pfs").to_str().unwrap()));

    fs::create_dir_all(home.join(".config/cjp2pfs")).unwrap();
    let config = home.join(".config/cjp2pfs/config.toml");
    fs::write(&config, "store = \"/from/file\"\n").unwrap();
    assert_eq!(stderr(cjp2pfs(&home).arg("status"), 1), line("/from/file"));

    let mut with_environment = cjp2pfs(&home);
    with_environment
        .arg("peers")
        .env("CJP2PFS_STORE", "/from/env");
    assert_eq!(stderr(&mut with_environment, 1), line("/from/env"));
    with_environment.args(["--store", "/from/flag"]);
    assert_eq!(stderr(&mut with_environment, 1), line("/from/flag"));

    let other = home.join("other.toml");
    fs::write(&other, "store = \"/from/other\"\n").unwrap();
    let mut with_other = cjp2pfs(&home);
    with_other.args(["status", "--config"]).arg(&other);
    assert_eq!(stderr(&mut with_other, 1), line("/from/other"));
}

#[test]
fn a_wrong_configuration_is_told_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config.toml");
    for (text, end) in [
        ("cahce = \"1G\"\n", "line 1: unknown field `cahce`"),
        ("\ncache = \"1X\"\n", "line 2: a size is a whole number"),
        ("store = \n", "line 1: "),
    ] {
        fs::write(&config, text).unwrap();
        let mut command = cjp2pfs(home.path());
        command.args(["status", "--config"]).arg(&config);
        let told = stderr(&mut command, 1);
        let start = format!(
            "cjp2pfs: cannot use the configuration {}: {end}",
            config.display()
        );
        assert!(told.starts_with(&start), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    fs::remove_file(&config).unwrap();
    let mut command = cjp2pfs(home.path());
    command.args(["status", "--config"]).arg(&config);
    let told = stderr(&mut command, 1);
    assert!(told.ends_with(": No such file or directory\n"), "{told}");
}

#[test]
fn get_looks_at_the_target_first() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("file"), "mine").unwrap();
    for (output, told) in [
        ("file", "cjp2pfs: file exists; --force replaces it\n"),
        (".", "cjp2pfs: . is a folder\n"),
        (
            "no/file",
            "cjp2pfs: cannot write no/file: there is no such folder\n",
        ),
    ] {
        let mut command = cjp2pfs(home.path());
        command.args(["get", ID, "-o", output]);
        assert_eq!(stderr(&mut command, 1), told);
    }
    assert_eq!(fs::read(home.path().join("file")).unwrap(), b"mine");
    let entries = fs::read_dir(home.path()).unwrap().count();
    assert_eq!(entries, 1, "no store was made");
}

#[test]
fn a_closed_pipe_is_no_news() {
    let home = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let program = assert_cmd::cargo::cargo_bin("cjp2pfs");
    let output = std::process::Command::new(program)
        .args(["completions", "bash"])
        .current_dir(home.path())
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(1));
}
