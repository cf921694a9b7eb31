//! Sizes, rates, durations, peers and ids as people write them.

use cjp2pfs::content::ContentId;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for sentence in cjp2pfs::cli::fuzzing::values(text) {
        assert!(
            !sentence.is_empty() && !sentence.contains('\n'),
            "{sentence:?}"
        );
    }
    if let Ok(id) = text.parse::<ContentId>() {
        let written = id.to_string();
        assert_eq!(written.parse(), Ok(id));
        assert!(written.eq_ignore_ascii_case(text));
    }
}
