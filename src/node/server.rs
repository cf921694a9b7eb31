//! Serving: what peers ask for and the page cache does not hold is read here, so that the network thread never
//! waits for a disk.

use std::time::{Duration, Instant};

use tracing::debug;

use super::disk_threads::Limits;
use super::messages::{Command, Found, Read};
use super::shared::Shared;
use super::transfer::Transfer;
use crate::content::{ByteRange, ContentId, Hash};
use crate::store::{Content, disks};
use crate::swarm::{Ask, Held, MAX_ANSWER, Question};

/// Three disks of the user's can hang, and the rest is served.
pub(super) const LIMITS: Limits = Limits {
    threads: 4,
    of_one_disk: 1,
    waiting: 1024,
};
/// How long a question waits for a disk: who asked has asked anew by then.
const WAITS: Duration = Duration::from_secs(5);

impl Shared {
    /// Has `ask` read for and answered, unless too much waits for that.
    pub(super) fn serve(&self, ask: Ask) {
        let me = self.me.clone();
        let until = Instant::now() + WAITS;
        let mut ask = Some(ask);
        let work = move || {
            if let Some(shared) = me.upgrade() {
                answer(&shared, &mut ask);
            }
        };
        self.serving.push(work, move |now| now > until);
    }
}

/// Reads for `ask` and has it answered, unless this was turned away from a disk.
fn answer(shared: &Shared, asked: &mut Option<Ask>) {
    let Some(ask) = asked else { return };
    if ask.list {
        ask.listing = shared.store.sample(ask.listed(), fastrand::u64(..));
    }
    let given_up = shared.store.given_up();
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
    if disks::is_turned_away() {
        return;
    }
    if let Some(ask) = asked.take() {
        shared.mailbox.post(Command::Read(Box::new(Read {
            ask,
            answers,
            opened,
            given_up,
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
    let read = content
        .come_to_its_disk()
        .and_then(|()| content.read_at(question.offset, &mut data));
    match read {
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
