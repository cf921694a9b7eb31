//! What a swarm is made with.

use super::ONE_PACKET;
use crate::content::PublicKey;

/// What a swarm is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Peers that are remembered at most.
    pub max_peers: usize,
    /// Content bytes that may be in flight towards us from all peers together: what the socket's
    /// receive buffer and the store can take.
    pub receive_budget: u64,
    /// Bytes a second of answers to others, 28 bytes of headers for each datagram counted; `None`:
    /// unlimited. What is asked of others is small and not held back.
    pub upload_limit: Option<u64>,
    /// The same for each IP address (for IPv6 each /64) by itself.
    pub upload_limit_per_address: Option<u64>,
    /// Bytes a second of datagrams with content that others are asked for, headers counted; `None`:
    /// unlimited.
    pub download_limit: Option<u64>,
    /// Content bytes asked for at a time of a peer that is not on this machine, 256 to
    /// [`MAX_ANSWER`](super::MAX_ANSWER). What makes an answer of more than one packet only pays where packets are large
    /// (see [`ONE_PACKET`]).
    pub request_length: u64,
    /// Whether known peers are probed now and then, and asked for others.
    pub probe: bool,
    /// The node's key, which peers are told.
    pub public_key: Option<PublicKey>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_peers: 2048,
            receive_budget: 8 << 20,
            upload_limit: None,
            upload_limit_per_address: None,
            download_limit: None,
            request_length: ONE_PACKET,
            probe: true,
            public_key: None,
        }
    }
}
