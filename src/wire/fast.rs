//! The shapes that nearly every datagram consists of, read without a general JSON parser.
//!
//! A known shape is recognised exactly or not at all: on anything unexpected (white space, an
//! escape, an unknown or repeated field, an odd number) nothing is taken and `typed` decides, so
//! that both paths always agree.

use std::borrow::Cow;

use memchr::memchr2;

use super::{Cookie, Id, MAX_NUMBER, Message};

/// A place in the bytes of a datagram.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    /// What lies ahead.
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    /// What lies ahead.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Moves on by `bytes`, or to the end.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.rest.first() {
            self.advance(1);
        }
    }

    /// Whether nothing but white space is left.
    pub(super) fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }

    /// Skips white space, then takes `byte` if it comes next.
    pub(super) fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let taken = self.rest.first() == Some(&byte);
        if taken {
            self.advance(1);
        }
        taken
    }

    /// Takes exactly these bytes if they come next.
    fn literal(&mut self, bytes: &[u8]) -> bool {
        let after = self.rest.strip_prefix(bytes);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    /// Takes a string of printable ASCII without escapes, and gives what is between the quotes.
    fn text(&mut self) -> Option<&'a str> {
        if !self.literal(b"\"") {
            return None;
        }
        let end = memchr2(b'"', b'\\', self.rest)?;
        let (text, after) = self.rest.split_at_checked(end)?;
        if after.first() != Some(&b'"') || !is_printable(text) {
            return None;
        }
        self.advance(end.saturating_add(1));
        // SAFETY: `is_printable` has found every byte of `text` to be ASCII, which is UTF-8. The
        // checked conversion would go over the text once more, at the price of a fifth of the
        // speed of `decode`.
        Some(unsafe { std::str::from_utf8_unchecked(text) })
    }

    /// Takes a whole number of at most 2^63 - 1.
    fn number(&mut self) -> Option<u64> {
        let bytes = self.rest;
        let mut value = 0u64;
        let mut digits = 0usize;
        while let Some(digit) = bytes.get(digits).filter(|b| b.is_ascii_digit()) {
            value = value
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?;
            digits += 1;
        }
        // A leading zero is broken JSON, a fraction or an exponent is another number.
        let odd = digits == 0
            || (digits > 1 && bytes.first() == Some(&b'0'))
            || matches!(bytes.get(digits), Some(b'.' | b'e' | b'E'));
        if odd || value > MAX_NUMBER {
            return None;
        }
        self.advance(digits);
        Some(value)
    }
}

/// Whether all of them are ASCII and none is a control character below 0x20, which would be broken
/// JSON in a string. One comparison a byte and no early way out: this becomes vector code.
fn is_printable(bytes: &[u8]) -> bool {
    let above_space = bytes.iter().map(|b| b.wrapping_sub(0x20));
    above_space.fold(0, u8::max) < 0x60
}

/// Takes one message of a known shape off the array.
///
/// `None`: nothing was taken, ask `typed`. `Some(None)`: taken, and it is to be skipped.
pub(super) fn message<'a>(cursor: &mut Cursor<'a>) -> Option<Option<Message<'a>>> {
    let mut ahead = *cursor;
    ahead.skip_space();
    let message = if ahead.literal(b"{\"Content\":{") {
        content(&mut ahead)?
    } else if ahead.literal(b"{\"AlwaysReturned\":") {
        Some(Message::AlwaysReturned(cookie(&mut ahead)?))
    } else if ahead.literal(b"{\"ReturnedMessage\":") {
        Some(Message::ReturnedMessage(cookie(&mut ahead)?))
    } else {
        return None;
    };
    if !ahead.literal(b"}") {
        return None;
    }
    *cursor = ahead;
    Some(message)
}

/// `"id":..,"offset":..,"base64":..,"eof":..}` in any order, `eof` optional.
fn content<'a>(ahead: &mut Cursor<'a>) -> Option<Option<Message<'a>>> {
    let (mut id, mut offset, mut eof, mut base64) = (None, None, None, None);
    loop {
        let repeated = if ahead.literal(b"\"id\":") {
            id.replace(ahead.text()?).is_some()
        } else if ahead.literal(b"\"offset\":") {
            offset.replace(ahead.number()?).is_some()
        } else if ahead.literal(b"\"base64\":") {
            base64.replace(ahead.text()?).is_some()
        } else if ahead.literal(b"\"eof\":") {
            eof.replace(ahead.number()?).is_some()
        } else {
            return None;
        };
        if repeated {
            return None;
        }
        if ahead.literal(b"}") {
            break;
        }
        if !ahead.literal(b",") {
            return None;
        }
    }
    let (id, offset, base64) = (id?, offset?, base64?);
    Some(Id::from_text(Cow::Borrowed(id)).map(|id| Message::Content {
        id,
        offset,
        eof,
        base64: Cow::Borrowed(base64),
    }))
}

/// `{"cookie":".."}`.
fn cookie<'a>(ahead: &mut Cursor<'a>) -> Option<Cookie<'a>> {
    let start = ahead.rest;
    if !ahead.literal(b"{\"cookie\":") {
        return None;
    }
    ahead.text()?;
    if !ahead.literal(b"}") {
        return None;
    }
    let length = start.len().checked_sub(ahead.rest.len())?;
    Cookie::new(std::str::from_utf8(start.get(..length)?).ok()?)
}
