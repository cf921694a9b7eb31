//! The asking side of `keeping`.

use std::time::Duration;

use hyper::Method;

use super::client::{Client, ClientError};
use super::keeping::{Page, Removed};
use crate::content::ContentId;
use crate::store::{Held, Limits};

/// How long giving up content may take: a million files, perhaps.
const COLLECT_LIMIT: Duration = Duration::from_secs(600);

impl Client {
    /// A page of what is held, from the place that the call before returned on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn held(&self, from: Option<&str>) -> Result<(Vec<Held>, Option<String>), ClientError> {
        let path = match from {
            Some(from) => format!("/held?from={from}"),
            None => "/held".to_owned(),
        };
        let page: Page = self.whole(Method::GET, &path)?;
        Ok((page.held, page.next))
    }

    /// Pins content or unpins it; `false`: so it was already.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn set_pinned(&self, id: &ContentId, pinned: bool) -> Result<bool, ClientError> {
        let verb = if pinned { "pin" } else { "unpin" };
        self.whole(Method::POST, &format!("/{verb}/{id}"))
    }

    /// Gives up content until `limits`, or those of the daemon, are kept; `dry` only tells what.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn collect(&self, limits: Option<Limits>, dry: bool) -> Result<Vec<Removed>, ClientError> {
        let mut path = format!("/gc?dry={dry}");
        let limits = limits.unwrap_or_default();
        for (name, limit) in [("most", limits.most), ("least_free", limits.least_free)] {
            if let Some(limit) = limit {
                path.push_str(&format!("&{name}={limit}"));
            }
        }
        self.whole_within(COLLECT_LIMIT, Method::POST, &path)
    }
}
