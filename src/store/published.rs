//! What is published under names: by this node, and by others as far as it was asked for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use tracing::warn;

use crate::content::{Hash, KeyedName, PublicKey, PublishedName, SecretKey, Signature};
use crate::wire::{Signed, SignedLatest};

use super::index::Index;
use super::{Store, StoreError};

/// Key and name -> signature and what it is under.
const LATEST: TableDefinition<&[u8], &[u8]> = TableDefinition::new("latest_v1");
/// Name -> `seq`, whether it is withdrawn, SHA-256, path. What was withdrawn is remembered for its
/// `seq`, which must never come again.
const PUBLISHED: TableDefinition<&str, &[u8]> = TableDefinition::new("published_v1");

/// What others published is remembered of so many names.
const MAX_OTHERS: u64 = 4096;

/// The highest `seq` on the wire.
const MAX_SEQ: u64 = i64::MAX as u64;

/// What this node publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The name.
    pub name: PublishedName,
    /// What it stands for now.
    pub sha256: Hash,
    /// Since which version.
    pub seq: u64,
    /// What was published: a file or a folder.
    pub path: PathBuf,
}

struct Row {
    seq: u64,
    withdrawn: bool,
    sha256: Hash,
    path: PathBuf,
}

impl Row {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.seq.to_le_bytes().to_vec();
        bytes.push(u8::from(self.withdrawn));
        bytes.extend_from_slice(&self.sha256.0);
        bytes.extend_from_slice(self.path.as_os_str().as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (seq, rest) = bytes.split_first_chunk()?;
        let (withdrawn, rest) = rest.split_first()?;
        let (sha256, path) = rest.split_first_chunk()?;
        Some(Self {
            seq: u64::from_le_bytes(*seq),
            withdrawn: *withdrawn != 0,
            sha256: Hash(*sha256),
            path: OsStr::from_bytes(path).into(),
        })
    }
}

fn latest_key(of: &KeyedName) -> Vec<u8> {
    [&of.key.0, of.name.as_str().as_bytes()].concat()
}

fn latest_value(latest: &SignedLatest) -> Vec<u8> {
    [&latest.signature.0, latest.payload.as_bytes()].concat()
}

fn decode_latest(key: &[u8], value: &[u8]) -> Option<SignedLatest> {
    let (key, name) = key.split_first_chunk()?;
    let (signature, payload) = value.split_first_chunk()?;
    let signed = Signed {
        key: PublicKey(*key),
        signature: Signature(*signature),
        payload: std::str::from_utf8(payload).ok()?.into(),
    };
    let of_this = |latest: &SignedLatest| latest.of.name.as_str().as_bytes() == name;
    SignedLatest::read(&signed).into_iter().find(of_this)
}

/// What is published of which `name` is the start, or that is the start of `name`: in a tree of names
/// only one of them can be seen. A name that is published already stays as it is.
fn in_the_way(
    published: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &PublishedName,
) -> Result<Option<PublishedName>, redb::Error> {
    let mut found = None;
    for entry in published.iter()? {
        let (other, row) = entry?;
        if Row::decode(row.value()).is_none_or(|row| row.withdrawn) {
            continue;
        }
        let Ok(other) = other.value().parse::<PublishedName>() else {
            continue;
        };
        if other == *name {
            return Ok(None);
        }
        if other.is_below(name.as_str()) || name.is_below(other.as_str()) {
            found.get_or_insert(other);
        }
    }
    Ok(found)
}

impl Index {
    /// Signs that `name` stands for `sha256`, with a `seq` above every one before and not below
    /// `seconds`. Or tells which name is in the way.
    fn publish(
        &self,
        secret: &SecretKey,
        name: &PublishedName,
        sha256: Hash,
        path: &Path,
        seconds: u64,
    ) -> Result<Result<SignedLatest, PublishedName>, redb::Error> {
        let of = KeyedName {
            key: secret.public(),
            name: name.clone(),
        };
        self.write(|txn| {
            let mut published = txn.open_table(PUBLISHED)?;
            if let Some(other) = in_the_way(&published, name)? {
                return Ok(Err(other));
            }
            let mut all = txn.open_table(LATEST)?;
            let key = latest_key(&of);
            let row = published
                .get(name.as_str())?
                .and_then(|row| Row::decode(row.value()));
            // The same key may have published on another machine.
            let known = all
                .get(&key[..])?
                .and_then(|value| decode_latest(&key, value.value()));
            let last = [row.map(|row| row.seq), known.map(|known| known.seq)];
            let next = last.into_iter().flatten().max().map_or(0, |last| last + 1);
            let latest = SignedLatest::sign(secret, of, sha256, next.max(seconds).min(MAX_SEQ));
            all.insert(&key[..], &latest_value(&latest)[..])?;
            let row = Row {
                seq: latest.seq,
                withdrawn: false,
                sha256,
                path: path.into(),
            };
            published.insert(name.as_str(), &row.encode()[..])?;
            Ok(Ok(latest))
        })
    }

    fn name_in_the_way(&self, name: &PublishedName) -> Result<Option<PublishedName>, redb::Error> {
        self.write(|txn| in_the_way(&txn.open_table(PUBLISHED)?, name))
    }

    fn unpublish(&self, of: &KeyedName) -> Result<bool, redb::Error> {
        self.write(|txn| {
            let mut published = txn.open_table(PUBLISHED)?;
            let row = published
                .get(of.name.as_str())?
                .and_then(|row| Row::decode(row.value()));
            let Some(row) = row.filter(|row| !row.withdrawn) else {
                return Ok(false);
            };
            let row = Row {
                withdrawn: true,
                ..row
            };
            published.insert(of.name.as_str(), &row.encode()[..])?;
            txn.open_table(LATEST)?.remove(&latest_key(of)[..])?;
            Ok(true)
        })
    }

    fn published(&self) -> Result<Vec<Published>, redb::Error> {
        self.write(|txn| {
            let mut found = Vec::new();
            for entry in txn.open_table(PUBLISHED)?.iter()? {
                let (name, row) = entry?;
                let row = Row::decode(row.value()).filter(|row| !row.withdrawn);
                let name = name.value().parse().ok();
                found.extend(name.zip(row).map(|(name, row)| Published {
                    name,
                    sha256: row.sha256,
                    seq: row.seq,
                    path: row.path,
                }));
            }
            Ok(found)
        })
    }

    /// Keeps what another key published, in place of what is oldest where there is no room.
    fn remember_latest(&self, latest: &SignedLatest) -> Result<(), redb::Error> {
        self.write(|txn| {
            let mut all = txn.open_table(LATEST)?;
            let own = txn.open_table(PUBLISHED)?;
            let key = latest_key(&latest.of);
            if all.get(&key[..])?.is_none() && all.len()? >= MAX_OTHERS + own.len()? {
                let mut oldest = None;
                for entry in all.iter()? {
                    let (key, value) = entry?;
                    let seq = decode_latest(key.value(), value.value()).map_or(0, |l| l.seq);
                    let name = key
                        .value()
                        .get(32..)
                        .and_then(|n| std::str::from_utf8(n).ok());
                    let is_own = own.get(name.unwrap_or_default())?.is_some();
                    if !is_own && oldest.as_ref().is_none_or(|(least, _)| seq < *least) {
                        oldest = Some((seq, key.value().to_vec()));
                    }
                }
                if let Some((_, key)) = oldest {
                    all.remove(&key[..])?;
                }
            }
            all.insert(&key[..], &latest_value(latest)[..])?;
            Ok(())
        })
    }

    fn remembered_latest(&self) -> Result<Vec<SignedLatest>, redb::Error> {
        self.write(|txn| {
            let mut found = Vec::new();
            for entry in txn.open_table(LATEST)?.iter()? {
                let (key, value) = entry?;
                found.extend(decode_latest(key.value(), value.value()));
            }
            Ok(found)
        })
    }
}

impl Store {
    /// Publishes content under a name, durably; `seconds` is the time since 1970. What it returns is
    /// newer than anything that the key has published under that name before.
    ///
    /// # Errors
    /// What the index said; [`StoreError::NameInTheWay`].
    pub fn publish(
        &self,
        secret: &SecretKey,
        name: &PublishedName,
        sha256: Hash,
        path: &Path,
        seconds: u64,
    ) -> Result<SignedLatest, StoreError> {
        let latest = self.0.index.publish(secret, name, sha256, path, seconds)?;
        let latest = latest.map_err(|published| StoreError::NameInTheWay {
            name: name.clone(),
            published,
        })?;
        self.changed(1, None)?;
        self.flush()?;
        Ok(latest)
    }

    /// Whether something could be published under the name: to be asked before it is hashed.
    ///
    /// # Errors
    /// What the index said; [`StoreError::NameInTheWay`].
    pub fn may_publish(&self, name: &PublishedName) -> Result<(), StoreError> {
        match self.0.index.name_in_the_way(name)? {
            None => Ok(()),
            Some(published) => Err(StoreError::NameInTheWay {
                name: name.clone(),
                published,
            }),
        }
    }

    /// Publishes nothing under the name any more; whether something was.
    ///
    /// # Errors
    /// What the index said.
    pub fn unpublish(&self, of: &KeyedName) -> Result<bool, StoreError> {
        let was = self.0.index.unpublish(of)?;
        self.changed(1, None)?;
        self.flush()?;
        Ok(was)
    }

    /// What this node publishes, in the order of the names.
    ///
    /// # Errors
    /// What the index said.
    pub fn published(&self) -> Result<Vec<Published>, StoreError> {
        Ok(self.0.index.published()?)
    }

    /// Remembers what another key published. Whether its signature is good is for the caller to know.
    ///
    /// # Errors
    /// What the index said.
    pub fn remember_latest(&self, latest: &SignedLatest) -> Result<(), StoreError> {
        self.0.index.remember_latest(latest)?;
        self.changed(1, None)
    }

    /// What is published, by this node and by others, as far as it is known here.
    #[must_use]
    pub fn remembered_latest(&self) -> Vec<SignedLatest> {
        self.0.index.remembered_latest().unwrap_or_else(|error| {
            warn!(%error, "the remembered names could not be read");
            Vec::new()
        })
    }
}
