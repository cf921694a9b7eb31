//! Buffers for the datagrams that one system call moves. They are made once and used again: the
//! headers that the kernel reads and writes point into them.

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Datagrams moved in one system call.
pub(super) const BATCH: usize = 64;
/// Bytes of each receive buffer: more than any UDP datagram.
const BUFFER: usize = 65_536;

/// Buffers for datagrams that arrive. Boxed, because the headers point into them.
pub(super) struct ReceiveBatch {
    data: Box<[u8]>,
    names: Box<[libc::sockaddr_storage]>,
    vectors: Box<[libc::iovec]>,
    pub(super) headers: Box<[libc::mmsghdr]>,
    pub(super) received: usize,
}

impl ReceiveBatch {
    pub fn new() -> Self {
        // SAFETY: all of these are plain C structures for which zeroes are a valid value.
        let (names, vectors, headers) = unsafe {
            (
                vec![mem::zeroed::<libc::sockaddr_storage>(); BATCH],
                vec![mem::zeroed::<libc::iovec>(); BATCH],
                vec![mem::zeroed::<libc::mmsghdr>(); BATCH],
            )
        };
        Self {
            data: vec![0; BATCH * BUFFER].into_boxed_slice(),
            names: names.into_boxed_slice(),
            vectors: vectors.into_boxed_slice(),
            headers: headers.into_boxed_slice(),
            received: 0,
        }
    }

    pub(super) fn prepare(&mut self) {
        for (index, header) in self.headers.iter_mut().enumerate() {
            self.vectors[index] = libc::iovec {
                iov_base: self.data[index * BUFFER..].as_mut_ptr().cast(),
                iov_len: BUFFER,
            };
            header.msg_len = 0;
            header.msg_hdr.msg_name = (&raw mut self.names[index]).cast();
            header.msg_hdr.msg_namelen =
                mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = &raw mut self.vectors[index];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_flags = 0;
        }
    }

    /// The datagrams that arrived, with their senders.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> + '_ {
        (0..self.received).filter_map(|index| {
            let length = self.headers[index].msg_len as usize;
            let data = self
                .data
                .get(index * BUFFER..(index * BUFFER).checked_add(length)?)?;
            Some((address_of(&self.names[index])?, data))
        })
    }
}

// SAFETY: the pointers in the headers point into boxes that move along with the value, and are set
// anew before each use.
unsafe impl Send for ReceiveBatch {}

/// Datagrams that are to leave, in order. Buffers are used again.
pub(super) struct SendBatch {
    queue: std::collections::VecDeque<(SocketAddr, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    names: Box<[libc::sockaddr_storage]>,
    vectors: Box<[libc::iovec]>,
    pub(super) headers: Box<[libc::mmsghdr]>,
}

// SAFETY: as for `ReceiveBatch`.
unsafe impl Send for SendBatch {}

impl SendBatch {
    pub fn new() -> Self {
        // SAFETY: as in `ReceiveBatch::new`.
        let (names, vectors, headers) = unsafe {
            (
                vec![mem::zeroed::<libc::sockaddr_storage>(); BATCH],
                vec![mem::zeroed::<libc::iovec>(); BATCH],
                vec![mem::zeroed::<libc::mmsghdr>(); BATCH],
            )
        };
        Self {
            queue: std::collections::VecDeque::with_capacity(BATCH),
            spare: Vec::new(),
            names: names.into_boxed_slice(),
            vectors: vectors.into_boxed_slice(),
            headers: headers.into_boxed_slice(),
        }
    }

    /// An empty buffer.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Gives a buffer back that was not needed after all.
    pub fn give_back(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < BATCH {
            self.spare.push(buffer);
        }
    }

    pub fn push(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        self.queue.push_back((to, datagram));
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Datagrams that wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_full(&self) -> bool {
        self.queue.len() >= BATCH
    }

    pub(super) fn prepare(&mut self, is_v6: bool) -> usize {
        let count = self.queue.len().min(BATCH);
        for (index, (to, datagram)) in self.queue.iter_mut().take(count).enumerate() {
            let length = write_address(&mut self.names[index], *to, is_v6);
            self.vectors[index] = libc::iovec {
                iov_base: datagram.as_mut_ptr().cast(),
                iov_len: datagram.len(),
            };
            let header = &mut self.headers[index];
            header.msg_len = 0;
            header.msg_hdr.msg_name = (&raw mut self.names[index]).cast();
            header.msg_hdr.msg_namelen = length;
            header.msg_hdr.msg_iov = &raw mut self.vectors[index];
            header.msg_hdr.msg_iovlen = 1;
        }
        count
    }

    pub(super) fn advance(&mut self, count: usize) {
        for _ in 0..count {
            if let Some((_, mut datagram)) = self.queue.pop_front() {
                datagram.clear();
                self.give_back(datagram);
            }
        }
    }
}

fn address_of(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage holds a sockaddr_in, which is smaller.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            Some(SocketAddr::V4(SocketAddrV4::new(
                Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)),
                u16::from_be(v4.sin_port),
            )))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage holds a sockaddr_in6, which is smaller.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            // The interface matters for link-local addresses only.
            let scope = if ip.is_unicast_link_local() {
                v6.sin6_scope_id
            } else {
                0
            };
            Some(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)))
        }
        _ => None,
    }
}

/// Writes `address` for a socket of the family; a v6 socket takes v4 addresses in mapped form.
fn write_address(
    storage: &mut libc::sockaddr_storage,
    address: SocketAddr,
    is_v6: bool,
) -> libc::socklen_t {
    let address = match address {
        SocketAddr::V4(v4) if is_v6 => SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port())),
        other => other,
    };
    let plain = socket2::SockAddr::from(address);
    // SAFETY: `plain` holds an address of `len` bytes, which fits any sockaddr_storage.
    unsafe {
        std::ptr::copy_nonoverlapping(
            plain.as_ptr().cast::<u8>(),
            (&raw mut *storage).cast::<u8>(),
            plain.len() as usize,
        );
    }
    plain.len()
}
