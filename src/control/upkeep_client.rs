//! The asking side of `upkeep`.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;

use super::client::{Client, ClientError};
use super::upkeep::ScrubEvent;
use crate::content::ContentId;
use crate::store::{Imported, Offered};

/// How long copying and hashing one file may take.
const IMPORT_LIMIT: Duration = Duration::from_secs(24 * 3600);

impl Client {
    /// Lets the daemon take in the file at `path`, which is absolute.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn import(&self, path: &Path) -> Result<Imported, ClientError> {
        // What cannot be offered so is copied.
        let offered = Offered::new(&self.store, path).ok();
        let path = offered.as_ref().map_or(path, Offered::path);
        let bytes = path.as_os_str().as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.whole_within(IMPORT_LIMIT, Method::POST, &format!("/import?path={hex}"))
    }

    /// Lets the daemon read what it holds, or only `ids`, once more; `tell` hears of each event, of
    /// `None` several times a second while there is none, and may end it by `Break`.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn scrub(
        &self,
        ids: &[ContentId],
        mut tell: impl FnMut(Option<&ScrubEvent>) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let mut path = "/scrub".to_owned();
        if !ids.is_empty() {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            path.push_str(&format!("?ids={}", ids.join(",")));
        }
        self.block_on(async {
            let mut body = self.ask(Method::POST, &path).await?.into_body();
            let mut buffered: Vec<u8> = Vec::new();
            loop {
                let mut silent = |_| match tell(None) {
                    ControlFlow::Continue(()) => ControlFlow::Continue(()),
                    ControlFlow::Break(()) => ControlFlow::Break(()),
                };
                let frame = self.attend(body.frame(), &mut silent).await?;
                let frame = frame.ok_or(ClientError::BrokenOff)?;
                let frame = frame.map_err(|_| ClientError::BrokenOff)?;
                buffered.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                while let Some(end) = buffered.iter().position(|b| *b == b'\n') {
                    let line: Vec<u8> = buffered.drain(..=end).collect();
                    let event =
                        serde_json::from_slice(&line).map_err(|_| ClientError::Misunderstood)?;
                    if tell(Some(&event)).is_break() {
                        return Err(ClientError::Interrupted);
                    }
                    match event {
                        ScrubEvent::Done { .. } => return Ok(()),
                        ScrubEvent::Failed { reason } => return Err(ClientError::Refused(reason)),
                        _ => {}
                    }
                }
            }
        })
    }
}
