//! What the relay joins: the two sides from which packets come and to which they go.

use std::io;
use std::os::fd::RawFd;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client, or the left side.
    There,
    /// From the server, or the right side.
    Back,
}

/// A packet that was read.
pub struct Packet {
    pub way: Way,
    /// Where it is to be written; only the side that made it knows what the number means.
    pub place: usize,
    /// Its bytes in the buffer.
    pub length: usize,
    /// Its bytes on the wire, and in how many IP packets.
    pub wire: (usize, usize),
    /// Whose it is, for the counts by flow.
    pub flow: Flow,
    /// Payload bytes of the UDP datagram that begins with this packet.
    pub payload: Option<usize>,
}

/// The protocol and the port on the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow(pub &'static str, pub u16);

/// The two sides.
pub trait Ends {
    /// The descriptors to wait for.
    fn descriptors(&self) -> Vec<RawFd>;
    /// Reads one packet from the descriptor at `index` into `buffer`; `None`: nothing is there.
    fn receive(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<Option<Packet>>;
    /// Writes a packet; one that is refused counts as lost on its way.
    fn send(&mut self, way: Way, place: usize, data: &[u8]) -> io::Result<()>;
}
