//! Changed paths that are to be hashed, in lanes: one for short files, one for long ones, and one
//! for folders, of which nobody knows what is in them. What waits in a lane waits for that lane
//! alone, so a short file is served anew at once, whatever else is being hashed.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::turns::LONG;

/// Batches of one lane that are hashed at once.
const BATCHES: usize = 2;

#[derive(Default)]
pub(super) struct Lanes([Lane; 3]);

#[derive(Default)]
struct Lane {
    waiting: HashSet<PathBuf>,
    running: Arc<AtomicUsize>,
}

/// The right to hash a batch; given back when dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    /// `path` is to be hashed, or forgotten if it is gone.
    pub fn add(&mut self, path: PathBuf) {
        let [short, long, folders] = &mut self.0;
        let lane = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => folders,
            Ok(metadata) if metadata.len() > LONG => long,
            _ => short,
        };
        lane.waiting.insert(path);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.iter().map(|lane| lane.waiting.len()).sum()
    }

    /// All that wait in a lane that has room, and the right to hash it. Nothing of what has been
    /// written to once more meanwhile, which comes again when it is left alone.
    pub fn next(&mut self, is_written: impl Fn(&Path) -> bool) -> Option<(Vec<PathBuf>, Place)> {
        self.0.iter_mut().find_map(|lane| lane.next(&is_written))
    }

    /// Nothing waits any more.
    pub fn clear(&mut self) {
        for lane in &mut self.0 {
            lane.waiting.clear();
        }
    }
}

impl Lane {
    fn next(&mut self, is_written: impl Fn(&Path) -> bool) -> Option<(Vec<PathBuf>, Place)> {
        if self.waiting.is_empty() || self.running.load(Ordering::Relaxed) >= BATCHES {
            return None;
        }
        self.waiting.retain(|path| !is_written(path));
        if self.waiting.is_empty() {
            return None;
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&self.running));
        Some((self.waiting.drain().collect(), place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_files_do_not_wait_for_long_ones_and_folders() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let file = |name: &str, length: u64| {
            fs::File::create(path(name))
                .unwrap()
                .set_len(length)
                .unwrap();
            path(name)
        };
        let mut lanes = Lanes::default();
        let mut places = Vec::new();
        let mut next = |lanes: &mut Lanes| {
            let (paths, place) = lanes.next(|path| path.ends_with("written"))?;
            places.push(place);
            Some(paths)
        };
        for batch in 0..BATCHES {
            fs::create_dir(path(&format!("folder{batch}"))).unwrap();
            lanes.add(path(&format!("folder{batch}")));
            lanes.add(file(&format!("long{batch}"), LONG + 1));
            assert_eq!(lanes.len(), 2);
            assert!(next(&mut lanes).is_some() && next(&mut lanes).is_some());
        }
        lanes.add(file("long", LONG + 1));
        assert!(next(&mut lanes).is_none());
        lanes.add(file("short", LONG));
        lanes.add(file("written", 1));
        lanes.add(path("gone"));
        let mut short = next(&mut lanes).unwrap();
        short.sort();
        assert_eq!(short, [path("gone"), path("short")]);
        assert!(next(&mut lanes).is_none());
        places.clear();
        let (long, _place) = lanes.next(|_| false).unwrap();
        assert_eq!(long, [path("long")]);
    }
}
