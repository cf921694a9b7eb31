//! Keys: who speaks, apart from where.
//!
//! A node's ed25519 public key is its lasting address. What it signs can be believed from whoever
//! passes it on.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use thiserror::Error;

use super::Hash;

/// An ed25519 public key, as its bytes: whether they are a point of the curve shows when a signature
/// is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// An ed25519 signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// Why a text is no [`PublicKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a key is 64 hexadecimal digits, alone or after `0x`")]
pub struct KeyError;

impl PublicKey {
    /// Reads 64 hexadecimal digits of either case, with or without `0x`.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text
            .strip_prefix("0x")
            .or_else(|| text.strip_prefix("0X"))
            .unwrap_or(text);
        Hash::from_hex(digits).map(|hash| Self(hash.0))
    }

    /// The 64 lower-case hexadecimal digits, without an allocation.
    #[must_use]
    pub fn to_hex(&self) -> [u8; 64] {
        Hash(self.0).to_hex()
    }

    /// Whether `signature` is this key's under `message`. Keys and signatures of the weak kinds that
    /// fit many messages are refused.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
            key.verify_strict(message, &signature).is_ok()
        })
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_hex(text).ok_or(KeyError)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Hash(self.0), f)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secret half of a key. It is never printed, and wiped from memory when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key that grows from 32 unguessable bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_in_every_form_that_people_write() {
        let key = PublicKey([0xab; 32]);
        let hex = "ab".repeat(32);
        for text in [
            hex.clone(),
            hex.to_uppercase(),
            format!("0x{hex}"),
            format!("0X{}", hex.to_uppercase()),
        ] {
            assert_eq!(text.parse(), Ok(key), "{text}");
        }
        assert_eq!(key.to_string(), hex);
        for text in [
            "",
            "0x",
            &hex[1..],
            &format!("{hex}a"),
            &format!("0x0x{hex}"),
        ] {
            assert_eq!(text.parse::<PublicKey>(), Err(KeyError), "{text}");
        }
    }

    #[test]
    fn a_signature_stands_for_one_message_of_one_key() {
        let secret = SecretKey::from_seed(&[7; 32]);
        let signature = secret.sign(b"message");
        assert!(secret.public().verifies(b"message", &signature));
        assert!(!secret.public().verifies(b"messagf", &signature));
        let other = SecretKey::from_seed(&[8; 32]).public();
        assert!(!other.verifies(b"message", &signature));
        // A key of small order, under which one signature fits nearly any message.
        let mut weak = [0; 32];
        weak[0] = 1;
        let mut fits_all = [0; 64];
        fits_all[0] = 1;
        assert!(!PublicKey(weak).verifies(b"message", &Signature(fits_all)));
        assert!(!format!("{secret:?}").contains(&"07".repeat(8)));
    }
}
