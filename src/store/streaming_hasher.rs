//! The hashes of long content, with SHA-256 on a thread of its own.
//!
//! SHA-256 is a chain: no second core makes it faster, and it alone takes longer than reading,
//! BLAKE3 and the tree together. So it is what all else has to keep up with: a piece is read and
//! goes through BLAKE3 on one thread, and is then handed over, memory and all, to the other, which
//! never waits for a disk as long as pieces lie ahead of it. The memory comes back to be read into.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256};

use crate::content::{Digests, Hash, LEAF, TreeHasher};

/// Bytes of content from which on a second thread is worth its start: one core takes some 20 ms.
const WORTH_A_THREAD: u64 = 16 << 20;
/// Pieces that are handed over and not hashed yet: enough to bridge a moment in which a reader waits
/// for the disk, and what is read is still in the cache that the cores share.
const AHEAD: usize = 3;

/// Computes [`Digests`] of content whose length is known, and writes its tree file on the way; see
/// [`TreeHasher`].
pub struct StreamingHasher {
    sha256: Place,
    tree: TreeHasher,
}

/// Where SHA-256 is computed.
#[derive(Default)]
struct Place {
    /// On this thread; behind while there is another.
    here: Sha256,
    beside: Option<Sha256Beside>,
}

impl StreamingHasher {
    /// For content of `length` bytes. `None` for at most one leaf, whose tree is not worth a file.
    #[must_use]
    pub fn new(length: u64) -> Option<Self> {
        Some(Self {
            sha256: Place::default(),
            tree: TreeHasher::new(length)?,
        })
    }

    /// Takes the next bytes of the content, all on this thread. `write_at` writes to the tree file,
    /// each byte once but not in order.
    ///
    /// # Errors
    /// Those of `write_at`. Then it cannot go on.
    pub fn update(
        &mut self,
        bytes: &[u8],
        mut write_at: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let sha256 = self.sha256.here();
        // Every byte goes through both functions while it is still in the nearest cache.
        for piece in bytes.chunks(LEAF as usize) {
            sha256.update(piece);
            self.tree.update(piece, &mut write_at)?;
        }
        Ok(())
    }

    /// Takes the first `count` bytes of `buffer` as the next of the content, and leaves in it memory
    /// as long as before, with anything in it, for the bytes after them. In long content SHA-256 goes
    /// on beside the caller, who may read meanwhile.
    ///
    /// # Errors
    /// Those of `write_at`. Then it cannot go on.
    pub fn hand_over(
        &mut self,
        buffer: &mut Vec<u8>,
        count: usize,
        write_at: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let bytes = buffer.get(..count).unwrap_or(buffer);
        if self.tree.length() < WORTH_A_THREAD {
            return self.update(bytes, write_at);
        }
        let Some(sha256) = self.sha256.beside() else {
            return self.update(bytes, write_at);
        };
        // Before it is handed over: then it is in the cache that both threads share.
        self.tree.update(bytes, write_at)?;
        let length = buffer.len();
        buffer.truncate(count);
        *buffer = sha256.update(std::mem::take(buffer));
        buffer.resize(length, 0);
        Ok(())
    }

    /// After the last byte: the digests, whose `tree` is empty because it is in the file. `None` if
    /// the content had another length than was said; what is in the file means nothing then.
    ///
    /// # Errors
    /// Those of `write_at`.
    pub fn finish(
        mut self,
        write_at: impl FnMut(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<Option<Digests>> {
        let length = self.tree.length();
        let blake3 = self.tree.finish(write_at)?;
        Ok(blake3.map(|blake3| Digests {
            sha256: Hash(self.sha256.here().clone().finalize().into()),
            blake3,
            length,
            tree: Vec::new(),
        }))
    }
}

impl Place {
    /// Computes it on this thread from now on.
    fn here(&mut self) -> &mut Sha256 {
        if let Some(thread) = self.beside.take() {
            self.here = thread.finish();
        }
        &mut self.here
    }

    /// Computes it on a second thread from now on, where there is one to be had.
    fn beside(&mut self) -> Option<&mut Sha256Beside> {
        if self.beside.is_none() {
            self.beside = Sha256Beside::start(self.here.clone()).ok();
        }
        self.beside.as_mut()
    }
}

/// The thread, and the way to it. Dropped, it ends after what it has been given.
struct Sha256Beside {
    pieces: SyncSender<Vec<u8>>,
    hashed: Receiver<Vec<u8>>,
    /// Pieces that are under way, there or back.
    away: usize,
    thread: JoinHandle<Sha256>,
}

impl Sha256Beside {
    /// Goes on after what `hasher` has taken.
    ///
    /// # Errors
    /// The system gives no thread.
    fn start(mut hasher: Sha256) -> io::Result<Self> {
        let (pieces, to_hash) = sync_channel::<Vec<u8>>(AHEAD);
        let (back, hashed) = sync_channel(AHEAD + 1);
        let thread = thread::Builder::new()
            .name("sha256".to_owned())
            .spawn(move || {
                for piece in to_hash {
                    hasher.update(&piece);
                    // Nobody takes it back where the content has ended or was given up.
                    let _ = back.send(piece);
                }
                hasher
            })?;
        Ok(Self {
            pieces,
            hashed,
            away: 0,
            thread,
        })
    }

    /// Takes the next bytes of the content; returns memory for later ones, with anything in it.
    fn update(&mut self, piece: Vec<u8>) -> Vec<u8> {
        let length = piece.len();
        // It ends early only by a panic, which `finish` passes on.
        if self.pieces.send(piece).is_ok() {
            self.away += 1;
        }
        let back = if self.away > AHEAD {
            self.hashed.recv().ok()
        } else {
            self.hashed.try_recv().ok()
        };
        match back {
            Some(memory) => {
                self.away = self.away.saturating_sub(1);
                memory
            }
            None => vec![0; length],
        }
    }

    /// Waits until all that was given is hashed.
    fn finish(self) -> Sha256 {
        drop(self.pieces);
        match self.thread.join() {
            Ok(hasher) => hasher,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::ContentHasher;

    fn bytes(length: u64) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    /// Of content that is as long as was said.
    fn digests(hasher: StreamingHasher) -> Digests {
        hasher.finish(|_, _| Ok(())).unwrap().unwrap()
    }

    #[test]
    fn what_is_handed_over_has_the_same_hashes() {
        // Short enough for one thread, and just long enough for two.
        for length in [3 * LEAF + 1, WORTH_A_THREAD, WORTH_A_THREAD + 4097] {
            let content = bytes(length);
            let mut expected = ContentHasher::new();
            expected.update(&content);
            let expected = expected.finish();
            for size in [1 << 20, 300_001] {
                let mut hasher = StreamingHasher::new(length).unwrap();
                let mut buffer = vec![0; size];
                for (number, piece) in content.chunks(size).enumerate() {
                    if number == 3 {
                        // In between as it may come, too.
                        hasher.update(piece, |_, _| Ok(())).unwrap();
                        continue;
                    }
                    buffer[..piece.len()].copy_from_slice(piece);
                    hasher
                        .hand_over(&mut buffer, piece.len(), |_, _| Ok(()))
                        .unwrap();
                    assert_eq!(buffer.len(), size);
                    // What comes back is the caller's to write to.
                    buffer.fill(0xff);
                }
                let found = digests(hasher);
                assert_eq!(
                    (found.sha256, found.blake3, found.length),
                    (expected.sha256, expected.blake3, length)
                );
            }
        }
    }

    #[test]
    fn what_is_given_up_half_way_leaves_no_thread_waiting() {
        let mut hasher = StreamingHasher::new(WORTH_A_THREAD).unwrap();
        let mut buffer = vec![0; 1 << 20];
        for _ in 0..8 {
            hasher
                .hand_over(&mut buffer, 1 << 20, |_, _| Ok(()))
                .unwrap();
        }
        // Its end is waited for here.
        assert!(hasher.sha256.beside.is_some());
        hasher.sha256.here();
        assert!(hasher.finish(|_, _| Ok(())).unwrap().is_none());
    }
}
