//! The bare pull loop: what the machine allows, to measure the product against.
//!
//! One server process and one client process exchange the same datagrams as two nodes do (JSON,
//! base64, 40,960 bytes of content an answer), with `sendmmsg` and `recvmmsg`, and the client
//! hashes with SHA-256 as it goes. Nothing else: no peers, no store, no congestion control, no
//! recovery worth the name. `scripts/bench-loopback` prints the product's speed as a share of it.
//!
//! ```text
//! bare_pull server FILE              prints the address it listens on
//! bare_pull client ADDRESS LENGTH    prints <sha256> <bytes> <seconds>
//! ```

use std::io::{self, Write};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::PAD;
use base64::engine::simd::Simd;
use memchr::memmem;
use sha2::{Digest, Sha256};

/// Bytes of content in one answer: the most that deployed nodes give.
const REPLY: usize = 40_960;
/// Datagrams moved by one system call.
const BATCH: usize = 16;
/// What one answer of that length costs a receive buffer, with the kernel's bookkeeping.
const REPLY_COST: usize = 84_000;
const DATAGRAM: usize = 65_536;
const ID: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [_, "server", file] => serve(&std::fs::read(file)?),
        [_, "client", address, length] => {
            let address = address.parse().map_err(io::Error::other)?;
            pull(address, length.parse().map_err(io::Error::other)?)
        }
        _ => {
            eprintln!("usage: bare_pull server FILE | client ADDRESS LENGTH");
            std::process::exit(2);
        }
    }
}

fn serve(content: &[u8]) -> io::Result<()> {
    let socket = socket()?;
    println!("{}", socket.local_addr()?);
    io::stdout().flush()?;
    let engine = Simd::standard(PAD);
    let mut questions = Batch::new();
    let mut answers = Batch::new();
    let mut text = vec![0u8; DATAGRAM];
    loop {
        let count = questions.receive(&socket)?;
        for at in 0..count {
            let (question, from) = questions.get(at);
            let offset = number_after(question, b"\"offset\":")
                .unwrap_or(0)
                .min(content.len());
            let end = (offset + REPLY).min(content.len());
            let length = engine
                .encode_slice(&content[offset..end], &mut text)
                .map_err(io::Error::other)?;
            answers.put(at, from, |out| {
                write!(
                    out,
                    "[{{\"Content\":{{\"id\":\"{ID}\",\"offset\":{offset},\"base64\":\""
                )?;
                out.extend_from_slice(&text[..length]);
                write!(out, "\",\"eof\":{}}}}}]", content.len())
            })?;
        }
        answers.send(&socket, count)?;
    }
}

fn pull(server: SocketAddr, length: usize) -> io::Result<()> {
    let socket = socket()?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let window = (buffer_length(&socket)? / 2 / REPLY_COST).clamp(2, 4 * BATCH);
    let engine = Simd::standard(PAD);
    let mut answers = Batch::new();
    let mut questions = Batch::new();
    // Answers wait in the slot of their number until those before them are hashed.
    let mut slots = vec![(false, 0usize, vec![0u8; REPLY + 8]); window];
    let mut hasher = Sha256::new();
    let (mut asked, mut hashed) = (0usize, 0usize);
    let pieces = length.div_ceil(REPLY);
    let start = Instant::now();
    while hashed < pieces {
        while asked < pieces && asked < hashed + window {
            let count = (pieces - asked).min(hashed + window - asked).min(BATCH);
            for at in 0..count {
                questions.put(at, server, |out| question(out, (asked + at) * REPLY))?;
            }
            questions.send(&socket, count)?;
            asked += count;
        }
        let count = match answers.receive(&socket) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // Something was lost: ask once more for all that is missing.
                for piece in (hashed..asked).filter(|piece| !slots[piece % window].0) {
                    questions.put(0, server, |out| question(out, piece * REPLY))?;
                    questions.send(&socket, 1)?;
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        for at in 0..count {
            let (answer, _) = answers.get(at);
            let Some(piece) = number_after(answer, b"\"offset\":").map(|offset| offset / REPLY)
            else {
                continue;
            };
            if !(hashed..asked).contains(&piece) {
                continue;
            }
            let Some(text) = string_after(answer, b"\"base64\":\"") else {
                continue;
            };
            let slot = &mut slots[piece % window];
            slot.1 = engine
                .decode_slice(text, &mut slot.2)
                .map_err(io::Error::other)?;
            slot.0 = true;
        }
        while slots[hashed % window].0 && hashed < asked {
            let slot = &mut slots[hashed % window];
            hasher.update(&slot.2[..slot.1]);
            slot.0 = false;
            hashed += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    for byte in hasher.finalize() {
        print!("{byte:02x}");
    }
    println!(" {length} {seconds:.6}");
    Ok(())
}

fn question(out: &mut Vec<u8>, offset: usize) -> io::Result<()> {
    write!(
        out,
        "[{{\"PleaseSendContent\":{{\"id\":\"{ID}\",\"length\":{REPLY},\"offset\":{offset}}}}}]"
    )
}

fn number_after(datagram: &[u8], key: &[u8]) -> Option<usize> {
    let digits = &datagram[memmem::find(datagram, key)? + key.len()..];
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

fn string_after<'a>(datagram: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let text = &datagram[memmem::find(datagram, key)? + key.len()..];
    Some(&text[..memchr::memchr(b'"', text)?])
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    for option in [
        libc::SO_RCVBUF,
        libc::SO_SNDBUF,
        libc::SO_RCVBUFFORCE,
        libc::SO_SNDBUFFORCE,
    ] {
        let wanted: libc::c_int = 8 << 20;
        // SAFETY: the option takes a c_int, which outlives the call. The privileged options may
        // fail; what the others gave then stands.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const wanted).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
    }
    Ok(socket)
}

fn buffer_length(socket: &UdpSocket) -> io::Result<usize> {
    socket2::SockRef::from(socket).recv_buffer_size()
}

/// A batch of datagrams for `recvmmsg` and `sendmmsg`, its memory reused.
struct Batch {
    buffers: Vec<Vec<u8>>,
    addresses: Vec<libc::sockaddr_in>,
    lengths: Vec<usize>,
}

impl Batch {
    fn new() -> Self {
        // SAFETY: a sockaddr_in of zeros is valid.
        let nowhere: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        Self {
            buffers: vec![vec![0; DATAGRAM]; BATCH],
            addresses: vec![nowhere; BATCH],
            lengths: vec![0; BATCH],
        }
    }

    fn get(&self, at: usize) -> (&[u8], SocketAddr) {
        let address = &self.addresses[at];
        let ip = std::net::Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
        let from = SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(address.sin_port)));
        (&self.buffers[at][..self.lengths[at]], from)
    }

    fn put(
        &mut self,
        at: usize,
        to: SocketAddr,
        write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let SocketAddr::V4(to) = to else {
            return Err(io::Error::other("IPv4 only"));
        };
        let address = &mut self.addresses[at];
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_port = to.port().to_be();
        address.sin_addr.s_addr = u32::from(*to.ip()).to_be();
        let buffer = &mut self.buffers[at];
        buffer.clear();
        write(buffer)?;
        self.lengths[at] = buffer.len();
        Ok(())
    }

    fn headers(&mut self) -> (Vec<libc::iovec>, Vec<libc::mmsghdr>) {
        let mut pieces: Vec<libc::iovec> = self
            .buffers
            .iter_mut()
            .map(|buffer| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            })
            .collect();
        let headers = pieces
            .iter_mut()
            .zip(&mut self.addresses)
            .map(|(piece, address)| {
                // SAFETY: a mmsghdr of zeros is valid.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_name = (&raw mut *address).cast();
                header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                header.msg_hdr.msg_iov = piece;
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        (pieces, headers)
    }

    /// Waits for at least one datagram; returns how many came.
    fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let (_pieces, mut headers) = self.headers();
        // SAFETY: the headers point into `_pieces`, the buffers and the addresses, all of which
        // outlive the call and are not otherwise touched during it.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (length, header) in self.lengths.iter_mut().zip(&headers) {
            *length = header.msg_len as usize;
        }
        Ok(count)
    }

    /// Sends the first `count`.
    fn send(&mut self, socket: &UdpSocket, count: usize) -> io::Result<()> {
        let (_pieces, mut headers) = self.headers();
        let mut sent = 0;
        while sent < count {
            // SAFETY: as for `receive`; `sent < count <= BATCH` keeps the slice inside.
            let now = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    headers[sent..count].as_mut_ptr(),
                    (count - sent) as libc::c_uint,
                    0,
                )
            };
            sent += usize::try_from(now).map_err(|_| io::Error::last_os_error())?;
        }
        Ok(())
    }
}
