//! Never stuck: memory maps of content that does not come. The kernel asks several times for one page,
//! and lets nothing but death or `SIGBUS` end the instruction that wants it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{Place, Process, SOON, wait};
use crate::stalled::stalled_after;

/// What is given to the daemon, and less than two of it.
const LIMIT: [&str; 2] = ["--read-timeout", "5s"];
const ONE_LIMIT: std::ops::Range<Duration> = Duration::from_secs(5)..Duration::from_secs(10);

/// Wants a page. Each signal that comes meanwhile is a byte of standard output. With `sys.argv[2]` one
/// comes every 200 ms.
const FAULT: &str = "
import mmap, os, signal, sys
def handle(*_): pass
os.set_blocking(1, False)
signal.set_wakeup_fd(1)
signal.signal(signal.SIGINT, handle)
signal.signal(signal.SIGALRM, handle)
pages = mmap.mmap(os.open(sys.argv[1], os.O_RDONLY), 0, prot=mmap.PROT_READ)
if len(sys.argv) > 2: signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
pages[20 << 20]
";

fn fault(path: &Path, more: &[&str]) -> Process {
    let mut python = Command::new("python3");
    Process::start(python.args(["-c", FAULT]).arg(path).args(more))
}

/// The end of one that began at `start`, if that is how and when it is to be; what it has said.
fn ended_by_sigbus(mut process: Process, start: Instant) -> Vec<u8> {
    let status = process.wait(SOON);
    let took = start.elapsed();
    assert_eq!(status.signal(), Some(libc::SIGBUS), "{status}");
    println!("SIGBUS after {took:?}");
    assert!(ONE_LIMIT.contains(&took), "{took:?}");
    process.outputs().0
}

#[test]
fn a_fault_ends_at_the_limit_of_one_read_whoever_waits_for_the_same_page() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let (mount, _peer, file) = stalled_after(&place, "1", &LIMIT);
    let path = mount.path(&file.sha256);
    let start = Instant::now();
    let faults: Vec<_> = (0..4).map(|_| fault(&path, &[])).collect();
    for fault in faults {
        assert_eq!(ended_by_sigbus(fault, start), b"");
    }
    // Whoever tries again waits as long as the first.
    std::thread::sleep(Duration::from_millis(1100));
    ended_by_sigbus(fault(&path, &[]), Instant::now());
    mount.umount();
}

#[test]
fn a_process_in_a_fault_gets_its_signals_and_no_more_time() {
    requires_mount!();
    requires_python!();
    let place = Place::new();
    let (mount, _peer, file) = stalled_after(&place, "1", &LIMIT);
    let path = mount.path(&file.sha256);
    let start = Instant::now();
    let process = fault(&path, &[]);
    wait("it to wait", SOON, || {
        (mount.node.count("operations_waiting") >= 1).then_some(())
    });
    process.signal(libc::SIGINT);
    assert_eq!(ended_by_sigbus(process, start), [2]);

    std::thread::sleep(Duration::from_millis(1100));
    let start = Instant::now();
    let said = ended_by_sigbus(fault(&path, &["timer"]), start);
    println!("{} signals handled", said.len());
    assert!(said.len() > 5, "{} signals", said.len());
    mount.umount();
}
