//! Never stuck: readers whose bytes do not come die of a signal, fail at their limit, and hold up no
//! unmounting.

use std::time::{Duration, Instant};

use crate::common::{Mounted, Place, Process, PythonPeer, SOON, Sample, Settings, is_alive, wait};

/// A mount whose only source has died after a little of `content`.
fn stalled(place: &Place, more: &[&str]) -> (Mounted, PythonPeer, Sample) {
    let folder = place.folder("folder");
    let file = place.file("folder/content", 30 << 20);
    let peer = PythonPeer::serve(&folder, &place.path("peer.json"), &["--silent-after", "20"]);
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
        assert!(
            took < Duration::from_secs(2),
            "signal {signal} took {took:?}"
        );
    }
    // So does one that is still looking for a name.
    let mut reader = mount.start_cat(&"ab".repeat(32));
    wait_stalled(&mount, 1);
    let start = Instant::now();
    reader.signal(libc::SIGINT);
    reader.wait(SOON);
    assert!(start.elapsed() < Duration::from_secs(2));
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
    assert!(done.took < Duration::from_secs(12), "{:?}", done.took);
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
    assert!(done.took < Duration::from_secs(3), "{:?}", done.took);
    for reader in &mut readers {
        assert!(!reader.wait(SOON).success());
    }
}
