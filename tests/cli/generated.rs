//! The manual page and the completions in the tree are those of the command line as it is defined.

use std::path::Path;

use assert_cmd::Command;

fn generated(arguments: &[&str]) -> String {
    let output = Command::cargo_bin("cjp2pfs")
        .unwrap()
        .args(arguments)
        .assert()
        .success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

#[track_caller]
fn assert_current(path: &str, arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == generated(arguments),
        "{} is stale; run scripts/generate",
        path.display()
    );
}

#[test]
fn the_manual_page_is_current() {
    assert_current("man/cjp2pfs.1", &["man"]);
}

#[test]
fn the_completions_are_current() {
    for shell in ["bash", "zsh", "fish"] {
        assert_current(
            &format!("completions/cjp2pfs.{shell}"),
            &["completions", shell],
        );
    }
}

/// Every option and command that the help names is in the manual page.
#[test]
fn the_manual_page_is_complete() {
    let page = generated(&["man"]).replace('\\', "");
    for command in [
        "mount",
        "umount",
        "seed",
        "get",
        "hash",
        "status",
        "peers",
        "explain",
        "completions",
    ] {
        assert!(page.contains(&format!("cjp2pfs {command}")), "{command}");
        let help = generated(&[command, "--help"]);
        let options = help
            .split_whitespace()
            .filter(|word| word.starts_with("--") && word.len() > 2);
        for option in options.map(|word| word.trim_end_matches(['.', ','])) {
            assert!(page.contains(option), "{option} of {command}");
        }
    }
}
