//! Never stuck: readers whose bytes do not come die of a signal, fail at their limit, and hold up no
//! unmounting.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{
    LATER, Mounted, Node, Place, Process, PythonPeer, SOON, Sample, Settings, is_alive, run, wait,
};

/// What is promised in milliseconds, on a machine that is busy with other tests. Without what makes it
/// so, it would take as long as the limits of a read or a lookup, or for ever.
const PROMPT: Duration = Duration::from_secs(3);

/// A mount whose only source has died after a little of `content`.
fn stalled(place: &Place, more: &[&str]) -> (Mounted, PythonPeer, Sample) {
    stalled_after(place, "20", more)
}

/// A mount whose only source has died after so many answers of `content`.
pub fn stalled_after(place: &Place, answers: &str, more: &[&str]) -> (Mounted, PythonPeer, Sample) {
    let folder = place.folder("folder");
    let file = place.file("folder/content", 30 << 20);
    let peer = PythonPeer::serve(
        &folder,
        &place.path("peer.json"),
        &["--silent-after", answers],
    );
    let settings = Settings::new(place.path("store"))
        .peer(peer.address)
        .with(more);
    let mount = Mounted::new(settings, &place.path("mnt"));
    (mount, peer, file)
}

fn wait_stalled(mount: &Mounted, readers: u64) {
    wait("the readers to stall", SOON, || {
        (mount.node.count("operations_waiting") >= readers).then_some(())
    });
}

#[test]
fn a_stalled_reader_dies_of_control_c() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let (mount, _peer, file) = stalled(&place, &[]);
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL] {
        let mut reader = mount.start_cat(&file.sha256);
        wait_stalled(&mount, 1);
        let start = Instant::now();
        reader.signal(signal);
        reader.wait(SOON);
        let took = start.elapsed();
        println!("signal {signal} took {took:?} (promised: 100 ms)");
        assert!(took < PROMPT, "signal {signal} took {took:?}");
    }
    // So does one that is still looking for a name.
    let mut reader = mount.start_cat(&"ab".repeat(32));
    wait_stalled(&mount, 1);
    let start = Instant::now();
    reader.signal(libc::SIGINT);
    reader.wait(SOON);
    assert!(start.elapsed() < PROMPT);
    // And the mount goes on.
    assert!(is_alive(&mount.at));
}

#[test]
fn a_read_that_gets_nothing_fails_at_its_limit() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let (mount, _peer, file) = stalled(&place, &["--read-timeout", "2s"]);
    let done = mount.cat(&file.sha256);
    assert!(
        done.stderr.contains("Input/output error"),
        "{}",
        done.stderr
    );
    assert!(done.took < SOON, "{:?}", done.took);
}

/// As many threads as `sys.argv[2]` says read from places of their own.
const CROWD: &str = "
import os, sys, threading
threading.stack_size(1 << 16)
fd = os.open(sys.argv[1], os.O_RDONLY)
def read(place):
    try: os.pread(fd, 10, (1 << 20) + 25000 * place)
    except OSError: pass
for place in range(int(sys.argv[2])):
    threading.Thread(target=read, args=(place,)).start()
";

/// All of the real thing: a thousand readers of what no peer sends any more, beside a file that is here.
#[test]
fn beside_a_thousand_stalled_readers_all_else_goes_on() {
    requires_mount!();
    requires_python!();
    const READERS: u64 = 1000;
    let place = Place::new();
    let (mount, _peer, file) = stalled(&place, &["--read-timeout", "300s"]);
    let healthy = place.file("healthy/content", 30 << 20);
    let mut seed = mount.node.settings.command("seed");
    run(seed.arg(&healthy.path), LATER).ok();
    // Past the page cache: each time the daemon gives all of it.
    let direct = || {
        let mut dd = Command::new("dd");
        dd.arg(format!("if={}", mount.path(&healthy.sha256).display()))
            .args(["bs=1M", "iflag=direct", "status=none"]);
        let read = run(&mut dd, LATER).ok();
        healthy.is(&read.stdout);
        read.took
    };
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let alone = median((0..7).map(|_| direct()).collect());
    let mut crowd = Process::start(
        Command::new("python3")
            .args(["-c", CROWD])
            .arg(mount.path(&file.sha256))
            // The first of them get what came before the peer fell silent.
            .arg((READERS + 100).to_string()),
    );
    wait("all of them to wait", LATER, || {
        (mount.node.count("operations_waiting") >= READERS).then_some(())
    });
    let beside = median((0..7).map(|_| direct()).collect());
    println!("{alone:?} alone, {beside:?} beside {READERS} that wait");
    assert!(
        beside < alone * 2 + Duration::from_secs(1),
        "{alone:?} alone, {beside:?} beside them"
    );
    for command in ["ls", "df", "stat"] {
        let mut command = Command::new(command);
        let looked = run(command.arg(&mount.at), SOON).ok();
        println!("{command:?} took {:?} (promised: 50 ms)", looked.took);
        assert!(looked.took < PROMPT, "{:?}", looked.took);
    }
    assert!(mount.node.count("operations_waiting") >= READERS);
    let start = Instant::now();
    crowd.signal(libc::SIGKILL);
    crowd.wait(SOON);
    println!("they died in {:?} (promised: 100 ms)", start.elapsed());
    assert!(start.elapsed() < PROMPT);
    wait("nobody to wait", SOON, || {
        (mount.node.count("operations_waiting") == 0).then_some(())
    });
    mount.umount();
}

#[test]
fn an_id_that_nobody_has_is_not_found_in_time() {
    requires_mount!();
    // What is answered sooner has not been looked for.
    const LOOKUP_LIMIT: Duration = Duration::from_secs(4);
    let place = Place::new();
    let seeder = Node::seed(
        Settings::new(place.path("a")),
        &[&place.file("x", 10).path],
        1,
    );
    let settings = Settings::new(place.path("b"))
        .peer(seeder.address)
        .with(&["--lookup-timeout", "4s"]);
    let mount = Mounted::new(settings, &place.path("mnt"));
    let unknown = "ab".repeat(32);
    let look = || {
        let done = mount.cat(&unknown);
        assert!(done.stderr.contains("No such file"), "{}", done.stderr);
        done.took
    };
    let first = look();
    assert!(first < SOON, "{first:?}");
    // Remembered for a second, in which a busy machine may not come to ask again.
    assert!(
        (0..5).any(|_| look() < LOOKUP_LIMIT),
        "it is looked for each time"
    );
    // No id: at once.
    for name in ["readme.txt", &unknown[1..], "blake3/xyz", "..."] {
        let done = mount.cat(name);
        assert!(
            done.stderr.contains("No such file"),
            "{name}: {}",
            done.stderr
        );
        assert!(done.took < LOOKUP_LIMIT, "{name}: {:?}", done.took);
    }
}

#[test]
fn umount_is_quick_whoever_waits() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let (mount, _peer, file) = stalled(&place, &[]);
    let mut readers: Vec<Process> = (0..3).map(|_| mount.start_cat(&file.sha256)).collect();
    wait_stalled(&mount, 3);
    let done = mount.umount();
    // What is promised is 3 s.
    println!("unmounted in {:?}", done.took);
    assert!(done.took < Duration::from_secs(10), "{:?}", done.took);
    for reader in &mut readers {
        assert!(!reader.wait(SOON).success());
    }
}
