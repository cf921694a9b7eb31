use super::*;
use crate::content::ContentHasher;
use proptest::prelude::*;

fn file(path: &str, content: &[u8]) -> Entry {
    let mut hasher = ContentHasher::new();
    hasher.update(content);
    let digests = hasher.finish();
    Entry {
        path: path.into(),
        what: Listed::File {
            length: digests.length,
            modified: 1_714_566_896,
            mode: 0o644,
            sha256: digests.sha256,
            blake3: Some(digests.blake3),
        },
    }
}

fn link(path: &str, target: &str) -> Entry {
    Entry {
        path: path.into(),
        what: Listed::Link {
            target: target.into(),
        },
    }
}

fn empty(path: &str) -> Entry {
    Entry {
        path: path.into(),
        what: Listed::EmptyFolder,
    }
}

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A listing with this path in the place of a file's.
fn with_path(path: &str) -> String {
    format!("# cjp2pfs-folder 1\n# 3 2024-05-01T12:34:56Z 644 -\n{ABC}  {path}\n")
}

#[test]
fn the_text_is_the_one_that_the_format_says() {
    let listing = Listing::new(vec![
        link("way", "a/b"),
        file("a/b", b"abc"),
        file("a\\b\n", b""),
        empty("b\n/c"),
    ])
    .unwrap();
    assert_eq!(
        listing.to_text(),
        format!(
            "# cjp2pfs-folder 1\n\
             # 3 2024-05-01T12:34:56Z 644 6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85\n\
             {ABC}  a/b\n\
             # 0 2024-05-01T12:34:56Z 644 af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262\n\
             \\e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\\\\b\\n\n\
             # /\n\
             #  b\\n/c\n\
             # -> a/b\n\
             #  way\n"
        )
    );
    assert_eq!(Listing::parse(listing.to_text().as_bytes()), Ok(listing));
    let empty = Listing::default();
    assert_eq!(Listing::parse(empty.to_text().as_bytes()), Ok(empty));
}

#[test]
fn hostile_paths_are_refused() {
    assert!(Listing::parse(with_path("fine").as_bytes()).is_ok());
    let deep = "d/".repeat(MAX_DEPTH) + "f";
    let long = format!("{}/f", "x".repeat(256));
    let endless = vec!["x".repeat(200); 30].join("/");
    for path in [
        "/etc/passwd",
        "..",
        "../x",
        "a/../x",
        "a/..",
        ".",
        "./x",
        "a/./x",
        "",
        "a//b",
        "a/",
        "nul\0",
        &deep,
        &long,
        &endless,
    ] {
        let refused = Listing::parse(with_path(path).as_bytes());
        assert_eq!(refused, Err(ListingError::BadPath(path.into())), "{path}");
    }
}

#[test]
fn what_cannot_stand_together_is_refused() {
    let two = |a: &str, b: &str| {
        let text = with_path(a) + with_path(b).split_once('\n').unwrap().1;
        Listing::parse(text.as_bytes())
    };
    assert!(two("a", "b").is_ok());
    for (a, b) in [("a", "a"), ("b", "a"), ("a/b", "a.b")] {
        assert_eq!(two(a, b), Err(ListingError::OutOfOrder(b.into())));
    }
    for (a, b) in [("a", "a/b"), ("a", "a/b/c"), ("a/b", "a/b/c/d")] {
        assert_eq!(two(a, b), Err(ListingError::NotAFolder(a.into())));
    }
    // What sorts between a file and the folder of the same name does not hide it.
    let entries = vec![file("a", b"1"), file("a.txt", b"2"), file("a/b", b"3")];
    assert_eq!(
        Listing::new(entries),
        Err(ListingError::NotAFolder("a".into()))
    );
    // A folder is named as an empty one only if it is, so that the same folder has one listing.
    for above in [link("a", "b"), empty("a")] {
        for below in [file("a/b", b"3"), empty("a/b"), file("a/b/c", b"3")] {
            assert_eq!(
                Listing::new(vec![above.clone(), below]),
                Err(ListingError::NotAFolder("a".into()))
            );
        }
    }
}

#[test]
fn malformed_text_is_refused() {
    let right = with_path("name");
    assert!(Listing::parse(right.as_bytes()).is_ok());
    for (from, to) in [
        ("# cjp2pfs-folder 1", "# cjp2pfs-folder 2"),
        ("# 3", "# -3"),
        ("# 3", "# 03"),
        ("# 3", "# 18446744073709551616"),
        ("# 3", "# 9223372036854775807"),
        ("# 3", "# 0"),
        ("# 3 ", "# 3  "),
        ("# 3", "#3"),
        ("Z 644", "Z 4644"),
        ("Z 644", "Z 689"),
        ("Z 644", "+01:00 644"),
        ("644 -", "644 - -"),
        ("644 -", "644 BA"),
        ("  name", " *name"),
        ("  name", " name"),
        ("name\n", "name"),
        ("name\n", "na\\me\n"),
        ("name\n", "na\rme\n"),
        ("name\n", "name\n\n"),
        ("name\n", "name\n# 3 2024-05-01T12:34:56Z 644 -\n"),
        ("name\n", "name\n# /\n"),
        ("name\n", "name\n# / \n#  z\n"),
        ("name\n", "name\n# /\n# z\n"),
        ("name\n", "name\n# /\n#  z/\n"),
        (
            ABC,
            "BA7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (ABC, "é"),
        ("ba78", "\\ba78"),
    ] {
        let wrong = right.replacen(from, to, 1);
        assert_ne!(wrong, right);
        assert!(Listing::parse(wrong.as_bytes()).is_err(), "{wrong}");
    }
    assert_eq!(Listing::parse(b""), Err(ListingError::NotAListing));
    let not_text = [right.as_bytes(), b"\xff"].concat();
    assert_eq!(Listing::parse(&not_text), Err(ListingError::NotText));
}

#[test]
fn more_than_fits_is_refused() {
    let huge = vec![b' '; MAX_LISTING as usize + 1];
    assert_eq!(Listing::parse(&huge), Err(ListingError::TooLong));
    // Few entries, many folders.
    let path = |n: usize| format!("{n:06}/{}f", "d/".repeat(MAX_DEPTH - 2));
    let count = MAX_NODES / (MAX_DEPTH - 1) + 1;
    let entries = (0..count).map(|n| link(&path(n), "x")).collect();
    assert_eq!(Listing::new(entries), Err(ListingError::TooMany));
    // A million files in one folder.
    let entries = (0..MAX_NODES).map(|n| link(&format!("{n:07}"), "x"));
    assert_eq!(Listing::new(entries.collect()), Err(ListingError::TooMany));
}

#[test]
fn links_that_lead_out_are_known() {
    for (path, target, out) in [
        ("a", "b", false),
        ("a", "./b/c", false),
        ("d/a", "../b", false),
        ("d/e/a", "../../b//c", false),
        ("d/a", "..", false),
        ("a", "/etc/passwd", true),
        ("a", "..", true),
        ("d/a", "../../b", true),
        ("d/a", "b/..", true),
        ("a", "b/../..", true),
        ("a", "/", true),
    ] {
        assert_eq!(link(path, target).leads_out(), out, "{path} -> {target}");
    }
}

#[test]
fn a_tree_finds_what_the_listing_names() {
    let listing = Listing::new(vec![
        file("a.txt", b"1"),
        file("a/b", b"22"),
        file("a/c/d", b"333"),
        link("a/c/e", "../b"),
        link("a/out", "/etc/passwd"),
        empty("a/z"),
        file("a0", b""),
    ])
    .unwrap();
    let tree = Tree::new(&listing);
    let find = |path: &str| {
        path.split('/')
            .try_fold(0, |folder, name| tree.find(folder, name))
            .and_then(|number| tree.node(number))
    };
    let length = |path: &str| match find(path).map(|node| &node.what) {
        Some(What::File { length, .. }) => Some(*length),
        _ => None,
    };
    assert_eq!(length("a.txt"), Some(1));
    assert_eq!(length("a/b"), Some(2));
    assert_eq!(length("a/c/d"), Some(3));
    assert_eq!(length("a0"), Some(0));
    assert_eq!(find("a/c/e").unwrap().what, What::Link("../b".into()));
    for missing in ["a/out", "a/c/d/x", "b", "", "a/", "..", "a/.."] {
        assert!(find(missing).is_none(), "{missing}");
    }
    let What::Folder(children) = &tree.node(0).unwrap().what else {
        panic!("the root is a folder");
    };
    let names: Vec<_> = children
        .clone()
        .map(|number| &*tree.node(number).unwrap().name)
        .collect();
    assert_eq!(names, ["a", "a.txt", "a0"]);
    assert_eq!(find("a/c").unwrap().modified, 1_714_566_896);
    let nothing = find("a/z").unwrap();
    assert!(matches!(&nothing.what, What::Folder(inside) if inside.is_empty()));
    assert_eq!(nothing.modified, 1_714_566_896, "as old as what it is in");
    assert_eq!(tree.count(), 9);
    assert!(tree.bytes() > 9 * size_of::<Node>());

    // One that leads out does not take what lies beside it along.
    let beside = vec![link("a/a", "/"), file("a/b", b"1")];
    let tree = Tree::new(&Listing::new(beside).unwrap());
    assert_eq!(tree.count(), 3);
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{1,2}",
        "[ \\\\\n\r\t#*a-]{1,4}",
        any::<char>().prop_map(String::from),
    ]
    .prop_filter("a name", |name| super::is_path(name) && !name.contains('/'))
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let path = prop::collection::vec(any_name(), 1..4).prop_map(|names| names.join("/"));
    let what = (any::<[u8; 40]>(), any::<bool>(), any_name(), 0..4u8).prop_map(
        |(random, known, target, kind)| {
            if kind == 0 {
                return Listed::Link {
                    target: target.into(),
                };
            }
            if kind == 1 {
                return Listed::EmptyFolder;
            }
            let mut hash = [0; 32];
            hash.copy_from_slice(&random[..32]);
            Listed::File {
                length: u64::from(random[32]) + 1,
                modified: i64::from(random[33]) * 86_399,
                mode: u32::from(random[34]),
                sha256: Hash(hash),
                blake3: known.then_some(Hash(hash)),
            }
        },
    );
    (path, what).prop_map(|(path, what)| Entry {
        path: path.into(),
        what,
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in prop::collection::vec(any_entry(), 0..12)) {
        if let Ok(listing) = Listing::new(entries) {
            let text = listing.to_text();
            let read = Listing::parse(text.as_bytes());
            prop_assert_eq!(read.as_ref(), Ok(&listing));
            // Every entry that stays inside is found in the tree, and nothing else is.
            let tree = Tree::new(&listing);
            for entry in listing.entries() {
                let found = entry.path.split('/').try_fold(0, |at, name| tree.find(at, name));
                prop_assert_eq!(found.is_none(), entry.leads_out());
            }
        }
    }

    #[test]
    fn what_is_accepted_is_what_would_be_written(
        entries in prop::collection::vec(any_entry(), 0..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        if let Ok(listing) = Listing::new(entries) {
            let mut text = listing.to_text().into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            if let Ok(read) = Listing::parse(&text) {
                prop_assert_eq!(read.to_text().into_bytes(), text);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Listing::parse(&bytes);
        let text = [b"# cjp2pfs-folder 1\n", &bytes[..]].concat();
        let _ = Listing::parse(&text);
    }
}
