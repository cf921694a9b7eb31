//! The node's key: made once, kept in a file that nobody else may read.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::content::{Hash, SecretKey};

use super::layout::{remove_file, sync_folder};
use super::{Store, StoreError};

/// Bits of the mode that let others at the key.
const OTHERS: u32 = 0o077;

impl Store {
    /// The node's key, from the file `node.key` in the store: 64 hexadecimal digits, the seed of an
    /// ed25519 key. Made when there is none.
    ///
    /// # Errors
    /// [`StoreError::KeyIsOpen`], [`StoreError::NotAKey`], or what the disk said. A key that cannot
    /// be used is never replaced: what was published under it would be lost.
    pub fn node_key(&self) -> Result<SecretKey, StoreError> {
        let path = self.dir().join("node.key");
        if let Some(key) = read(&path)? {
            return Ok(key);
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|e| StoreError::io("make", &path, io::Error::other(e)))?;
        write(self.dir(), &path, &seed).map_err(|e| StoreError::io("write", &path, e))?;
        Ok(SecretKey::from_seed(&seed))
    }
}

fn read(path: &Path) -> Result<Option<SecretKey>, StoreError> {
    // What is no file (a pipe, say) must not make us wait.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // A link to nowhere is not a key that was never made.
            return match fs::symlink_metadata(path) {
                Err(_) => Ok(None),
                Ok(_) => Err(StoreError::io("read", path, e)),
            };
        }
        Err(e) => return Err(StoreError::io("read", path, e)),
    };
    let metadata = file
        .metadata()
        .map_err(|e| StoreError::io("read", path, e))?;
    let not_a_key = || StoreError::NotAKey { path: path.into() };
    if !metadata.is_file() {
        return Err(not_a_key());
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(StoreError::KeyIsOpen {
            path: path.into(),
            mode,
        });
    }
    let mut text = Vec::new();
    file.take(100)
        .read_to_end(&mut text)
        .map_err(|e| StoreError::io("read", path, e))?;
    let seed = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| Hash::from_hex(text.trim_end()))
        .ok_or_else(not_a_key)?;
    Ok(Some(SecretKey::from_seed(&seed.0)))
}

/// All of it or nothing, whenever the power fails.
fn write(dir: &Path, path: &Path, seed: &[u8; 32]) -> io::Result<()> {
    let new = dir.join("node.key.tmp");
    remove_file(&new)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&Hash(*seed).to_hex())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder(dir)
}
