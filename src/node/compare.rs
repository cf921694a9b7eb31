//! Bytes of content that nothing verifies, compared with what a second peer sends, and the verdict
//! of a third where the two differ.
//!
//! While content by SHA-256 alone arrives, a few blocks are compared, so that a liar is found early;
//! once the whole has failed (see `repair`), as many as it takes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tracing::debug;

use super::messages::Command;
use super::shared::{Shared, lock};
use super::transfer::{Phase, Transfer};
use crate::content::{ByteRange, ContentId, LEAF, RangeSet};

/// One block is compared for so many bytes that arrive at first, and later for this part of what is
/// here: the sooner a liar is found, the less of it is to be fetched again, and the more of it has come,
/// the less another block costs beside that. Of 256 MiB these are 62 blocks, 1 % of it. A peer of five
/// that is wrong in 1 % of its leaves is met after 25 on average: after 28 MiB, where with one block for
/// each 4 MiB it were 100.
const EACH: u64 = 1 << 20;
const EACH_PART: u64 = 16;
/// Bytes compared at a time at most: what one answer holds.
const BLOCK: u64 = 40_960;
/// Blocks that are being compared at once.
const AT_ONCE: usize = 16;
/// How often a third peer is asked for before there is taken to be none: an answer may be lost.
const MAX_TRIES: u8 = 3;
/// Accusations that are remembered.
const MAX_ACCUSED: usize = 32;

/// Who sent bytes; `None`: nobody knows.
type Sender = Option<SocketAddr>;

/// A block that a second peer, or a third, is asked for.
struct Asked {
    sender: Sender,
    /// What the second peer gave, if that is not what is here.
    second: Option<(SocketAddr, Vec<u8>)>,
    /// How often a third has been asked for in vain.
    tries: u8,
}

/// What is compared of one transfer, and what followed.
#[derive(Default)]
pub(super) struct Comparisons {
    /// By first byte.
    asked: BTreeMap<u64, Asked>,
    /// Bytes that two hosts gave alike.
    pub agreed: RangeSet,
    /// What is still to be compared after the whole has failed, the next last.
    pub to_compare: Vec<(ByteRange, Sender)>,
    /// Whether that has been lined up.
    pub is_lined_up: bool,
    /// Peers whose bytes were taken for wrong because others gave different ones.
    pub accused: Vec<SocketAddr>,
    /// Those of whom some may have come after that, because it was on its way.
    pub late: BTreeSet<SocketAddr>,
    /// The only one that is believed after the others proved wrong.
    pub believed: Option<SocketAddr>,
    /// How often the whole has failed.
    pub failures: u32,
}

impl Comparisons {
    /// Whether an answer is waited for.
    pub fn is_waiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// The whole of what is here is wrong, whatever was compared.
    pub fn begin_anew(&mut self) {
        self.asked.clear();
        self.line_up_anew();
        self.agreed = RangeSet::new();
    }

    /// Some of the bytes are given up, and others will come. What has been asked is answered still,
    /// and what others have agreed on stays so.
    fn line_up_anew(&mut self) {
        self.to_compare.clear();
        self.is_lined_up = false;
    }

    fn accuse(&mut self, peer: SocketAddr) {
        if self.accused.len() < MAX_ACCUSED && !self.accused.contains(&peer) {
            self.accused.push(peer);
        }
        if self.late.len() < MAX_ACCUSED {
            self.late.insert(peer);
        }
    }
}

/// Bytes that two peers gave alike, in place of those of one that is alone, and one of the two.
pub(super) struct Instead {
    pub transfer: Arc<Transfer>,
    pub range: ByteRange,
    pub data: Vec<u8>,
    pub from: SocketAddr,
}

/// What three versions of a block say.
enum Verdict {
    /// Who sent what is here is alone with it. With what two others gave alike, and one of them.
    AgainstSender(Vec<SocketAddr>, Option<(SocketAddr, Vec<u8>)>),
    /// The second peer is alone with its version.
    AgainstSecond(SocketAddr, Vec<SocketAddr>),
}

impl Shared {
    /// Bytes of `range` arrived from `from`: now and then some are compared.
    pub(super) fn compare_some(
        &self,
        transfer: &Arc<Transfer>,
        range: ByteRange,
        from: SocketAddr,
    ) {
        if !transfer.is_to_compare(range.len(), |here| EACH.max(here / EACH_PART)) {
            return;
        }
        let mut comparisons = transfer.comparisons();
        if comparisons.asked.len() < AT_ONCE {
            self.ask_again(transfer.id, &mut comparisons, range, Some(from));
        }
    }

    fn ask_again(
        &self,
        id: ContentId,
        comparisons: &mut Comparisons,
        range: ByteRange,
        sender: Sender,
    ) {
        let block = ByteRange::at(range.start, range.len().min(BLOCK));
        let asked = Asked {
            sender,
            second: None,
            tries: 0,
        };
        comparisons.asked.insert(block.start, asked);
        let besides = sender.into_iter().collect();
        self.mailbox.post(Command::AskAgain(id, block, besides));
    }

    /// Compares what is left to compare after the whole has failed, some blocks at once; whether an
    /// answer is waited for.
    pub(super) fn compare_on(&self, transfer: &Arc<Transfer>) -> bool {
        let mut comparisons = transfer.comparisons();
        while comparisons.asked.len() < AT_ONCE {
            let Some((range, sender)) = comparisons.to_compare.pop() else {
                break;
            };
            if !comparisons.asked.contains_key(&range.start) && !comparisons.agreed.contains(range)
            {
                self.ask_again(transfer.id, &mut comparisons, range, sender);
            }
        }
        comparisons.is_waiting()
    }

    /// What a second peer says to bytes that are here, or a third. Returns what is to be written in
    /// their place, if others are known to be right.
    pub(super) fn compared(
        &self,
        id: ContentId,
        range: ByteRange,
        answer: Option<(SocketAddr, Vec<u8>)>,
    ) -> Option<Instead> {
        let transfer = self.transfer(&id)?;
        transfer.note_progress();
        let repairing = transfer.repairing();
        let verdict = {
            let mut comparisons = transfer.comparisons();
            let asked = comparisons.asked.remove(&range.start)?;
            self.weigh(&transfer, &mut comparisons, range, asked, answer)
        };
        let instead =
            verdict.and_then(|(sender, verdict)| self.follow(&transfer, range, sender, verdict));
        drop(repairing);
        self.repair_if_failed(&transfer);
        instead
    }

    fn weigh(
        &self,
        transfer: &Arc<Transfer>,
        comparisons: &mut Comparisons,
        range: ByteRange,
        asked: Asked,
        answer: Option<(SocketAddr, Vec<u8>)>,
    ) -> Option<(Sender, Verdict)> {
        let here = read(transfer, range)?;
        let Some((from, data)) = answer else {
            if let Some((second, _)) = &asked.second
                && asked.tries < MAX_TRIES
            {
                let besides = asked.sender.into_iter().chain([*second]).collect();
                let tries = asked.tries + 1;
                comparisons
                    .asked
                    .insert(range.start, Asked { tries, ..asked });
                let ask = Command::AskAgain(transfer.id, range, besides);
                self.mailbox.post(ask);
                return None;
            }
            // With nobody to ask for a third, the first is believed less: the second was asked for a
            // reason. Should that be wrong, it shows when the whole fails again.
            let (second, _) = asked.second.filter(|_| transfer.has_failed())?;
            return Some((asked.sender, Verdict::AgainstSender(vec![second], None)));
        };
        if transfer.is_sent_otherwise(range, asked.sender) {
            // Something else has come in its place meanwhile.
            return None;
        }
        match asked.second {
            None if data == here => {
                comparisons.agreed.insert(range);
                None
            }
            None => {
                let besides = asked.sender.into_iter().chain([from]).collect();
                let second = Some((from, data));
                let asked = Asked { second, ..asked };
                comparisons.asked.insert(range.start, asked);
                let ask = Command::AskAgain(transfer.id, range, besides);
                self.mailbox.post(ask);
                None
            }
            // It gave less than the second, and not where that differs.
            Some((_, second)) if second.get(..here.len()) == Some(&here) => None,
            Some((second, _)) if data == here => {
                let by = asked.sender.into_iter().chain([from]).collect();
                Some((asked.sender, Verdict::AgainstSecond(second, by)))
            }
            Some((second, theirs)) => {
                let alike = (theirs == data).then_some((from, data));
                let by = vec![second, from];
                Some((asked.sender, Verdict::AgainstSender(by, alike)))
            }
        }
    }

    /// Does what follows from a verdict: who is alone is suspended, what it sent is fetched again but
    /// for what is known already, which is returned.
    fn follow(
        &self,
        transfer: &Arc<Transfer>,
        range: ByteRange,
        sender: Sender,
        verdict: Verdict,
    ) -> Option<Instead> {
        let id = transfer.id;
        let (peer, by, alike) = match verdict {
            Verdict::AgainstSender(by, alike) => (sender, by, alike),
            Verdict::AgainstSecond(second, by) => (Some(second), by, None),
        };
        debug!(%id, ?range, ?peer, ?by, "a peer's bytes are not those of others");
        let agreed = transfer.comparisons().agreed.clone();
        let mut doubted = match peer {
            Some(peer) => {
                self.mailbox.post(Command::Suspend(id, vec![peer]));
                transfer.doubt_senders(&BTreeSet::from([peer]), &agreed)
            }
            None => transfer.doubt_unknown(&agreed),
        };
        {
            // After its bytes are given up: should the whole fail before, that says nothing of this.
            let mut comparisons = transfer.comparisons();
            if !doubted.is_empty() {
                // Whatever else is lined up, this is to be fetched first.
                comparisons.line_up_anew();
            }
            if let Some(peer) = peer {
                comparisons.accuse(peer);
            }
        }
        let instead = alike.filter(|_| doubted.contains(range));
        if instead.is_some() {
            doubted.remove(range);
            transfer.comparisons().agreed.insert(range);
        }
        if !doubted.is_empty() {
            self.fetch_doubted(transfer, &doubted);
        }
        instead.map(|(from, data)| Instead {
            transfer: Arc::clone(transfer),
            range,
            data,
            from,
        })
    }

    /// Fetches again what was taken for wrong, and no more: what else is lacking is on its way, or has
    /// come and is being written.
    pub(super) fn fetch_doubted(&self, transfer: &Arc<Transfer>, doubted: &RangeSet) {
        self.cache.forget(&transfer.id);
        for range in doubted.iter() {
            self.mailbox.post(Command::Refetch(transfer.id, range));
        }
        self.want_anew(transfer);
    }
}

impl Transfer {
    /// Held by who gives up bytes of it because a comparison or the whole says so.
    pub fn repairing(&self) -> std::sync::MutexGuard<'_, ()> {
        lock(&self.repairing)
    }

    /// What is compared of it.
    pub fn comparisons(&self) -> std::sync::MutexGuard<'_, Comparisons> {
        lock(&self.comparisons)
    }

    /// Whether what is at `range` was not sent by `sender`, or not by it alone.
    fn is_sent_otherwise(&self, range: ByteRange, sender: Sender) -> bool {
        let senders = self.senders(range);
        match sender {
            Some(sender) => super::pieces::sole_sender(&senders, range) != Some(sender),
            None => !senders.is_empty(),
        }
    }

    /// What is here, in blocks of one sender each.
    pub fn blocks(&self) -> Vec<(ByteRange, Sender)> {
        let mut blocks = Vec::new();
        for (range, sender) in self.supplied() {
            let mut rest = range;
            while !rest.is_empty() {
                let end = rest.end.min(rest.start.saturating_add(BLOCK));
                // At leaves where it can be, as they are fetched.
                let even = if end < rest.end {
                    end - end % LEAF
                } else {
                    end
                };
                let end = if even > rest.start { even } else { end };
                blocks.push((ByteRange::new(rest.start, end), sender));
                rest.start = end;
            }
        }
        blocks
    }
}

/// The bytes of `range`, if all of them are here.
fn read(transfer: &Transfer, range: ByteRange) -> Option<Vec<u8>> {
    if transfer.phase() != Phase::Arriving || !transfer.lacking(range).is_empty() {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(range.len()).ok()?];
    let read = transfer.partial.read_at(range.start, &mut bytes).ok()?;
    (read == bytes.len()).then_some(bytes)
}

#[cfg(test)]
mod tests;
