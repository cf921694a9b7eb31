//! Tree files of content of at most one leaf, made when they are asked for.
//!
//! Other nodes hand out the 96 bytes of such a tree too, and ask for them, although they prove
//! nothing: the content itself is its own proof. A million small files should not cost a million
//! tree files more, and making one takes a read of 4 KiB and two hashes. It is put in a file in
//! memory, so that whoever reads content need not know of it.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::content::{ContentId, LEAF, tree};

use super::Store;
use super::error::StoreError;
use super::file::Content;

/// What `/proc/<pid>/fd` calls it.
const NAME: &CStr = c"cjp2pfs-tree";

impl Store {
    /// The tree file that `id` names, if its content is of one leaf, held, and unchanged.
    ///
    /// Not kept open here: it costs little, and must be gone when its content is.
    pub(super) fn tree_of_one_leaf(&self, id: &ContentId) -> Result<Option<Content>, StoreError> {
        let Some(content) = self.open_file(&ContentId::blake3(id.hash.0))? else {
            return Ok(None);
        };
        if !(1..=LEAF).contains(&content.length()) {
            return Ok(None);
        }
        let made = || -> io::Result<Option<Content>> {
            let mut bytes = [0; LEAF as usize];
            let read = match content.read_at(0, &mut bytes) {
                Ok(read) => read,
                // A seeded file that its owner has just cut short.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                Err(e) => return Err(e),
            };
            let found = bytes.get(..read).unwrap_or_default();
            let Some(tree) = tree::of_one_leaf(id.hash, found) else {
                return Ok(None);
            };
            if !content.still_valid() {
                return Ok(None);
            }
            let file = in_memory(&tree)?;
            Ok(Some(Content::made(
                file,
                tree.len() as u64,
                content.clone(),
            )))
        };
        made().map_err(|e| StoreError::io("make", &self.layout().complete(id), e))
    }
}

/// A file in memory that holds nothing yet.
pub(super) fn empty_in_memory() -> io::Result<File> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // Some systems refuse memory that could be executed; Linux before 6.3 does not know the flag.
    let descriptor = match create(flags | libc::MFD_NOEXEC_SEAL) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => create(flags)?,
        created => created?,
    };
    Ok(File::from(descriptor))
}

/// A file in memory that holds `bytes` and that nobody can change.
fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = empty_in_memory()?;
    file.write_all(bytes)?;
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: no memory is handed over; the descriptor is open as long as `file`.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

fn create(flags: libc::c_uint) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string that lives for ever.
    let descriptor = unsafe { libc::memfd_create(NAME.as_ptr(), flags) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just opened it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
