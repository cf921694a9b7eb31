//! How much the store may take of the disk, and how much it takes.
//!
//! Whoever writes takes from an allowance in memory. Only when that is used up is the disk looked
//! at, and then content is given up (see `eviction`) until there is room for some more: a write
//! costs an addition, whatever the store holds.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::content::ContentId;

use super::error::StoreError;
use super::{Store, lock};

/// The largest allowance, so that the disk, which others use too, is looked at now and then.
const ALLOWANCE: u64 = 64 << 20;
/// Share of the limit that is made free at a time, so that it is done seldom.
const SHARE: u64 = 16;
/// How long nothing is tried again when there was nothing to give up.
const REST: Duration = Duration::from_secs(1);
/// Content that is looked at for one allowance at most.
pub(super) const LOOKS: usize = 1024;

/// What the store must keep to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that it may take on the disk.
    pub most: Option<u64>,
    /// Bytes that it leaves free on the disk.
    pub least_free: Option<u64>,
}

/// What the store takes of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of complete content and tree files.
    pub complete: u64,
    /// Bytes of partial content.
    pub partial: u64,
    /// Bytes that are free on the disk for this user.
    pub free: u64,
}

/// Partial content that nobody has open.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub on_disk: u64,
    /// Microseconds since 1970.
    pub used: u64,
}

pub(super) struct Room {
    limits: Mutex<Limits>,
    /// Bytes that may be written before the disk is looked at again.
    allowance: AtomicI64,
    pub(super) left: Mutex<HashMap<ContentId, Left>>,
    /// Held by whoever gives up content; since when there was nothing to give up.
    pub(super) making: Mutex<Option<Instant>>,
    /// How much was given up.
    pub(super) given_up: AtomicU64,
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            limits: Mutex::default(),
            allowance: AtomicI64::new(i64::MAX),
            left: Mutex::default(),
            making: Mutex::default(),
            given_up: AtomicU64::new(0),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        *lock(&self.limits)
    }

    /// Partial content that nobody has open takes so much more.
    pub(super) fn add_left(&self, id: &ContentId, on_disk: u64, used: u64) {
        let mut all = lock(&self.left);
        let left = all.entry(*id).or_insert(Left { on_disk: 0, used });
        left.on_disk = left.on_disk.saturating_add(on_disk);
        left.used = left.used.max(used);
    }
}

impl Limits {
    fn are_none(&self) -> bool {
        self.most.is_none() && self.least_free.is_none()
    }

    /// Bytes that are too many where `usage` is to grow by `wanted`.
    pub(super) fn excess(&self, usage: &Usage, wanted: u64) -> u64 {
        let taken = usage.complete.saturating_add(usage.partial);
        let over = self
            .most
            .map_or(0, |most| taken.saturating_add(wanted).saturating_sub(most));
        let short = self.least_free.map_or(0, |least| {
            least.saturating_add(wanted).saturating_sub(usage.free)
        });
        over.max(short)
    }

    /// Bytes by which `usage` may grow.
    fn room(&self, usage: &Usage) -> u64 {
        let taken = usage.complete.saturating_add(usage.partial);
        let below = self
            .most
            .map_or(u64::MAX, |most| most.saturating_sub(taken));
        let free = self
            .least_free
            .map_or(u64::MAX, |least| usage.free.saturating_sub(least));
        below.min(free)
    }

    /// What is made free beyond what is wanted.
    fn headroom(&self) -> u64 {
        self.most
            .map_or(ALLOWANCE, |most| most / SHARE)
            .min(ALLOWANCE)
    }
}

impl Store {
    /// Sets what the store must keep to from now on.
    pub fn set_limits(&self, limits: Limits) {
        *lock(&self.0.room.limits) = limits;
        let allowance = if limits.are_none() { i64::MAX } else { 0 };
        self.0.room.allowance.store(allowance, Ordering::Relaxed);
        *lock(&self.0.room.making) = None;
    }

    /// What it must keep to.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.0.room.limits()
    }

    /// What it takes of the disk.
    ///
    /// # Errors
    /// What the index or the disk said.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let open: Vec<_> = lock(&self.0.partials)
            .values()
            .filter_map(std::sync::Weak::upgrade)
            .collect();
        let open: u64 = open.iter().map(|shared| shared.on_disk()).sum();
        let left: u64 = lock(&self.0.room.left)
            .values()
            .map(|left| left.on_disk)
            .sum();
        let dir = self.dir();
        Ok(Usage {
            complete: self.0.index.bytes()?,
            partial: open.saturating_add(left),
            free: free_on(dir).map_err(|e| StoreError::io("look at", dir, e))?,
        })
    }

    /// Takes `bytes` that are about to be written from what may be written, giving up content
    /// where that makes room.
    ///
    /// # Errors
    /// `EDQUOT` at the store's limit, `ENOSPC` where too little would be left free.
    pub(super) fn take_room(&self, bytes: u64) -> io::Result<()> {
        let room = &self.0.room;
        let taken = i64::try_from(bytes).unwrap_or(i64::MAX);
        let before = room.allowance.load(Ordering::Relaxed);
        if before == i64::MAX {
            return Ok(());
        }
        if room.allowance.fetch_sub(taken, Ordering::Relaxed) >= taken {
            return Ok(());
        }
        match self.make_room(bytes) {
            Ok(true) => {
                room.allowance.fetch_sub(taken, Ordering::Relaxed);
                Ok(())
            }
            Ok(false) => Err(io::Error::from_raw_os_error(self.why_full(bytes))),
            Err(error) => {
                warn!(%error, "it cannot be told how much the store takes");
                Ok(())
            }
        }
    }

    /// Which of the limits it is that leaves no room for `bytes`.
    fn why_full(&self, bytes: u64) -> i32 {
        let of_the_store = Limits {
            least_free: None,
            ..self.limits()
        };
        match self.usage() {
            Ok(usage) if of_the_store.excess(&usage, bytes) > 0 => libc::EDQUOT,
            _ => libc::ENOSPC,
        }
    }

    /// Gives up content, in the order of its last use, until `wanted` bytes more may be written.
    /// `false`: that cannot be reached. Looks at a bounded number of files.
    ///
    /// # Errors
    /// What the index or the disk said.
    pub fn make_room(&self, wanted: u64) -> Result<bool, StoreError> {
        let limits = self.limits();
        if limits.are_none() {
            return Ok(true);
        }
        let mut making = lock(&self.0.room.making);
        if making.is_some_and(|since| since.elapsed() < REST) {
            return Ok(false);
        }
        self.note_uses()?;
        let mut usage = self.usage()?;
        let excess = limits.excess(&usage, wanted);
        if excess > 0 {
            let goal = excess.saturating_add(limits.headroom());
            let given_up = self.give_up_least_used(goal, LOOKS)?;
            if !given_up.is_empty() {
                let bytes: u64 = given_up.iter().map(|gone| gone.on_disk).sum();
                info!(
                    files = given_up.len(),
                    bytes, "gave up content that was not used for long"
                );
            }
            usage = self.usage()?;
        }
        let room = limits.room(&usage);
        let allowance = i64::try_from(room.min(ALLOWANCE)).unwrap_or(i64::MAX - 1);
        self.0.room.allowance.store(allowance, Ordering::Relaxed);
        let enough = room >= wanted;
        *making = (!enough).then(Instant::now);
        Ok(enough)
    }

    /// What should be done now and then, at a moment when nobody waits for it: notes when content
    /// was used, and makes room ahead of those who write.
    pub fn tend(&self) {
        let limits = self.limits();
        let tended = self.note_uses().and_then(|()| {
            let low = i64::try_from(limits.headroom() / 2).unwrap_or(i64::MAX);
            if self.0.room.allowance.load(Ordering::Relaxed) <= low {
                self.make_room(limits.headroom() / 2).map(drop)
            } else {
                Ok(())
            }
        });
        if let Err(error) = tended {
            warn!(%error, "the store could not be tended");
        }
    }

    /// Puts into the index when content was used.
    pub(super) fn note_uses(&self) -> Result<(), StoreError> {
        let mut uses = self.0.uses.take();
        if uses.is_empty() {
            return Ok(());
        }
        for (id, at) in uses.clone() {
            uses.extend(self.paired(&id).map(|other| (other, at)));
        }
        Ok(self.0.index.touch(&uses)?)
    }
}

/// Bytes that are free for this user on the file system of `folder`.
fn free_on(folder: &Path) -> io::Result<u64> {
    let folder = CString::new(folder.as_os_str().as_bytes())?;
    let mut answer = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path is NUL-terminated and `answer` has room for what the call fills in.
    if unsafe { libc::statvfs(folder.as_ptr(), answer.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so it has filled all of `answer`.
    let answer = unsafe { answer.assume_init() };
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}
