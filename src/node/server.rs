//! The server thread: reads for peers what the page cache does not hold, so that the network
//! thread never waits for the disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use tracing::debug;

use super::messages::{Command, Read};
use super::shared::Shared;
use crate::content::ContentId;
use crate::store::Content;
use crate::swarm::{Ask, Held, Question};

/// Runs until it is told to stop (`None`).
pub(super) fn run(shared: &Shared, asks: &Receiver<Option<Ask>>, waiting: &AtomicUsize) {
    let mut random = fastrand::Rng::new();
    while let Ok(Some(mut ask)) = asks.recv() {
        waiting.fetch_sub(1, Ordering::Relaxed);
        if shared.is_stopping() {
            return;
        }
        if ask.list {
            ask.listing = shared.store.sample(ask.listed(), random.u64(..));
        }
        let mut opened = Vec::new();
        ask.parts = ask
            .parts_of
            .iter()
            .filter_map(|id| held(shared, id, &mut opened))
            .collect();
        let answers = ask
            .questions
            .iter()
            .map(|question| read(shared, question, &mut opened))
            .collect();
        shared.mailbox.post(Command::Read(Read {
            ask,
            answers,
            opened,
        }));
    }
}

/// What is held of `id`: all of it, or nothing that could be told.
fn held(shared: &Shared, id: &ContentId, opened: &mut Vec<(ContentId, Content)>) -> Option<Held> {
    if !shared.store.may_hold(id) {
        return None;
    }
    let content = shared.store.open_content(id).ok().flatten()?;
    let eof = content.length();
    opened.push((*id, content));
    Some(Held::whole(*id, eof))
}

fn read(
    shared: &Shared,
    question: &Question,
    opened: &mut Vec<(ContentId, Content)>,
) -> Option<(u64, Vec<u8>)> {
    if !shared.store.may_hold(&question.id) {
        return None;
    }
    let content = match shared.store.open_content(&question.id) {
        Ok(content) => content?,
        Err(error) => {
            debug!(id = %question.id, %error, "could not open what a peer asks for");
            return None;
        }
    };
    let eof = content.length();
    let range = question.range(eof);
    let mut data = vec![0; usize::try_from(range.len()).ok()?];
    match content.read_at(range.start, &mut data) {
        Ok(read) if read == data.len() && content.still_valid() => {
            opened.push((question.id, content));
            Some((eof, data))
        }
        result => {
            debug!(id = %question.id, ?result, "could not read what a peer asks for");
            None
        }
    }
}
