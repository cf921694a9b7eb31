//! The tree of names: which name stands for which content.
//!
//! ```text
//! <sha256>[.anything]         content by SHA-256
//! blake3/<hex>[.anything]     content by BLAKE3
//! stream/<key>/<name>         a stream that a key signs (see `places`)
//! latest/<key>/<name>         what a key has published under a name (see `places`)
//! folder/<sha256>/...         a published folder, by the SHA-256 of its listing
//! seeding/<name>/...          what this node seeds
//! ```
//! A suffix is there for programs that go by it (`.mp4`, `.squashfs`) and changes nothing. Any
//! other name is refused from its shape alone, so that the `.Trash`, `.hidden` and `autorun.inf`
//! of file managers never reach the network.

use crate::content::{ContentId, Hash};
use crate::mount::Errno;

/// The longest name, as on other file systems (`NAME_MAX`), in bytes.
pub const MAX_NAME: usize = 255;

/// The name of the folder of content by BLAKE3.
pub const BLAKE3_FOLDER: &str = "blake3";

/// The name of the folder of what is published under names.
pub const LATEST_FOLDER: &str = "latest";

/// The name of the folder of published folders.
pub const PUBLISHED_FOLDER: &str = "folder";

/// The name of the folder of what this node seeds.
pub const SEEDING_FOLDER: &str = "seeding";
/// The name of the folder of streams.
pub const STREAM_FOLDER: &str = "stream";

/// Hexadecimal digits of a hash.
const DIGITS: usize = 64;

/// A folder of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// The mount itself: content by SHA-256.
    Root,
    /// `blake3/`.
    Blake3,
    /// `latest/`: keys.
    Latest,
    /// `folder/`.
    Published,
    /// `seeding/`.
    Seeding,
    /// `stream/`: keys.
    Stream,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// A folder, which is always there.
    Folder(Folder),
    /// Content, which is there if anyone has it.
    Content(ContentId),
    /// A published folder, which is there if anyone has its listing.
    Published(ContentId),
    /// Perhaps something that this node seeds.
    Seeded,
}

/// What `name` stands for in `folder`: `ENOENT` where that can be nothing.
pub fn parse(folder: Folder, name: &[u8]) -> Result<Name, Errno> {
    if name.len() > MAX_NAME {
        return Err(Errno::ENAMETOOLONG);
    }
    if folder == Folder::Seeding {
        return Ok(Name::Seeded);
    }
    let folders = [
        (BLAKE3_FOLDER, Folder::Blake3),
        (LATEST_FOLDER, Folder::Latest),
        (PUBLISHED_FOLDER, Folder::Published),
        (SEEDING_FOLDER, Folder::Seeding),
        (STREAM_FOLDER, Folder::Stream),
    ];
    let named = folders.iter().find(|(known, _)| known.as_bytes() == name);
    if let (Folder::Root, Some((_, found))) = (folder, named) {
        return Ok(Name::Folder(*found));
    }
    let (digits, suffix) = name.split_at_checked(DIGITS).ok_or(Errno::ENOENT)?;
    let may_follow = folder != Folder::Published && suffix.starts_with(b".");
    if !suffix.is_empty() && !may_follow {
        return Err(Errno::ENOENT);
    }
    let hash = std::str::from_utf8(digits)
        .ok()
        .and_then(Hash::from_hex)
        .ok_or(Errno::ENOENT)?;
    Ok(Name::Content(match folder {
        Folder::Published => return Ok(Name::Published(ContentId::sha256(hash.0))),
        Folder::Blake3 => ContentId::blake3(hash.0),
        // Keys, which are no content.
        Folder::Latest | Folder::Stream => return Err(Errno::ENOENT),
        Folder::Root | Folder::Seeding => ContentId::sha256(hash.0),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: [u8; 32] = [0xab; 32];

    fn hex() -> String {
        "ab".repeat(32)
    }

    #[test]
    fn a_suffix_changes_nothing() {
        for suffix in [
            "",
            ".mp4",
            ".tar.gz",
            ".",
            "..",
            ".é",
            &format!(".{}", "x".repeat(190)),
        ] {
            let name = format!("{}{suffix}", hex());
            assert_eq!(
                parse(Folder::Root, name.as_bytes()),
                Ok(Name::Content(ContentId::sha256(HASH))),
                "{name}"
            );
            assert_eq!(
                parse(Folder::Blake3, name.to_uppercase().as_bytes()),
                Ok(Name::Content(ContentId::blake3(HASH))),
                "{name}"
            );
        }
    }

    #[test]
    fn what_no_content_can_have_is_refused() {
        let hex = hex();
        for name in [
            "",
            ".",
            "..",
            ".Trash",
            ".Trash-1000",
            ".hidden",
            "autorun.inf",
            "blake2",
            "Blake3",
            &hex[1..],
            &format!("{hex}a"),
            &format!("{hex}-mp4"),
            &format!("g{}", &hex[1..]),
            &format!(".{hex}"),
            &format!("é{}", &hex[2..]),
        ] {
            assert_eq!(
                parse(Folder::Root, name.as_bytes()),
                Err(Errno::ENOENT),
                "{name}"
            );
        }
        assert_eq!(parse(Folder::Blake3, b"blake3"), Err(Errno::ENOENT));
        assert_eq!(
            parse(Folder::Root, b"blake3"),
            Ok(Name::Folder(Folder::Blake3))
        );
    }

    #[test]
    fn a_published_folder_has_no_suffix() {
        let hex = hex();
        assert_eq!(
            parse(Folder::Published, hex.as_bytes()),
            Ok(Name::Published(ContentId::sha256(HASH)))
        );
        let suffixed = format!("{hex}.d");
        assert_eq!(
            parse(Folder::Published, suffixed.as_bytes()),
            Err(Errno::ENOENT)
        );
        for (name, folder) in [("folder", Folder::Published), ("seeding", Folder::Seeding)] {
            let parsed = parse(Folder::Root, name.as_bytes());
            assert_eq!(parsed, Ok(Name::Folder(folder)));
            assert_eq!(
                parse(Folder::Published, name.as_bytes()),
                Err(Errno::ENOENT)
            );
        }
        assert_eq!(parse(Folder::Seeding, b"anything"), Ok(Name::Seeded));
    }

    #[test]
    fn a_name_has_255_bytes_at_most() {
        let longest = format!("{}.{}", hex(), "x".repeat(MAX_NAME - DIGITS - 1));
        assert!(parse(Folder::Root, longest.as_bytes()).is_ok());
        assert_eq!(
            parse(Folder::Root, format!("{longest}x").as_bytes()),
            Err(Errno::ENAMETOOLONG)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(name in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(Folder::Root, &name);
            let _ = parse(Folder::Blake3, &name);
        }
    }
}
