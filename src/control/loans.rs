//! Content that a client takes from the store by itself, in place of its bytes over the socket.
//!
//! Only a client of the daemon's own user does: anybody else would be given a file that another may
//! write to, or be made to copy what that one may not read.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as InUrl, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper::Method;
use serde::{Deserialize, Serialize};

use super::client::{Client, ClientError};
use super::keeping::with_store;
use super::paths::ToldPath;
use super::routes::{Access, Shared, parse};
use super::socket::SocketPath;
use crate::content::ContentId;
use crate::store::{Identity, Loan};

/// A [`Loan`] as it is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Told {
    Name(ToldPath),
    Lies {
        path: ToldPath,
        seeded: bool,
        size: u64,
        mtime: (i64, u32),
        ctime: (i64, u32),
        inode: u64,
        device: u64,
    },
}

impl From<Loan> for Told {
    fn from(loan: Loan) -> Self {
        match loan {
            Loan::Name(path) => Self::Name(path.as_path().into()),
            Loan::Lies {
                path,
                identity,
                seeded,
            } => Self::Lies {
                path: path.as_path().into(),
                seeded,
                size: identity.size,
                mtime: identity.mtime,
                ctime: identity.ctime,
                inode: identity.inode,
                device: identity.device,
            },
        }
    }
}

impl From<Told> for Loan {
    fn from(told: Told) -> Self {
        match told {
            Told::Name(path) => Self::Name(path.into()),
            Told::Lies {
                path,
                seeded,
                size,
                mtime,
                ctime,
                inode,
                device,
            } => Self::Lies {
                path: path.into(),
                seeded,
                identity: Identity {
                    size,
                    mtime,
                    ctime,
                    inode,
                    device,
                },
            },
        }
    }
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    name: bool,
    #[serde(default)]
    mode: u32,
}

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/lend/{*id}", post(lend))
}

async fn lend(
    State(shared): Access,
    InUrl(id): InUrl<String>,
    Query(wanted): Query<Wanted>,
) -> Response {
    let id = match parse(&id) {
        Ok(id) => id,
        Err(refusal) => return refusal.into_response(),
    };
    let mode = wanted.mode & 0o777;
    with_store(shared, move |store| {
        // As a path of one process is not one of another's that works in another folder.
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        let loan = store.loan(&id, wanted.name, mode)?;
        Ok(loan.map(|loan| match loan {
            Loan::Name(path) => Told::from(Loan::Name(absolute(path))),
            Loan::Lies {
                path,
                identity,
                seeded,
            } => Told::from(Loan::Lies {
                path: absolute(path),
                identity,
                seeded,
            }),
        }))
    })
    .await
}

impl Client {
    /// The folder of the daemon's store.
    #[must_use]
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Whether the daemon, and the store, are of the user of this process.
    #[must_use]
    pub fn is_of_this_user(&self) -> bool {
        // SAFETY: it takes nothing and cannot fail.
        let user = unsafe { libc::geteuid() };
        let is_own = |path: &Path| fs::symlink_metadata(path).is_ok_and(|it| it.uid() == user);
        let socket = SocketPath::in_store(&self.store);
        is_own(&self.store.join(".")) && socket.is_ok_and(|socket| is_own(socket.as_path()))
    }

    /// How to come to the bytes of complete content without the socket: under a `name` of its own with
    /// the permissions `mode` if that is wanted and can be, or else where they lie. `None`: not at all.
    ///
    /// # Errors
    /// [`ClientError`]; a daemon that does not know how is [`ClientError::Refused`] or
    /// [`ClientError::Misunderstood`].
    pub fn lend(&self, id: &ContentId, name: bool, mode: u32) -> Result<Option<Loan>, ClientError> {
        let path = format!("/lend/{id}?name={name}&mode={mode}");
        let told: Option<Told> = self.whole(Method::POST, &path)?;
        Ok(told.map(Loan::from))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::chown;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_daemon_or_a_store_of_another_user_is_not_ones_own() {
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(dir.path()).unwrap();
        assert!(!client.is_of_this_user(), "there is no daemon");
        let socket = dir.path().join("control.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(client.is_of_this_user());
        for path in [dir.path(), socket.as_path()] {
            let own = fs::metadata(path).unwrap().uid();
            // Only root can give away.
            if chown(path, Some(65534), None).is_ok() {
                assert!(!client.is_of_this_user(), "{}", path.display());
                chown(path, Some(own), None).unwrap();
            }
        }
    }

    #[test]
    fn a_loan_is_understood_as_it_was_meant() {
        let identity = Identity {
            size: 1,
            mtime: (2, 3),
            ctime: (4, 5),
            inode: 6,
            device: 7,
        };
        let lies = Loan::Lies {
            path: "/a".into(),
            identity,
            seeded: true,
        };
        for loan in [Loan::Name("/b".into()), lies] {
            let told = serde_json::to_string(&Told::from(loan.clone())).unwrap();
            let heard: Told = serde_json::from_str(&told).unwrap();
            assert_eq!(Loan::from(heard), loan);
        }
    }
}
