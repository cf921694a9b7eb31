//! Answering peers: what is said at once, what needs content, and how much a stranger gets.
//!
//! A datagram that does not return our cookie may carry a forged sender. Its answer goes to whoever
//! is named there, so it stays within [`AMPLIFICATION`] times what came in, headers counted: we are
//! no lever for a flood.

use std::net::SocketAddr;

use super::acquaintance::Greeting;
use super::asked::{Answer, Ask, Held, Question};
use super::{Event, MAX_ASKED, Swarm, Time, address};
use crate::content::{ByteRange, ContentId, KeyedName, Kind, PublicKey};
use crate::wire::{Encoder, MAX_DATAGRAM, MAX_PARTS, MAX_SIGNED, content_datagram_bound};

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
/// Names and keys that are told of in one datagram.
const MAX_NAMES: usize = 4;
/// Entries in a list of contents.
const LISTED: usize = 70;

/// What goes back to the sender of one datagram.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    to: SocketAddr,
    pub verified: bool,
    their_cookie: Option<String>,
    pub limit: usize,
    pub peers: bool,
    pub list: bool,
    echoes: Vec<String>,
    questions: Vec<Question>,
    parts_of: Vec<ContentId>,
    blake3_of: Vec<ContentId>,
    /// Names of which it is to be told what was last published.
    latest_of: Vec<KeyedName>,
    /// Keys of which it is to be told where they are.
    where_are: Vec<PublicKey>,
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
            latest_of: Vec::new(),
            where_are: Vec::new(),
            charged: 0,
        }
    }

    /// How many entries of a list of contents can be told.
    pub fn listed(&self) -> usize {
        if self.verified { LISTED } else { 1 }
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
        let names = self.latest_of.len() * MAX_SIGNED + self.where_are.len() * 256;
        let all = self.texts() + peers + list + parts + blake3 + contents + names;
        (HEADERS + all.min(self.limit)) as u64
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
        let names = self.latest_of.iter().map(|of| of.name.as_str().len());
        let names = names.sum::<usize>() + self.latest_of.len() * size_of::<KeyedName>();
        size_of::<Self>() + self.texts() + questions + parts + names + self.where_are.len() * 32
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

    /// It is to be told what was last published under a name, if it has proved where it is.
    pub fn latest_of(&mut self, of: &KeyedName) {
        if self.verified && self.latest_of.len() < MAX_NAMES {
            self.latest_of.push(of.clone());
        }
    }

    /// It is to be told where the node with this key is, if it has proved where it is itself.
    pub fn where_is(&mut self, key: PublicKey) {
        if self.verified && self.where_are.len() < MAX_NAMES {
            self.where_are.push(key);
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
        let names = self.latest_of.is_empty() && self.where_are.is_empty();
        !self.peers && self.echoes.is_empty() && names && !self.needs_content()
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
        let names = reply.latest_of.len();
        reply
            .latest_of
            .retain(|of| self.repeats.allow_name(now, to, of));
        self.stats.refused += (asked - reply.questions.len()) as u64;
        self.stats.refused += (names - reply.latest_of.len()) as u64;
        if names > 0 && reply.is_empty() {
            return;
        }
        if asked > 0 && reply.questions.is_empty() && !reply.peers && !reply.needs_content() {
            return;
        }
        if reply.verified {
            self.uplink.proved(to);
            if !self.uplink.is_idle() {
                let (cost, memory) = (reply.cost(), reply.memory());
                self.uplink.push(to, cost, memory, reply);
                return;
            }
        } else {
            reply.charged = reply.cost();
            if !self.uplink.admit_stranger(to, reply.charged) {
                self.stats.refused += reply.questions.len().max(1) as u64;
                return;
            }
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
            let most = reply.listed();
            encoder.within(reply.limit, |e| {
                e.content_list(ask.listing.iter().copied().take(most));
            });
        }
        if reply.peers {
            let most = if reply.verified { NAMED } else { 1 };
            let named = self.peers_to_name(now, to, most);
            encoder.within(reply.limit, |e| e.peers(&named));
            if let Some(key) = self.config.public_key.filter(|_| reply.verified) {
                encoder.within(reply.limit, |e| e.my_public_key(&key));
            }
        }
        self.write_names(now, to, reply, &mut encoder);
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

impl Swarm {
    /// Tells what was last published under names, and where keys are.
    fn write_names(&self, now: Time, to: SocketAddr, reply: &Reply, encoder: &mut Encoder<'_>) {
        for latest in reply.latest_of.iter().filter_map(|of| self.names.get(of)) {
            encoder.within(reply.limit, |e| {
                e.signed_message(&latest.of.key, &latest.signature, &latest.payload);
            });
        }
        for key in &reply.where_are {
            if let Some(at) = self.seen_at(now, to, key) {
                encoder.within(reply.limit, |e| e.forwarded_key(at, key));
            }
        }
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
