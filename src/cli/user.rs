//! Becoming another user: a daemon that root starts for somebody need not stay root.

use std::ffi::CStr;
use std::io;

use anyhow::{Context, Result, bail};

use super::args::UserArgs;

/// Becomes the user that `args` names, for good, before anything else is done: what follows is as if
/// that user had started the command.
///
/// # Errors
/// Only root can become somebody else, and a user without a group must name one.
pub fn become_named(args: &UserArgs) -> Result<()> {
    if args.uid.is_none() && args.gid.is_none() {
        return Ok(());
    }
    // SAFETY: these take and touch nothing.
    let (uid_now, gid_now) = unsafe { (libc::geteuid(), libc::getegid()) };
    let uid = args.uid.unwrap_or(uid_now);
    let gid = match args.gid {
        Some(gid) => gid,
        None if uid == uid_now => gid_now,
        None => group_of(uid)
            .with_context(|| format!("user {uid} has no group that is known here; give --gid"))?,
    };
    if (uid, gid) == (uid_now, gid_now) {
        return Ok(());
    }
    if uid_now != 0 {
        bail!("only root can run this as user {uid} and group {gid}");
    }
    set(uid, gid).with_context(|| format!("cannot become user {uid} and group {gid}"))
}

fn set(uid: libc::uid_t, gid: libc::gid_t) -> io::Result<()> {
    let done = |result: libc::c_int| match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    };
    // In this order: who is not root any more cannot change the others.
    // SAFETY: no list is passed, so none is read; the other calls take numbers. There are no other
    // threads yet, and glibc would change them too.
    unsafe {
        done(libc::setgroups(0, std::ptr::null()))?;
        done(libc::setresgid(gid, gid, gid))?;
        done(libc::setresuid(uid, uid, uid))?;
    }
    // It must not be possible to go back.
    // SAFETY: as above.
    if uid != 0 && unsafe { libc::setresuid(0, 0, 0) } == 0 {
        return Err(io::Error::other("root could not be left"));
    }
    Ok(())
}

/// The group that the system's list of users has for `uid`.
fn group_of(uid: libc::uid_t) -> Option<libc::gid_t> {
    // SAFETY: there are no other threads that could call it; what it returns is read at once.
    let entry = unsafe { libc::getpwuid(uid).as_ref() }?;
    // SAFETY: the name of an entry is a C string. It is read only to be told.
    let name = unsafe { CStr::from_ptr(entry.pw_name) };
    tracing::debug!(uid, ?name, "the user");
    Some(entry.pw_gid)
}
