//! Answering peers: what is said at once, what needs content, and how much a stranger gets.
//!
//! A datagram that does not return our cookie may carry a forged sender. Its answer goes to whoever
//! is named there, so it stays within [`AMPLIFICATION`] times what came in, headers counted: we are
//! no lever for a flood.

use std::net::SocketAddr;

use super::acquaintance::Greeting;
use super::{Event, MAX_ASKED, Swarm, Time, address};
use crate::content::{ByteRange, ContentId, Hash, Kind};
use crate::wire::{Encoder, MAX_DATAGRAM, MAX_PARTS, content_datagram_bound};

/// Content bytes in one answer at most: what deployed nodes give.
pub const MAX_ANSWER: u64 = 40_960;
/// Content bytes of all answers in one datagram: base64 makes four bytes of three.
const MAX_ANSWERS_TOGETHER: u64 = 48_000;
/// Content bytes that an address which has not proved itself gets.
const STRANGER: u64 = 32;
/// Bytes that an unproven address may be sent for each byte that it sent.
const AMPLIFICATION: usize = 2;
/// IPv4 and UDP headers.
const HEADERS: usize = 28;
/// Questions answered in one datagram.
const MAX_QUESTIONS: usize = 16;
/// Peers named in one answer.
const NAMED: usize = 46;
/// Ids of which parts are told in one datagram.
const MAX_PARTS_OF: usize = 4;
/// Bytes of a datagram that fits one packet of 1,500 bytes, over IPv6 and PPPoE as well. Lists of
/// parts do not go beyond: nobody can ask for what arrives in fragments that a network drops.
const ONE_PACKET: usize = 1400;
/// `,{"IHaveTheseParts":{"id":"","eof":,"parts":[]}}` with the longest id and number.
const AROUND_PARTS: usize = 50 + 15 + 64 + 19;
/// Ids whose BLAKE3 is told in one datagram, and what each takes.
const MAX_BLAKE3_OF: usize = 4;
const AROUND_BLAKE3: usize = 45 + 64 + 64 + 19;
/// Entries in a list of contents.
const LISTED: usize = 70;

/// A question for content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of what.
    pub id: ContentId,
    /// The first byte.
    pub offset: u64,
    /// How many bytes, at most [`MAX_ANSWER`].
    pub length: u64,
}

impl Question {
    /// What of content of `eof` bytes answers it.
    #[must_use]
    pub fn range(&self, eof: u64) -> ByteRange {
        ByteRange::at(self.offset, self.length).intersection(ByteRange::new(0, eof))
    }
}

/// What a peer asked for and the application must look up, with all else that rides on the answer.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Who asks.
    pub to: SocketAddr,
    /// What it asks for. [`Swarm::answer`] wants one answer for each, in this order.
    pub questions: Vec<Question>,
    /// Whether it wants to know what is held here; if so, fill `listing`.
    pub list: bool,
    /// Some of what is held here, at most [`Ask::listed`] entries are told.
    pub listing: Vec<(ContentId, u64)>,
    /// Ids of which it wants to know what is held here; fill `parts` for those of which there is
    /// something, or will be.
    pub parts_of: Vec<ContentId>,
    /// What is held of them.
    pub parts: Vec<Held>,
    /// Ids of which it wants to know the BLAKE3; fill `blake3` for those of which it is proven, or
    /// of which nothing is here.
    pub blake3_of: Vec<ContentId>,
    /// Their BLAKE3s, each with the length of the whole; `None`: it is not here.
    pub blake3: Vec<(ContentId, Option<(Hash, u64)>)>,
    reply: Reply,
}

impl Ask {
    /// Whether the asker has proved that it is where it says.
    pub(super) fn is_verified(&self) -> bool {
        self.reply.verified
    }

    /// The most bytes that its answer may have.
    pub(super) fn limit(&self) -> usize {
        self.reply.limit
    }

    /// How many entries of the listing can be told.
    #[must_use]
    pub fn listed(&self) -> usize {
        if self.reply.verified { LISTED } else { 1 }
    }
}

/// What is held of some content and may be asked for.
#[derive(Clone, Debug)]
pub struct Held {
    /// Of what.
    pub id: ContentId,
    /// The length of the whole.
    pub eof: u64,
    /// What was verified, none of it empty; content that is complete is one range. Of many, the
    /// longest are told.
    pub parts: Vec<ByteRange>,
}

impl Held {
    /// All of content of `eof` bytes.
    #[must_use]
    pub fn whole(id: ContentId, eof: u64) -> Self {
        Self {
            id,
            eof,
            parts: vec![ByteRange::new(0, eof)],
        }
    }
}

/// What the application has to say to a [`Question`].
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// It has the content.
    Content {
        /// The content's length.
        eof: u64,
        /// The bytes from the question's offset, as many as it asked for or up to the end.
        data: &'a [u8],
    },
    /// It has other bytes of it but not these: not all that were asked for, up to the end.
    OtherParts(&'a Held),
    /// It has not.
    Absent,
}

/// What goes back to the sender of one datagram.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    to: SocketAddr,
    verified: bool,
    their_cookie: Option<String>,
    limit: usize,
    pub peers: bool,
    pub list: bool,
    echoes: Vec<String>,
    questions: Vec<Question>,
    parts_of: Vec<ContentId>,
    blake3_of: Vec<ContentId>,
    /// What the uplink was charged for it, in bytes of its datagram.
    charged: u64,
}

impl Reply {
    pub fn new(to: SocketAddr, greeting: &Greeting, received: usize) -> Self {
        let limit = if greeting.verified {
            MAX_DATAGRAM
        } else {
            ((received + HEADERS) * AMPLIFICATION)
                .saturating_sub(HEADERS)
                .min(MAX_DATAGRAM)
        };
        Self {
            to,
            verified: greeting.verified,
            their_cookie: greeting.their_cookie.clone(),
            limit,
            peers: false,
            list: false,
            echoes: Vec::new(),
            questions: Vec::new(),
            parts_of: Vec::new(),
            blake3_of: Vec::new(),
            charged: 0,
        }
    }

    /// Bytes of its datagram and headers, as far as they can be told before it is written.
    fn cost(&self) -> u64 {
        let content = |question: &Question| {
            content_datagram_bound(usize::try_from(question.length).unwrap_or(MAX_DATAGRAM))
        };
        let peers = usize::from(self.peers) * NAMED * 20;
        let list = usize::from(self.list) * LISTED * 80;
        let parts = self.parts_of.len() * ONE_PACKET;
        let blake3 = self.blake3_of.len() * AROUND_BLAKE3;
        let contents: usize = self.questions.iter().map(content).sum();
        (HEADERS + (self.texts() + peers + list + parts + blake3 + contents).min(self.limit)) as u64
    }

    /// Bytes of the texts that it returns.
    fn texts(&self) -> usize {
        let cookie = self.their_cookie.as_ref().map_or(0, String::len);
        cookie + self.echoes.iter().map(String::len).sum::<usize>()
    }

    /// Bytes that it holds.
    fn memory(&self) -> usize {
        let questions = self.questions.len() * size_of::<Question>();
        let parts = (self.parts_of.len() + self.blake3_of.len()) * size_of::<ContentId>();
        size_of::<Self>() + self.texts() + questions + parts
    }

    /// A ping to answer; of several in one datagram the first few.
    pub fn echo(&mut self, raw: &str) {
        if self.echoes.len() < 4 {
            self.echoes.push(raw.to_owned());
        }
    }

    pub fn question(&mut self, id: ContentId, offset: u64, length: u64) {
        // What would not fit one datagram with the rest need not be read from the disk.
        let queued: u64 = self.questions.iter().map(|question| question.length).sum();
        let most = if self.verified { MAX_ANSWER } else { STRANGER };
        let fits = queued + length.min(most) <= MAX_ANSWERS_TOGETHER;
        if self.questions.len() < MAX_QUESTIONS && fits {
            self.questions.push(Question {
                id,
                offset,
                length: length.min(most),
            });
        }
    }

    /// Of `id` it is to be told what is held here.
    pub fn parts_of(&mut self, id: ContentId) {
        if self.parts_of.len() < MAX_PARTS_OF && !self.parts_of.contains(&id) {
            self.parts_of.push(id);
        }
    }

    /// Of `id` it is to be told the BLAKE3, if that is known.
    pub fn blake3_of(&mut self, id: ContentId) {
        let fits = self.blake3_of.len() < MAX_BLAKE3_OF && !self.blake3_of.contains(&id);
        if fits && id.kind == Kind::Sha256 {
            self.blake3_of.push(id);
        }
    }

    /// What its receiver asked for, each id once.
    pub fn ids(&self) -> Vec<ContentId> {
        let questions = self.questions.iter().map(|question| question.id);
        let mut ids: Vec<_> = questions.chain(self.parts_of.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether the application has to be asked.
    fn needs_content(&self) -> bool {
        let of = !self.parts_of.is_empty() || !self.blake3_of.is_empty();
        self.list || !self.questions.is_empty() || of
    }

    fn is_empty(&self) -> bool {
        !self.peers && self.echoes.is_empty() && !self.needs_content()
    }
}

impl Swarm {
    /// Answers a datagram now, later, or not at all, as the uplink allows.
    pub(super) fn reply(&mut self, now: Time, mut reply: Reply) {
        if reply.is_empty() {
            return;
        }
        let asked = reply.questions.len();
        let to = reply.to;
        reply
            .questions
            .retain(|question| self.repeats.allow(now, to, &question.id, question.offset));
        self.stats.refused += (asked - reply.questions.len()) as u64;
        if asked > 0 && reply.questions.is_empty() && !reply.peers && !reply.needs_content() {
            return;
        }
        if !reply.verified {
            reply.charged = reply.cost();
            if !self.uplink.admit_stranger(reply.charged) {
                self.stats.refused += reply.questions.len().max(1) as u64;
                return;
            }
        } else if !self.uplink.is_idle() {
            let (cost, memory) = (reply.cost(), reply.memory());
            self.uplink.push(to, cost, memory, reply);
            return;
        }
        if reply.needs_content() && self.events.len() >= MAX_ASKED {
            self.stats.refused += reply.questions.len() as u64;
            return;
        }
        let ask = self.serve(now, reply);
        self.events.extend(ask.map(Event::Asked));
    }

    /// The next ask that waited for its turn on the uplink.
    pub(super) fn next_ask(&mut self) -> Option<Event> {
        while let Some((mut reply, charged)) = self.uplink.pop() {
            reply.charged = charged;
            if let Some(ask) = self.serve(self.uplink.now(), reply) {
                return Some(Event::Asked(ask));
            }
        }
        self.stats.refused += self.uplink.take_dropped();
        None
    }

    /// Answers at once, or gives what the application must look up for the answer.
    fn serve(&mut self, now: Time, mut reply: Reply) -> Option<Ask> {
        let needs_content = reply.needs_content();
        let ask = Ask {
            to: reply.to,
            questions: std::mem::take(&mut reply.questions),
            list: reply.list,
            listing: Vec::new(),
            parts_of: std::mem::take(&mut reply.parts_of),
            parts: Vec::new(),
            blake3_of: std::mem::take(&mut reply.blake3_of),
            blake3: Vec::new(),
            reply,
        };
        if needs_content {
            return Some(ask);
        }
        let mut datagram = Vec::new();
        if self.write_reply(now, &ask, &[], &mut datagram) {
            self.send(ask.to, datagram);
        }
        None
    }

    /// Writes the answer to `ask` into `out`; `answers` belong to its questions one by one.
    /// Returns where it goes, or `None` when there is nothing to say.
    pub fn answer(
        &mut self,
        now: Time,
        ask: &Ask,
        answers: &[Answer<'_>],
        out: &mut Vec<u8>,
    ) -> Option<SocketAddr> {
        if !self.write_reply(now, ask, answers, out) {
            return None;
        }
        self.count_sent(ask.to, out.len());
        Some(ask.to)
    }

    fn write_reply(
        &mut self,
        now: Time,
        ask: &Ask,
        answers: &[Answer<'_>],
        out: &mut Vec<u8>,
    ) -> bool {
        let (to, reply) = (ask.to, &ask.reply);
        let theirs = match &reply.their_cookie {
            Some(theirs) => Some(theirs.clone()),
            None => self
                .peers
                .get(&to)
                .and_then(|peer| peer.their_cookie.as_deref().map(str::to_owned)),
        };
        let mut encoder = Encoder::new(out);
        // The cookies go first: whatever else does not fit, the asker can become verified.
        if !reply.verified {
            let cookie = self.secret.cookie(to.ip());
            encoder.within(reply.limit, |e| {
                e.please_always_return_this_message(&cookie)
            });
        }
        if let Some(theirs) = theirs {
            encoder.within(reply.limit, |e| e.always_returned(&theirs));
        }
        let bare = encoder.len();
        for raw in &reply.echoes {
            encoder.within(reply.limit, |e| e.returned_message(raw));
        }
        self.stats.content_out += write_answers(ask, answers, &mut encoder);
        write_blake3(ask, &mut encoder);
        self.add_interested(now, ask, answers, &mut encoder);
        if reply.list && !ask.listing.is_empty() {
            let most = if reply.verified { LISTED } else { 1 };
            encoder.within(reply.limit, |e| {
                e.content_list(ask.listing.iter().copied().take(most));
            });
        }
        if reply.peers {
            let most = if reply.verified { NAMED } else { 1 };
            let named = self.peers_to_name(now, to, most);
            encoder.within(reply.limit, |e| e.peers(&named));
        }
        write_parts(ask, answers, &mut encoder);
        let said = if reply.verified {
            encoder.len() > bare
        } else {
            // Even a bare cookie helps a stranger that asked for something.
            !encoder.is_empty() && encoder.len() <= reply.limit
        };
        let written = encoder.finish();
        if reply.charged > 0 {
            let used = if said { written + HEADERS } else { 0 };
            self.uplink
                .settle(to, reply.verified, reply.charged, used as u64);
        }
        said
    }
}

/// Writes content, and that there is none; returns how many bytes of it were written.
fn write_answers(ask: &Ask, answers: &[Answer<'_>], encoder: &mut Encoder<'_>) -> u64 {
    let reply = &ask.reply;
    let mut served = 0;
    for (question, answer) in ask.questions.iter().zip(answers) {
        match answer {
            Answer::Content { eof, data } => {
                let most = usize::try_from(question.length).unwrap_or(usize::MAX);
                let data = data.get(..most).unwrap_or(data);
                if encoder.len() + content_datagram_bound(data.len()) <= MAX_DATAGRAM
                    && encoder.within(reply.limit, |e| {
                        e.content(&question.id, question.offset, *eof, data);
                    })
                {
                    served += data.len() as u64;
                }
            }
            Answer::Absent if reply.verified => {
                encoder.within(reply.limit, |e| e.i_do_not_have_that(&question.id));
            }
            Answer::Absent | Answer::OtherParts(_) => {}
        }
    }
    served
}

/// Tells the BLAKE3s that are asked for, or of what is asked for nothing else that it is not here.
fn write_blake3(ask: &Ask, encoder: &mut Encoder<'_>) {
    let reply = &ask.reply;
    for (id, found) in &ask.blake3 {
        let asked_else =
            ask.parts_of.contains(id) || ask.questions.iter().any(|question| question.id == *id);
        match found {
            Some((blake3, eof)) => {
                encoder.within(reply.limit, |e| e.its_blake3_is(id, blake3, *eof));
            }
            None if reply.verified && !asked_else => {
                encoder.within(reply.limit, |e| e.i_do_not_have_that(id));
            }
            None => {}
        }
    }
}

/// Tells which parts are here, of each id once, as many of them as one packet holds.
fn write_parts(ask: &Ask, answers: &[Answer<'_>], encoder: &mut Encoder<'_>) {
    let reply = &ask.reply;
    let limit = if address::is_loopback(ask.to) {
        reply.limit
    } else {
        reply.limit.min(ONE_PACKET)
    };
    let instead = answers.iter().filter_map(|answer| match answer {
        Answer::OtherParts(held) if reply.verified => Some(*held),
        _ => None,
    });
    let asked = |held: &&Held| ask.parts_of.contains(&held.id);
    let mut told: Vec<ContentId> = Vec::new();
    for held in instead.chain(ask.parts.iter().filter(asked)) {
        if told.contains(&held.id) {
            continue;
        }
        told.push(held.id);
        let room = limit.saturating_sub(encoder.len() + AROUND_PARTS);
        let parts = longest_within(&held.parts, room);
        encoder.within(limit, |e| {
            e.i_have_these_parts(&held.id, held.eof, parts.iter().copied());
        });
    }
}

/// The longest of `parts` that take no more than `room` bytes when written, in their order.
fn longest_within(parts: &[ByteRange], room: usize) -> Vec<ByteRange> {
    let digits = |number: u64| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let mut parts: Vec<ByteRange> = parts.to_vec();
    parts.sort_unstable_by_key(|part| (std::cmp::Reverse(part.len()), part.start));
    parts.truncate(MAX_PARTS);
    let mut left = room;
    let fits = |part: &ByteRange| {
        // `,[1,2]`
        let size = 4 + digits(part.start) + digits(part.end);
        let fits = size <= left;
        left -= if fits { size } else { left };
        fits
    };
    let mut kept: Vec<ByteRange> = parts.into_iter().take_while(fits).collect();
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_parts_the_longest_are_told_in_one_packet() {
        let few = [ByteRange::new(5, 9), ByteRange::new(20, 21)];
        assert_eq!(longest_within(&few, 1000), few);
        let many: Vec<_> = (0..10_000u64)
            .map(|n| ByteRange::at(n << 20, 4096 * (n % 100)))
            .collect();
        let told = longest_within(&many, 1000);
        assert!(told.iter().all(|part| part.len() == 99 * 4096));
        assert!(told.is_sorted() && (40..100).contains(&told.len()));
        assert!(longest_within(&many, 5).is_empty());
        assert_eq!(longest_within(&many, usize::MAX).len(), MAX_PARTS);
    }
}
