//! The base64 of `Content`: the standard alphabet, by the widest vector instructions there are.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use thiserror::Error;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type Best = base64::engine::Simd;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Best = base64::engine::GeneralPurpose;

/// Padding is written, and not missed when it is missing.
const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Finding out which instructions the processor has takes longer than a small datagram.
static ENGINE: LazyLock<Best> = LazyLock::new(|| {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    let engine = Best::standard(CONFIG);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let engine = Best::new(&base64::alphabet::STANDARD, CONFIG);
    engine
});

/// A text that is no base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Base64Error {
    /// A symbol outside the alphabet, an impossible length, or stray bits at the end.
    #[error("the text is not base64 of the standard alphabet")]
    NotBase64,
}

/// Appends the bytes that `text` stands for to `out`; on an error `out` is as it was.
pub fn decode_base64(text: &str, out: &mut Vec<u8>) -> Result<(), Base64Error> {
    let start = out.len();
    let result = ENGINE.decode_vec(text, out);
    if result.is_err() {
        out.truncate(start);
    }
    result.map_err(|_| Base64Error::NotBase64)
}

/// Puts the bytes that `text` stands for in the place of what `out` held, whose memory is used again:
/// a buffer that goes round is neither allocated nor cleared anew. On an error `out` is empty.
pub fn decode_base64_over(text: &str, out: &mut Vec<u8>) -> Result<(), Base64Error> {
    // What the engine wants to have room for; the last symbols may stand for less.
    out.resize(text.len().div_ceil(4).saturating_mul(3), 0);
    let result = ENGINE.decode_slice(text, out);
    out.truncate(*result.as_ref().unwrap_or(&0));
    result.map(|_| ()).map_err(|_| Base64Error::NotBase64)
}

/// How many bytes `text` stands for, exactly if it is base64 at all.
#[must_use]
pub fn decoded_length(text: &str) -> usize {
    let text = text.as_bytes();
    let padding = text
        .iter()
        .rev()
        .take(2)
        .take_while(|&&b| b == b'=')
        .count();
    let symbols = text.len() - padding;
    symbols / 4 * 3 + (symbols % 4 * 3) / 4
}

/// Bytes of base64, with padding, for `length` bytes.
pub(super) const fn encoded_length(length: usize) -> usize {
    length.div_ceil(3).saturating_mul(4)
}

/// Appends the base64 of `data` to `out`.
pub(super) fn encode(data: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start.saturating_add(encoded_length(data.len())), 0);
    let written = out
        .get_mut(start..)
        .map_or(Ok(0), |space| ENGINE.encode_slice(data, space));
    // It fits by construction; were it ever not to, an empty answer is the harmless one.
    out.truncate(start + written.unwrap_or(0));
}
