//! Programs that are root in the guest, as after an exploit of its kernel.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::common::root;
use crate::forged::Forged;
use crate::held::{assert_the_next_fork_is_right, undisturbed_once_prepared};
use zeroboot::{Crash, Fault, LineSink, Outcome, RunOptions, RunResult, Sandbox, Snapshot, Stream};

/// The template, its processes' credentials changed in the kernel's memory.
fn with_root() -> &'static Arc<Snapshot> {
    static SNAPSHOT: OnceLock<(Forged, Arc<Snapshot>)> = OnceLock::new();
    let (_, snapshot) = SNAPSHOT.get_or_init(|| {
        let forged = Forged::of_template(|_, _, memory| give_all_rights(memory));
        let snapshot = forged.load();
        (forged, snapshot)
    });
    snapshot
}

/// `struct cred` has eight ids one behind the other, `securebits`, and five sets of capabilities.
fn give_all_rights(memory: &File) {
    const USER: u32 = 1000;
    const IDS: usize = 32;
    const SETS: usize = 40;
    const ALL: u64 = 0x1ff_ffff_ffff;
    let of_user: Vec<u8> = USER.to_le_bytes().repeat(8).into_iter().chain([0; 8 + 24]).collect();
    let of_root: Vec<u8> =
        [0; IDS + 8].into_iter().chain(ALL.to_le_bytes().repeat(SETS / 8)).collect();
    let mut page = [0; 4096];
    let mut found = 0;
    for at in (0..memory.metadata().unwrap().len()).step_by(page.len()) {
        memory.read_exact_at(&mut page, at).unwrap();
        for offset in (0..page.len() - of_root.len()).step_by(8) {
            if page[offset..].starts_with(&of_user) {
                memory.write_all_at(&of_root, at + offset as u64).unwrap();
                found += 1;
            }
        }
    }
    assert!(found > 0, "no credentials of the sandbox's user in memory");
}

fn program(name: &str) -> Vec<u8> {
    std::fs::read(root().join("tests/hostile/programs").join(name)).unwrap()
}

/// Runs a program of tests/hostile/programs as root, within this time and some slack.
fn run(name: &str, seconds: u64, sink: Option<LineSink>) -> RunResult {
    let mut sandbox = Sandbox::fork(with_root(), sink).unwrap();
    let timeout = Duration::from_secs(seconds);
    let started = Instant::now();
    let mut pieces = 0;
    let mut on_output = |_: Stream, _: &[u8]| {
        pieces += 1;
        ControlFlow::Continue(())
    };
    let options = RunOptions {
        timeout: Some(timeout),
        max_output: 4 << 20,
        on_output: Some(&mut on_output),
        ..Default::default()
    };
    let result = sandbox.run(&program(name), options).unwrap();
    println!("{name}: {:?} after {:?}, {pieces} pieces", result.outcome, result.elapsed);
    let stderr = String::from_utf8_lossy(&result.output.stderr);
    if let Some(at) = stderr.find("Traceback") {
        println!("{}", &stderr[at..stderr.len().min(at + 800)]);
    }
    assert!(started.elapsed() < timeout + Duration::from_secs(20), "{name}");
    result
}

fn each(name: &str, seconds: u64, is_allowed: impl Fn(Outcome) -> bool) {
    undisturbed_with_root(|| {
        let outcome = run(name, seconds, None).outcome;
        assert!(is_allowed(outcome), "{name}: {outcome:?}");
        assert_the_next_fork_is_right();
    });
}

/// The snapshot with root is loaded once, before anything is counted.
fn undisturbed_with_root(attacks: impl FnOnce()) {
    let load = || {
        with_root();
    };
    undisturbed_once_prepared(load, attacks);
}

#[test]
fn a_fork_bomb_is_stopped_at_its_deadline_or_runs_out_of_memory() {
    each("fork_bomb.py", 6, |outcome| {
        matches!(outcome, Outcome::TimedOut | Outcome::OutOfMemory | Outcome::Crashed(_))
    });
}

#[test]
fn a_guest_that_fills_its_memory_is_killed_by_its_own_kernel() {
    each("fills_memory.py", 20, |outcome| {
        let failed = matches!(outcome, Outcome::Exited(1));
        failed || matches!(outcome, Outcome::OutOfMemory | Outcome::TimedOut)
    });
}

#[test]
fn a_guest_whose_init_dies_is_a_crash() {
    each("kills_init.py", 120, |o| o == Outcome::Crashed(Crash::Fault(Fault::Shutdown)));
}

#[test]
fn a_guest_that_reboots_is_a_crash() {
    each("reboots.py", 120, |o| o == Outcome::Crashed(Crash::Fault(Fault::Shutdown)));
}

#[test]
fn a_root_that_rings_ends_its_machine_at_the_first_value_without_a_meaning() {
    let fault = Outcome::Crashed(Crash::Fault(Fault::Doorbell(0x0dea_d006)));
    each("rings.py", 120, |outcome| outcome == fault);
}

#[test]
fn a_root_that_scribbles_on_the_mailbox_is_a_violation_or_stopped() {
    each("scribbles.py", 5, |outcome| {
        let printed = matches!(outcome, Outcome::OutputLimit);
        printed || matches!(outcome, Outcome::Crashed(Crash::Protocol(_)) | Outcome::TimedOut)
    });
}

#[test]
fn a_root_that_lies_about_its_death_is_a_crash() {
    each("lies_about_its_death.py", 120, |o| o == Outcome::Crashed(Crash::Death(0x63)));
}

#[test]
fn a_flood_of_output_stops_at_its_limit() {
    each("floods_its_output.py", 120, |outcome| outcome == Outcome::OutputLimit);
}

#[test]
fn a_flood_of_kernel_messages_is_stopped_at_the_deadline() {
    undisturbed_with_root(|| {
        let bytes = Arc::new(AtomicUsize::new(0));
        let sink: LineSink = {
            let bytes = bytes.clone();
            Arc::new(move |line: &[u8]| {
                bytes.fetch_add(line.len() + 1, Ordering::Relaxed);
            })
        };
        let outcome = run("floods_the_log.py", 3, Some(sink)).outcome;
        assert_eq!(outcome, Outcome::TimedOut);
        let bytes = bytes.load(Ordering::Relaxed);
        println!("{bytes} bytes of messages");
        assert!(bytes > 0 && bytes < (1 << 20) + 100, "{bytes} bytes");
        assert_the_next_fork_is_right();
    });
}
