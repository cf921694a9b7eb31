//! Folders that are made by naming them: `latest/`, the keys in it, and the parts of names that go on.
//!
//! ```text
//! latest/                      keys of which a name is known
//! latest/<key>/                its names, as far as they are known
//! latest/<key>/docs/           names that begin with `docs/`
//! stream/<key>/                streams are found when they are named
//! ```
//! In the name of a stream a slash is written `%2F`: a part of such a name is nothing that could be
//! asked for.
//!
//! Peers know whole names only. So a part that nobody has published by itself is a folder, in which
//! the name may go on; see [`Named::Folder`](crate::node::Named).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::attributes::Attributes;
use super::errno::Errno;
use super::ino::Ino;
use super::names::MAX_NAME;
use crate::content::{ContentId, KeyedName, PublicKey};
use crate::node::ContentInfo;

/// A folder that is made by naming it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A key: its names.
    Key(PublicKey),
    /// What a name begins with.
    Below(KeyedName),
    /// A key: its streams.
    Streams(PublicKey),
    /// A stream, which is no folder but grows, and so has no inode of content.
    Stream(KeyedName),
}

/// The key that `name` stands for in `latest/`.
pub fn parse_key(name: &[u8]) -> Result<PublicKey, Errno> {
    std::str::from_utf8(name)
        .ok()
        .and_then(PublicKey::from_hex)
        .ok_or(Errno::ENOENT)
}

impl Place {
    /// The name that `name` stands for in this folder.
    pub fn name(&self, name: &[u8]) -> Result<KeyedName, Errno> {
        if name.len() > MAX_NAME {
            return Err(Errno::ENAMETOOLONG);
        }
        let name = std::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
        let (key, text) = match self {
            Self::Key(key) => (*key, name.parse()),
            Self::Streams(key) => {
                let name = name.replace("%2F", "/").replace("%2f", "/");
                (*key, name.parse())
            }
            Self::Stream(_) => return Err(Errno::ENOTDIR),
            Self::Below(of) => (of.key, format!("{}/{name}", of.name).parse()),
        };
        let name = text.map_err(|_| Errno::ENOENT)?;
        Ok(KeyedName { key, name })
    }

    /// What of `names` is in this folder: each next part once, and its content where the name ends
    /// there.
    fn entries(&self, names: &[(KeyedName, ContentId)]) -> BTreeMap<String, Option<ContentId>> {
        let mut entries = BTreeMap::new();
        for (of, id) in names {
            let rest = match self {
                Self::Key(key) => (of.key == *key).then_some(of.name.as_str()),
                Self::Below(above) if of.key == above.key => of
                    .name
                    .as_str()
                    .strip_prefix(above.name.as_str())
                    .and_then(|rest| rest.strip_prefix('/')),
                Self::Below(_) | Self::Streams(_) | Self::Stream(_) => None,
            };
            match rest.map(|rest| rest.split_once('/').ok_or(rest)) {
                Some(Ok((part, _))) => {
                    entries.entry(part.to_owned()).or_insert(None);
                }
                Some(Err(last)) => {
                    entries.insert(last.to_owned(), Some(*id));
                }
                None => {}
            }
        }
        entries
    }
}

/// One entry of such a folder.
pub enum PlaceEntry {
    /// A folder in it.
    Folder(Place),
    /// A published folder, as `stat` shows it.
    Published(Attributes),
    /// Content.
    Content(ContentInfo),
}

/// What `latest/` (`None`) or a folder in it holds, by name, as far as it is known.
pub fn list(
    place: Option<&Place>,
    names: &[(KeyedName, ContentId)],
    of_content: impl Fn(KeyedName, ContentId) -> Option<PlaceEntry>,
) -> Vec<(String, PlaceEntry)> {
    let Some(place) = place else {
        let mut keys: Vec<PublicKey> = names.iter().map(|(of, _)| of.key).collect();
        keys.sort_unstable();
        keys.dedup();
        let entry = |key: PublicKey| (key.to_string(), PlaceEntry::Folder(Place::Key(key)));
        return keys.into_iter().map(entry).collect();
    };
    let entry = |(name, id): (String, Option<ContentId>)| {
        let entry = match id {
            // Content of which nothing is known yet appears when it is named.
            Some(id) => of_content(place.name(name.as_bytes()).ok()?, id)?,
            None => PlaceEntry::Folder(Place::Below(place.name(name.as_bytes()).ok()?)),
        };
        Some((name, entry))
    };
    place.entries(names).into_iter().filter_map(entry).collect()
}

struct Known {
    place: Place,
    /// How many times the kernel has been told of it, less what it has forgotten.
    lookups: u64,
}

/// Those of them that the kernel knows.
#[derive(Default)]
pub struct Places {
    table: Mutex<HashMap<Ino, Known>>,
}

impl Places {
    /// The kernel is being told of `place` once more.
    pub fn tell(&self, place: Place) -> Attributes {
        let mut table = self.table();
        let mut ino = number(&place);
        while table.get(&ino).is_some_and(|known| known.place != place) {
            ino = Ino(ino.0.wrapping_add(1));
        }
        let known = table.entry(ino).or_insert(Known { place, lookups: 0 });
        known.lookups = known.lookups.saturating_add(1);
        Attributes::folder(ino)
    }

    /// The stream with this number.
    pub fn stream(&self, ino: Ino) -> Option<KeyedName> {
        match self.get(ino)? {
            Place::Stream(of) => Some(of),
            _ => None,
        }
    }

    /// The folder or stream with this number.
    pub fn get(&self, ino: Ino) -> Option<Place> {
        self.table().get(&ino).map(|known| known.place.clone())
    }

    /// The kernel has forgotten `count` of the times that it was told of `ino`.
    pub fn forget(&self, ino: Ino, count: u64) {
        if let Entry::Occupied(mut entry) = self.table().entry(ino) {
            let known = entry.get_mut();
            known.lookups = known.lookups.saturating_sub(count);
            if known.lookups == 0 {
                entry.remove();
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Ino, Known>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between 2^60 and 2^61, apart from the numbers of content and of published folders.
pub fn number(place: &Place) -> Ino {
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    Ino(hasher.finish() >> 4 | 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, byte: u8) -> (KeyedName, ContentId) {
        let key = PublicKey([7; 32]);
        let name = name.parse().unwrap();
        (KeyedName { key, name }, ContentId::sha256([byte; 32]))
    }

    #[test]
    fn names_with_slashes_make_folders() {
        let names = [
            named("a", 1),
            named("docs/x/1", 2),
            named("docs/y", 3),
            named("docsz", 4),
        ];
        let info = |_, id| {
            Some(PlaceEntry::Content(ContentInfo {
                id,
                length: 1,
                proven: true,
                verified: crate::node::Verified::Yes,
                present: 1,
            }))
        };
        let shown = |place: Option<&Place>| -> Vec<String> {
            let entries = list(place, &names, info).into_iter();
            let text = |(name, entry)| match entry {
                PlaceEntry::Folder(_) | PlaceEntry::Published(_) => format!("{name}/"),
                PlaceEntry::Content(info) => format!("{name} {}", info.id.hash.0[0]),
            };
            entries.map(text).collect()
        };
        assert_eq!(shown(None), [format!("{}/", "07".repeat(32))]);
        let key = Place::Key(PublicKey([7; 32]));
        assert_eq!(shown(Some(&key)), ["a 1", "docs/", "docsz 4"]);
        let docs = Place::Below(key.name(b"docs").unwrap());
        assert_eq!(shown(Some(&docs)), ["x/", "y 3"]);
        assert!(shown(Some(&Place::Key(PublicKey([8; 32])))).is_empty());
        assert_eq!(docs.name(b"y").unwrap().name.as_str(), "docs/y");
        for bad in [&b".."[..], b".hidden", b"a\\b", b"\xff", b""] {
            assert_eq!(docs.name(bad), Err(Errno::ENOENT));
        }
    }

    #[test]
    fn what_the_kernel_forgets_is_forgotten() {
        let places = Places::default();
        let place = Place::Key(PublicKey([7; 32]));
        let ino = places.tell(place.clone()).ino;
        assert_eq!(places.tell(place.clone()).ino, ino);
        places.forget(ino, 1);
        assert_eq!(places.get(ino), Some(place));
        places.forget(ino, 1);
        assert_eq!(places.get(ino), None);
    }
}
