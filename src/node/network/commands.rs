//! What other threads want of the swarm, done on its thread.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::messages::{Command, Lists, Report};
use super::super::transfer::Transfer;
use super::Network;
use crate::content::ByteRange;
use crate::swarm::Time;

impl Network {
    /// Does what other threads want; `false`: stop.
    pub(super) fn handle_commands(&mut self) -> bool {
        for command in self.shared.mailbox.take() {
            let now = self.now();
            match command {
                Command::Find(id) => self.swarm.find(now, id),
                Command::Want(id, wants) => {
                    for (range, class) in wants {
                        self.swarm.want(now, id, range, class);
                    }
                }
                Command::WantAnew(transfer) => self.want_anew(now, transfer),
                Command::Resume(id, length, held) => self.swarm.resume(now, id, length, held),
                Command::LengthIsProven(id, length) => self.swarm.prove_length(id, length),
                Command::Rest(id) => self.swarm.rest(id),
                Command::Forget(id) => self.swarm.forget(id),
                Command::Refetch(id, range) => self.swarm.refetch(id, range),
                Command::Distrust(id, peers) => {
                    for peer in peers {
                        self.swarm.distrust(now, id, peer);
                    }
                }
                Command::Only(id, peer) => self.swarm.only_from(now, id, peer),
                Command::AskAgain(id, range, besides) => {
                    self.swarm.ask_again(now, id, range, &besides);
                }
                Command::Suspend(id, peers) => {
                    for peer in peers {
                        self.swarm.suspend(id, peer);
                    }
                }
                Command::Reinstate(id) => self.swarm.reinstate(id),
                Command::Refute(id, blake3) => self.swarm.refute(now, id, blake3),
                Command::PassOver(id, blake3) => self.swarm.pass_over(id, blake3),
                Command::FragmentsFail => self.swarm.fragments_fail(now),
                Command::Moved => self.swarm.handle_move(now),
                Command::Read(read) => self.answer_read(&read),
                Command::Report(to) => {
                    let _ = to.send(self.report());
                }
                Command::Lists { ask, to } => {
                    if ask {
                        self.swarm.ask_for_lists(now);
                    }
                    let _ = to.send(Lists {
                        now,
                        listed: self.swarm.listed(),
                        awaited: self.swarm.lists_awaited(now),
                    });
                }
                Command::Explain(id, to) => {
                    let _ = to.send(self.swarm.explain(now, id));
                }
                Command::KnowLatest(latest) => self.swarm.know_latest(now, *latest, true),
                Command::ForgetLatest(of) => self.swarm.forget_latest(&of),
                Command::WantBlocks(of, blocks) => {
                    for (offset, have) in blocks {
                        self.swarm.want_block(now, &of, offset, have);
                    }
                }
                Command::UnwantBlocks(of) => self.swarm.unwant_blocks(&of),
                Command::AskLatest(of, limit) => self.swarm.ask_latest(now, &of, limit),
                Command::Stop => return false,
            }
        }
        true
    }

    /// Wants of a transfer just what it wants at this moment. It is asked here, on the thread that
    /// wants are posted to, so that no want that was posted meanwhile is undone.
    fn want_anew(&mut self, now: Time, transfer: Arc<Transfer>) {
        let id = transfer.id;
        let current = self.shared.transfer(&id);
        let is_it = |current: &Arc<Transfer>| Arc::ptr_eq(current, &transfer);
        if current.as_ref().is_none_or(is_it) {
            self.swarm.unwant(id, ByteRange::new(0, u64::MAX));
            for (range, class) in transfer.wants() {
                self.swarm.want(now, id, range, class);
            }
        }
        for transfer in current.into_iter().chain([transfer]) {
            self.shared.done_with(transfer);
        }
    }

    fn report(&mut self) -> Report {
        let now = self.now();
        Report {
            stats: self.swarm.stats(),
            peers: self.swarm.peer_reports(now),
            fetches: self
                .swarm
                .fetch_reports()
                .into_iter()
                .map(|report| (report.id, report))
                .collect::<HashMap<_, _>>(),
            good_peers: self.swarm.good_peers(now, 200),
            drops: self.socket.drops(),
        }
    }
}
