//! Answering peers: what is said at once, what needs content, and how much a stranger gets.
//!
//! A datagram that does not return our cookie may carry a forged sender. Its answer goes to whoever
//! is named there, so it stays within [`AMPLIFICATION`] times what came in, headers counted: we are
//! no lever for a flood.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use super::acquaintance::Greeting;
use super::{Event, MAX_ASKED, Swarm, Time, address};
use crate::content::{ByteRange, ContentId};
use crate::wire::{Encoder, MAX_DATAGRAM, content_datagram_bound};

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
/// Peers named in one answer, to proven addresses and to others.
const NAMED: usize = 46;
const NAMED_INTERESTED: usize = 16;
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
    reply: Reply,
}

impl Ask {
    /// How many entries of the listing can be told.
    #[must_use]
    pub fn listed(&self) -> usize {
        if self.reply.verified { LISTED } else { 1 }
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
        let contents: usize = self.questions.iter().map(content).sum();
        (HEADERS + (self.texts() + peers + list + contents).min(self.limit)) as u64
    }

    /// Bytes of the texts that it returns.
    fn texts(&self) -> usize {
        let cookie = self.their_cookie.as_ref().map_or(0, String::len);
        cookie + self.echoes.iter().map(String::len).sum::<usize>()
    }

    /// Bytes that it holds.
    fn memory(&self) -> usize {
        let questions = self.questions.len() * size_of::<Question>();
        size_of::<Self>() + self.texts() + questions
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

    /// Whether the application has to be asked.
    fn needs_content(&self) -> bool {
        self.list || !self.questions.is_empty()
    }

    fn is_empty(&self) -> bool {
        !self.peers && !self.list && self.echoes.is_empty() && self.questions.is_empty()
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
        if asked > 0 && reply.questions.is_empty() && !reply.peers && !reply.list {
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
        if reply.needs_content() {
            return Some(Ask {
                to: reply.to,
                questions: std::mem::take(&mut reply.questions),
                list: reply.list,
                listing: Vec::new(),
                reply,
            });
        }
        let mut datagram = Vec::new();
        if self.write_reply(now, &reply, &[], &[], &[], &mut datagram) {
            self.send(reply.to, datagram);
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
        let said = self.write_reply(now, &ask.reply, &ask.questions, answers, &ask.listing, out);
        if !said {
            return None;
        }
        self.count_sent(ask.to, out.len());
        Some(ask.to)
    }

    fn write_reply(
        &mut self,
        now: Time,
        reply: &Reply,
        questions: &[Question],
        answers: &[Answer<'_>],
        listing: &[(ContentId, u64)],
        out: &mut Vec<u8>,
    ) -> bool {
        let to = reply.to;
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
        let mut served = 0;
        for (question, answer) in questions.iter().zip(answers) {
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
                Answer::Absent => {}
            }
        }
        self.stats.content_out += served;
        self.add_interested(now, reply, questions, answers, &mut encoder);
        if reply.list && !listing.is_empty() {
            let most = if reply.verified { LISTED } else { 1 };
            encoder.within(reply.limit, |e| {
                e.content_list(listing.iter().copied().take(most));
            });
        }
        if reply.peers {
            let most = if reply.verified { NAMED } else { 1 };
            let named = self.peers_to_name(now, to, most);
            encoder.within(reply.limit, |e| e.peers(&named));
        }
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

    /// Names others that want or have the same, and notes that the asker does.
    fn add_interested(
        &mut self,
        now: Time,
        reply: &Reply,
        questions: &[Question],
        answers: &[Answer<'_>],
        encoder: &mut Encoder<'_>,
    ) {
        for (question, answer) in questions.iter().zip(answers) {
            let absent = matches!(answer, Answer::Absent);
            // Once a file is enough where the asker gets what it wants from us.
            if absent || question.offset == 0 {
                let mut named = self.interest.others(now, question.id, reply.to);
                if let Some(fetch) = self.fetches.get(&question.id) {
                    named.extend(fetch.sources.keys().copied());
                }
                named.retain(|named| *named != reply.to && address::may_be_told(reply.to, *named));
                named.dedup();
                named.truncate(if reply.verified { NAMED_INTERESTED } else { 3 });
                if !named.is_empty() {
                    encoder.within(reply.limit, |e| {
                        e.maybe_they_have_some(&question.id, &named);
                    });
                }
            }
            if reply.verified {
                self.interest.note(now, question.id, reply.to);
            }
        }
    }
}

/// Ids whose askers are remembered, askers of each, and for how long.
const INTERESTING: usize = 1024;
const ASKERS: usize = 16;
const INTEREST_LASTS: Duration = Duration::from_secs(300);

/// Who asked for what lately.
pub(super) struct Interest {
    askers: LruCache<ContentId, VecDeque<(SocketAddr, Time)>>,
}

impl Default for Interest {
    fn default() -> Self {
        let capacity = NonZeroUsize::new(INTERESTING).unwrap_or(NonZeroUsize::MIN);
        Self {
            askers: LruCache::new(capacity),
        }
    }
}

impl Interest {
    fn note(&mut self, now: Time, id: ContentId, who: SocketAddr) {
        let askers = self.askers.get_or_insert_mut(id, VecDeque::new);
        if let Some(known) = askers.iter_mut().find(|(asker, _)| *asker == who) {
            known.1 = now;
            return;
        }
        if askers.len() >= ASKERS {
            askers.pop_front();
        }
        askers.push_back((who, now));
    }

    fn others(&mut self, now: Time, id: ContentId, than: SocketAddr) -> Vec<SocketAddr> {
        self.askers.peek(&id).map_or_else(Vec::new, |askers| {
            askers
                .iter()
                .rev()
                .filter(|(asker, at)| *asker != than && now.since(*at) < INTEREST_LASTS)
                .map(|(asker, _)| *asker)
                .collect()
        })
    }

    /// Forgets ids that nobody asked for lately.
    pub fn tidy(&mut self, now: Time) {
        while let Some((_, askers)) = self.askers.peek_lru() {
            let stale = askers
                .iter()
                .all(|(_, at)| now.since(*at) >= INTEREST_LASTS);
            if !stale {
                return;
            }
            self.askers.pop_lru();
        }
    }
}
