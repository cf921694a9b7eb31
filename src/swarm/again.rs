//! Second opinions: bytes that have come from one peer, asked of another, to compare them.
//!
//! Content by SHA-256 alone proves nothing before it is whole. But two peers that lie alike are
//! seldom, so a few blocks asked of two tell a liar early, and where the whole has failed they tell
//! whose bytes it was. Which bytes are compared, and what follows, is the application's business.

use std::net::SocketAddr;

use super::asking::piece;
use super::fetch::voter;
use super::peer::{Purpose, Request};
use super::{Event, Swarm, Time};
use crate::content::{ByteRange, ContentId};

impl Swarm {
    /// Asks for the first bytes of `range` of `id`, as many as one request of it asks for, of a source
    /// on another host than those of `besides`. [`Event::Again`] tells what came of it, once.
    pub fn ask_again(
        &mut self,
        now: Time,
        id: ContentId,
        range: ByteRange,
        besides: &[SocketAddr],
    ) {
        let Some(to) = self.second_source(now, id, range, besides) else {
            self.unanswered(id, range);
            return;
        };
        let length = self.peers.get(&to).map_or(range.len(), |peer| peer.length);
        let first = piece(range, length);
        let mut datagram = Vec::with_capacity(320);
        let written = self.write_request(now, id, first, to, Purpose::Again, true, &mut datagram);
        if written.is_some() {
            self.send(to, datagram);
        } else {
            self.unanswered(id, range);
        }
    }

    fn second_source(
        &mut self,
        now: Time,
        id: ContentId,
        range: ByteRange,
        besides: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let fetch = self.fetches.get(&id)?;
        let others = fetch.sources.iter().filter(|(address, source)| {
            fetch.may_ask(**address)
                && source.rest_until <= now
                && fetch.parts.has(**address, range)
                && besides.iter().all(|one| voter(one) != voter(address))
                && self.peers.get(address).is_some_and(|peer| {
                    peer.is_open() && peer.bench_until <= now && peer.has_request_room()
                })
        });
        let others: Vec<SocketAddr> = others.map(|(address, _)| *address).collect();
        self.random.choice(others)
    }

    /// A question of [`Swarm::ask_again`] was answered.
    pub(super) fn answered_again(&mut self, from: SocketAddr, request: &Request, data: Vec<u8>) {
        let complete = data.len() as u64 == request.range.len();
        self.events.push_back(Event::Again {
            id: request.id,
            range: request.range,
            answer: complete.then_some((from, data)),
        });
    }

    /// It was not, and will not be.
    pub(super) fn unanswered(&mut self, id: ContentId, range: ByteRange) {
        self.events.push_back(Event::Again {
            id,
            range,
            answer: None,
        });
    }
}
