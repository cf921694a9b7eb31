//! The tests that `docs/threat-model.md` calls its witnesses exist.

use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_threat_model_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let mut named = 0;
    // What stands between backticks, every other piece.
    for quoted in text.split('`').skip(1).step_by(2) {
        let Some((file, name)) = quoted.split_once("::") else {
            continue;
        };
        let source = fs::read_to_string(root.join(file))
            .unwrap_or_else(|error| panic!("{quoted}: {file}: {error}"));
        assert!(
            source.contains(&format!("fn {name}(")),
            "{quoted} does not exist"
        );
        if file.starts_with("tests/") {
            assert!(source.contains("#[test]"), "{file} has no tests");
        }
        named += 1;
    }
    assert!(named > 40, "only {named} tests are named");
}
