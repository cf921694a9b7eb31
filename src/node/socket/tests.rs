use super::*;

fn pair(a: &str, b: &str) -> (Socket, Socket) {
    (
        Socket::bind(a.parse().unwrap()).unwrap(),
        Socket::bind(b.parse().unwrap()).unwrap(),
    )
}

fn exchange(a: &Socket, b: &mut Socket, to: SocketAddr) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut out = SendBatch::new();
    for n in 0..100u8 {
        out.push(to, vec![n; usize::from(n) * 100]);
    }
    while !out.is_empty() {
        a.send(&mut out).unwrap();
    }
    let mut received = Vec::new();
    let mut batch = ReceiveBatch::new();
    for _ in 0..1000 {
        if received.len() == 100 {
            break;
        }
        b.wait(Some(Duration::from_millis(100)), false);
        if b.receive(&mut batch).is_ok() {
            received.extend(batch.datagrams().map(|(from, data)| (from, data.to_vec())));
        }
    }
    received
}

#[test]
fn batches_arrive_in_either_family() {
    for (a, b) in [
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::]:0", "127.0.0.1:0"),
        ("[::1]:0", "[::]:0"),
    ] {
        let (a, mut b) = pair(a, b);
        let mut to = b.local_addr().unwrap();
        if to.ip() == Ipv6Addr::UNSPECIFIED {
            to.set_ip(Ipv6Addr::LOCALHOST.into());
        }
        let received = exchange(&a, &mut b, to);
        assert_eq!(received.len(), 100);
        for (n, (from, data)) in received.iter().enumerate() {
            assert_eq!(from.port(), a.local_addr().unwrap().port());
            assert_eq!(data, &vec![n as u8; n * 100]);
        }
    }
}

#[test]
fn what_cannot_be_sent_does_not_hold_up_the_rest() {
    let (a, mut b) = pair("127.0.0.1:0", "127.0.0.1:0");
    let mut out = SendBatch::new();
    out.push("127.0.0.1:9".parse().unwrap(), vec![0; 100_000]);
    out.push(b.local_addr().unwrap(), b"here".to_vec());
    for _ in 0..10 {
        let _ = a.send(&mut out);
    }
    assert!(out.is_empty());
    b.wait(Some(Duration::from_secs(5)), false);
    let mut batch = ReceiveBatch::new();
    assert_eq!(b.receive(&mut batch).unwrap(), 1);
}

/// What `receiver` takes of `count` datagrams of `sender`.
fn taken(sender: &Socket, receiver: &mut Socket, count: usize) -> usize {
    let mut to = receiver.local_addr().unwrap();
    if to.ip() == Ipv6Addr::UNSPECIFIED {
        let family = sender.local_addr().unwrap();
        to.set_ip(match family.is_ipv4() {
            true => Ipv4Addr::LOCALHOST.into(),
            false => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut out = SendBatch::new();
    for _ in 0..count {
        out.push(to, vec![7; 10]);
    }
    while !out.is_empty() {
        sender.send(&mut out).unwrap();
    }
    // On loopback all that passes is there when it has been sent.
    let mut batch = ReceiveBatch::new();
    let mut taken = 0;
    while let Ok(more) = receiver.receive(&mut batch) {
        taken += more;
    }
    taken
}

#[test]
fn the_kernel_drops_what_the_sieve_holds_back_and_counts_it() {
    let bind = |address: &str| Socket::bind(address.parse().unwrap()).unwrap();
    for (receiver, friend, stranger) in [
        ("127.0.0.1:0", "127.7.0.1:0", "127.7.0.2:0"),
        ("[::]:0", "127.7.0.1:0", "127.7.0.2:0"),
        ("[::]:0", "[::1]:0", "127.7.0.2:0"),
        ("[::]:0", "127.7.0.1:0", "[::1]:0"),
    ] {
        let mut receiver = bind(receiver);
        let (friend, stranger) = (bind(friend), bind(stranger));
        let of_friend = friend.local_addr().unwrap().ip();
        let sieve = |others| Sieve {
            hosts: [
                (of_friend, u32::MAX),
                ("127.9.9.9".parse().unwrap(), 7),
                ("2001:db8::".parse().unwrap(), 7),
            ]
            .into(),
            others,
        };
        receiver.sift(&sieve(1)).unwrap();
        assert_eq!(taken(&friend, &mut receiver, 50), 50);
        assert!(taken(&stranger, &mut receiver, 50) <= 1);
        assert!(receiver.drops().sifted >= 49);
        assert_eq!(receiver.drops().overflowed, 0);
        receiver.sift(&sieve(u32::MAX / 2)).unwrap();
        let half = taken(&stranger, &mut receiver, 200);
        assert!((50..150).contains(&half), "{half}");
        receiver.sift(&Sieve::OPEN).unwrap();
        receiver.sift(&Sieve::OPEN).unwrap();
        assert_eq!(taken(&stranger, &mut receiver, 50), 50);
    }
}

#[test]
fn a_sieve_that_the_kernel_does_not_take_leaves_everything_passing() {
    let (friend, mut receiver) = pair("127.0.0.1:0", "127.0.0.1:0");
    let one = Sieve {
        hosts: std::collections::BTreeMap::new(),
        others: 0,
    };
    receiver.sift(&one).unwrap();
    assert_eq!(taken(&friend, &mut receiver, 10), 0);
    let hosts = (0..5000u32).map(|n| (Ipv4Addr::from(n).into(), 7));
    let many = Sieve {
        hosts: hosts.collect(),
        others: 0,
    };
    assert!(receiver.sift(&many).is_err());
    assert_eq!(taken(&friend, &mut receiver, 10), 10);
}

#[test]
fn what_overflows_is_told_from_what_is_sifted() {
    let (sender, mut receiver) = pair("127.0.0.1:0", "127.0.0.1:0");
    receiver.socket.set_recv_buffer_size(4096).unwrap();
    let taken = taken(&sender, &mut receiver, 100);
    assert!(taken < 100);
    let drops = receiver.drops();
    assert_eq!((drops.overflowed, drops.sifted), (100 - taken as u64, 0));
}

#[test]
fn a_waker_ends_a_wait() {
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let waker = socket.waker();
    let thread = std::thread::spawn(move || waker.wake());
    socket.wait(None, false);
    thread.join().unwrap();
}
