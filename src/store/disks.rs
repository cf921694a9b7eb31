//! Which disk a thread waits for.
//!
//! Seeded files lie where the user has them: on a disk that sleeps or dies, on a server that goes away. Whoever
//! reads for many has some threads for each of these, so that one that hangs holds up no other. Where a
//! file lies is known only when the index has been asked, and that is deep inside a piece of work. So a piece begins
//! with a thread for the store's own disk; if it comes to another it is turned away there, and done from its
//! beginning by a thread for that one.

use std::cell::Cell;
use std::io;

thread_local! {
    static HERE: Cell<Here> = const { Cell::new(Here::Anywhere) };
}

#[derive(Clone, Copy)]
enum Here {
    /// This thread may wait for any disk.
    Anywhere,
    /// For the store's own, of this number, and no other.
    Own(u64),
    /// It was turned away from another, of this number.
    TurnedAway(u64),
}

/// Does `work`, which waits for no disk but the store's `own` (a device number).
///
/// # Errors
/// The number of another disk that it came to. Whatever it returned then, it is to be done again by who may
/// wait for that one.
pub fn on_own<T>(own: u64, work: impl FnOnce() -> T) -> Result<T, u64> {
    HERE.set(Here::Own(own));
    let done = work();
    match HERE.replace(Here::Anywhere) {
        Here::TurnedAway(other) => Err(other),
        Here::Anywhere | Here::Own(_) => Ok(done),
    }
}

/// Tells who waited for it what came of the work that this thread does: what he does then is no part of it.
pub fn after_work<T>(follows: impl FnOnce() -> T) -> T {
    let before = HERE.replace(Here::Anywhere);
    let done = follows();
    HERE.set(before);
    done
}

/// Whether what this thread does was turned away from a disk, and is to be done again.
#[must_use]
pub fn is_turned_away() -> bool {
    matches!(HERE.get(), Here::TurnedAway(_))
}

/// To be called before this thread waits for the disk of this number.
///
/// # Errors
/// [`io::ErrorKind::ResourceBusy`] if it must not.
pub fn come_to(disk: u64) -> io::Result<()> {
    match HERE.get() {
        Here::Anywhere => return Ok(()),
        Here::Own(own) if own == disk => return Ok(()),
        Here::Own(_) => HERE.set(Here::TurnedAway(disk)),
        Here::TurnedAway(_) => {}
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_on_the_stores_own_disk_is_turned_away_from_others() {
        assert!(come_to(2).is_ok() && !is_turned_away());
        assert_eq!(on_own(1, || come_to(1).is_ok()), Ok(true));
        let tell = || after_work(|| come_to(2).is_ok());
        assert_eq!(on_own(1, || (tell(), is_turned_away())), Ok((true, false)));
        let work = || {
            assert!(come_to(2).is_err() && is_turned_away());
            // Whatever it comes to now counts for nothing.
            assert!(come_to(3).is_err() && come_to(1).is_err());
        };
        assert_eq!(on_own(1, work), Err(2));
        assert!(come_to(2).is_ok() && !is_turned_away());
    }
}
