//! Which content is held: from the start, or a sample for those who ask what there is.
//!
//! An answer to a peer has room for some seventy entries, of a million perhaps. A sample begins
//! somewhere else each time, so that in time everything is seen by those who keep asking, and costs
//! no more than its entries: the start is found through hashes, which are spread evenly whatever
//! was added and removed, and the rest is read in the order in which it lies in the index.

use std::collections::HashSet;
use std::path::Path;

use tracing::warn;

use crate::content::{ContentId, Hash, Kind};

use super::Store;
use super::record::Record;

type Listed = Result<Vec<(ContentId, u64)>, redb::Error>;

impl Store {
    /// What is held, at most `limit` of it, with lengths: complete content under its id, seeded
    /// content under its SHA-256; tree files are left out. Whether seeded files are unchanged shows
    /// when they are opened.
    #[must_use]
    pub fn contents(&self, limit: usize) -> Vec<(ContentId, u64)> {
        let list = || -> Listed {
            let first = Hash([0; 32]);
            let mut found = self.0.index.complete(Kind::Sha256, first, limit)?;
            found.extend(self.0.index.complete(
                Kind::Blake3,
                first,
                limit.saturating_sub(found.len()),
            )?);
            let known = found.len();
            // Some of the seeded files may be complete too, or the same content twice.
            found.extend(self.seeded_contents(Path::new(""), limit)?);
            if found.len() > known {
                found.sort_unstable();
                found.dedup();
            }
            found.truncate(limit);
            Ok(found)
        };
        told(list())
    }

    /// Like [`Store::contents`], but from a place that `seed` chooses, and round to it again: each
    /// entry is as likely to be in it as any other, or nearly so, and everything is, once, if
    /// `limit` allows. The same seed gives the same sample while nothing is added or removed.
    #[must_use]
    pub fn sample(&self, limit: usize, seed: u64) -> Vec<(ContentId, u64)> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut from = Hash([0; 32]);
        random.fill(&mut from.0);
        let place = random.u64(..);
        let mut list = || -> Listed {
            let (complete, seeded) = self.0.index.counts()?;
            let all = complete.saturating_add(seeded);
            // What comes second has room only if the first is small, so the larger is more often
            // the first.
            let parts = if random.u64(..all.max(1)) < seeded {
                [
                    self.some_seeded(limit, place)?,
                    self.some_complete(limit, from)?,
                ]
            } else {
                [
                    self.some_complete(limit, from)?,
                    self.some_seeded(limit, place)?,
                ]
            };
            let mut known = HashSet::new();
            let mut found = parts.concat();
            found.retain(|entry| known.insert(*entry));
            found.truncate(limit);
            Ok(found)
        };
        told(list())
    }

    /// Complete content from the hash `from` on and round again, whichever its kind of id.
    fn some_complete(&self, limit: usize, from: Hash) -> Listed {
        let mut found = self.0.index.complete(Kind::Sha256, from, limit)?;
        found.extend(self.0.index.complete(Kind::Blake3, from, limit)?);
        found.sort_unstable_by_key(|(id, _)| (id.hash < from, id.hash));
        found.truncate(limit);
        Ok(found)
    }

    /// Seeded content from the file on whose id `place` falls, and round again.
    fn some_seeded(&self, limit: usize, place: u64) -> Listed {
        let start = self.0.index.seeded_near(place)?.unwrap_or_default();
        let mut found = self.seeded_contents(&start, limit)?;
        if found.len() < limit {
            found.extend(self.seeded_contents(Path::new(""), limit - found.len())?);
        }
        Ok(found)
    }

    fn seeded_contents(&self, after: &Path, limit: usize) -> Listed {
        let files = self.0.index.seeded(after, limit)?;
        let entry = |record: Record| (ContentId::sha256(record.sha256.0), record.identity.size);
        Ok(files.into_iter().map(|(_, record)| entry(record)).collect())
    }
}

/// What was listed; a failure is logged, and nothing is.
fn told(listed: Listed) -> Vec<(ContentId, u64)> {
    listed.unwrap_or_else(|error| {
        warn!(%error, "the index could not be listed");
        Vec::new()
    })
}
