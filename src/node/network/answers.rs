//! Answers to peers: what lies in memory is given at once, the rest is read aside.

use super::super::messages::{Found, Keep, Read};
use super::{MAX_BACKLOG, Network};
use crate::swarm::{Answer, Ask, Held, KnownBlake3, MAX_ANSWER};

impl Network {
    /// Answers at once what is not here at all or lies in the page cache; the rest goes to the
    /// threads that serve.
    pub(super) fn handle_ask(&mut self, mut ask: Ask) {
        if self.outgoing.len() >= MAX_BACKLOG {
            // The uplink is slower than what is asked of us: dropped, as the network would.
            return;
        }
        self.close_given_up();
        let mut scratch = std::mem::take(&mut self.scratch);
        let answered = self.answer_from_memory(&mut ask, &mut scratch);
        self.scratch = scratch;
        if !answered {
            self.shared.serve(ask);
        }
    }

    /// Content that was given up is served no more, and its blocks are freed.
    fn close_given_up(&mut self) {
        let given_up = self.shared.store.given_up();
        if given_up != self.given_up {
            self.given_up = given_up;
            let mut files = Vec::with_capacity(self.open.len());
            while let Some((_, content)) = self.open.pop_lru() {
                files.push(content);
            }
            let _ = self.shared.to_keep.send(Keep::Close(files));
        }
    }

    fn answer_from_memory(&mut self, ask: &mut Ask, scratch: &mut Vec<u8>) -> bool {
        if ask.list {
            return false;
        }
        let Some(parts) = self.parts_from_memory(ask) else {
            return false;
        };
        let Some(blake3) = self.blake3_from_memory(ask) else {
            return false;
        };
        ask.parts = parts;
        ask.blake3 = blake3;
        let needed = ask.questions.len() * MAX_ANSWER as usize;
        if scratch.len() < needed {
            // Never shorter again: what is left out here is cleared anew at the next resize.
            scratch.resize(needed, 0);
        }
        let mut answers = Vec::with_capacity(ask.questions.len());
        for (question, room) in ask
            .questions
            .iter()
            .zip(scratch.chunks_exact_mut(MAX_ANSWER as usize))
        {
            if !self.shared.store.may_hold(&question.id) {
                if self.shared.vouching(&question.id).is_some() {
                    return false;
                }
                answers.push(Answer::Absent);
                continue;
            }
            let Some(content) = self.open.get(&question.id) else {
                return false;
            };
            let eof = content.length();
            let range = question.range(eof);
            let Some(room) = room.get_mut(..range.len() as usize) else {
                return false;
            };
            let read = content.read_at_nowait(range.start, room);
            let is_right = match read {
                Ok(Some(read)) if read == room.len() => content.valid_now(),
                Ok(None) => None,
                Ok(Some(_)) | Err(_) => Some(false),
            };
            match is_right {
                Some(true) => answers.push(Answer::Content { eof, data: room }),
                None => return false,
                // Changed, or unreadable: it is opened anew, or found to be gone.
                Some(false) => {
                    self.open.pop(&question.id);
                    return false;
                }
            }
        }
        self.send_answer(ask, &answers);
        true
    }

    /// What is held of the ids whose parts are asked for; `None`: the disk has to be asked.
    fn parts_from_memory(&mut self, ask: &Ask) -> Option<Vec<Held>> {
        let mut parts = Vec::new();
        for id in &ask.parts_of {
            if self.shared.store.may_hold(id) {
                parts.push(Held::whole(*id, self.open.get(id)?.length()));
            } else if let Some(transfer) = self.shared.vouching(id) {
                parts.push(transfer.vouched_parts());
            }
        }
        Some(parts)
    }

    /// The BLAKE3s that are asked for; `None`: the index has to be asked.
    fn blake3_from_memory(&mut self, ask: &Ask) -> Option<Vec<KnownBlake3>> {
        let mut found = Vec::new();
        for id in &ask.blake3_of {
            if self.shared.store.may_hold(id) || self.shared.vouching(id).is_some() {
                let pair = self.pairs.get(id)?;
                found.push((*id, Some(*pair)));
            } else {
                found.push((*id, None));
            }
        }
        Some(found)
    }

    pub(super) fn answer_read(&mut self, read: &Read) {
        for (id, pair) in &read.ask.blake3 {
            if let Some(pair) = pair {
                self.pairs.put(*id, *pair);
            }
        }
        if read.given_up == self.given_up {
            for (id, content) in &read.opened {
                self.open.put(*id, content.clone());
            }
        }
        if self.outgoing.len() >= MAX_BACKLOG {
            return;
        }
        let answers: Vec<Answer<'_>> = read
            .answers
            .iter()
            .map(|found| match found {
                Found::Content(eof, data) => Answer::Content { eof: *eof, data },
                Found::OtherParts(held) => Answer::OtherParts(held),
                Found::Nothing => Answer::Absent,
            })
            .collect();
        self.send_answer(&read.ask, &answers);
    }

    fn send_answer(&mut self, ask: &Ask, answers: &[Answer<'_>]) {
        let now = self.now();
        let mut datagram = self.outgoing.buffer();
        match self.swarm.answer(now, ask, answers, &mut datagram) {
            Some(to) => {
                self.outgoing.push(to, datagram);
                if self.outgoing.is_full() {
                    self.flush();
                }
            }
            None => self.outgoing.give_back(datagram),
        }
    }
}
