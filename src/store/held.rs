//! What the store holds, entry by entry, and what of it is pinned.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::content::{ContentId, Kind};

use super::error::StoreError;
use super::index::Entry;
use super::{Store, uses};

/// How much of content is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeldAs {
    /// All of it, verified, in the store.
    Complete,
    /// Some of it, in the store.
    Partial,
    /// All of it, in a file of the user's.
    Seeded,
}

/// Content that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its id.
    pub id: String,
    /// Bytes of the whole.
    pub length: u64,
    /// How much of it is held.
    pub state: HeldAs,
    /// Bytes of it that are held.
    pub present: u64,
    /// Bytes that it takes on the disk, where it takes any of the store.
    pub on_disk: u64,
    /// Whether it was verified against its id.
    pub verified: bool,
    /// Whether it is never given up.
    pub pinned: bool,
    /// When it was used last, in seconds since 1970, where that is known.
    pub used: Option<u64>,
    /// Where the user's file lies.
    pub path: Option<PathBuf>,
}

/// A place in the list of what is held, to go on from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    Complete(ContentId),
    Partials,
    Seeded(PathBuf),
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        match text.split_at_checked(1)? {
            ("c", id) => Some(Self::Complete(id.parse().ok()?)),
            ("p", "") => Some(Self::Partials),
            ("s", hex) => {
                let digits = hex.as_bytes().chunks(2);
                let bytes: Option<Vec<u8>> = digits
                    .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
                    .collect();
                Some(Self::Seeded(PathBuf::from(OsStr::from_bytes(&bytes?))))
            }
            _ => None,
        }
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Start => None,
            Self::Complete(id) => Some(format!("c{id}")),
            Self::Partials => Some("p".into()),
            Self::Seeded(path) => {
                let bytes = path.as_os_str().as_bytes();
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                Some(format!("s{hex}"))
            }
        }
    }
}

impl Store {
    /// What is held, from the place that the call before returned on, at most about `limit` of it,
    /// and the place to go on from, if there is more. Tree files are left out.
    ///
    /// # Errors
    /// What the index said.
    pub fn held(
        &self,
        from: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Held>, Option<String>), StoreError> {
        self.note_uses()?;
        let from = from.and_then(Place::parse).unwrap_or_default();
        let mut found = Vec::new();
        let next = match from {
            Place::Start => self.held_complete(None, limit, &mut found)?,
            Place::Complete(id) => self.held_complete(Some(id), limit, &mut found)?,
            Place::Partials => {
                for (id, length, present) in self.list_partials()? {
                    if id.kind != Kind::TreeV2 && present > 0 {
                        found.push(self.held_partial(id, length, present)?);
                    }
                }
                Some(Place::Seeded(PathBuf::new()))
            }
            Place::Seeded(path) => self.held_seeded(&path, limit, &mut found)?,
        };
        Ok((found, next.and_then(|next| next.text())))
    }

    fn held_complete(
        &self,
        after: Option<ContentId>,
        limit: usize,
        found: &mut Vec<Held>,
    ) -> Result<Option<Place>, StoreError> {
        let page = self.0.index.complete_after(after, limit)?;
        let mut place = None;
        for entry in &page {
            if entry.id.kind == Kind::TreeV2 {
                // The last kind of the order.
                return Ok(Some(Place::Partials));
            }
            place = Some(Place::Complete(entry.id));
            found.push(self.held_as_complete(entry)?);
        }
        Ok(Some(place.unwrap_or(Place::Partials)))
    }

    fn held_as_complete(&self, entry: &Entry) -> Result<Held, StoreError> {
        Ok(Held {
            id: entry.id.to_string(),
            length: entry.length,
            state: HeldAs::Complete,
            present: entry.length,
            on_disk: entry.on_disk,
            verified: true,
            pinned: self.is_pinned(&entry.id)?,
            used: (entry.used > 0).then_some(entry.used / 1_000_000),
            path: None,
        })
    }

    fn held_partial(&self, id: ContentId, length: u64, present: u64) -> Result<Held, StoreError> {
        let left = super::lock(&self.0.room.left).get(&id).copied();
        Ok(Held {
            id: id.to_string(),
            length,
            state: HeldAs::Partial,
            present,
            on_disk: left.map_or(present, |left| left.on_disk),
            verified: false,
            pinned: self.is_pinned(&id)?,
            used: left.map(|left| left.used / 1_000_000),
            path: None,
        })
    }

    fn held_seeded(
        &self,
        after: &Path,
        limit: usize,
        found: &mut Vec<Held>,
    ) -> Result<Option<Place>, StoreError> {
        let mut place = None;
        for file in self.seeded_after(after, limit) {
            let id = ContentId::sha256(file.sha256.0);
            place = Some(Place::Seeded(file.path.clone()));
            found.push(Held {
                id: id.to_string(),
                length: file.length,
                state: HeldAs::Seeded,
                present: file.length,
                on_disk: 0,
                verified: true,
                pinned: self.is_pinned(&id)?,
                used: None,
                path: Some(file.path),
            });
        }
        Ok(place)
    }

    /// Whether content is pinned, by either of its ids.
    ///
    /// # Errors
    /// What the index said.
    pub fn is_pinned(&self, id: &ContentId) -> Result<bool, StoreError> {
        let mut ids = vec![*id];
        ids.extend(self.paired(id));
        Ok(self.0.index.is_pinned(&ids)?)
    }

    /// Never gives up content of this id, be it held now or later, durably. `false`: it was pinned
    /// already.
    ///
    /// # Errors
    /// What the index said.
    pub fn pin(&self, id: &ContentId) -> Result<bool, StoreError> {
        let news = self.0.index.set_pinned(id, Some(uses::now()), &[])?;
        self.changed(1, None)?;
        self.flush()?;
        Ok(news)
    }

    /// Undoes [`Store::pin`], under either of the content's ids. `false`: it was not pinned.
    ///
    /// # Errors
    /// What the index said.
    pub fn unpin(&self, id: &ContentId) -> Result<bool, StoreError> {
        let mut ids = vec![*id];
        ids.extend(self.paired(id));
        let mut news = false;
        for id in &ids {
            news |= self.0.index.set_pinned(id, None, &ids)?;
        }
        self.changed(1, None)?;
        self.flush()?;
        Ok(news)
    }

    /// Every id that is pinned, held or not.
    ///
    /// # Errors
    /// What the index said.
    pub fn pinned(&self) -> Result<Vec<ContentId>, StoreError> {
        Ok(self.0.index.pinned()?)
    }
}
