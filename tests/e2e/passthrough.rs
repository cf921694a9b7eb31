//! The real program: the kernel reads complete content by itself, and where it may not, all is as
//! it was.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use crate::common::{Mounted, Node, Place, Process, SOON, Sample, Settings};
use crate::common::{is_root, on_path, program_for_all, run, wait};

/// A user who may do nothing special.
const NOBODY: u32 = 65534;

/// The settings of a store that holds all of `sample`.
fn store_with(place: &Place, sample: &Sample) -> Settings {
    let seeder = Node::seed(Settings::new(place.path("seeder")), &[&sample.path], 1);
    let settings = Settings::new(place.path("store"));
    let mount = Mounted::new(
        settings.clone().peer(seeder.address),
        &place.path("fetching"),
    );
    sample.is(&mount.cat(&sample.sha256).ok().stdout);
    wait("it to be held", SOON, || {
        (mount.node.count("contents_held") >= 1).then_some(())
    });
    mount.umount();
    settings
}

/// A program that has `path` open and reads it when it is told to.
struct Holder<'p> {
    process: Process,
    place: &'p Place,
}

impl<'p> Holder<'p> {
    #[track_caller]
    fn open(place: &'p Place, path: &Path) -> Self {
        let script = r#"exec 3<"$1" && : > "$2" && while [ ! -e "$3" ]; do sleep 0.01; done && exec cat <&3"#;
        let _ = fs::remove_file(place.path("go"));
        let process = Process::start(
            Command::new("sh")
                .args(["-c", script, "sh"])
                .arg(path)
                .arg(place.path("open"))
                .arg(place.path("go")),
        );
        wait("it to be open", SOON, || {
            place.path("open").exists().then_some(())
        });
        fs::remove_file(place.path("open")).unwrap();
        Self { process, place }
    }

    fn go(&self) {
        fs::write(self.place.path("go"), "").unwrap();
    }

    #[track_caller]
    fn read(mut self) -> Vec<u8> {
        self.process.wait(SOON);
        self.process.outputs().0
    }
}

#[test]
fn complete_content_is_read_while_the_daemon_stands_still() {
    requires_mount!();
    if !is_root() {
        println!("skipped: the kernel lets only root do this");
        return;
    }
    let place = Place::new();
    let sample = place.file("content", 3_000_000);
    let settings = store_with(&place, &sample);
    let mount = Mounted::new(settings.clone(), &place.path("mnt"));
    // The first time anything is closed, the kernel asks whether we want to hear of it.
    sample.is(&mount.cat(&sample.sha256).ok().stdout);
    let holder = Holder::open(&place, &mount.path(&sample.sha256));
    mount.node.process.signal(libc::SIGSTOP);
    holder.go();
    let read = holder.read();
    mount.node.process.signal(libc::SIGCONT);
    sample.is(&read);
    mount.umount();

    // And what is not read so waits for it: else the above shows nothing.
    let mount = Mounted::new(settings.with(&["--no-passthrough"]), &place.path("mnt"));
    let mut holder = Holder::open(&place, &mount.path(&sample.sha256));
    mount.node.process.signal(libc::SIGSTOP);
    holder.go();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(holder.process.ended().is_none());
    mount.node.process.signal(libc::SIGCONT);
    sample.is(&holder.read());
    mount.umount();
}

/// Where the kernel may not read by itself, it keeps what it was given: over the end of who read it, and
/// while others have it open, whatever the read-ahead.
#[test]
fn what_was_read_once_is_not_asked_of_the_daemon_again() {
    requires_mount!();
    let place = Place::new();
    let sample = place.file("content", 3_000_000);
    let settings = store_with(&place, &sample).with(&["--no-passthrough"]);
    for read_ahead in [None, Some(128)] {
        let mount = Mounted::new(settings.clone(), &place.path("mnt"));
        if let Some(kib) = read_ahead.filter(|_| is_root()) {
            set_read_ahead(&mount.at, kib);
        }
        sample.is(&mount.cat(&sample.sha256).ok().stdout);
        let part = fs::File::open(mount.path(&sample.sha256)).unwrap();
        let mut tail = [0; 5000];
        part.read_exact_at(&mut tail, 2_900_000).unwrap();
        let holder = Holder::open(&place, &mount.path(&sample.sha256));
        mount.node.process.signal(libc::SIGSTOP);
        holder.go();
        let read = holder.read();
        mount.node.process.signal(libc::SIGCONT);
        sample.is(&read);
        drop(part);
        mount.umount();
    }
}

/// What an ordinary user's mount has, or another one, in KiB.
fn set_read_ahead(at: &Path, kib: u32) {
    let device = fs::metadata(at).unwrap().dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    let file = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
    fs::write(file, kib.to_string()).unwrap();
}

#[test]
fn a_user_without_the_right_reads_the_same_and_hears_nothing_of_it() {
    requires_mount!();
    if !is_root() || !on_path("nsenter") || !on_path("fusermount3") {
        println!("skipped: needs root, nsenter and fusermount3");
        return;
    }
    let place = Place::new();
    let sample = place.file("content", 3_000_000);
    let settings = store_with(&place, &sample);
    let at = place.folder("mnt");
    let program = program_for_all(&place);
    give_away(&settings.store);
    give_away(&at);

    // In a mount namespace of its own, where everybody may open `/dev/fuse`.
    let script = r#"
        mount -t tmpfs none "$1" && mknod "$1/fuse" c 10 229 && chmod 666 "$1/fuse" &&
        mount --bind "$1/fuse" /dev/fuse && shift && exec "$@""#;
    let as_root = settings.command("mount");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private"])
        .args(["sh", "-c", script, "sh"])
        .arg(place.folder("dev"))
        .arg("setpriv")
        .args(as_nobody())
        .arg(&program)
        .args(as_root.get_args())
        .arg("-f")
        .arg(&at);
    for (name, value) in as_root.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut node = Node::start(settings, &mut command);
    let pid = node.process.pid();
    wait("the mount", SOON, || {
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        table.contains(at.to_str().unwrap()).then_some(())
    });
    let mut read = Command::new("nsenter");
    read.arg(format!("--mount=/proc/{pid}/ns/mnt"))
        .arg("setpriv")
        .args(as_nobody())
        .arg("cat")
        .arg(at.join(&sample.sha256));
    for _ in 0..2 {
        sample.is(&run(&mut read, SOON).ok().stdout);
    }
    assert_eq!(node.process.stop(SOON).code(), Some(0), "{}", node.said());
    assert!(!node.said().contains("permitted"), "{}", node.said());
}

fn as_nobody() -> [String; 3] {
    let [user, group] = ["reuid", "regid"].map(|what| format!("--{what}={NOBODY}"));
    [user, group, "--clear-groups".to_owned()]
}

/// Makes `path`, and all that is in it, `NOBODY`'s.
fn give_away(path: &Path) {
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path is a valid C string for the duration of the call.
    assert_eq!(unsafe { libc::lchown(name.as_ptr(), NOBODY, NOBODY) }, 0);
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}
