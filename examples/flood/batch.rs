//! Many datagrams in one system call, each from an address of its own.

use std::mem;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

/// Datagrams that are sent at a time.
pub const BURST: usize = 64;
/// Room for one control message with a source address.
const CONTROL: usize = 64;

/// What is sent in one call, on a socket that is connected.
pub struct Batch {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    controls: Vec<[u64; CONTROL / 8]>,
}

impl Batch {
    pub fn new() -> Self {
        // SAFETY: both are plain C structures for which zeroes are a valid value.
        let (headers, vectors) = unsafe { (mem::zeroed(), mem::zeroed()) };
        Self {
            headers: vec![headers; BURST],
            vectors: vec![vectors; BURST],
            controls: vec![[0; CONTROL / 8]; BURST],
        }
    }

    /// Takes what `next` gives: a datagram, and where it claims to come from if not from where it does.
    /// They must live until it is sent.
    pub fn fill<'a>(&mut self, mut next: impl FnMut() -> (&'a [u8], Option<Ipv4Addr>)) {
        let parts = self.vectors.iter_mut().zip(&mut self.controls);
        for (header, (vector, control)) in self.headers.iter_mut().zip(parts) {
            let (datagram, source) = next();
            *vector = libc::iovec {
                iov_base: datagram.as_ptr().cast_mut().cast(),
                iov_len: datagram.len(),
            };
            let header = &mut header.msg_hdr;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            let Some(source) = source else { continue };
            header.msg_control = control.as_mut_ptr().cast();
            // SAFETY: the control buffer has room for one message with an `in_pktinfo`, is aligned for
            // it, and is written only within that.
            unsafe {
                let size = mem::size_of::<libc::in_pktinfo>() as u32;
                header.msg_controllen = libc::CMSG_SPACE(size) as _;
                let first = libc::CMSG_FIRSTHDR(header);
                (*first).cmsg_level = libc::IPPROTO_IP;
                (*first).cmsg_type = libc::IP_PKTINFO;
                (*first).cmsg_len = libc::CMSG_LEN(size) as _;
                let info = libc::CMSG_DATA(first).cast::<libc::in_pktinfo>();
                info.write_unaligned(libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from(source).to_be(),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                });
            }
        }
    }

    /// Sends all of it; how many left.
    pub fn send(&mut self, socket: &UdpSocket) -> u64 {
        // SAFETY: the headers were filled in by `fill`, and what they point to lives on.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BURST as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        u64::try_from(sent).unwrap_or(0)
    }
}
