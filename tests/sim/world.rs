//! A network of all kinds of hosts, and what scenarios do with it again and again.

use std::net::SocketAddr;
use std::time::Duration;

use cjp2pfs::swarm::Time;

use crate::content::Synthetic;
use crate::cubic::{Beside, Sender};
use crate::deployed::Deployed;
use crate::flood::Flooder;
use crate::greedy::Greedy;
use crate::liar::{Liar, Lie};
use crate::link::Access;
use crate::net::{Action, Host, HostId, Network, Outgoing};
use crate::node::{Goal, Node};

/// What runs on a host.
pub enum Program {
    Node(Box<Node>),
    Deployed(Box<Deployed>),
    Liar(Box<Liar>),
    Flooder(Box<Flooder>),
    Greedy(Box<Greedy>),
    Cubic(Box<Sender>),
    Beside(Box<Beside>),
}

impl Program {
    fn host(&mut self) -> &mut dyn Host {
        match self {
            Self::Node(host) => host.as_mut(),
            Self::Deployed(host) => host.as_mut(),
            Self::Liar(host) => host.as_mut(),
            Self::Flooder(host) => host.as_mut(),
            Self::Greedy(host) => host.as_mut(),
            Self::Cubic(host) => host.as_mut(),
            Self::Beside(host) => host.as_mut(),
        }
    }
}

impl Host for Program {
    fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        self.host().handle_datagram(now, from, datagram);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.host().handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing> {
        self.host().poll_transmit(now)
    }

    fn poll_timeout(&self) -> Option<Time> {
        match self {
            Self::Node(host) => host.poll_timeout(),
            Self::Deployed(host) => host.poll_timeout(),
            Self::Liar(host) => host.poll_timeout(),
            Self::Flooder(host) => host.poll_timeout(),
            Self::Greedy(host) => host.poll_timeout(),
            Self::Cubic(host) => host.poll_timeout(),
            Self::Beside(host) => host.poll_timeout(),
        }
    }
}

pub type World = Network<Program>;

impl World {
    pub fn add_node(&mut self, n: u32, access: &Access, node: Node) -> HostId {
        self.add(address(n), access.clone(), Program::Node(Box::new(node)))
    }

    pub fn add_deployed(&mut self, n: u32, access: &Access, node: Deployed) -> HostId {
        self.add(
            address(n),
            access.clone(),
            Program::Deployed(Box::new(node)),
        )
    }

    pub fn add_liar(&mut self, n: u32, access: &Access, lie: Lie, what: Synthetic) -> HostId {
        let liar = Liar::new(u64::from(n), lie, what);
        self.add(address(n), access.clone(), Program::Liar(Box::new(liar)))
    }

    pub fn node(&self, id: HostId) -> &Node {
        match self.host(id) {
            Program::Node(node) => node,
            Program::Beside(both) => &both.node,
            _ => panic!("host {id} runs no swarm"),
        }
    }

    pub fn deployed(&self, id: HostId) -> &Deployed {
        match self.host(id) {
            Program::Deployed(node) => node,
            _ => panic!("host {id} is no deployed node"),
        }
    }

    /// How `id` fares with `what`.
    pub fn goal(&self, id: HostId, what: Synthetic) -> &Goal {
        self.node(id)
            .goal(what)
            .unwrap_or_else(|| panic!("host {id} does not want it"))
    }

    /// Has the swarm's program on `id` do something at a moment.
    pub fn have(&mut self, at: Time, id: HostId, what: impl FnOnce(&mut Node, Time) + 'static) {
        let action = Action::Do(Box::new(move |program: &mut Program, now| match program {
            Program::Node(node) => what(node, now),
            Program::Beside(both) => what(&mut both.node, now),
            _ => {}
        }));
        self.schedule(at, id, action);
    }

    /// Runs until node `id` has all of `what`, or `limit`; prints the figures; true if it has.
    /// With `SIM_EXPLAIN=<milliseconds>`, what the swarm knows of its peers is printed that often.
    pub fn run_transfer(&mut self, name: &str, limit: Time, id: HostId, what: Synthetic) -> bool {
        let step = from_environment("SIM_EXPLAIN", 0);
        let mut at = self.now();
        let mut done = false;
        while step > 0 && at < limit && !done {
            print!("{}", self.node(id).explain(at));
            at = at + Duration::from_millis(step);
            done = self.run(at.min(limit), |world| world.node(id).has_finished(what));
        }
        done = done || self.run(limit, |world| world.node(id).has_finished(what));
        self.print_figures(name, id, what);
        done
    }

    /// One line of what a transfer to `id` cost and gained. `share` is goodput over the rate of its
    /// downlink, `queue` the wait at its downlink or the slowest uplink, `overhead` the bytes of IP packets sent to anybody, per byte of content received.
    pub fn print_figures(&self, name: &str, id: HostId, what: Synthetic) {
        let goal = self.goal(id, what);
        let time = goal
            .took()
            .unwrap_or_else(|| self.now().since(goal.started).as_secs_f64());
        let rate = goal.received.bytes() as f64 / time.max(1e-9);
        let hosts = 0..self.hosts().count();
        let wire: u64 = hosts
            .clone()
            .map(|host| self.traffic(host).wire_bytes)
            .sum();
        let queued: u64 = hosts
            .clone()
            .map(|host| self.traffic(host).dropped_by_queue)
            .sum();
        let lost: u64 = hosts.clone().map(|host| self.traffic(host).lost).sum();
        let (_, down) = self.waits(id);
        let queue = hosts
            .map(|host| self.waits(host).0)
            .fold(
                down,
                |worst, up| {
                    if up.mean() > worst.mean() { up } else { worst }
                },
            );
        println!(
            "{name:<34} {:>5.1}% {time:>8.3} s {:>7.3} MB/s share {:.3} overhead {:.3} sent {} lost {lost} \
             queue-dropped {queued} reasm-failed {} again {} wrong {} queue mean {:.1} max {:.1} ms found {}",
            100.0 * goal.received.bytes() as f64 / what.length as f64,
            rate / 1e6,
            rate / self.down_rate(id) as f64,
            wire as f64 / goal.received.bytes().max(1) as f64,
            self.traffic(id).sent.datagrams,
            self.reassembly_failures(id),
            goal.again,
            goal.wrong_bytes(),
            queue.mean().as_secs_f64() * 1e3,
            queue.longest.as_secs_f64() * 1e3,
            goal.found.first().map_or_else(
                || "never".to_string(),
                |(at, _)| format!("{:.0} ms", at.since(goal.started).as_secs_f64() * 1e3)
            ),
        );
    }

    /// Content bytes a second that node `id` had of `what`, as a share of its downlink.
    pub fn share(&self, id: HostId, what: Synthetic) -> f64 {
        let took = self.goal(id, what).took().unwrap_or(f64::INFINITY);
        what.length as f64 / took / self.down_rate(id) as f64
    }
}

/// The address of simulated host `n`: public ones, since private ones are not probed on hearsay.
pub fn address(n: u32) -> SocketAddr {
    SocketAddr::from((std::net::Ipv4Addr::from_bits(0x1400_0000 + n), 24254))
}

/// The moment `n` seconds after the start.
pub fn seconds(n: u64) -> Time {
    Time::from_start(Duration::from_secs(n))
}

/// A number from the environment, for runs larger than a test should be.
pub fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}
