//! The file system on real mounts, with a source that is under the test's control.

mod mount_support;

mod crowds;
mod disks;
mod faults;
mod files;
mod folders;
mod fs;
mod pages;
mod passthrough;
mod stalls;
