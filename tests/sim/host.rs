//! What runs in the network, and what a scenario does with it.

use std::net::SocketAddr;

use cjp2pfs::swarm::Time;

use crate::link::Access;

/// A datagram that a host gives to its socket.
#[derive(Debug)]
pub struct Outgoing {
    pub to: SocketAddr,
    /// The source it pretends to, when it is not its own.
    pub spoofed: Option<SocketAddr>,
    pub datagram: Vec<u8>,
}

/// What runs on a host. After each `handle_*` the network drains `poll_transmit` and then looks at
/// `poll_timeout`, as the driver of a state machine does.
pub trait Host {
    fn handle_datagram(&mut self, now: Time, from: SocketAddr, datagram: &[u8]);
    fn handle_timeout(&mut self, now: Time);
    fn poll_transmit(&mut self, now: Time) -> Option<Outgoing>;
    fn poll_timeout(&self) -> Option<Time>;
}

/// Something that a scenario does with a host's program.
type Errand<H> = Box<dyn FnOnce(&mut H, Time)>;

/// Something that the scenario does at a moment.
pub enum Action<H> {
    /// The machine is gone: it neither receives, nor sends, nor sees its timers.
    Die,
    /// It is back, with its memory as it was.
    Return,
    /// The program stands still: what comes for it waits in its socket's buffer, as far as that goes.
    Suspend,
    /// It goes on, with all that has queued up.
    Resume,
    /// It has another address from now on; what is on its way to the old one is lost.
    Move(SocketAddr),
    /// Its links change.
    Reattach(Access),
    /// The program on it does something.
    Do(Errand<H>),
}
