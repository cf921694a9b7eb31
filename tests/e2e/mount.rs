//! The real binary over a real kernel mount.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{
    LATER, Mounted, Node, Place, PythonPeer, SOON, Settings, is_mounted, on_path, run, wait,
};

#[test]
fn programs_read_the_right_bytes() {
    requires_mount!();
    let place = Place::new();
    let file = place.file("content", 5_000_001);
    let seeder = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let mount = Mounted::new(
        Settings::new(place.path("b")).peer(seeder.address),
        &place.path("mnt"),
    );
    let id = file.sha256.as_str();

    file.is(&mount.cat(id).ok().stdout);
    let sum = run(Command::new("sha256sum").arg(mount.path(id)), LATER)
        .ok()
        .text();
    assert!(sum.starts_with(id), "{sum}");
    let part = mount.dd(id, 1_234_567, 100_000).ok().stdout;
    assert!(part == file.bytes[1_234_567..1_334_567]);
    assert_eq!(
        mount.dd(id, 5_000_000, 10).ok().stdout,
        file.bytes[5_000_000..]
    );
    let copy = place.path("copy");
    run(Command::new("cp").arg(mount.path(id)).arg(&copy), LATER).ok();
    file.is_in(&copy);
    run(
        Command::new("cmp").arg(mount.path(id)).arg(&file.path),
        LATER,
    )
    .ok();
    assert_eq!(fs::metadata(mount.path(id)).unwrap().len(), file.len());

    // Any suffix is the same file, BLAKE3 another name of it, and upper case no other name.
    file.is(&mount.cat(&format!("{id}.mp4")).ok().stdout);
    file.is(&mount.cat(&format!("blake3/{}", file.blake3)).ok().stdout);
    file.is(&mount.cat(&id.to_uppercase()).ok().stdout);
    let listed = run(Command::new("ls").arg(&mount.at), SOON).ok().text();
    assert!(listed.contains(id), "{listed}");
    mount.umount();
}

#[test]
fn rsync_copies_out_of_it() {
    requires_mount!();
    if !on_path("rsync") {
        println!("skipped: no rsync");
        return;
    }
    let place = Place::new();
    let file = place.file("content", 3_000_000);
    let seeder = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let mount = Mounted::new(
        Settings::new(place.path("b")).peer(seeder.address),
        &place.path("mnt"),
    );
    let copy = place.path("copy");
    for checksum in [&[][..], &["--checksum"][..]] {
        let mut rsync = Command::new("rsync");
        run(
            rsync
                .arg("--times")
                .args(checksum)
                .arg(mount.path(&file.sha256))
                .arg(&copy),
            LATER,
        )
        .ok();
        file.is_in(&copy);
    }
}

#[test]
fn ffprobe_understands_a_clip() {
    requires_mount!();
    if !on_path("ffmpeg") || !on_path("ffprobe") {
        println!("skipped: no ffmpeg and ffprobe");
        return;
    }
    let place = Place::new();
    let clip = place.path("clip.mp4");
    let mut make = Command::new("ffmpeg");
    make.args([
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        "testsrc=duration=3:size=320x240:rate=10",
    ]);
    run(make.args(["-c:v", "mpeg4"]).arg(&clip), LATER).ok();
    let seeder = Node::seed(Settings::new(place.path("a")), &[&clip], 1);
    let id = seeder.lines()[0][..64].to_owned();
    let mount = Mounted::new(
        Settings::new(place.path("b")).peer(seeder.address),
        &place.path("mnt"),
    );
    let mut probe = Command::new("ffprobe");
    probe.args([
        "-v",
        "error",
        "-show_entries",
        "format=duration",
        "-of",
        "csv=p=0",
    ]);
    let said = run(probe.arg(mount.path(&format!("{id}.mp4"))), LATER)
        .ok()
        .text();
    assert!(
        (said.trim().parse::<f64>().unwrap() - 3.0).abs() < 0.2,
        "{said}"
    );
}

#[test]
fn several_readers_at_once_read_the_right_bytes() {
    requires_mount!();
    let place = Place::new();
    let folder = place.folder("folder");
    let files = [
        place.file("folder/x", 4_000_000),
        place.file("folder/y", 3_000_000),
    ];
    let seeder = Node::seed(Settings::new(place.path("a")), &[&folder], 2);
    let mount = Mounted::new(
        Settings::new(place.path("b")).peer(seeder.address),
        &place.path("mnt"),
    );
    let mut readers: Vec<_> = (0..8)
        .map(|n| (n % 2, mount.start_cat(&files[n % 2].sha256)))
        .collect();
    for (which, reader) in &mut readers {
        assert!(reader.wait(LATER).success());
        files[*which].is(&reader.outputs().0);
    }
    // Together they cost about one transfer of each.
    let fetched = mount.node.count("bytes_fetched");
    assert!(
        fetched < 7_000_000 * 3 / 2,
        "{fetched} bytes fetched for 7,000,000"
    );
}

#[test]
fn four_kilobytes_in_the_middle_of_a_gigabyte_fetch_little() {
    requires_mount!();
    let place = Place::new();
    let path = place.path("large");
    let large = File::create(&path).unwrap();
    large.set_len(1 << 30).unwrap();
    let middle = 512 << 20;
    let pattern: Vec<u8> = (0..1_u32 << 18)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    large.write_all_at(&pattern, middle).unwrap();
    let seeder = Node::seed(Settings::new(place.path("a")), &[&path], 1);
    let id = seeder.lines()[0][..64].to_owned();
    let mount = Mounted::new(
        Settings::new(place.path("b")).peer(seeder.address),
        &place.path("mnt"),
    );
    assert_eq!(fs::metadata(mount.path(&id)).unwrap().len(), 1 << 30);
    let part = mount.dd(&id, middle + 40_960, 4096).ok().stdout;
    assert!(part == pattern[40_960..45_056]);
    // Watched for a while, so that a fetch that goes on in the background is seen.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(2) {
        let fetched = mount.node.count("bytes_fetched");
        assert!(fetched < 4 << 20, "{fetched} bytes fetched for 4,096");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn after_a_restart_it_is_read_from_the_store_with_no_peer_running() {
    requires_mount!();
    let place = Place::new();
    let file = place.file("content", 3_000_000);
    let seeder = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let settings = Settings::new(place.path("b"));
    let mount = Mounted::new(settings.clone().peer(seeder.address), &place.path("mnt"));
    file.is(&mount.cat(&file.sha256).ok().stdout);
    wait("it to be held", SOON, || {
        (mount.node.count("contents_held") >= 1).then_some(())
    });
    mount.umount();
    seeder.stop();
    let mount = Mounted::new(settings, &place.path("mnt"));
    file.is(&mount.cat(&file.sha256).ok().stdout);
    assert_eq!(mount.node.count("bytes_fetched"), 0);
    let part = mount.dd(&file.sha256, 1_000_000, 5000).ok().stdout;
    assert!(part == file.bytes[1_000_000..1_005_000]);
}

#[test]
fn what_a_reader_fetched_is_served_onwards_at_once() {
    requires_mount!();
    let place = Place::new();
    let file = place.file("content", 2_000_000);
    let first = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let second = Mounted::new(
        Settings::new(place.path("b")).peer(first.address),
        &place.path("mnt"),
    );
    file.is(&second.cat(&file.sha256).ok().stdout);
    first.stop();
    let out = place.path("out");
    let third = Settings::new(place.path("c")).peer(second.node.address);
    run(&mut third.get(&file.sha256, &out), LATER).ok();
    file.is_in(&out);
}

#[test]
fn killed_in_mid_transfer_it_heals_and_fetches_only_the_rest() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 24 << 20);
    let peer = PythonPeer::serve(&folder, &place.path("peer.json"), &["--rate", "8e6"]);
    let settings = Settings::new(place.path("store")).peer(peer.address);
    let at = place.path("mnt");
    let mut mount = Mounted::new(settings.clone(), &at);
    let mut reader = mount.start_cat(&file.sha256);
    let served = || PythonPeer::served(&peer.stats(), &file.sha256);
    wait("half of it to come", LATER, || {
        (served() > file.len() / 2).then_some(())
    });
    mount.node.process.kill();
    let status = reader.wait(SOON);
    assert!(!status.success(), "the reader of a dead mount saw no error");
    let before = wait("the peer to fall silent", SOON, || {
        let before = served();
        std::thread::sleep(Duration::from_millis(700));
        (served() == before).then_some(before)
    });
    assert!(is_mounted(&at), "the dead mount is what is to be healed");

    let again = Mounted::new(settings, &at);
    file.is(&again.cat(&file.sha256).ok().stdout);
    let more = served() - before;
    // What was on its way or not yet durable when it was killed may come twice: a second's worth.
    let slack = 8 << 20;
    assert!(
        more < file.len() - before + slack,
        "{before} bytes came at first, {more} more after"
    );
    again.umount();
}

#[test]
fn wrong_content_ends_in_an_error_never_in_success() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 600_000);
    let small = place.file("folder/small", 2000);
    let peer = PythonPeer::serve(&folder, &place.path("peer.json"), &["--corrupt", "1"]);
    let settings = Settings::new(place.path("store"))
        .peer(peer.address)
        .with(&["--read-timeout", "5s"]);
    let mount = Mounted::new(settings, &place.path("mnt"));
    for name in [
        file.sha256.clone(),
        small.sha256.clone(),
        format!("blake3/{}", file.blake3),
    ] {
        for _ in 0..2 {
            let done = mount.cat(&name);
            assert!(
                !done.status.success(),
                "{name}: {} wrong bytes with success",
                done.stdout.len()
            );
            assert!(
                done.stderr.contains("Input/output error"),
                "{}",
                done.stderr
            );
        }
    }
}

/// `--verify=strict`: of wrong content not even a part is read, of right content any part is.
#[test]
fn strictly_verified_no_part_of_wrong_content_is_read() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 600_000);
    // A single answer in a hundred is wrong.
    let liar = PythonPeer::serve(
        &folder,
        &place.path("peer.json"),
        &["--corrupt", "0.01", "--seed", "4"],
    );
    let settings = |store: &str| {
        Settings::new(place.path(store))
            .peer(liar.address)
            .with(&["--read-timeout", "5s"])
    };
    let auto = Mounted::new(settings("a"), &place.path("auto"));
    let strict = settings("b").with(&["--verify", "strict"]);
    let strict = Mounted::new(strict, &place.path("strict"));
    assert_eq!(auto.node.status()["verify"], "auto");
    assert_eq!(strict.node.status()["verify"], "strict");
    let part = auto.dd(&file.sha256, 100_000, 4096).ok().stdout;
    assert_eq!(part.len(), 4096);
    for (offset, length) in [(0, 4096), (100_000, 4096), (599_999, 1), (0, 600_000)] {
        let done = strict.dd(&file.sha256, offset, length);
        match done.status.success() {
            true => assert!(
                done.stdout == file.bytes[offset as usize..(offset + length) as usize],
                "{length} bytes at {offset} are wrong"
            ),
            false => assert!(done.stdout.is_empty(), "{}", done.stdout.len()),
        }
    }
    auto.umount();
    strict.umount();
    let honest = Node::seed(Settings::new(place.path("c")), &[&file.path], 1);
    let settings = Settings::new(place.path("d"))
        .peer(honest.address)
        .with(&["--verify", "strict"]);
    let mount = Mounted::new(settings, &place.path("right"));
    let part = mount.dd(&file.sha256, 100_000, 4096).ok().stdout;
    assert!(part == file.bytes[100_000..104_096]);
    file.is(&mount.cat(&file.sha256).ok().stdout);
}

#[test]
fn beside_an_honest_peer_a_corrupting_one_does_not_win() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let folder = place.folder("folder");
    let file = place.file("folder/content", 3_000_000);
    let liar = PythonPeer::serve(&folder, &place.path("liar.json"), &["--corrupt", "0.2"]);
    let honest = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let settings = Settings::new(place.path("b"))
        .peer(liar.address)
        .peer(honest.address);
    let mount = Mounted::new(settings, &place.path("mnt"));
    // The first reads may find out who lies, at the price of failing.
    let tries = (1..=5).find(|_| {
        let done = mount.cat(&file.sha256);
        if done.status.success() {
            file.is(&done.stdout);
        }
        done.status.success()
    });
    assert!(tries.is_some(), "five tries failed");
}

#[test]
fn every_change_is_refused_as_a_read_only_file_system() {
    requires_mount!();
    let place = Place::new();
    let file = place.file("content", 1000);
    let seeder = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let mount = Mounted::new(
        Settings::new(place.path("b")).peer(seeder.address),
        &place.path("mnt"),
    );
    file.is(&mount.cat(&file.sha256).ok().stdout);
    let held = mount.path(&file.sha256);
    for (program, arguments) in [
        (
            "dd",
            vec![
                "if=/dev/zero".into(),
                format!("of={}", held.display()),
                "count=1".into(),
                "conv=notrunc".into(),
            ],
        ),
        ("touch", vec![mount.path("new").display().to_string()]),
        (
            "mkdir",
            vec![mount.path("new-folder").display().to_string()],
        ),
        ("rm", vec!["-f".into(), held.display().to_string()]),
        (
            "mv",
            vec![
                held.display().to_string(),
                mount.path("other").display().to_string(),
            ],
        ),
        ("chmod", vec!["777".into(), held.display().to_string()]),
        (
            "ln",
            vec![
                "-s".into(),
                "x".into(),
                mount.path("link").display().to_string(),
            ],
        ),
        ("truncate", vec!["-s0".into(), held.display().to_string()]),
    ] {
        let done = run(Command::new(program).args(&arguments), SOON);
        assert!(!done.status.success(), "{program} succeeded");
        assert!(
            done.stderr.contains("Read-only file system"),
            "{program}: {}",
            done.stderr
        );
    }
    file.is(&mount.cat(&file.sha256).ok().stdout);
}

#[test]
fn a_signal_ends_the_daemon_and_its_mount() {
    requires_mount!();
    let place = Place::new();
    let at = place.path("mnt");
    let mut mount = Mounted::new(Settings::new(place.path("store")), &at);
    let status = mount.node.process.stop(SOON);
    assert!(status.success(), "{status}: {}", mount.node.said());
    assert!(!is_mounted(&at));
}

#[test]
fn mount_returns_when_usable_and_leaves_the_daemon_behind() {
    requires_mount!();
    let place = Place::new();
    let file = place.file("content", 1_000_000);
    let seeder = Node::seed(Settings::new(place.path("a")), &[&file.path], 1);
    let at = place.folder("mnt");
    let _detach = crate::common::Detach(at.clone());
    let settings = Settings::new(place.path("b")).peer(seeder.address);
    run(settings.command("mount").arg(&at), SOON).ok();
    // No waiting: it is usable.
    assert!(is_mounted(&at));
    let name = at.join(&file.sha256);
    file.is(&run(Command::new("cat").arg(&name), LATER).ok().stdout);

    // `get` and `status` go through the daemon that holds the store.
    let out = place.path("out");
    run(&mut settings.get(&file.sha256, &out), LATER).ok();
    file.is_in(&out);
    assert!(settings.status().unwrap()["contents_held"].as_u64() >= Some(1));
    let text = run(
        crate::common::cjp2pfs()
            .args(["status", "--store"])
            .arg(&settings.store),
        SOON,
    )
    .ok()
    .text();
    assert!(text.lines().count() > 2, "{text}");
    let peers = run(
        crate::common::cjp2pfs()
            .args(["peers", "--store"])
            .arg(&settings.store),
        SOON,
    )
    .ok()
    .text();
    assert!(peers.contains(&seeder.address.to_string()), "{peers}");

    run(
        crate::common::cjp2pfs()
            .arg("umount")
            .arg(&at)
            .arg("--store")
            .arg(&settings.store),
        SOON,
    )
    .ok();
    assert!(!is_mounted(&at));
    assert!(settings.status().is_none(), "the daemon outlived its mount");
    // The store is free again at once.
    run(&mut settings.get(&file.sha256, &place.path("again")), SOON).ok();
}
