//! A bare socket that says what a test tells it to, byte by byte.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::SOON;

pub struct RawPeer {
    pub socket: UdpSocket,
    pub node: SocketAddr,
    cookie: Option<Value>,
}

impl RawPeer {
    /// A fresh address talking to `node`.
    pub fn new(node: SocketAddr) -> Self {
        let any = if node.is_ipv6() {
            "[::1]:0"
        } else {
            "127.0.0.1:0"
        };
        let socket = UdpSocket::bind(any).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        Self {
            socket,
            node,
            cookie: None,
        }
    }

    pub fn send(&self, datagram: &[u8]) {
        // A full queue on loopback may refuse for a moment; that is as good as a lost datagram.
        let _ = self.socket.send_to(datagram, self.node);
    }

    /// The next datagram, if one comes soon, as messages. Keeps the cookie that it asks for.
    pub fn hear(&mut self) -> Option<Vec<Value>> {
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.socket.recv_from(&mut buffer).ok()?;
        assert_eq!(from, self.node);
        let messages: Vec<Value> = serde_json::from_slice(&buffer[..length]).expect("a JSON array");
        for message in &messages {
            assert_eq!(
                message.as_object().map(serde_json::Map::len),
                Some(1),
                "{message}"
            );
            if let Some(cookie) = message.get("PleaseAlwaysReturnThisMessage") {
                self.cookie = Some(cookie.clone());
            }
        }
        Some(messages)
    }

    /// Asks again and again, with the cookie once it is known, until `look` likes an answer.
    #[track_caller]
    pub fn ask<T>(&mut self, messages: &[Value], mut look: impl FnMut(&[Value]) -> Option<T>) -> T {
        let start = Instant::now();
        let mut last = Vec::new();
        while start.elapsed() < SOON {
            let mut all = messages.to_vec();
            if let Some(cookie) = &self.cookie {
                all.push(json!({"AlwaysReturned": cookie}));
            }
            self.send(&serde_json::to_vec(&all).unwrap());
            while let Some(heard) = self.hear() {
                if let Some(found) = look(&heard) {
                    return found;
                }
                last = heard;
            }
        }
        panic!("no such answer to {messages:?}; the last was {last:?}");
    }

    /// Becomes verified: asks until the node has named its cookie, returns the cookie.
    #[track_caller]
    pub fn verify(&mut self) -> Value {
        let ping = [json!({"PleaseReturnThisMessage": {"cookie": "verify"}})];
        self.ask(&ping, |_| Some(()));
        self.cookie
            .clone()
            .expect("an unverified ask is answered with a cookie")
    }
}

/// The value of the first message of this type.
pub fn first<'a>(messages: &'a [Value], kind: &str) -> Option<&'a Value> {
    messages.iter().find_map(|message| message.get(kind))
}
