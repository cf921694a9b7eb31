//! Datagrams of strangers who know the protocol and mean no good, made from arbitrary bytes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use arbitrary::{Result, Unstructured};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cjp2pfs::content::ContentId;
use serde_json::json;

use super::driven::Overheard;

/// What a forger works with.
pub struct Forger<'a> {
    /// Ids that may be worth naming.
    pub ids: &'a [ContentId],
    /// Addresses that may be worth naming.
    pub addresses: &'a [SocketAddr],
    /// What the pretended sender was told, if the forger is to know.
    pub overheard: Option<&'a Overheard>,
}

/// Any address, of every kind that has a meaning of its own.
pub fn address(u: &mut Unstructured<'_>) -> Result<SocketAddr> {
    let ip = match u.int_in_range(0..=12u8)? {
        0 => Ipv4Addr::LOCALHOST.into(),
        1 => Ipv4Addr::new(10, 0, u.arbitrary()?, u.arbitrary()?).into(),
        2 => Ipv4Addr::new(192, 168, 1, u.arbitrary()?).into(),
        3 => Ipv4Addr::new(169, 254, 169, 254).into(),
        4 => Ipv4Addr::new(224, 0, 0, u.arbitrary()?).into(),
        5 => Ipv4Addr::from_bits(u.arbitrary()?).into(),
        6 => Ipv4Addr::new(127, 0, 0, u.arbitrary()?)
            .to_ipv6_mapped()
            .into(),
        7 => Ipv4Addr::new(10, 0, 0, u.arbitrary()?)
            .to_ipv6_mapped()
            .into(),
        8 => Ipv6Addr::LOCALHOST.into(),
        9 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u.arbitrary()?).into(),
        10 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, u.arbitrary()?).into(),
        11 => Ipv6Addr::new(0x2a01, 0x4f8, 0, 0, 0, 0, 0, u.arbitrary()?).into(),
        _ => Ipv4Addr::new(20, 0, u.int_in_range(0..=3)?, u.arbitrary()?).into(),
    };
    Ok(SocketAddr::new(ip, u.arbitrary()?))
}

impl Forger<'_> {
    /// One datagram: mostly good JSON with bad intentions, sometimes broken.
    pub fn datagram(&self, u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        match u.int_in_range(0..=31u8)? {
            0 => return Ok(u.arbitrary::<&[u8]>()?.to_vec()),
            1 => return Ok(b"[]".to_vec()),
            2 => return Ok(Vec::new()),
            _ => {}
        }
        let count = match u.int_in_range(0..=15u16)? {
            0 => 300,
            1..=3 => 17,
            few => 1 + few % 4,
        };
        let mut messages = Vec::new();
        if let Some(overheard) = self.overheard {
            if let Some(cookie) = &overheard.cookie
                && u.ratio(7, 8)?
            {
                messages.push(json!({"AlwaysReturned": {"cookie": cookie}}).to_string());
            }
            if let Some(ping) = &overheard.ping
                && u.ratio(7, 8)?
            {
                messages.push(json!({"ReturnedMessage": {"cookie": ping}}).to_string());
            }
        }
        for _ in 0..count {
            messages.push(self.message(u)?);
            if u.is_empty() {
                break;
            }
        }
        let mut datagram = format!("[{}]", messages.join(",")).into_bytes();
        if u.ratio(1, 12)? && !datagram.is_empty() {
            let at = u.choose_index(datagram.len())?;
            datagram[at] = u.arbitrary()?;
        }
        if u.ratio(1, 20)? {
            datagram.truncate(u.choose_index(datagram.len() + 1)?);
        }
        datagram.truncate(65_507);
        Ok(datagram)
    }

    fn id(&self, u: &mut Unstructured<'_>) -> Result<String> {
        Ok(match u.int_in_range(0..=9u8)? {
            0 => "1M".into(),
            1 => "../../etc/passwd".into(),
            2 => ContentId::sha256([u.arbitrary()?; 32]).to_string(),
            3 => ContentId::blake3([u.arbitrary()?; 32]).to_string(),
            _ if self.ids.is_empty() => String::new(),
            _ => u.choose(self.ids)?.to_string(),
        })
    }

    fn number(&self, u: &mut Unstructured<'_>) -> Result<u64> {
        Ok(match u.int_in_range(0..=6u8)? {
            0 => 0,
            1 => u64::from(u.arbitrary::<u8>()?),
            2 => u64::from(u.arbitrary::<u16>()?) * 4096,
            3 => u64::MAX,
            4 => 1 << 63,
            5 => (1 << 63) - 1,
            _ => u.arbitrary()?,
        })
    }

    fn cookie(&self, u: &mut Unstructured<'_>) -> Result<String> {
        let length = match u.int_in_range(0..=7u8)? {
            0 => 10_000,
            1 => 511,
            _ => u.int_in_range(0..=40)?,
        };
        Ok(["x", "\"", "\u{1}", "é"][u.choose_index(4)?].repeat(length))
    }

    fn peers(&self, u: &mut Unstructured<'_>) -> Result<Vec<String>> {
        let count = [1, 4, 46, 200][u.choose_index(4)?];
        let mut peers = Vec::new();
        for _ in 0..count {
            if u.is_empty() {
                break;
            }
            let known = !self.addresses.is_empty() && u.ratio(1, 4)?;
            peers.push(match known {
                true => u.choose(self.addresses)?.to_string(),
                false => address(u)?.to_string(),
            });
        }
        Ok(peers)
    }

    fn content(&self, u: &mut Unstructured<'_>) -> Result<String> {
        let asked = self.overheard.and_then(|it| it.question.clone());
        let (id, offset, length) = match asked {
            Some(asked) if u.ratio(3, 4)? => asked,
            _ => (self.id(u)?, self.number(u)?, 4096),
        };
        let given = match u.int_in_range(0..=5u8)? {
            0 => 0,
            1 => u.int_in_range(0..=200)?,
            2 => length + 1,
            _ => length,
        };
        let data = vec![u.arbitrary()?; given.min(48_000) as usize];
        let mut content = json!({
            "id": id, "offset": offset, "base64": STANDARD.encode(data),
        });
        match u.int_in_range(0..=5u8)? {
            0 => {}
            1 => content["eof"] = self.number(u)?.into(),
            2 => content["eof"] = (1u64 << 20).into(),
            _ => content["eof"] = offset.saturating_add(given).into(),
        }
        Ok(json!({ "Content": content }).to_string())
    }

    fn message(&self, u: &mut Unstructured<'_>) -> Result<String> {
        let value = match u.int_in_range(0..=19u8)? {
            0 => json!({"PleaseSendPeers": {}}),
            1 => json!({"PleaseReturnThisMessage": {"cookie": self.cookie(u)?}}),
            2 => json!({"PleaseAlwaysReturnThisMessage": {"cookie": self.cookie(u)?}}),
            3 => json!({"AlwaysReturned": {"cookie": self.cookie(u)?}}),
            4 => json!({"ReturnedMessage": {"cookie": self.cookie(u)?}}),
            5 => json!({"PleaseListContent": {}}),
            6 => json!({"Peers": {"peers": self.peers(u)?}}),
            7 => json!({"MaybeTheyHaveSome": {"id": self.id(u)?, "peers": self.peers(u)?}}),
            8 => json!({"WhichPartsDoYouHave": {"id": self.id(u)?}}),
            9 => {
                let mut parts = Vec::new();
                for _ in 0..[1, 3, 300][u.choose_index(3)?] {
                    parts.push([self.number(u)?, self.number(u)?]);
                }
                json!({"IHaveTheseParts": {"id": self.id(u)?, "eof": self.number(u)?, "parts": parts}})
            }
            10 => json!({"IDoNotHaveThat": {"id": self.id(u)?}}),
            11 => json!({"WhatIsItsBlake3": {"id": self.id(u)?}}),
            12 => json!({"PleaseListSupportedMessages": {}}),
            13 => json!({"GetLatest": {"ed25519": "0".repeat(64), "name": self.id(u)?}}),
            14 => json!({"Unheard": {"of": self.cookie(u)?}}),
            15 | 16 => return self.content(u),
            17 => return Ok(format!("{}{}", "[".repeat(200), "]".repeat(200))),
            _ => json!({"PleaseSendContent": {
                "id": self.id(u)?, "offset": self.number(u)?, "length": self.number(u)?,
            }}),
        };
        Ok(value.to_string())
    }
}
