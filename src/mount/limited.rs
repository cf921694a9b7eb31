//! Calls that a stuck mount could keep for ever, given a limit.

use std::sync::mpsc;
use std::time::Duration;

/// What `call` returns, or `None` if it has not returned after `limit`. It then goes on alone on
/// its thread, which nothing can end.
pub fn within<T: Send + 'static>(
    limit: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new()
        .name("cjp2pfs-limited".into())
        .spawn(move || {
            // The receiver is gone if it took too long; nobody wants the result then.
            let _ = sender.send(call());
        })
        .ok()?;
    receiver.recv_timeout(limit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_left_alone() {
        assert_eq!(within(Duration::from_secs(5), || 7), Some(7));
        let (hold, held) = mpsc::channel::<()>();
        assert_eq!(within(Duration::from_millis(20), move || held.recv()), None);
        drop(hold);
    }
}
