//! The lines of `sha256sum` and `b3sum`.
//!
//! `<hex>  <name>`; a name that holds a backslash, a newline or a carriage return is written with
//! these escaped, and the line then starts with a backslash (GNU coreutils manual, "md5sum
//! invocation"; the carriage return since coreutils 9.0).

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::content::Hash;

/// Writes one line, newline included. Names are bytes and stay bytes.
///
/// # Errors
/// Those of `out`.
pub fn write_checksum_line(out: &mut impl Write, hash: &Hash, name: &Path) -> io::Result<()> {
    let name = name.as_os_str().as_bytes();
    let odd = name.iter().any(|b| matches!(b, b'\\' | b'\n' | b'\r'));
    let mut line = Vec::with_capacity(name.len() + 68);
    if odd {
        line.push(b'\\');
    }
    line.extend_from_slice(&hash.to_hex());
    line.extend_from_slice(b"  ");
    for &byte in name {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            _ => line.push(byte),
        }
    }
    line.push(b'\n');
    out.write_all(&line)
}
