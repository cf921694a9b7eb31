//! Never stuck: a file that is seeded from a file system whose server does not answer. That is another mount here,
//! whose daemon stands still.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{LATER, Mounted, Node, Place, Process, SOON, Settings, cjp2pfs, run};

const LENGTH: usize = 3_000_000;
/// More than there are threads that wait for disks.
const CROWD: usize = 20;

fn command(settings: &Settings, command: &str, path: &Path) -> Command {
    let mut of_store = cjp2pfs();
    of_store.arg(command).arg("--store").arg(&settings.store);
    of_store.arg(path);
    of_store
}

/// What the kernel has of the file at `path` in memory is read anew.
fn forget_pages(path: &Path) {
    let file = File::open(path).unwrap();
    // SAFETY: an open file, and numbers.
    let done = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(done, 0);
}

#[test]
fn what_is_seeded_from_a_server_that_hangs_holds_up_nothing_else() {
    requires_mount!();
    let place = Place::new();
    let film = place.file("film", LENGTH);
    let other = place.file("other", LENGTH);
    let origin = Node::seed(Settings::new(place.path("origin")), &[&film.path], 1);
    let server = Mounted::new(
        Settings::new(place.path("server"))
            .peer(origin.address)
            .with(&["--no-passthrough"]),
        &place.path("far"),
    );
    let far = server.path(&film.sha256);
    let settings = Settings::new(place.path("store")).with(&["--read-timeout", "3s"]);
    let at = place.path("mnt");
    let mount = Mounted::new(settings.clone(), &at);
    for path in [&far, &other.path] {
        run(&mut command(&settings, "seed", path), LATER).ok();
    }
    film.is(&mount.cat(&film.sha256).ok().stdout);
    forget_pages(&mount.path(&film.sha256));
    forget_pages(&far);

    server.node.process.signal(libc::SIGSTOP);
    let cats: Vec<Process> = (0..CROWD).map(|_| mount.start_cat(&film.sha256)).collect();
    // Here and to others.
    other.is(&mount.cat(&other.sha256).ok().stdout);
    let fetches = Settings::new(place.path("fetches")).peer(mount.node.address);
    let output = place.path("output");
    run(&mut fetches.get(&other.sha256, &output), LATER).ok();
    other.is_in(&output);
    for mut cat in cats {
        assert_eq!(cat.wait(SOON).code(), Some(1));
        let (_, said) = cat.outputs();
        assert!(said.contains("Input/output error"), "{said}");
    }

    // It can be unmounted, and mounted again.
    let waits = mount.start_cat(&film.sha256);
    let start = Instant::now();
    mount.umount();
    let took = start.elapsed();
    println!("unmounted after {took:?} (promised: 3 s)");
    assert!(took < Duration::from_secs(10));
    drop(waits);
    let mount = Mounted::new(settings.clone(), &at);
    other.is(&mount.cat(&other.sha256).ok().stdout);
    println!("mounted after {:?}", start.elapsed());
    // Told so, it is seeded no more.
    run(&mut command(&settings, "unseed", &far), SOON).ok();
    server.node.process.signal(libc::SIGCONT);
    let told = run(
        cjp2pfs()
            .args(["ls", "--seeding", "--store"])
            .arg(&settings.store),
        SOON,
    );
    let told = told.ok().text();
    assert!(
        told.contains("other") && !told.contains(&film.sha256),
        "{told}"
    );
    mount.umount();
}
