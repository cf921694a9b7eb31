//! Extended attributes: what a program can ask about a file's content.
//!
//! | attribute | value |
//! |---|---|
//! | `user.cjp2p.id` | the id on the wire |
//! | `user.cjp2p.sha256`, `user.cjp2p.blake3` | the hash, where the name tells it |
//! | `user.cjp2p.state` | `complete`, `partial` or `absent`: what is held here |
//! | `user.cjp2p.verified` | `yes`, `leaves` (each leaf that is here), `claimed` (the same, by a hash that peers claim) or `no` |
//! | `user.cjp2p.have` | bytes held here |

use super::errno::Errno;
use crate::content::{ContentId, Kind};
use crate::node::ContentInfo;

const ID: &str = "user.cjp2p.id";
const SHA256: &str = "user.cjp2p.sha256";
const BLAKE3: &str = "user.cjp2p.blake3";
const STATE: &str = "user.cjp2p.state";
const VERIFIED: &str = "user.cjp2p.verified";
const HAVE: &str = "user.cjp2p.have";

/// The attributes that content of this id has.
fn names(id: &ContentId) -> impl Iterator<Item = &'static str> {
    let hash = match id.kind {
        Kind::Sha256 => Some(SHA256),
        Kind::Blake3 => Some(BLAKE3),
        Kind::TreeV2 => None,
    };
    [ID, STATE, VERIFIED, HAVE].into_iter().chain(hash)
}

/// Their names as `listxattr(2)` returns them, each with a NUL after it.
#[must_use]
pub fn list(id: &ContentId) -> Vec<u8> {
    let mut list = Vec::new();
    for name in names(id) {
        list.extend_from_slice(name.as_bytes());
        list.push(0);
    }
    list
}

/// The value of the attribute `name` of content that `info` is known of.
pub fn value(info: &ContentInfo, name: &[u8]) -> Result<String, Errno> {
    let name = names(&info.id)
        .find(|known| known.as_bytes() == name)
        .ok_or_else(|| absent(name))?;
    Ok(match name {
        ID => info.id.to_string(),
        STATE => state(info).to_owned(),
        VERIFIED => info.verified.word().to_owned(),
        HAVE => info.present.to_string(),
        _ => info.id.hash.to_string(),
    })
}

/// What to say of an attribute that is not there: of those that are not the user's, that the file
/// system has none of the kind. `ls -l` asks for `security.selinux` and `system.posix_acl_access`,
/// and takes that answer for the whole file system, where after any other it asks of every file; the
/// kernel takes both for "no" when it asks for `security.capability`.
#[must_use]
pub fn absent(name: &[u8]) -> Errno {
    if name.starts_with(b"user.") {
        Errno::ENODATA
    } else {
        Errno::EOPNOTSUPP
    }
}

fn state(info: &ContentInfo) -> &'static str {
    if info.proven {
        "complete"
    } else if info.present > 0 {
        "partial"
    } else {
        "absent"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_can_be_read() {
        let info = ContentInfo {
            id: ContentId::blake3([0xab; 32]),
            length: 10,
            proven: false,
            present: 4,
            verified: crate::node::Verified::No,
        };
        let list = list(&info.id);
        let mut values = Vec::new();
        for name in list
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
        {
            values.push(value(&info, name).unwrap());
        }
        let hex = "ab".repeat(32);
        assert_eq!(
            values,
            [&format!("blake3/{hex}"), "partial", "no", "4", &hex]
        );
        assert_eq!(value(&info, b"user.cjp2p.sha256"), Err(Errno::ENODATA));
        for foreign in [
            &b"security.selinux"[..],
            b"security.capability",
            b"system.posix_acl_access",
        ] {
            assert_eq!(value(&info, foreign), Err(Errno::EOPNOTSUPP));
        }
    }
}
