//! `hash` prints what `sha256sum` and `b3sum` print.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command as System;

use assert_cmd::Command;

fn cjp2pfs() -> Command {
    Command::cargo_bin("cjp2pfs").unwrap()
}

#[test]
fn lines_are_those_of_sha256sum() {
    let dir = tempfile::tempdir().unwrap();
    let names: [&[u8]; 7] = [
        b"plain",
        b"two words",
        b"back\\slash",
        b"new\nline",
        b"carriage\rreturn",
        b"not utf-8 \xff",
        b"empty",
    ];
    for name in names {
        let content = if name == b"empty" { &b""[..] } else { name };
        fs::write(dir.path().join(OsStr::from_bytes(name)), content).unwrap();
    }
    fs::write(dir.path().join("long"), vec![9; 3_000_000]).unwrap();
    let mut arguments: Vec<_> = names.iter().map(|name| OsStr::from_bytes(name)).collect();
    arguments.push(OsStr::new("long"));
    let expected = System::new("sha256sum")
        .args(&arguments)
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(expected.status.success());
    cjp2pfs()
        .arg("hash")
        .args(&arguments)
        .current_dir(dir.path())
        .assert()
        .success()
        .stdout(expected.stdout);
}

#[test]
fn standard_input_is_a_file_too() {
    // The hashes of "abc": FIPS 180-4 examples, and the BLAKE3 reference implementation.
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let blake3 = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    cjp2pfs()
        .args(["hash", "-"])
        .write_stdin("abc")
        .assert()
        .success()
        .stdout(format!("{sha256}  -\n"));
    cjp2pfs()
        .args(["hash", "--blake3", "-"])
        .write_stdin("abc")
        .assert()
        .success()
        .stdout(format!("{blake3}  -\n"));
    let output = cjp2pfs()
        .args(["hash", "--json", "-"])
        .write_stdin("abc")
        .assert()
        .success();
    let json: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let expected = serde_json::json!([
        {"path": "-", "length": 3, "sha256": sha256, "blake3": blake3}
    ]);
    assert_eq!(json, expected);
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_hashed() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    cjp2pfs()
        .args(["hash", "missing", ".", "file"])
        .current_dir(dir.path())
        .assert()
        .code(1)
        .stdout("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  file\n")
        .stderr(
            "cjp2pfs: cannot read missing: No such file or directory\n\
             cjp2pfs: cannot read .: Is a directory\n",
        );
}
