//! The swarm as a whole: any order of datagrams, wishes of the application and passing time, against
//! a model of what was wanted and what was given.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use cjp2pfs::content::{ByteRange, ContentId, RangeSet};
use cjp2pfs::swarm::{Class, Config, Event};
use cjp2pfs::wire::normalise;
use serde_json::json;

use super::driven::Driven;
use super::forged::{Forger, address};

/// What the application knows of one id.
#[derive(Default)]
struct Known {
    wanted: RangeSet,
    given: RangeSet,
}

struct Model {
    driven: Driven,
    max_peers: usize,
    /// Whether everybody who speaks is on the internet.
    public_only: bool,
    ids: Vec<ContentId>,
    addresses: Vec<SocketAddr>,
    known: BTreeMap<ContentId, Known>,
    named: BTreeSet<ContentId>,
}

pub fn run(data: &[u8]) {
    let _ = play(&mut Unstructured::new(data));
}

fn play(u: &mut Unstructured<'_>) -> Result<()> {
    let max_peers = u.int_in_range(1..=40)?;
    let limit = |u: &mut Unstructured<'_>| -> Result<Option<u64>> {
        let limited = u.ratio(1, 4)?;
        Ok(limited.then_some(u.int_in_range(1..=1 << 20)?))
    };
    let config = Config {
        max_peers,
        receive_budget: 8 << 20,
        upload_limit: limit(u)?,
        upload_limit_per_address: limit(u)?,
        download_limit: limit(u)?,
        request_length: u.int_in_range(0..=100_000)?,
        probe: u.arbitrary()?,
        ..Config::default()
    };
    let public_only: bool = u.arbitrary()?;
    let mut addresses: Vec<SocketAddr> = (1..=6u8)
        .map(|n| SocketAddr::from(([20, 0, n / 3, n], 24254)))
        .collect();
    if !public_only {
        addresses.extend(
            ["127.0.0.1:1", "10.0.0.1:2", "[fe80::1]:3"]
                .map(|a| a.parse::<SocketAddr>().expect("good")),
        );
    }
    let ids = vec![
        ContentId::sha256([1; 32]),
        ContentId::sha256([2; 32]),
        ContentId::blake3([3; 32]),
        ContentId::tree_v2([3; 32]),
        ContentId::blake3([4; 32]),
    ];
    let mut driven = Driven::new(config);
    driven.held.insert(ids[0], 1 << 20);
    driven.held.insert(ids[2], 5);
    let mut model = Model {
        driven,
        max_peers,
        public_only,
        ids,
        addresses,
        known: BTreeMap::new(),
        named: BTreeSet::new(),
    };
    for _ in 0..400 {
        if u.is_empty() {
            break;
        }
        let done = model.step(u);
        model.driven.drain();
        model.check();
        done?;
    }
    model.driven.pass(Duration::from_secs(30));
    model.check();
    Ok(())
}

impl Model {
    fn range(u: &mut Unstructured<'_>) -> Result<ByteRange> {
        Ok(match u.int_in_range(0..=4u8)? {
            0 => ByteRange::new(0, u64::MAX),
            1 => ByteRange::at(u.arbitrary()?, u.arbitrary()?),
            _ => ByteRange::at(
                u64::from(u.arbitrary::<u16>()?) * 64,
                u64::from(u.arbitrary::<u16>()?),
            ),
        })
    }

    fn class(u: &mut Unstructured<'_>) -> Result<Class> {
        Ok(*u.choose(&[Class::Urgent, Class::ReadAhead, Class::Bulk])?)
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let id = *u.choose(&self.ids)?;
        let peer = *u.choose(&self.addresses)?;
        let now = self.driven.now;
        match u.int_in_range(0..=31u8)? {
            0..=6 => self.forge(u, peer)?,
            7 if !self.public_only => {
                let from = address(u)?;
                self.forge(u, from)?;
            }
            8..=14 => self.answer(u, peer)?,
            15 => {
                self.named.insert(id);
                self.driven.swarm.find(now, id);
            }
            16 | 17 => {
                let range = Self::range(u)?;
                self.named.insert(id);
                self.known.entry(id).or_default().wanted.insert(range);
                self.driven.swarm.want(now, id, range, Self::class(u)?);
            }
            18 => self.driven.swarm.unwant(id, Self::range(u)?),
            19 => {
                // What was handed over already is still under way to the application.
                self.take_events();
                self.known.remove(&id);
                self.driven.swarm.forget(id);
            }
            20 => {
                self.take_events();
                let range = Self::range(u)?;
                if let Some(known) = self.known.get_mut(&id) {
                    known.given.remove(range);
                }
                self.driven.swarm.refetch(id, range);
            }
            21 => {
                self.take_events();
                self.named.insert(id);
                if let Some(known) = self.known.get_mut(&id) {
                    known.given = RangeSet::new();
                }
                self.driven.swarm.distrust(now, id, peer);
            }
            22 => {
                self.named.insert(id);
                let only = u.arbitrary::<bool>()?.then_some(peer);
                self.driven.swarm.only_from(now, id, only);
            }
            23 | 24 => self.driven.swarm.add_peer(now, peer),
            25 => self.driven.swarm.remember_peer(now, peer),
            26 => {
                let busy = u.arbitrary()?;
                self.driven.swarm.hold_asks(busy);
                self.driven.swarm.set_crowded(busy);
            }
            27 => self
                .driven
                .swarm
                .set_receive_budget(u.arbitrary::<u32>()?.into()),
            28 => {
                self.driven.swarm.fragments_fail(now);
                self.driven.swarm.rest(id);
                let length = u.int_in_range(1..=1 << 21)?;
                self.driven.swarm.prove_length(id, length);
            }
            29 => {
                self.named.insert(id);
                self.driven
                    .swarm
                    .resume(now, id, u.int_in_range(1..=1 << 21)?, u.arbitrary()?);
            }
            _ => {
                let pause = match u.int_in_range(0..=3u8)? {
                    0 => Duration::from_micros(u.arbitrary::<u16>()?.into()),
                    1 => Duration::from_secs(u.int_in_range(0..=200)?),
                    _ => Duration::from_millis(u.int_in_range(0..=2000)?),
                };
                self.driven.pass(pause);
            }
        }
        Ok(())
    }

    fn forge(&mut self, u: &mut Unstructured<'_>, from: SocketAddr) -> Result<()> {
        let overheard = self.driven.overheard.get(&normalise(from)).cloned();
        let forger = Forger {
            ids: &self.ids,
            addresses: &self.addresses,
            overheard: overheard
                .as_ref()
                .filter(|_| u.ratio(3, 4).unwrap_or(false)),
        };
        let datagram = forger.datagram(u)?;
        self.driven.deliver(from, &datagram);
        Ok(())
    }

    /// The peer answers what it was asked last, as an honest one does, in full or in part.
    fn answer(&mut self, u: &mut Unstructured<'_>, from: SocketAddr) -> Result<()> {
        let Some(told) = self.driven.overheard.get(&from).cloned() else {
            return Ok(());
        };
        let mut messages = Vec::new();
        if let Some(ping) = told.ping {
            messages.push(json!({"ReturnedMessage": {"cookie": ping}}));
        }
        if let Some(cookie) = told.cookie {
            messages.push(json!({"AlwaysReturned": {"cookie": cookie}}));
        }
        let eof = [1u64 << 20, 1 << 20, 1 << 20, 5][u.choose_index(4)?];
        if let Some((id, offset, length)) = told.question {
            let length = length.min(eof.saturating_sub(offset)).min(40_960);
            let base64 = "AAAA".repeat(length as usize / 3);
            messages.push(match u.int_in_range(0..=5u8)? {
                0 => json!({"IDoNotHaveThat": {"id": id}}),
                1 => json!({"IHaveTheseParts": {"id": id, "eof": eof, "parts": [[0, 8192]]}}),
                _ => json!({"Content": {"id": id, "offset": offset, "eof": eof, "base64": base64}}),
            });
        }
        let datagram = serde_json::to_vec(&messages).expect("JSON");
        self.driven.deliver(from, &datagram);
        Ok(())
    }

    /// Compares what was handed over with what was wanted.
    fn take_events(&mut self) {
        self.driven.drain();
        for event in std::mem::take(&mut self.driven.events) {
            match event {
                Event::Found { id, length } => {
                    assert!((1..=1 << 62).contains(&length));
                    assert!(self.named.contains(&id), "{id} was not looked for");
                    // Perhaps other content than before, of which all is fetched anew.
                    self.known.entry(id).or_default().given = RangeSet::new();
                }
                Event::Data {
                    id, offset, data, ..
                } => {
                    assert!(!data.is_empty());
                    let range = ByteRange::at(offset, data.len() as u64);
                    let known = self.known.get_mut(&id).expect("wanted at some time");
                    assert!(
                        known.wanted.contains(range),
                        "{range:?} of {id} was not wanted"
                    );
                    assert_eq!(
                        known.given.insert(range),
                        range.len(),
                        "twice: {range:?} of {id}"
                    );
                }
                Event::Latest(_) | Event::LatestAsked { .. } | Event::Block(_) => {
                    panic!("nobody asked for what keys sign");
                }
                Event::Claimed { id, length, by, .. } => {
                    assert!(self.named.contains(&id) && length > 0 && !by.is_empty());
                }
                Event::Again { .. } => unreachable!("nothing is compared"),
                Event::Asked(_) => unreachable!("the driver answers"),
            }
        }
    }

    fn check(&mut self) {
        self.take_events();
        let swarm = &self.driven.swarm;
        let peers = swarm.peer_reports(self.driven.now);
        assert!(peers.len() <= self.max_peers, "{} peers", peers.len());
        let fetches = swarm.fetch_reports();
        for fetch in &fetches {
            assert!(self.named.contains(&fetch.id), "{} was not named", fetch.id);
            assert!(fetch.in_flight <= fetch.missing, "{fetch:?}");
            assert!(swarm.explain(self.driven.now, fetch.id).is_some());
        }
        // A fetch that nobody needs is forgotten after a while.
        for (id, known) in &mut self.known {
            if !fetches.iter().any(|fetch| fetch.id == *id) {
                known.given = RangeSet::new();
            }
        }
        assert!(swarm.poll_timeout().is_some());
        if self.public_only {
            for (to, flow) in &self.driven.flows {
                assert!(
                    flow.datagrams_out == 0 || is_public(to.ip()),
                    "{to} was contacted"
                );
            }
        }
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_unspecified())
        }
        IpAddr::V6(ip) => {
            ip.to_ipv4_mapped().is_none()
                && !(ip.is_loopback()
                    || ip.is_unique_local()
                    || ip.is_unicast_link_local()
                    || ip.is_multicast())
        }
    }
}
