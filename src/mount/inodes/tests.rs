use super::*;

fn info(head: u8, tail: u8, proven: bool) -> ContentInfo {
    let mut hash = [head; 32];
    hash[31] = tail;
    ContentInfo {
        id: ContentId::sha256(hash),
        length: 7,
        proven,
        present: 0,
        verified: crate::node::Verified::default(),
    }
}

#[test]
fn what_the_kernel_forgets_is_forgotten() {
    let inodes = Inodes::<()>::default();
    let first = inodes.found(&info(1, 1, false));
    let again = inodes.listed(&info(1, 1, false));
    assert_eq!(first.ino, again.ino);
    inodes.forget(first.ino, 1);
    assert!(inodes.content(first.ino).is_some());
    inodes.forget(first.ino, 1);
    assert_eq!((inodes.content(first.ino), inodes.len()), (None, 0));
    inodes.forget(first.ino, 9);
}

#[test]
fn two_contents_never_share_a_number() {
    let inodes = Inodes::<()>::default();
    let a = inodes.found(&info(0xff, 1, false)).ino;
    let b = inodes.found(&info(0xff, 2, false)).ino;
    assert_ne!(a, b);
    assert_eq!(inodes.found(&info(0xff, 2, false)).ino, b);
    assert!(a.0 < 1 << 63 && a.0 >= 1 << 62);
}

#[test]
fn a_listing_does_not_undo_what_is_known() {
    let inodes = Inodes::<()>::default();
    assert!(inodes.found(&info(1, 1, true)).lasting);
    assert!(inodes.listed(&info(1, 1, false)).lasting);
    assert!(!inodes.found(&info(1, 1, false)).lasting);
}

#[test]
fn what_was_read_of_a_rotten_file_is_not_kept_and_the_file_is_passed_to_nobody_else() {
    let inodes = Inodes::<()>::default();
    let one = info(1, 1, true);
    let ino = inodes.found(&one).ino;
    let cached = || inodes.opened(ino, true, 0, None).0;
    assert_eq!(cached(), OpenMode::Cached { keep: false });
    assert_eq!(cached(), OpenMode::Cached { keep: true });
    assert_eq!(inodes.rotten(&[info(2, 2, true).id]), []);
    assert_eq!(cached(), OpenMode::Cached { keep: true });
    assert_eq!(inodes.rotten(&[one.id]), [ino]);
    assert_eq!(cached(), OpenMode::Cached { keep: false });
    for _ in 0..4 {
        inodes.closed(ino, OpenMode::Cached { keep: false });
    }

    let file = || -> Backing { Arc::new(tempfile::tempfile().unwrap()) };
    let offer = || Some(Passage::new((), file()));
    assert_eq!(inodes.opened(ino, true, 0, offer()).0, OpenMode::Passed);
    assert!(inodes.pass_along(ino).unwrap().is_some());
    assert_eq!(inodes.rotten(&[one.id]), [ino]);
    assert!(matches!(inodes.pass_along(ino), Err(Errno::EIO)));
    inodes.closed(ino, OpenMode::Passed);
    inodes.closed(ino, OpenMode::Passed);
    assert!(inodes.pass_along(ino).unwrap().is_none());
    assert_eq!(inodes.opened(ino, true, 0, offer()).0, OpenMode::Passed);
    assert!(inodes.pass_along(ino).unwrap().is_some());
}

#[test]
fn pages_are_kept_only_when_a_proven_open_came_before() {
    let inodes = Inodes::<()>::default();
    let ino = inodes.found(&info(1, 1, false)).ino;
    let open = |proven| inodes.opened(ino, proven, 1, None).0;
    assert_eq!(open(false), OpenMode::Direct { keep: false });
    assert_eq!(open(true), OpenMode::Cached { keep: false });
    assert_eq!(open(true), OpenMode::Cached { keep: true });
    assert_eq!(inodes.open_handles(ino), [1, 2, 0]);
    let direct = OpenMode::Direct { keep: true };
    assert_eq!(open(false), direct);
    assert_eq!(open(true), OpenMode::Cached { keep: false });
    for _ in 0..3 {
        inodes.closed(ino, direct);
    }
    assert_eq!(inodes.open_handles(ino), [0, 3, 0]);
}

#[test]
fn unproven_pages_are_shared_by_handles_of_one_generation_only() {
    let inodes = Inodes::<()>::default();
    let ino = inodes.found(&info(1, 1, false)).ino;
    let open = |generation| inodes.opened(ino, false, generation, None).0;
    let [keep, drop] = [true, false].map(|keep| OpenMode::Direct { keep });
    assert_eq!(
        [open(1), open(1), open(2), open(2)],
        [drop, keep, drop, keep]
    );
    for _ in 0..4 {
        inodes.closed(ino, keep);
    }
    assert_eq!(open(2), drop, "nobody knows what is left from before");
}

/// Whoever holds one shows whether it is still held.
fn offer(kernel: &Arc<()>) -> Option<Passage<Arc<()>>> {
    let file = Arc::new(std::fs::File::open("/dev/null").unwrap());
    Some(Passage::new(Arc::clone(kernel), file))
}

#[test]
fn while_one_handle_is_passed_all_are_and_through_the_same_passage() {
    let inodes = Inodes::default();
    let ino = inodes.found(&info(1, 1, true)).ino;
    let (first, second) = (Arc::new(()), Arc::new(()));
    assert!(inodes.may_pass(ino) && inodes.pass_along(ino).unwrap().is_none());
    let (mode, passage) = inodes.opened(ino, true, 1, offer(&first));
    assert_eq!(mode, OpenMode::Passed);
    // Whether it has an offer of its own, none, or has not seen that the content is proven.
    for (proven, offer) in [(true, offer(&second)), (true, None), (false, None)] {
        let (mode, again) = inodes.opened(ino, proven, 1, offer);
        assert_eq!(mode, OpenMode::Passed);
        assert!(Arc::ptr_eq(&again.unwrap().kernel, &first));
    }
    assert_eq!(
        Arc::strong_count(&second),
        1,
        "what is not used is given back"
    );
    assert!(inodes.pass_along(ino).unwrap().is_some());
    drop(passage);
    for left in (0..5).rev() {
        assert_eq!(Arc::strong_count(&first), 2, "it is held to the last");
        inodes.closed(ino, OpenMode::Passed);
        assert_eq!(inodes.open_handles(ino), [0, 0, left]);
    }
    assert_eq!(Arc::strong_count(&first), 1);
    let (mode, _) = inodes.opened(ino, true, 1, None);
    assert_eq!(mode, OpenMode::Cached { keep: false });
}

#[test]
fn nothing_is_passed_while_a_handle_reads_in_another_way() {
    for proven in [true, false] {
        let inodes = Inodes::default();
        let ino = inodes.found(&info(1, 1, true)).ino;
        let kernel = Arc::new(());
        let (other, _) = inodes.opened(ino, proven, 1, None);
        assert!(!inodes.may_pass(ino));
        let (mode, passage) = inodes.opened(ino, true, 1, offer(&kernel));
        assert_eq!(mode, OpenMode::Cached { keep: proven });
        assert!(passage.is_none());
        inodes.closed(ino, other);
        inodes.closed(ino, mode);
        assert_eq!(
            inodes.opened(ino, true, 1, offer(&kernel)).0,
            OpenMode::Passed
        );
    }
}

#[test]
fn a_length_that_changes_before_it_is_proven_is_shown() {
    let inodes = Inodes::<()>::default();
    let ino = inodes.found(&info(1, 1, false)).ino;
    let better = ContentInfo {
        length: 9,
        ..info(1, 1, true)
    };
    let shown = inodes.attributes(ino, |_| Some(better)).unwrap();
    assert_eq!((shown.length, shown.lasting), (9, true));
    let shown = inodes.attributes(ino, |_| panic!("proven: nothing to ask"));
    assert_eq!(shown.unwrap().length, 9);
}
