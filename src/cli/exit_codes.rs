//! How a command ends, and the one line that says why.
//!
//! | code | when |
//! |---|---|
//! | 0 | it did what was asked |
//! | 1 | it could not |
//! | 2 | it was called wrongly (given by clap) |
//! | 130 | it was interrupted before it was done (128 + SIGINT, as shells count) |

use std::io;
use std::process::ExitCode;

/// How a command ended without an error to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// Some of it failed and has been told already.
    Failed,
    /// By this signal, before it was done.
    Interrupted(i32),
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Failed => Self::from(1),
            Outcome::Interrupted(signal) => Self::from(u8::try_from(128 + signal).unwrap_or(1)),
        }
    }
}

/// `sentence: cause: cause`, on one line.
///
/// A cause that its parent's sentence already ends with is not told twice, and the operating
/// system's error numbers are left out: they are in the words before them.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = without_number(&cause.to_string()).replace(['\n', '\r'], " ");
        if line.is_empty() {
            line = text;
        } else if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
}

/// Whether all that went wrong is that nobody reads our standard output any more.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

fn without_number(text: &str) -> String {
    match text.rfind(" (os error ") {
        Some(at) if text.ends_with(')') => text[..at].to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn causes_are_told_once_and_on_one_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot listen on port 1: {source}")]
        struct Bind {
            source: io::Error,
        }
        let source = io::Error::from_raw_os_error(libc::EACCES);
        let error = Err::<(), _>(Bind { source })
            .context("cannot\nstart")
            .unwrap_err();
        assert_eq!(
            one_line(&error),
            "cannot start: cannot listen on port 1: Permission denied"
        );
    }
}
