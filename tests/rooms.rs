//! The rooms of the house: a file may use what lies in its own room or below it, never above.
//!
//! A reviewer forgets; this does not. The sources are read as text, comments and strings taken
//! out, so the test needs no nightly compiler and no extra crate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Which rooms each room may use. `mount` and `control` do not know each other, nor do `swarm` and
/// `store`.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "mount", "control", "node", "swarm", "store", "wire", "content",
        ],
    ),
    ("mount", &["node", "swarm", "store", "wire", "content"]),
    ("control", &["node", "swarm", "store", "wire", "content"]),
    ("node", &["swarm", "store", "wire", "content"]),
    ("swarm", &["wire", "content"]),
    ("store", &["wire", "content"]),
    ("wire", &["content"]),
    ("content", &[]),
];

/// Rooms that take time, randomness and bytes as arguments, and what they must therefore not name.
const PURE: &[&str] = &["swarm", "wire", "content"];
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "UdpSocket",
    "thread::spawn",
    "tokio",
    "std::fs",
];

#[test]
fn no_room_uses_one_above_it() {
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    for file in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let Some(room) = room_of(&file) else { continue };
        let text = std::fs::read_to_string(&file).unwrap();
        for complaint in check(room, &text) {
            complaints.push(format!("{}: {complaint}", file.display()));
        }
        seen.insert(room);
    }
    assert_eq!(seen.len(), MAY_USE.len(), "rooms found: {seen:?}");
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn an_upward_import_is_seen_in_every_spelling() {
    for (room, source) in [
        ("swarm", "use crate::node::Node;"),
        ("swarm", "use crate :: node::Node;"),
        ("swarm", "pub(crate) use crate::store::Store as S;"),
        ("store", "fn f() { let _ = crate::swarm::Time::ZERO; }"),
        ("wire", "use crate::{content::LEAF, swarm::Time};"),
        (
            "wire",
            "use crate::{\n    content::{LEAF, ByteRange},\n    store,\n};",
        ),
        ("content", "use super::super::wire::Id;"),
        ("content", "use ::cjp2pfs::wire::Id;"),
        ("mount", "type C = crate::control::Server;"),
        ("control", "use crate::mount;"),
        ("node", "use crate::cli as c;"),
        ("swarm", "use crate::{self as house, *};"),
        ("swarm", "use crate::*;"),
    ] {
        assert!(!check(room, source).is_empty(), "{room}: {source}");
    }
}

#[test]
fn a_pure_room_that_reaches_outside_is_seen() {
    for source in [
        "let now = std::time::Instant::now();",
        "use std::time::Instant; fn f() -> Instant { Instant :: now() }",
        "let t = SystemTime::now();",
        "use std::net::{SocketAddr, UdpSocket};",
        "std::thread::spawn(|| ());",
        "use tokio::time::sleep;",
        "use std::{fs, io};",
        "use std::fs::File;",
    ] {
        assert!(!check("swarm", source).is_empty(), "{source}");
        assert!(check("node", source).is_empty(), "{source}");
    }
}

#[test]
fn what_is_allowed_is_not_complained_of() {
    for (room, source) in [
        ("cli", "use crate::{mount::Mount, control, node::Node};"),
        (
            "swarm",
            "use crate::wire::{Encoder, Id}; use crate::swarm::Time; use crate::content;",
        ),
        (
            "swarm",
            "// use crate::node::Node and Instant::now\n/* crate::store */ /// [`crate::node`]",
        ),
        (
            "swarm",
            r##"const A: &str = "crate::node"; const B: &str = r#"std::fs "quoted" crate::store"#;"##,
        ),
        (
            "swarm",
            "use super::peers::Peer; use self::time::Time; mod time;",
        ),
        (
            "swarm",
            "const Q: char = '\"'; fn f<'a>(x: &'a str) -> &'a str { x }",
        ),
        ("wire", "macro_rules! m { () => { $crate::content::LEAF } }"),
    ] {
        assert_eq!(
            check(room, source),
            Vec::<String>::new(),
            "{room}: {source}"
        );
    }
    // The same text outside a comment or a string is seen: the stripping hides nothing else.
    assert!(!check("swarm", "const Q: char = '\"'; use crate::node::Node;").is_empty());
    assert!(
        !check(
            "swarm",
            "const Q: &str = \"\\\"\"; use crate::node::Node; // \""
        )
        .is_empty()
    );
}

/// What is wrong with `source`, a file of `room`.
fn check(room: &str, source: &str) -> Vec<String> {
    let tokens = tokens(&without_comments_and_strings(source));
    let allowed = MAY_USE
        .iter()
        .find(|(name, _)| *name == room)
        .map_or(&[][..], |(_, allowed)| allowed);
    let mut complaints = Vec::new();
    for used in rooms_named(&tokens) {
        let known = MAY_USE.iter().any(|(name, _)| *name == used);
        if used == "*" || (known && used != room && !allowed.contains(&used.as_str())) {
            complaints.push(format!("{room} uses {used}"));
        }
    }
    if PURE.contains(&room) {
        for path in paths(&tokens) {
            for name in IMPURE {
                if format!("::{path}::").contains(&format!("::{name}::")) {
                    complaints.push(format!("{room} is pure, but names {name}"));
                }
            }
        }
    }
    complaints
}

/// The rooms named by paths from the crate's root: `crate::x`, `cjp2pfs::x`, `super::super::x`,
/// and each of `crate::{x, y}`; `*` for a glob of the root.
fn rooms_named(tokens: &[String]) -> Vec<String> {
    paths(tokens)
        .into_iter()
        .filter_map(|path| {
            let parts: Vec<&str> = path.split("::").collect();
            let rest = match parts.as_slice() {
                ["crate" | "cjp2pfs", rest @ ..] => rest,
                ["super", "super", rest @ ..] => {
                    // From a file `room/x.rs` this is the crate's root; deeper files may climb on.
                    let climbed = rest.iter().take_while(|part| **part == "super").count();
                    &rest[climbed..]
                }
                _ => return None,
            };
            rest.first().map(|room| (*room).to_owned())
        })
        .collect()
}

/// Every path in the tokens, with `a::{b, c::{d}}` spread out to `a::b`, `a::c::d`.
fn paths(tokens: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        // A keyword before `::` starts no path: `use ::cjp2pfs::node`.
        if is_name(&tokens[at]) && !["use", "return", "in", "as"].contains(&tokens[at].as_str()) {
            at = path(tokens, at, "", &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one path (a tree, if it has braces) from `at`; returns where it ends.
fn path(tokens: &[String], mut at: usize, prefix: &str, found: &mut Vec<String>) -> usize {
    let mut so_far = prefix.to_owned();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") if so_far.ends_with("::") => {
                at += 1;
                while let Some(token) = tokens.get(at) {
                    match token.as_str() {
                        "}" => return at + 1,
                        token if is_name(token) || token == "*" || token == "{" => {
                            at = path(tokens, at, &so_far, found);
                        }
                        _ => at += 1,
                    }
                }
                return at;
            }
            Some(token) if is_name(token) || token == "*" => {
                so_far.push_str(token);
                at += 1;
                if tokens.get(at).is_some_and(|token| token == "::") {
                    so_far.push_str("::");
                    at += 1;
                    continue;
                }
                found.push(so_far);
                return at;
            }
            _ => {
                found.push(so_far);
                return at;
            }
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn tokens(source: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let end = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if !first.is_whitespace() {
            tokens.push(rest[..end].to_owned());
        }
        rest = &rest[end..];
    }
    tokens
}

/// `source` with comments, strings and character literals replaced by a space.
fn without_comments_and_strings(source: &str) -> String {
    let mut out = String::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            string(rest)
        } else if let Some(hashes) = raw_string(rest).filter(|_| !out.ends_with(is_word)) {
            let open = rest.find('"').map_or(rest.len(), |quote| quote + 1);
            let close = format!("\"{}", "#".repeat(hashes));
            rest[open..]
                .find(&close)
                .map_or(rest.len(), |end| open + end + close.len())
        } else if first == '\'' {
            character(rest)
        } else {
            0
        };
        if skipped > 0 {
            out.push(' ');
            rest = &rest[skipped..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The number of `#` if a raw string starts here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    (after.as_bytes().get(hashes) == Some(&b'"')).then_some(hashes)
}

/// The length of the character literal that starts here; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            chars.next();
            chars
                .find(|(_, c)| *c == '\'')
                .map_or(text.len(), |(at, _)| at + 1)
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

/// The room that a source file belongs to: `src/<room>.rs` or anything under `src/<room>/`.
fn room_of(file: &Path) -> Option<&'static str> {
    let inside = file
        .strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
        .ok()?;
    let first = inside.iter().next()?.to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    MAY_USE
        .iter()
        .map(|(room, _)| *room)
        .find(|room| *room == name)
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}
