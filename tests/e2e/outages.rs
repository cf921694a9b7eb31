//! Networks that swallow everything, interfaces that go away, nodes that are suspended, clocks that
//! jump: reads fail in time, and go on by themselves when it is over. The real binary, real mounts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{
    Detach, Gate, LATER, Mounted, Node, Place, Process, SOON, Sample, Settings, is_alive, run, wait,
};

/// The limits of the mounts here, and how much later an answer may come on a busy machine.
const READ_LIMIT: Duration = Duration::from_secs(8);
const LOOKUP_LIMIT: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(4);
/// Slow enough for a fault to fall into the middle of a transfer.
const UPLOAD: &str = "1500K";
const LENGTH: usize = 6_000_000;

fn limits(settings: Settings) -> Settings {
    settings.with(&[
        "--read-timeout",
        "8s",
        "--lookup-timeout",
        "2s",
        "--complete",
        "never",
    ])
}

/// A slow seeder, a gate before it, and a mount that knows the gate only.
struct Gated {
    mount: Mounted,
    gate: Gate,
    seeder: Node,
    file: Sample,
    place: Place,
}

impl Gated {
    fn new() -> Self {
        let place = Place::new();
        let file = place.file("content", LENGTH);
        let seeder = Settings::new(place.path("a")).with(&["--upload-limit", UPLOAD]);
        let seeder = Node::seed(seeder, &[&file.path], 1);
        let gate = Gate::before(seeder.address);
        let settings = limits(Settings::new(place.path("b")).peer(gate.address));
        let mount = Mounted::new(settings, &place.path("mnt"));
        Self {
            mount,
            gate,
            seeder,
            file,
            place,
        }
    }

    /// `cat` into a file, in the middle of its work.
    fn start_cat(&self, name: &str) -> (Process, PathBuf) {
        let output = self.place.path(name);
        let mut cat = Command::new("cat");
        cat.arg(self.mount.path(&self.file.sha256));
        let errors = self.place.path(&format!("{name}.errors"));
        let process = Process::start_logging(&mut cat, &output, &errors);
        wait("the transfer to begin", SOON, || {
            let here = fs::metadata(&output).unwrap().len();
            (here > 100_000).then_some(())
        });
        (process, output)
    }

    /// All of it is read and right, at the first attempt.
    #[track_caller]
    fn reads_all(&self) {
        self.file.is(&self.mount.cat(&self.file.sha256).ok().stdout);
    }
}

#[test]
fn a_network_that_swallows_everything_for_a_moment_costs_that_moment() {
    requires_mount!();
    let gated = Gated::new();
    let (mut cat, output) = gated.start_cat("out");
    gated.gate.shut();
    wait("something to be swallowed", SOON, || {
        (gated.gate.swallowed() > 0).then_some(())
    });
    std::thread::sleep(READ_LIMIT / 4);
    gated.gate.open();
    assert!(cat.wait(LATER).success(), "no read may have failed");
    gated.file.is_in(&output);
    gated.mount.umount();
}

#[test]
fn a_network_that_swallows_everything_fails_reads_in_time_and_nothing_else() {
    requires_mount!();
    let gated = Gated::new();
    let (mut cat, _) = gated.start_cat("out");
    gated.gate.shut();
    let start = Instant::now();
    // What does not need the network is answered meanwhile, by hundreds of times as fast.
    for command in ["ls", "df"] {
        let looked = run(Command::new(command).arg(&gated.mount.at), SOON).ok();
        assert!(looked.took < Duration::from_secs(2), "{:?}", looked.took);
    }
    let unknown = run(
        Command::new("stat").arg(gated.mount.path(&"ab".repeat(32))),
        LOOKUP_LIMIT + GRACE,
    );
    assert!(unknown.failed(1).contains("No such file"));
    let status = cat.wait(READ_LIMIT + GRACE);
    assert_eq!(status.code(), Some(1), "after {:?}", start.elapsed());

    gated.gate.open();
    gated.reads_all();
    gated.mount.umount();
}

#[test]
fn a_suspended_reader_goes_on_where_it_was() {
    requires_mount!();
    let gated = Gated::new();
    let (mut cat, output) = gated.start_cat("out");
    gated.mount.node.process.signal(libc::SIGSTOP);
    // Longer than any limit; but limits count time in which the node could do something.
    std::thread::sleep(READ_LIMIT + Duration::from_secs(2));
    gated.mount.node.process.signal(libc::SIGCONT);
    assert!(cat.wait(LATER).success(), "no read may have failed");
    gated.file.is_in(&output);
    gated.mount.umount();
}

#[test]
fn a_suspended_source_is_found_again() {
    requires_mount!();
    let gated = Gated::new();
    let (mut cat, _) = gated.start_cat("out");
    gated.seeder.process.signal(libc::SIGSTOP);
    let status = cat.wait(READ_LIMIT + GRACE);
    assert_eq!(status.code(), Some(1), "a read fails in time");
    gated.seeder.process.signal(libc::SIGCONT);
    gated.reads_all();
    gated.mount.umount();
}

/// The library that moves the wall clock of who is started with it.
fn clock_library(place: &Place) -> Option<PathBuf> {
    let library = place.path("clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/soak/clock.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]);
    compiler.arg(&library).arg(source);
    let compiled = crate::common::on_path("cc") && run(&mut compiler, LATER).status.success();
    compiled.then_some(library)
}

#[test]
fn the_wall_clock_may_jump() {
    requires_mount!();
    let place = Place::new();
    let Some(library) = clock_library(&place) else {
        println!("skipped: no C compiler");
        return;
    };
    let offset = place.path("offset");
    let move_to = |seconds: i64| {
        // In place: the page is mapped.
        let file = fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&offset)
            .unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &seconds.to_ne_bytes(), 0).unwrap();
    };
    let moved = |command: &mut Command| {
        command
            .env("LD_PRELOAD", &library)
            .env("CLOCK_OFFSET", &offset);
    };
    move_to(-86_400 * 365 * 30);
    let mut date = Command::new("date");
    moved(&mut date);
    let year: u32 = run(date.arg("+%Y"), SOON)
        .ok()
        .text()
        .trim()
        .parse()
        .unwrap();
    assert!(year < 2020, "the library moves the clock: {year}");

    move_to(0);
    let file = place.file("content", LENGTH);
    let settings = Settings::new(place.path("a")).with(&["--upload-limit", UPLOAD]);
    let mut command = settings.command("seed");
    moved(command.arg(&file.path));
    let seeder = Node::start(settings, &mut command);
    wait("the file to be hashed", LATER, || {
        (!seeder.lines().is_empty()).then_some(())
    });
    let at = place.path("mnt");
    fs::create_dir_all(&at).unwrap();
    let _detach = Detach(at.clone());
    let settings = limits(Settings::new(place.path("b")).peer(seeder.address));
    let mut command = settings.command("mount");
    moved(command.arg("-f").arg(&at));
    let mut mount = Node::start(settings, &mut command);
    wait("the mount", SOON, || is_alive(&at).then_some(()));

    let output = place.path("out");
    let mut cat = Command::new("cat");
    cat.arg(at.join(&file.sha256));
    let mut cat = Process::start_logging(&mut cat, &output, &place.path("errors"));
    let years = [30, -30, 1, -1, 0];
    for (step, years) in (1u64..).zip(years) {
        wait("the transfer to go on", LATER, || {
            let here = fs::metadata(&output).unwrap().len();
            (here >= step * 500_000 || here == file.len()).then_some(())
        });
        move_to(86_400 * 365 * years);
    }
    assert!(cat.wait(LATER).success());
    file.is_in(&output);
    // What is kept is also kept by the clock of another year.
    move_to(86_400 * 365 * 10);
    let again = run(Command::new("cat").arg(at.join(&file.sha256)), LATER).ok();
    file.is(&again.stdout);
    assert_eq!(mount.process.stop(SOON).code(), Some(0));
}

/// Two namespaces that are joined by a pair of interfaces; removed when dropped.
struct Namespaces {
    names: [String; 2],
}

impl Namespaces {
    fn new(mark: &str) -> Result<Self, String> {
        // SAFETY: takes nothing, touches nothing, cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Err("namespaces need root".into());
        }
        if !crate::common::on_path("ip") || !crate::common::on_path("nsenter") {
            return Err("no ip and nsenter (iproute2, util-linux)".into());
        }
        let pid = std::process::id();
        let made = Self {
            names: ["a", "b"].map(|end| format!("cjptest{pid}{mark}{end}")),
        };
        let [a, b] = &made.names;
        let quiet = |words: &[&str]| run(Command::new("ip").args(words), SOON);
        for name in &made.names {
            let added = quiet(&["netns", "add", name]);
            if !added.status.success() {
                return Err(format!("no namespaces here: {}", added.stderr));
            }
            quiet(&["-n", name, "link", "set", "lo", "up"]).ok();
        }
        let pair = ["link", "add", "wire", "netns", a, "type", "veth"];
        let peer = ["peer", "name", "wire", "netns", b];
        if !quiet(&[&pair[..], &peer[..]].concat()).status.success() {
            return Err("no veth interfaces here".into());
        }
        for (name, address) in [(a, "10.79.0.1/24"), (b, "10.79.0.2/24")] {
            quiet(&["-n", name, "addr", "add", address, "dev", "wire"]).ok();
            quiet(&["-n", name, "link", "set", "wire", "up"]).ok();
        }
        Ok(made)
    }

    /// The same command, in one of the namespaces.
    fn inside(&self, which: usize, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside
            .arg(format!("--net=/run/netns/{}", self.names[which]))
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    fn interface(&self, which: usize, state: &str) {
        let words = ["-n", &self.names[which], "link", "set", "wire", state];
        run(Command::new("ip").args(words), SOON).ok();
    }

    fn address(&self, which: usize, what: &str, address: &str) {
        let words = ["-n", &self.names[which], "addr", what, address];
        run(Command::new("ip").args(words).args(["dev", "wire"]), SOON).ok();
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            let mut command = Command::new("ip");
            let _ = command.args(["netns", "del", name]).output();
        }
    }
}

/// The interface of the reader, then that of the source, goes away and comes back: for a moment, and
/// for longer than a read waits.
#[test]
fn interfaces_may_go_away_and_come_back() {
    requires_mount!();
    let namespaces = match Namespaces::new("i") {
        Ok(namespaces) => namespaces,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let place = Place::new();
    let files = ["c0", "c1"].map(|name| place.file(&format!("content/{name}"), LENGTH));
    let settings = Settings::new(place.path("a"))
        .bind("10.79.0.1:24254")
        .with(&["--upload-limit", UPLOAD]);
    let mut command = settings.command("seed");
    command.arg(place.path("content"));
    let seeder = Node::start(settings, &mut namespaces.inside(0, &command));
    wait("the files to be hashed", LATER, || {
        (seeder.lines().len() >= 2).then_some(())
    });
    let at = place.path("mnt");
    fs::create_dir_all(&at).unwrap();
    let _detach = Detach(at.clone());
    let settings = limits(
        Settings::new(place.path("b"))
            .bind("10.79.0.2:24254")
            .peer(seeder.address),
    );
    let mut command = settings.command("mount");
    command.arg("-f").arg(&at);
    let mut mount = Node::start(settings, &mut namespaces.inside(1, &command));
    wait("the mount", SOON, || is_alive(&at).then_some(()));

    for (which, file) in [1, 0].into_iter().zip(&files) {
        let output = place.path("out");
        let cat = |output: &Path| {
            let mut cat = Command::new("cat");
            cat.arg(at.join(&file.sha256));
            let process = Process::start_logging(&mut cat, output, &place.path("errors"));
            wait("the transfer to begin", SOON, || {
                (fs::metadata(output).unwrap().len() > 100_000).then_some(())
            });
            process
        };
        let mut interrupted = cat(&output);
        namespaces.interface(which, "down");
        assert_eq!(interrupted.wait(READ_LIMIT + GRACE).code(), Some(1));
        namespaces.interface(which, "up");
        let mut short = cat(&output);
        namespaces.interface(which, "down");
        std::thread::sleep(READ_LIMIT / 4);
        namespaces.interface(which, "up");
        assert!(short.wait(LATER).success(), "no read may have failed");
        file.is_in(&output);
    }
    assert_eq!(mount.process.stop(SOON).code(), Some(0));
}

/// The source, which nobody else has, gets another address in mid-transfer: it notices, says so to those
/// it knows, and no read fails.
#[test]
fn a_source_that_gets_another_address_is_followed() {
    requires_mount!();
    let namespaces = match Namespaces::new("m") {
        Ok(namespaces) => namespaces,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let place = Place::new();
    let file = place.file("content", LENGTH);
    // All addresses: the one that it is bound to alone could not be replaced.
    let settings = Settings::new(place.path("a"))
        .bind("0.0.0.0:24254")
        .with(&["--upload-limit", UPLOAD]);
    let mut command = settings.command("seed");
    command.arg(&file.path);
    let seeder = Node::start(settings, &mut namespaces.inside(0, &command));
    wait("the file to be hashed", LATER, || {
        (!seeder.lines().is_empty()).then_some(())
    });
    let at = place.path("mnt");
    fs::create_dir_all(&at).unwrap();
    let _detach = Detach(at.clone());
    let known = "10.79.0.1:24254".parse().unwrap();
    let settings = limits(
        Settings::new(place.path("b"))
            .bind("10.79.0.2:24254")
            .peer(known),
    );
    let mut command = settings.command("mount");
    command.arg("-f").arg(&at);
    let mut mount = Node::start(settings, &mut namespaces.inside(1, &command));
    wait("the mount", SOON, || is_alive(&at).then_some(()));

    let output = place.path("out");
    let mut cat = Command::new("cat");
    cat.arg(at.join(&file.sha256));
    let mut cat = Process::start_logging(&mut cat, &output, &place.path("errors"));
    wait("the transfer to begin", SOON, || {
        (fs::metadata(&output).unwrap().len() > 100_000).then_some(())
    });
    namespaces.address(0, "del", "10.79.0.1/24");
    namespaces.address(0, "add", "10.79.0.9/24");
    assert!(cat.wait(LATER).success(), "no read may have failed");
    file.is_in(&output);
    assert_eq!(mount.process.stop(SOON).code(), Some(0));
}
