//! Doors for fuzzers to what people write.

use super::config_file::ConfigFile;
use super::values::{PeerName, parse_duration, parse_rate, parse_size};

/// Reads `text` as a configuration file; the error is what the user would see.
///
/// # Errors
/// It is none.
pub fn config(text: &str) -> Result<(), String> {
    match ConfigFile::parse(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Reads `text` as each kind of value; the sentences for those that it is not.
#[must_use]
pub fn values(text: &str) -> Vec<String> {
    let wrong = [
        parse_size(text).err(),
        parse_rate(text).err(),
        parse_duration(text).err(),
        text.parse::<PeerName>().err(),
    ];
    wrong.into_iter().flatten().collect()
}
