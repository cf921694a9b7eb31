//! A wire between two network namespaces: a TUN device in each, and whatever IP packets the one
//! side sends come to the other. So real fragments are lost one by one, and TCP uses the same path.
//! Needs root. The devices may exist already (`ip tuntap add`), with their addresses.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::ends::{Ends, Flow, Packet, Way};
use crate::link::UDP_HEADER;

const TCP: u8 = 6;
const UDP: u8 = 17;

pub struct Tun {
    /// Left and right.
    sides: [File; 2],
    flows: [Flows; 2],
}

impl Tun {
    /// Attaches to the devices, each given as NAMESPACE/DEVICE. Leaves this thread in the second
    /// namespace.
    pub fn new(left: &str, right: &str) -> io::Result<Self> {
        Ok(Self {
            sides: [attach(left)?, attach(right)?],
            flows: [Flows::of(Way::There), Flows::of(Way::Back)],
        })
    }
}

fn attach(name: &str) -> io::Result<File> {
    let (namespace, device) = name
        .split_once('/')
        .ok_or_else(|| io::Error::other(format!("not NAMESPACE/DEVICE: {name}")))?;
    let namespace = File::open(Path::new("/run/netns").join(namespace))?;
    // SAFETY: takes a descriptor that is open, and no pointers.
    if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: an ifreq of zeros is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if device.is_empty() || device.len() >= request.ifr_name.len() {
        return Err(io::Error::other(format!("no device's name: {device}")));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which lives across the call.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

impl Ends for Tun {
    fn descriptors(&self) -> Vec<RawFd> {
        self.sides.iter().map(AsRawFd::as_raw_fd).collect()
    }

    fn receive(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<Option<Packet>> {
        let length = match self.sides[index].read(buffer) {
            Ok(length) => length,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let way = if index == 0 { Way::There } else { Way::Back };
        let (flow, payload) = self.flows[index].look(buffer.get(..length).unwrap_or_default());
        Ok(Some(Packet {
            way,
            place: 1 - index,
            length,
            wire: (length, 1),
            flow,
            payload,
        }))
    }

    fn send(&mut self, _: Way, place: usize, data: &[u8]) -> io::Result<()> {
        self.sides[place].write(data).map(|_| ())
    }
}

/// Tells whose packets are that go one way.
pub struct Flows {
    way: Way,
    /// Whose the fragments of an identification are.
    fragments: HashMap<u16, Flow>,
}

impl Flows {
    pub fn of(way: Way) -> Self {
        Self {
            way,
            fragments: HashMap::new(),
        }
    }

    /// The protocol and the left side's port (`other` for what has none and follows nothing that had),
    /// and the payload of the datagram that begins here.
    pub fn look(&mut self, packet: &[u8]) -> (Flow, Option<usize>) {
        let other = Flow("other", 0);
        let Some(header) = Header::read(packet, self.way) else {
            return (other, None);
        };
        let flow = match header.flow {
            Some(flow) => {
                if header.is_followed {
                    self.fragments.insert(header.identification, flow);
                }
                flow
            }
            None => *self.fragments.get(&header.identification).unwrap_or(&other),
        };
        (flow, header.payload)
    }
}

/// What the headers of an IPv4 packet say.
struct Header {
    /// The same in all fragments of a datagram (RFC 791).
    identification: u16,
    /// Further fragments follow.
    is_followed: bool,
    /// In the first fragment only.
    flow: Option<Flow>,
    /// Payload bytes of the whole datagram, in the first fragment of one of UDP.
    payload: Option<usize>,
}

impl Header {
    fn read(packet: &[u8], way: Way) -> Option<Self> {
        let first = *packet.first()?;
        if first >> 4 != 4 {
            return None;
        }
        let word = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
        let place = word(6)?;
        let mut header = Self {
            identification: word(4)?,
            is_followed: place & 0x2000 != 0,
            flow: None,
            payload: None,
        };
        let transport = usize::from(first & 0x0f) * 4;
        let port = match way {
            Way::There => word(transport),
            Way::Back => word(transport + 2),
        };
        if place & 0x1fff == 0 {
            match *packet.get(9)? {
                TCP => header.flow = Some(Flow("tcp", port?)),
                UDP => {
                    header.flow = Some(Flow("udp", port?));
                    let length = usize::from(word(transport + 4)?);
                    header.payload = Some(length.saturating_sub(UDP_HEADER));
                }
                _ => {}
            }
        }
        Some(header)
    }
}
