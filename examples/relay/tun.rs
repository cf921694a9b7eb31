//! A wire between two network namespaces: a TUN device in each, and whatever IP packets the one
//! side sends come to the other. So real fragments are lost one by one, and TCP uses the same path.
//! Needs root. The devices may exist already (`ip tuntap add`), with their addresses.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::ends::{Ends, Flow, Packet, Way};

const TCP: u8 = 6;
const UDP: u8 = 17;

pub struct Tun {
    /// Left and right.
    sides: [File; 2],
}

impl Tun {
    /// Attaches to the devices, each given as NAMESPACE/DEVICE. Leaves this thread in the second
    /// namespace.
    pub fn new(left: &str, right: &str) -> io::Result<Self> {
        Ok(Self {
            sides: [attach(left)?, attach(right)?],
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
        Ok(Some(Packet {
            way,
            place: 1 - index,
            length,
            wire: (length, 1),
            flow: flow_of(buffer.get(..length).unwrap_or_default(), way),
        }))
    }

    fn send(&mut self, _: Way, place: usize, data: &[u8]) -> io::Result<()> {
        self.sides[place].write(data).map(|_| ())
    }
}

/// The protocol and the left side's port; fragments after the first and other packets are `other`.
pub fn flow_of(packet: &[u8], way: Way) -> Flow {
    read_flow(packet, way).unwrap_or(Flow("other", 0))
}

fn read_flow(packet: &[u8], way: Way) -> Option<Flow> {
    let first = *packet.first()?;
    let later_fragment = (*packet.get(6)? & 0x1f) != 0 || *packet.get(7)? != 0;
    if first >> 4 != 4 || later_fragment {
        return None;
    }
    let name = match *packet.get(9)? {
        TCP => "tcp",
        UDP => "udp",
        _ => return None,
    };
    let ports = usize::from(first & 0x0f) * 4;
    let at = match way {
        Way::There => ports,
        Way::Back => ports + 2,
    };
    let port = packet.get(at..at + 2)?;
    Some(Flow(name, u16::from_be_bytes([port[0], port[1]])))
}
