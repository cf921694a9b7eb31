//! Becoming another user: a daemon that root starts for somebody need not stay root.

use std::ffi::{CStr, OsString};
use std::io;
use std::os::unix::ffi::OsStringExt;

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
    let account = account_of(uid);
    let gid = match (args.gid, &account) {
        (Some(gid), _) => gid,
        (None, _) if uid == uid_now => gid_now,
        (None, Some(account)) => account.gid,
        (None, None) => bail!("user {uid} has no group that is known here; give --gid"),
    };
    if (uid, gid) == (uid_now, gid_now) {
        return Ok(());
    }
    if uid_now != 0 {
        bail!("only root can run this as user {uid} and group {gid}");
    }
    set(uid, gid).with_context(|| format!("cannot become user {uid} and group {gid}"))?;
    // Root's configuration is not that user's, and may not even be read any more.
    let home = account.map_or_else(|| "/nonexistent".into(), |account| account.home);
    // SAFETY: there are no other threads yet.
    unsafe { std::env::set_var("HOME", home) };
    Ok(())
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

/// What the system's list of users says of one.
struct Account {
    gid: libc::gid_t,
    home: OsString,
}

fn account_of(uid: libc::uid_t) -> Option<Account> {
    // SAFETY: there are no other threads that could call it; what it returns is copied at once.
    let entry = unsafe { libc::getpwuid(uid).as_ref() }?;
    // SAFETY: the home of an entry is a C string.
    let home = unsafe { CStr::from_ptr(entry.pw_dir) };
    Some(Account {
        gid: entry.pw_gid,
        home: OsString::from_vec(home.to_bytes().to_vec()),
    })
}
