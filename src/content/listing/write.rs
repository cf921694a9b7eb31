//! From entries to text.

use std::fmt::Write;

use super::moment;
use super::parse::{EMPTY_FOLDER, HEADER, LINK, PATH};
use super::{Entry, Listed, Listing, MODE_BITS};

impl Listing {
    /// The text, whose SHA-256 is the folder's id.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(64 + self.entries.len() * 224);
        text.push_str(HEADER);
        text.push('\n');
        for entry in &self.entries {
            write_entry(&mut text, entry);
        }
        text
    }
}

fn write_entry(text: &mut String, entry: &Entry) {
    match &entry.what {
        Listed::File {
            length,
            modified,
            mode,
            sha256,
            blake3,
        } => {
            let modified = moment::write(*modified);
            // A String takes whatever is written to it.
            let _ = write!(text, "# {length} {modified} {:o} ", mode & MODE_BITS);
            match blake3 {
                Some(hash) => push_hash(text, hash),
                None => text.push('-'),
            }
            text.push('\n');
            if entry.path.contains(['\\', '\n', '\r']) {
                text.push('\\');
            }
            push_hash(text, sha256);
            text.push_str("  ");
            push_escaped(text, &entry.path);
        }
        Listed::Link { target } => {
            text.push_str(LINK);
            push_escaped(text, target);
            text.push('\n');
            text.push_str(PATH);
            push_escaped(text, &entry.path);
        }
        Listed::EmptyFolder => {
            text.push_str(EMPTY_FOLDER);
            text.push('\n');
            text.push_str(PATH);
            push_escaped(text, &entry.path);
        }
    }
    text.push('\n');
}

fn push_hash(text: &mut String, hash: &crate::content::Hash) {
    text.push_str(std::str::from_utf8(&hash.to_hex()).unwrap_or_default());
}

fn push_escaped(text: &mut String, name: &str) {
    for letter in name.chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            other => text.push(other),
        }
    }
}
