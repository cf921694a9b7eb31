//! The mount: the tree of names and the FUSE adaptor.
//!
//! Three layers, each of which can be understood, and mostly tested, without the one above it:
//!
//! - [`source`] is what a file system needs of a node, and all that it may ask. The node stands
//!   behind it in a running daemon, a fake one in the tests.
//! - [`FileSystem`] knows names, inodes, handles and errno. It has never heard of FUSE: what waits
//!   takes a closure, and the closure is called once, from wherever the answer comes.
//! - `fuse` translates requests into calls and results into replies, and decides nothing.
//!
//! Beside them, [`Mounted`] is the life of one mount: looking at the mount point, healing what a
//! dead daemon left there, negotiating with the kernel, unmounting within a limit. [`Mounter`] and
//! the processes of [`helper`] do what takes rights for a daemon that has given them up.
//!
//! # Never stuck
//! A callback never waits. What is here is answered on the session's thread before the callback
//! returns; what is not leaves its reply in the closure, and the thread takes the next request. So
//! a thousand stalled reads cost no thread, and `ls` and other files go on. The same holds for the disk:
//! what may have to wait for it is put aside for threads of the node, with a limit ([`Source::aside`]).
//!
//! The kernel asks for an operation to be interrupted by a message that fuser 0.18 declines, and
//! then lets the process wait, unkillable, for the reply. The `watcher` therefore looks by itself
//! at whom a long wait belongs to, and ends it with `EINTR` when that process has been signalled.
//!
//! # How a file is opened
//! | content | opened | because |
//! |---|---|---|
//! | complete, in a file that is the store's alone | `FOPEN_PASSTHROUGH` | the kernel reads that file by itself, as fast as it can |
//! | not yet proven | `FOPEN_DIRECT_IO`, pages of before dropped if they are of content that proved wrong, or nobody has it open | every `read` comes through the handle's own reader, which keeps the last byte rule, and leaves no unproven page behind for others |
//! | proven, first time | cached, pages of before dropped | an earlier memory map may have left unproven pages |
//! | proven, later | cached, pages kept | they are right for ever |
//!
//! The first needs a right that only root has (`CAP_SYS_ADMIN`; a process of its own has it, and that
//! alone), and the kernel has one mode for all
//! handles of a file: `inodes` counts them, and what does not fit, or is refused, takes the next
//! line that fits. A file of the user's that is seeded never takes it: it may change at any moment,
//! and then nobody would notice.
//!
//! `mmap` is the one way around a handle, and `sendfile` with it: their pages belong to the inode,
//! and everybody sees them. The kernel tells reads that fill pages from those that go to a program, and
//! the node counts what is in pages as given to every handle; so two processes that map the same
//! unproven file do not complete it for one another. What the kernel does not tell is that a page has
//! been dropped, nor that another file's pages would be needed for content that is fetched anew after
//! it proved wrong: a program that *still* has the wrong content mapped then sees the right pages
//! where it had not looked before. Its next `read` fails with `EIO`, and so does its next fault once
//! nobody else maps it.

mod attributes;
mod called;
mod detached;
mod errno;
mod folders;
mod fs;
mod fuse;
mod handles;
pub mod helper;
mod ino;
mod inodes;
mod kernel;
pub(crate) mod limited;
mod mounter;
mod mountinfo;
mod mountpoint;
mod names;
mod node_source;
mod passer;
mod passing;
mod places;
mod published;
mod replies;
mod session;
mod signals;
pub mod source;
mod unmount;
mod unmounter;
mod watcher;
mod xattrs;

pub use attributes::{Attributes, BLOCK_SIZE, Listed, Owner};
pub use errno::Errno;
pub use folders::Entry;
pub use fs::{FileSystem, Opened, Opening};
pub use handles::Fh;
pub use ino::Ino;
pub use inodes::{OpenMode, Passage};
pub use mounter::Mounter;
pub use mountpoint::MountError;
pub use names::Folder;
pub use node_source::NodeSource;
pub use session::{Mounted, Options, UNMOUNT_LIMIT};
pub use source::Source;
pub use unmount::{UnmountError, Unmounted, resolve, unmount_path};
