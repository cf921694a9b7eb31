//! The server thread: reads for peers what the page cache does not hold, so that the network
//! thread never waits for the disk.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use tracing::debug;

use super::messages::{Command, Found, Read};
use super::shared::Shared;
use super::transfer::Transfer;
use crate::content::{ByteRange, ContentId, Hash};
use crate::store::Content;
use crate::swarm::{Ask, Held, MAX_ANSWER, Question};

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
        ask.blake3 = ask
            .blake3_of
            .iter()
            .filter_map(|id| blake3_of(shared, id))
            .collect();
        let answers = ask
            .questions
            .iter()
            .map(|question| read(shared, question, &mut opened))
            .collect();
        shared.mailbox.post(Command::Read(Box::new(Read {
            ask,
            answers,
            opened,
        })));
    }
}

/// What is held of `id` and known to be right.
fn held(shared: &Shared, id: &ContentId, opened: &mut Vec<(ContentId, Content)>) -> Option<Held> {
    if let Some(transfer) = shared.vouching(id) {
        return Some(transfer.vouched_parts());
    }
    if !shared.store.may_hold(id) {
        return None;
    }
    let content = shared.store.open_content(id).ok().flatten()?;
    let eof = content.length();
    opened.push((*id, content));
    Some(Held::whole(*id, eof))
}

/// What is known of the BLAKE3 of `id`: `None` where it is here and that is not known.
fn blake3_of(shared: &Shared, id: &ContentId) -> Option<(ContentId, Option<(Hash, u64)>)> {
    let length = match shared.vouching(id) {
        Some(transfer) => Some(transfer.length),
        None if shared.store.may_hold(id) => shared.store.length_of(id).ok()?,
        None => None,
    };
    let Some(length) = length else {
        return Some((*id, None));
    };
    let blake3 = shared.store.paired(id)?;
    Some((*id, Some((blake3.hash, length))))
}

fn read(shared: &Shared, question: &Question, opened: &mut Vec<(ContentId, Content)>) -> Found {
    if let Some(transfer) = shared.vouching(&question.id) {
        return read_arriving(&transfer, question);
    }
    if !shared.store.may_hold(&question.id) {
        return Found::Nothing;
    }
    let content = match shared.store.open_content(&question.id) {
        Ok(Some(content)) => content,
        Ok(None) => return Found::Nothing,
        Err(error) => {
            debug!(id = %question.id, %error, "could not open what a peer asks for");
            return Found::Nothing;
        }
    };
    let eof = content.length();
    let Some(mut data) = room(question.range(eof)) else {
        return Found::Nothing;
    };
    match content.read_at(question.offset, &mut data) {
        Ok(read) if read == data.len() && content.still_valid() => {
            opened.push((question.id, content));
            Found::Content(eof, data)
        }
        result => {
            debug!(id = %question.id, ?result, "could not read what a peer asks for");
            Found::Nothing
        }
    }
}

/// Of content that is on its way, what is known to be right is given on.
fn read_arriving(transfer: &Transfer, question: &Question) -> Found {
    let range = question.range(transfer.length);
    if transfer.vouches_for(range)
        && let Some(mut data) = room(range)
        && transfer
            .partial
            .read_at(range.start, &mut data)
            .is_ok_and(|read| read == data.len())
        // What proved wrong meanwhile is not given.
        && transfer.vouches_for(range)
    {
        return Found::Content(transfer.length, data);
    }
    Found::OtherParts(transfer.vouched_parts())
}

/// For the bytes of a range that a question may ask for.
fn room(range: ByteRange) -> Option<Vec<u8>> {
    (range.len() <= MAX_ANSWER)
        .then(|| usize::try_from(range.len()).ok())
        .flatten()
        .map(|length| vec![0; length])
}
