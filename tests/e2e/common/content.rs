//! Scratch folders, and files whose bytes nobody can guess or compress.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// The scratch folder of one test.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("cjp2pfs-test-")
            .tempdir()
            .unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder, made if missing.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A new file of `length` bytes that follow from its name.
    pub fn file(&self, name: &str, length: usize) -> Sample {
        let mut bytes = vec![0; length];
        blake3::Hasher::new()
            .update(name.as_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(&path).unwrap().write_all(&bytes).unwrap();
        Sample {
            path,
            sha256: sha256_of(&bytes),
            blake3: blake3::hash(&bytes).to_hex().to_string(),
            bytes,
        }
    }
}

/// A file and what it holds.
pub struct Sample {
    pub path: PathBuf,
    pub sha256: String,
    pub blake3: String,
    pub bytes: Vec<u8>,
}

impl Sample {
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Panics, without printing megabytes, unless these are its bytes.
    #[track_caller]
    pub fn is(&self, bytes: &[u8]) {
        if let Some(at) = first_difference(&self.bytes, bytes) {
            panic!(
                "wrong bytes: {} expected, {} came, the first difference at {at}",
                self.bytes.len(),
                bytes.len()
            );
        }
    }

    #[track_caller]
    pub fn is_in(&self, file: &Path) {
        self.is(&fs::read(file).unwrap());
    }
}

fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    if a == b {
        return None;
    }
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    Some(common)
}

/// The SHA-256 in hex.
pub fn sha256_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
