//! UDP datagrams between any clients and one server, with no rights needed: clients send to the
//! relay's address, and each of them is known to the server by a socket of its own.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

use crate::ends::{Ends, Flow, Packet, Way};
use crate::link;

/// Clients that are served; datagrams of further ones are dropped.
const CLIENTS: usize = 64;

pub struct Udp {
    listener: UdpSocket,
    server: SocketAddr,
    clients: Vec<(SocketAddr, UdpSocket)>,
    numbers: HashMap<SocketAddr, usize>,
    mtu: usize,
}

impl Udp {
    pub fn new(listen: SocketAddr, server: SocketAddr, mtu: usize) -> io::Result<Self> {
        let listener = UdpSocket::bind(listen)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            server,
            clients: Vec::new(),
            numbers: HashMap::new(),
            mtu,
        })
    }

    /// Where clients are to send to.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn number_of(&mut self, client: SocketAddr) -> io::Result<Option<usize>> {
        if let Some(number) = self.numbers.get(&client) {
            return Ok(Some(*number));
        }
        if self.clients.len() >= CLIENTS {
            return Ok(None);
        }
        let any: SocketAddr = if self.server.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0u16; 8], 0).into()
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(self.server)?;
        socket.set_nonblocking(true)?;
        self.clients.push((client, socket));
        self.numbers.insert(client, self.clients.len() - 1);
        Ok(Some(self.clients.len() - 1))
    }
}

impl Ends for Udp {
    fn descriptors(&self) -> Vec<RawFd> {
        let clients = self.clients.iter().map(|(_, socket)| socket.as_raw_fd());
        std::iter::once(self.listener.as_raw_fd())
            .chain(clients)
            .collect()
    }

    fn receive(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<Option<Packet>> {
        let (way, place, length) = if index == 0 {
            let (length, from) = match self.listener.recv_from(buffer) {
                Ok(received) => received,
                Err(error) => return nothing(error),
            };
            let Some(place) = self.number_of(from)? else {
                return Ok(None);
            };
            (Way::There, place, length)
        } else {
            let Some((_, socket)) = self.clients.get(index - 1) else {
                return Ok(None);
            };
            match socket.recv(buffer) {
                Ok(length) => (Way::Back, index - 1, length),
                Err(error) => return nothing(error),
            }
        };
        let port = self.clients.get(place).map_or(0, |(from, _)| from.port());
        Ok(Some(Packet {
            way,
            place,
            length,
            wire: link::fragments(length, self.mtu),
            flow: Flow("udp", port),
            payload: Some(length),
        }))
    }

    fn send(&mut self, way: Way, place: usize, data: &[u8]) -> io::Result<()> {
        let Some((client, socket)) = self.clients.get(place) else {
            return Ok(());
        };
        match way {
            Way::There => socket.send(data)?,
            Way::Back => self.listener.send_to(data, client)?,
        };
        Ok(())
    }
}

/// A server that is not there yet answers with an ICMP message, which the next call reports.
fn nothing(error: io::Error) -> io::Result<Option<Packet>> {
    match error.kind() {
        io::ErrorKind::WouldBlock
        | io::ErrorKind::Interrupted
        | io::ErrorKind::ConnectionRefused => Ok(None),
        _ => Err(error),
    }
}
