//! A listing as folders within folders, for whoever walks by names.

use std::collections::VecDeque;
use std::ops::Range;

use super::{Entry, Listed, Listing};
use crate::content::Hash;

/// A folder, whose entries are found by number. Node 0 is the folder itself.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    bytes: usize,
}

/// One file, link or folder.
#[derive(Debug)]
pub struct Node {
    /// In its folder; empty for the root.
    pub name: Box<str>,
    /// The folder that it is in; the root is in itself.
    pub parent: u32,
    /// Time of the last modification, in seconds since 1970; of a folder, the newest in it, and of
    /// one with nothing in it, that of the folder that it is in.
    pub modified: i64,
    /// What it is.
    pub what: What,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A folder, and which nodes are in it, sorted by the bytes of their names.
    Folder(Range<u32>),
    /// A regular file.
    File {
        /// Bytes, as the listing says.
        length: u64,
        /// Permission bits.
        mode: u32,
        /// SHA-256 of its content.
        sha256: Hash,
    },
    /// A symbolic link that stays inside, and where it points.
    Link(Box<str>),
}

/// A folder whose entries are still to be made nodes of.
struct Pending<'a> {
    node: usize,
    entries: &'a [Entry],
    /// Bytes of their paths up to their names.
    prefix: usize,
}

impl Tree {
    /// Of `listing`. Links that lead out of the folder are left out: following one would read what
    /// the reader did not mean to.
    #[must_use]
    pub fn new(listing: &Listing) -> Self {
        let mut tree = Self {
            nodes: vec![Node {
                name: "".into(),
                parent: 0,
                modified: 0,
                what: What::Folder(0..0),
            }],
            bytes: 0,
        };
        let mut pending = VecDeque::from([Pending {
            node: 0,
            entries: &listing.entries,
            prefix: 0,
        }]);
        while let Some(folder) = pending.pop_front() {
            tree.fill(&folder, &mut pending);
        }
        tree.date_folders();
        tree.bytes = tree.nodes.iter().map(Node::bytes).sum();
        tree
    }

    /// Makes the entries of a folder nodes, which all get numbers in a row.
    fn fill<'a>(&mut self, folder: &Pending<'a>, pending: &mut VecDeque<Pending<'a>>) {
        let name_of = |entry: &'a Entry| entry.path.get(folder.prefix..).unwrap_or_default();
        let mut children: Vec<(&str, &'a [Entry])> = Vec::new();
        let mut rest = folder.entries;
        while let Some(first) = rest.first() {
            let name = name_of(first);
            let (name, count) = match name.split_once('/') {
                None if first.leads_out() => {
                    rest = rest.get(1..).unwrap_or_default();
                    continue;
                }
                None => (name, 1),
                Some((name, _)) => {
                    let inside = |entry: &&'a Entry| {
                        let rest = name_of(entry).strip_prefix(name);
                        rest.is_some_and(|rest| rest.starts_with('/'))
                    };
                    (name, rest.iter().take_while(inside).count().max(1))
                }
            };
            let (inside, after) = rest.split_at(count.min(rest.len()));
            children.push((name, inside));
            rest = after;
        }
        // The paths are sorted with what follows a folder's name, the names are not.
        children.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        let first = self.nodes.len();
        let parent = number(folder.node);
        for (name, inside) in children {
            let is_folder = |entry: &Entry| name_of_is_longer(entry, folder.prefix, name);
            let (modified, what) = match inside {
                [entry, ..] if is_folder(entry) => {
                    pending.push_back(Pending {
                        node: self.nodes.len(),
                        entries: inside,
                        prefix: folder.prefix + name.len() + 1,
                    });
                    (0, What::Folder(0..0))
                }
                [entry, ..] => leaf(&entry.what),
                [] => continue,
            };
            self.nodes.push(Node {
                name: name.into(),
                parent,
                modified,
                what,
            });
        }
        let range = number(first)..number(self.nodes.len());
        if let Some(node) = self.nodes.get_mut(folder.node) {
            node.what = What::Folder(range);
        }
    }

    /// Gives each folder its time. Nodes come after their folders.
    fn date_folders(&mut self) {
        for at in (1..self.nodes.len()).rev() {
            let Some((modified, parent)) = self.nodes.get(at).map(|n| (n.modified, n.parent))
            else {
                continue;
            };
            if let Some(folder) = self.nodes.get_mut(parent as usize) {
                folder.modified = folder.modified.max(modified);
            }
        }
        for at in 1..self.nodes.len() {
            let Some(parent) = self.nodes.get(at).map(|n| n.parent as usize) else {
                continue;
            };
            let modified = self.nodes.get(parent).map_or(0, |folder| folder.modified);
            if let Some(node) = self.nodes.get_mut(at)
                && matches!(&node.what, What::Folder(inside) if inside.is_empty())
            {
                node.modified = modified;
            }
        }
    }

    /// The node with this number.
    #[must_use]
    pub fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(number as usize)
    }

    /// How many nodes there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The number of what is called `name` in the folder `folder`.
    #[must_use]
    pub fn find(&self, folder: u32, name: &str) -> Option<u32> {
        let What::Folder(children) = &self.node(folder)?.what else {
            return None;
        };
        let nodes = self
            .nodes
            .get(children.start as usize..children.end as usize)?;
        let at = nodes
            .binary_search_by(|node| node.name.as_bytes().cmp(name.as_bytes()))
            .ok()?;
        Some(children.start.saturating_add(number(at)))
    }

    /// The memory that it takes, in bytes, or nearly so.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// [`super::MAX_NODES`] keeps it from being cut.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn name_of_is_longer(entry: &Entry, prefix: usize, name: &str) -> bool {
    entry.path.len() > prefix + name.len()
}

fn leaf(what: &Listed) -> (i64, What) {
    match what {
        Listed::File {
            length,
            modified,
            mode,
            sha256,
            ..
        } => (
            *modified,
            What::File {
                length: *length,
                mode: *mode,
                sha256: *sha256,
            },
        ),
        Listed::Link { target } => (0, What::Link(target.clone())),
        Listed::EmptyFolder => (0, What::Folder(0..0)),
    }
}

impl Node {
    fn bytes(&self) -> usize {
        // What an allocator adds to a small allocation.
        const OVERHEAD: usize = 16;
        let target = match &self.what {
            What::Link(target) => target.len() + OVERHEAD,
            _ => 0,
        };
        size_of::<Self>() + self.name.len() + OVERHEAD + target
    }
}
