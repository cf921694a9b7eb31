//! The one UDP socket: bound for both families, with large buffers, moved in batches.
//!
//! `recvmmsg` and `sendmmsg` move up to [`BATCH`] datagrams a system call; at small replies the
//! calls cost more than anything else. The socket never blocks: waiting is [`Socket::wait`], which
//! another thread ends with a [`Waker`].

use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Type};

use super::batches::{BATCH, ReceiveBatch, SendBatch};
use super::sieve;
use crate::swarm::Sieve;

/// What is asked for as socket buffers; the kernel gives what it allows.
const RECEIVE_BUFFER: usize = 32 << 20;
const SEND_BUFFER: usize = 8 << 20;

/// With more than an eighth of its buffer in it the socket is crowded; within these bounds. A small
/// datagram counts as some 1,300 bytes.
const MIN_CROWD: u32 = 64 << 10;
const MAX_CROWD: u32 = 4 << 20;

/// Of `SO_MEMINFO` (`linux/sock_diag.h`): how many numbers it gives, and which of them counts the datagrams
/// that were dropped.
const SK_MEMINFO_VARS: usize = 9;
const SK_MEMINFO_DROPS: usize = 8;

/// The socket, used by the network thread alone.
pub(super) struct Socket {
    socket: socket2::Socket,
    is_v6: bool,
    wake: Arc<OwnedFd>,
    drops: Drops,
}

/// Datagrams that the kernel dropped on this socket.
#[derive(Clone, Copy, Default)]
pub(super) struct Drops {
    /// Because they were not taken in time.
    pub overflowed: u64,
    /// While it had a filter: most by that.
    pub sifted: u64,
    /// The kernel's own count, of both, when it was looked at last.
    counted: u32,
    sifting: bool,
}

/// Ends a [`Socket::wait`] from another thread.
#[derive(Clone)]
pub(super) struct Waker(Arc<OwnedFd>);

impl Waker {
    pub fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the descriptor is an eventfd that this value keeps open; the buffer holds the
        // eight bytes that are written. It can only fail when it is already as awake as can be.
        unsafe {
            libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len());
        }
    }
}

impl Drops {
    pub fn total(&self) -> u64 {
        self.overflowed + self.sifted
    }

    fn count(&mut self, counted: u32) {
        let more = u64::from(counted.wrapping_sub(self.counted));
        self.counted = counted;
        match self.sifting {
            true => self.sifted += more,
            false => self.overflowed += more,
        }
    }
}

impl Socket {
    /// Binds to `address`; where `[::]` is asked for on a machine without IPv6, to `0.0.0.0`.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        match Self::bind_exactly(address) {
            Err(error)
                if address.ip() == Ipv6Addr::UNSPECIFIED
                    && matches!(
                        error.raw_os_error(),
                        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
                    ) =>
            {
                Self::bind_exactly(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
            }
            result => result,
        }
    }

    fn bind_exactly(address: SocketAddr) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.set_broadcast(true)?;
        set_buffer(&socket, libc::SO_RCVBUFFORCE, RECEIVE_BUFFER);
        set_buffer(&socket, libc::SO_SNDBUFFORCE, SEND_BUFFER);
        // Without the right to force them, up to the system's maximum.
        if socket.recv_buffer_size()? < RECEIVE_BUFFER {
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        }
        if socket.send_buffer_size()? < SEND_BUFFER {
            let _ = socket.set_send_buffer_size(SEND_BUFFER);
        }
        socket.bind(&address.into())?;
        // SAFETY: eventfd takes no pointers; the descriptor that it returns is owned by nobody yet.
        let wake = unsafe {
            let fd = libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self {
            socket,
            is_v6: address.is_ipv6(),
            wake: Arc::new(wake),
            drops: Drops::default(),
        })
    }

    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.wake))
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("the socket has no internet address"))
    }

    /// Bytes of the receive buffer, as the kernel counts them: with its own bookkeeping, about
    /// twice what datagrams of one packet hold.
    pub fn receive_buffer(&self) -> usize {
        self.socket.recv_buffer_size().unwrap_or(212_992)
    }

    /// Datagrams that the kernel dropped so far.
    pub fn drops(&mut self) -> Drops {
        if let Some(memory) = self.memory() {
            self.drops.count(memory[SK_MEMINFO_DROPS]);
        }
        self.drops
    }

    /// Whether so much waits in the receive buffer that it does not look like a burst.
    pub fn is_crowded(&mut self) -> bool {
        let Some(memory) = self.memory() else {
            return false;
        };
        // The count of the kernel has 32 bits, and is looked at while it may grow.
        self.drops.count(memory[SK_MEMINFO_DROPS]);
        // What the buffer holds, and what it can hold at most.
        let [held, most, ..] = memory;
        held > (most / 8).clamp(MIN_CROWD, MAX_CROWD)
    }

    /// The socket's `SO_MEMINFO`.
    fn memory(&self) -> Option<[u32; SK_MEMINFO_VARS]> {
        let mut memory = [0u32; SK_MEMINFO_VARS];
        let mut length = mem::size_of_val(&memory) as libc::socklen_t;
        // SAFETY: the buffer and its length in bytes are given; the kernel writes no more than that.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                memory.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        (result == 0).then_some(memory)
    }

    /// Has the kernel drop what does not pass `sieve` before it is queued. An error leaves everything
    /// passing.
    pub fn sift(&mut self, sieve: &Sieve) -> io::Result<()> {
        self.drops();
        self.drops.sifting = false;
        if sieve.is_open() {
            return self.detach_filter();
        }
        let attached = sieve::compile(sieve)
            .ok_or_else(|| io::Error::other("too many hosts for a filter"))
            .and_then(|program| self.attach_filter(&program));
        match attached {
            Ok(()) => self.drops.sifting = true,
            Err(_) => self.detach_filter()?,
        }
        attached
    }

    fn attach_filter(&self, program: &[libc::sock_filter]) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(program.len()).map_err(io::Error::other)?,
            filter: program.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel copies the instructions, whose address and number are given and that live
        // across the call, and does not write to them.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                mem::size_of_val(&program) as libc::socklen_t,
            )
        };
        match result {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn detach_filter(&self) -> io::Result<()> {
        let unused: libc::c_int = 0;
        // SAFETY: the option takes an int that it does not look at; its address and size are given.
        let result = unsafe {
            libc::setsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_DETACH_FILTER,
                (&raw const unused).cast(),
                mem::size_of_val(&unused) as libc::socklen_t,
            )
        };
        match io::Error::last_os_error() {
            // There was none.
            error if result != 0 && error.raw_os_error() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes what has arrived, up to a batch, into `batch`.
    pub fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.prepare();
        // SAFETY: every header points to buffers that `batch` owns and that outlive the call; the
        // count is their number; no timeout is given.
        let received = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                batch.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        if received < 0 {
            batch.received = 0;
            return Err(io::Error::last_os_error());
        }
        batch.received = received as usize;
        Ok(batch.received)
    }

    /// Sends what is in `batch`, from its front; returns how many datagrams are done with. One that
    /// the network refuses (no route, too long) is done with as well.
    pub fn send(&self, batch: &mut SendBatch) -> io::Result<usize> {
        let count = batch.prepare(self.is_v6);
        if count == 0 {
            return Ok(0);
        }
        // SAFETY: the headers point into buffers and addresses that `batch` owns and that outlive
        // the call; `count` of them have been filled in.
        let sent = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                batch.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        if sent < 0 {
            let error = io::Error::last_os_error();
            if matches!(
                error.raw_os_error(),
                Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR)
            ) {
                return Err(error);
            }
            batch.advance(1);
            return Ok(1);
        }
        batch.advance(sent as usize);
        Ok(sent as usize)
    }

    /// Waits until something arrives, a [`Waker`] calls, the socket takes datagrams again (if
    /// `writable`), or `timeout` has passed.
    pub fn wait(&self, timeout: Option<Duration>, writable: bool) {
        let mut events = libc::POLLIN;
        if writable {
            events |= libc::POLLOUT;
        }
        let mut fds = [
            libc::pollfd {
                fd: self.socket.as_raw_fd(),
                events,
                revents: 0,
            },
            libc::pollfd {
                fd: self.wake.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            },
        ];
        let limit = timeout.map(|timeout| libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
        });
        let limit = limit
            .as_ref()
            .map_or(std::ptr::null(), |limit| limit as *const libc::timespec);
        // SAFETY: `fds` and `limit` live across the call; no signal mask is given.
        unsafe {
            libc::ppoll(
                fds.as_mut_ptr(),
                fds.len() as libc::nfds_t,
                limit,
                std::ptr::null(),
            );
        }
        if fds[1].revents & libc::POLLIN != 0 {
            let mut count = [0u8; 8];
            // SAFETY: reads eight bytes from the eventfd into a buffer of eight bytes.
            unsafe {
                libc::read(self.wake.as_raw_fd(), count.as_mut_ptr().cast(), 8);
            }
        }
    }
}

fn set_buffer(socket: &socket2::Socket, option: libc::c_int, value: usize) {
    let value = libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
    // SAFETY: the option takes one int, whose address and size are given. A refusal leaves the
    // default in place, which is what is wanted.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            mem::size_of_val(&value) as libc::socklen_t,
        );
    }
}

#[cfg(test)]
mod tests;
