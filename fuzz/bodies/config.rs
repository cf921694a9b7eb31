//! The configuration file: any text is understood or refused in one line.

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(sentence) = cjp2pfs::cli::fuzzing::config(text) {
        assert!(
            !sentence.is_empty() && !sentence.contains('\n'),
            "{sentence:?}"
        );
    }
}
