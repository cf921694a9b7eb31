//! Folder listings, which strangers write: what is accepted is exactly what would be written, and the
//! tree made of it has every file under its own path and nothing that leads out.

use cjp2pfs::content::listing::{Listing, Tree, What};

pub fn run(data: &[u8]) {
    read(data);
    // Changed bytes seldom begin as a listing has to.
    read(&[b"# cjp2pfs-folder 1\n", data].concat());
}

fn read(text: &[u8]) {
    let Ok(listing) = Listing::parse(text) else {
        return;
    };
    assert_eq!(listing.to_text().as_bytes(), text);
    let tree = Tree::new(&listing);
    for (path, length, sha256) in listing.files() {
        let mut node = 0;
        for name in path.split('/') {
            assert!(!["", ".", ".."].contains(&name), "{path:?}");
            node = tree.find(node, name).unwrap();
        }
        match &tree.node(node).unwrap().what {
            What::File {
                length: found,
                sha256: hash,
                ..
            } => assert_eq!((*found, hash), (length, sha256)),
            other => panic!("{path:?} is {other:?}"),
        }
    }
    for number in 0..tree.count() {
        let number = u32::try_from(number).unwrap();
        let node = tree.node(number).unwrap();
        if number > 0 {
            assert_eq!(tree.find(node.parent, &node.name), Some(number));
        }
        if let What::Link(target) = &node.what {
            stays_inside(&tree, node.parent, target);
        }
    }
}

/// `..` comes first only, where no link can have been followed, and never leads above the root.
fn stays_inside(tree: &Tree, from: u32, target: &str) {
    let mut depth: usize = 0;
    let mut folder = from;
    while folder != 0 {
        depth += 1;
        folder = tree.node(folder).unwrap().parent;
    }
    assert!(!target.starts_with('/'), "{target:?}");
    let names: Vec<&str> = target
        .split('/')
        .filter(|name| !["", "."].contains(name))
        .collect();
    let climbed = names.iter().take_while(|name| **name == "..").count();
    assert!(climbed <= depth, "{target:?} leads out");
    assert!(!names[climbed..].contains(&".."), "{target:?} leads out");
}
