//! Programs that are known to read such mounts well, and find every wrong byte.
//!
//! Each reads content while it arrives, then what is complete in the store; both with the kernel
//! reading by itself and with the daemon answering, where there is a choice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::{LATER, Mounted, Node, Place, SOON, Settings};
use crate::common::{is_mounted, is_root, on_path, run, sha256_of, wait};

/// Ends the test where one of these programs is missing.
macro_rules! requires {
    ($($program:literal),+) => {
        requires_mount!();
        for program in [$($program),+] {
            if !on_path(program) {
                println!("skipped: there is no {program}");
                return;
            }
        }
    };
}

/// Calls `test` with the path of `file` on a mount that knows nothing of it but a peer, and again
/// with all of it in the store: by the daemon, and by the kernel.
fn on_mounts(place: &Place, file: &Path, test: impl Fn(&Path)) {
    let id = sha256_of(&fs::read(file).unwrap());
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[file], 1);
    let settings = Settings::new(place.path("store")).with(&["--complete", "always"]);
    let first = settings.clone().peer(seeder.address);
    let mount = Mounted::new(first, &place.path("mnt"));
    test(&mount.path(&id));
    wait("it to be held", LATER, || {
        (mount.node.count("contents_held") >= 1).then_some(())
    });
    mount.umount();
    seeder.stop();
    for more in [&["--no-passthrough"][..], &[]] {
        let mount = Mounted::new(settings.clone().with(more), &place.path("mnt"));
        test(&mount.path(&id));
        mount.umount();
    }
}

#[test]
fn fio_verifies_every_block() {
    requires!("fio");
    let place = Place::new();
    let file = place.path("written");
    let fio = |file: &Path, more: &[&str]| {
        let mut fio = Command::new("fio");
        fio.args(["--name=verify", "--size=16m", "--verify=crc32c"])
            .args(["--verify_state_save=0", "--verify_fatal=1"])
            .arg(format!("--filename={}", file.display()))
            .args(more)
            .current_dir(place.folder("scratch"));
        run(&mut fio, LATER).ok()
    };
    let write = ["--rw=write", "--bs=8k", "--do_verify=0", "--ioengine=psync"];
    fio(&file, &write);
    on_mounts(&place, &file, |path| {
        for engine in [
            &["--ioengine=psync"][..],
            &["--ioengine=libaio", "--iodepth=16"],
            &["--ioengine=libaio", "--iodepth=16", "--direct=1"],
            &["--ioengine=mmap"],
        ] {
            let mut more = vec!["--rw=read", "--bs=8k", "--readonly"];
            more.extend(engine);
            fio(path, &more);
        }
    });
}

#[test]
fn sqlite_finds_a_database_whole() {
    requires!("sqlite3");
    let place = Place::new();
    let file = place.path("database");
    let sql = "pragma page_size = 4096; create table t (n integer primary key, text text);
        with recursive c(n) as (select 1 union all select n + 1 from c where n < 60000)
        insert into t select n, hex(n * 7919) || ' and some more text, so that it is long' from c;
        create index i on t (text);";
    run(Command::new("sqlite3").arg(&file).arg(sql), LATER).ok();
    on_mounts(&place, &file, |path| {
        let uri = format!("file:{}?immutable=1", path.display());
        for map in ["0", "1000000000"] {
            let sql = format!(
                "pragma mmap_size = {map}; pragma integrity_check; select count(*), sum(n) from t;"
            );
            let mut sqlite = Command::new("sqlite3");
            let said = run(sqlite.arg(&uri).arg(sql), LATER).ok().text();
            let said: Vec<_> = said.lines().collect();
            assert_eq!(said, [map, "ok", "60000|1800030000"]);
        }
    });
}

/// A file system in an image, mounted; unmounted first of all when dropped, since it is stuck for
/// ever where its image is on a mount that is not served any more.
struct LoopMount(PathBuf);

impl LoopMount {
    #[track_caller]
    fn new(image: &Path, at: PathBuf) -> Self {
        fs::create_dir_all(&at).unwrap();
        let mounted = Self(at);
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "squashfs", "-o", "loop,ro"])
            .arg(image)
            .arg(&mounted.0);
        run(&mut mount, LATER).ok();
        mounted
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        let limit = |lazily: &str| {
            let mut umount = Command::new("timeout");
            umount
                .args(["-s", "KILL", "20", "umount", lazily])
                .arg(&self.0);
            umount.status().is_ok_and(|status| status.success())
        };
        if is_mounted(&self.0) && !limit("-d") {
            limit("-l");
        }
    }
}

/// Whether an image can be mounted here, which containers often cannot.
fn can_loop(place: &Place) -> bool {
    if !is_root() {
        return false;
    }
    let image = place.path("probe.img");
    squash(&place.folder("probe"), &image);
    let at = place.folder("probe-mnt");
    let mut mount = Command::new("mount");
    mount
        .args(["-t", "squashfs", "-o", "loop,ro"])
        .arg(&image)
        .arg(&at);
    let mounted = LoopMount(at);
    let can = run(&mut mount, SOON).status.success();
    drop(mounted);
    can
}

fn squash(folder: &Path, image: &Path) {
    let mut squash = Command::new("mksquashfs");
    squash
        .arg(folder)
        .arg(image)
        .args(["-quiet", "-no-progress", "-processors", "1"]);
    run(&mut squash, LATER).ok();
}

#[test]
fn a_file_system_in_an_image_is_the_same() {
    requires!("mksquashfs", "diff");
    let place = Place::new();
    if !can_loop(&place) {
        println!("skipped: images cannot be mounted here");
        return;
    }
    for number in 0..60 {
        place.file(
            &format!("tree/{}/file-{number}", number % 7),
            number * 5000 + 17,
        );
    }
    let (tree, image) = (place.path("tree"), place.path("image"));
    squash(&tree, &image);
    on_mounts(&place, &image, |path| {
        let inside = LoopMount::new(path, place.path("inside"));
        let mut diff = Command::new("diff");
        diff.arg("-r").arg(&tree).arg(&inside.0);
        let done = run(&mut diff, LATER).ok();
        assert_eq!(done.text(), "");
        drop(inside);
        assert!(!is_mounted(&place.path("inside")));
    });
}

#[test]
fn ten_thousand_files_are_checked_in_parallel() {
    requires!("sha256sum", "xargs", "split");
    let place = Place::new();
    let folder = place.folder("files");
    for number in 0..10_000_u32 {
        let text = format!("file {number}\n").repeat(1 + number as usize % 400);
        fs::write(folder.join(number.to_string()), text).unwrap();
    }
    // The files, and the listing of their folder.
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[&folder], 10_001);
    let settings = Settings::new(place.path("store")).peer(seeder.address);
    let mount = Mounted::new(settings, &place.path("mnt"));
    let list: String = seeder
        .lines()
        .iter()
        .map(|line| {
            let id = line.split(' ').next().unwrap();
            format!("{id}  {}\n", mount.path(id).display())
        })
        .collect();
    fs::write(place.path("list"), list).unwrap();
    let parts = place.folder("parts");
    let mut split = Command::new("split");
    split
        .args(["-n", "l/8"])
        .arg(place.path("list"))
        .arg(parts.join("part-"));
    run(&mut split, SOON).ok();
    // Once while they arrive, once more when most are complete.
    for _ in 0..2 {
        let mut check = Command::new("sh");
        check
            .args([
                "-c",
                "ls | xargs -P 8 -n 1 sha256sum --check --quiet --strict && cat * | wc -l",
            ])
            .current_dir(&parts);
        let done = run(&mut check, Duration::from_secs(240)).ok();
        assert_eq!(done.text().trim(), "10001", "{}", done.stderr);
    }
    mount.umount();
    seeder.stop();
}

#[test]
fn cmp_and_rsync_see_no_difference() {
    requires!("cmp", "rsync");
    let place = Place::new();
    let sample = place.file("content", 5_000_000);
    on_mounts(&place, &sample.path, |path| {
        run(Command::new("cmp").arg(&sample.path).arg(path), LATER).ok();
        let copy = place.path("copy");
        for changes in [true, false] {
            let mut rsync = Command::new("rsync");
            rsync.args(["-c", "-i"]).arg(path).arg(&copy);
            let said = run(&mut rsync, LATER).ok().text();
            assert_eq!(!said.is_empty(), changes, "{said}");
        }
        sample.is_in(&copy);
        // With the bytes changed and nothing else, the checksum tells.
        let mut changed = sample.bytes.clone();
        changed[4_000_000] ^= 1;
        fs::write(&copy, changed).unwrap();
        let mut rsync = Command::new("rsync");
        rsync.args(["-c", "-i"]).arg(path).arg(&copy);
        assert!(!run(&mut rsync, LATER).ok().text().is_empty());
        sample.is_in(&copy);
        fs::remove_file(&copy).unwrap();
    });
}
