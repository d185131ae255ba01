//! Genuine snapshots of Firecracker's, loaded and forked as they are, and damaged ones.

mod common;
#[path = "common/foreign.rs"]
mod foreign;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{ZEROBOOT, programs};
use crc::{CRC_64_REDIS, Crc};
use foreign::{ANY_CLOCK, BASE, golden, unpacked};
use zeroboot::{Outcome, RunOptions, Sandbox, Snapshot, TalkOptions};

const IDLE: [&str; 5] = [BASE, "v1.14.4-idle", "v1.15.1-idle", "v1.16.1-idle", "v1.17-dev-idle"];
const DEVICES: &str = "v1.16.1-devs";

/// How many forks each snapshot gets. Where a guest's counter cannot be set and ring 0 is emulated, a
/// fork's first answer takes some seconds: its kernel counts the seconds since the snapshot one by one.
fn forks() -> usize {
    std::env::var("ZB_TEST_FORKS").map_or(3, |n| n.parse().unwrap())
}

fn load(name: &str) -> Arc<Snapshot> {
    Arc::new(Snapshot::load(&unpacked(name), ANY_CLOCK).unwrap())
}

fn has_time(snapshot: &Snapshot) -> bool {
    !snapshot.warnings().iter().any(|warning| warning.contains("time stands still"))
}

fn talk(sandbox: &mut Sandbox, line: &str) -> (Outcome, String) {
    let options = TalkOptions {
        until: b"DONE\n",
        timeout: Some(Duration::from_secs(120)),
        ..TalkOptions::default()
    };
    let result = sandbox.talk(format!("{line}\n").as_bytes(), options).unwrap();
    (result.outcome, String::from_utf8_lossy(&result.output.stdout).into_owned())
}

/// What the guest answers, without the `DONE` behind it.
fn ask(sandbox: &mut Sandbox, line: &str) -> String {
    let (outcome, text) = talk(sandbox, line);
    assert_eq!(outcome, Outcome::Exited(0), "{line}: {text}");
    // The kernel's messages come on the same line.
    let said = text.lines().filter(|line| !line.starts_with('[') && *line != "DONE");
    said.collect::<Vec<_>>().join("\n")
}

fn page_address(name: &str) -> String {
    let ready = fs::read_to_string(golden(name).join("ready.txt")).unwrap();
    ready.split(' ').find_map(|word| word.strip_prefix("page_pa=")).unwrap().to_owned()
}

fn answers_in_each_fork(name: &str) {
    let snapshot = load(name);
    let page = format!("ZBTEST-MAGIC-PAGE pa={}", page_address(name));
    for fork in 0..forks() {
        let mut sandbox = Sandbox::fork(&snapshot, None).unwrap();
        let text = format!("fork {fork}");
        let reversed: String = text.chars().rev().collect();
        assert_eq!(ask(&mut sandbox, &format!("rev {text}")), reversed, "{name}");
        assert_eq!(ask(&mut sandbox, "count"), "count=2", "{name}, fork {fork}");
        assert_eq!(ask(&mut sandbox, "page"), page, "{name}, fork {fork}");
    }
    println!("{name}: {} forks have answered", forks());
}

#[test]
fn each_idle_snapshot_answers_in_each_fork() {
    for name in IDLE {
        answers_in_each_fork(name);
    }
}

#[test]
fn time_goes_on_and_a_sleep_ends() {
    let snapshot = load(BASE);
    if !has_time(&snapshot) {
        return;
    }
    let mut sandbox = Sandbox::fork(&snapshot, None).unwrap();
    let mono = |text: String| -> f64 {
        text.split_whitespace().find_map(|w| w.strip_prefix("mono=")).unwrap().parse().unwrap()
    };
    let before = mono(ask(&mut sandbox, "time"));
    assert_eq!(ask(&mut sandbox, "sleep 300"), "slept");
    let slept = mono(ask(&mut sandbox, "time")) - before;
    assert!((0.3..60.0).contains(&slept), "{slept} s");
}

#[test]
fn what_one_fork_sets_its_siblings_do_not_see() {
    let snapshot = load(BASE);
    let original = format!("ZBTEST-MAGIC-PAGE pa={}", page_address(BASE));
    let mut forks = [(); 2].map(|()| Sandbox::fork(&snapshot, None).unwrap());
    for (i, sandbox) in forks.iter_mut().enumerate() {
        ask(sandbox, &format!("set of-fork-{i}"));
    }
    for (i, sandbox) in forks.iter_mut().enumerate() {
        let page = ask(sandbox, "page");
        assert!(page.contains(&format!("of-fork-{i}")), "{page}");
        assert_eq!(ask(sandbox, "count"), "count=2");
    }
    assert_eq!(ask(&mut Sandbox::fork(&snapshot, None).unwrap(), "page"), original);
}

#[test]
fn a_disk_is_read_and_sockets_to_the_host_are_reset() {
    let snapshot = load(DEVICES);
    let mut sandbox = Sandbox::fork(&snapshot, None).unwrap();
    assert_eq!(ask(&mut sandbox, "count"), "count=2");
    for sector in [0, 1, 7, 100] {
        let text = ask(&mut sandbox, &format!("blk {sector}"));
        assert!(text.contains(&format!("sector {sector:04} of the zb test disk")), "{text}");
    }
    let vsock = ask(&mut sandbox, "vsock 52");
    assert!(!vsock.contains("connected"), "{vsock}");
    assert_eq!(ask(&mut sandbox, "rev still here"), "ereh llits");
}

#[test]
fn a_guest_that_is_too_slow_can_be_listened_to_again() {
    let snapshot = load(BASE);
    if !has_time(&snapshot) {
        return;
    }
    let mut sandbox = Sandbox::fork(&snapshot, None).unwrap();
    ask(&mut sandbox, "count");
    let options = TalkOptions {
        until: b"DONE\n",
        timeout: Some(Duration::from_millis(100)),
        ..TalkOptions::default()
    };
    let result = sandbox.talk(b"sleep 1500\n", options).unwrap();
    assert_eq!(result.outcome, Outcome::TimedOut);
    assert!(sandbox.is_alive());
    let options = TalkOptions { until: b"DONE\n", ..TalkOptions::default() };
    let result = sandbox.talk(b"", options).unwrap();
    assert_eq!(result.outcome, Outcome::Exited(0));
    assert!(String::from_utf8_lossy(&result.output.stdout).contains("slept"));
}

#[test]
fn a_program_is_refused_with_what_to_do_instead() {
    let mut sandbox = Sandbox::fork(&load(BASE), None).unwrap();
    let error = sandbox.run(b"print(1)", RunOptions::default()).unwrap_err();
    assert!(error.to_string().contains("reached by its console"), "{error}");
    assert!(sandbox.is_alive());
}

#[test]
fn devices_that_do_nothing_and_clocks_that_are_off_are_warned_of_by_name() {
    let snapshot = load(DEVICES);
    for warning in snapshot.warnings() {
        assert!(
            ["clock", "counter", "time", "processor"].iter().any(|w| warning.contains(w)),
            "{warning}"
        );
    }
    assert_eq!(snapshot.manifest().origin.zeroboot, "Firecracker 1.16, format 10.0.0");
}

#[test]
fn the_command_line_takes_a_snapshot_in_and_talks_with_its_guest() {
    let cache = tempfile::tempdir_in(programs()).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(ZEROBOOT);
        command.env("XDG_CACHE_HOME", cache.path()).args(arguments).output().unwrap()
    };
    let dir = unpacked(DEVICES);
    let file = |name: &str| dir.join(name).into_os_string().into_string().unwrap();
    let (state, memory, disk) = (file("vmstate"), file("memory.img"), file("disk.img"));
    let without_disk = run(&["snapshot", "import", "db", "--vmstate", &state, "--memory", &memory]);
    assert_eq!(without_disk.status.code(), Some(1));
    let error = String::from_utf8(without_disk.stderr).unwrap();
    assert!(error.contains("disk.img: No such file"), "{error}");

    let arguments =
        ["snapshot", "import", "db", "--vmstate", &state, "--memory", &memory, "--disk", &disk];
    let imported = run(&arguments);
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let talk = ["console", "-t", "db", "--any-clock", "--until", "DONE\n", "count", "blk 3"];
    let said = run(&talk);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains("count=2\nDONE\n"), "{text}");
    assert!(text.contains("sector 0003 of the zb test disk"), "{text}");
    assert_eq!(said.status.code(), Some(0));
}

#[test]
fn the_c_api_talks_with_a_guest_on_its_console() {
    let program = common::compile("tests/abi/console.c", "console");
    common::succeed(std::process::Command::new(program).arg(unpacked(BASE)));
}

// Damage.

/// A copy of a snapshot with another state, and with the memory and disk of the first.
fn with_state(name: &str, state: &[u8]) -> tempfile::TempDir {
    let from = unpacked(name);
    let dir = tempfile::tempdir_in(programs()).unwrap();
    fs::write(dir.path().join("vmstate"), state).unwrap();
    for file in ["memory.img", "disk.img"] {
        if from.join(file).exists() {
            fs::hard_link(from.join(file), dir.path().join(file)).unwrap();
        }
    }
    dir
}

fn sealed(state: &[u8]) -> Vec<u8> {
    let mut file = state.to_vec();
    file.extend(Crc::<u64>::new(&CRC_64_REDIS).checksum(state).to_le_bytes());
    file
}

fn refusal(dir: &Path) -> String {
    Snapshot::load(dir, ANY_CLOCK).unwrap_err().to_string()
}

#[test]
fn a_memory_file_that_is_too_short_or_missing_is_refused_before_anything_is_mapped() {
    let state = fs::read(golden(BASE).join("vmstate")).unwrap();
    let dir = tempfile::tempdir_in(programs()).unwrap();
    fs::write(dir.path().join("vmstate"), &state).unwrap();
    assert!(refusal(dir.path()).contains("memory.img: No such file"));
    let short = File::create(dir.path().join("mem")).unwrap();
    short.set_len((128 << 20) - 1).unwrap();
    let error = refusal(dir.path());
    assert!(error.contains("need 134217728 bytes, file has 134217727"), "{error}");
}

#[test]
fn a_damaged_state_and_one_of_another_format_are_refused_by_name() {
    let mut state = fs::read(golden(BASE).join("vmstate")).unwrap();
    state[5000] ^= 1;
    let error = refusal(with_state(BASE, &state).path());
    assert!(error.contains("vmstate: checksum mismatch"), "{error}");
    state.truncate(state.len() - 8);
    state[16] = b'5';
    let error = refusal(with_state(BASE, &sealed(&state)).path());
    assert!(error.contains("made by Firecracker 1.11, format 5.0.0: too old"), "{error}");
}

/// Flipped bytes behind a right checksum: what loads is forked and runs. Whatever the guest makes of
/// it, this process goes on.
#[test]
fn forks_of_damaged_states_do_no_harm() {
    let count: usize = std::env::var("ZB_TEST_DAMAGED").map_or(24, |n| n.parse().unwrap());
    let mut forked = 0;
    for name in [BASE, DEVICES] {
        let file = fs::read(golden(name).join("vmstate")).unwrap();
        let mut state = file[..file.len() - 8].to_vec();
        for sample in 0..count / 2 {
            let at = sample * state.len() / (count / 2) + sample % 7;
            state[at] ^= 0x81;
            let dir = with_state(name, &sealed(&state));
            state[at] ^= 0x81;
            let Ok(snapshot) = Snapshot::load(dir.path(), ANY_CLOCK) else { continue };
            let Ok(mut sandbox) = Sandbox::fork(&Arc::new(snapshot), None) else { continue };
            let options = TalkOptions {
                until: b"DONE\n",
                timeout: Some(Duration::from_millis(500)),
                ..TalkOptions::default()
            };
            // An outcome or an error: both come back.
            let _ = sandbox.talk(b"count\n", options);
            forked += 1;
        }
    }
    assert!(forked > count / 4, "only {forked} of {count} were forked");
    let mut whole = Sandbox::fork(&load(BASE), None).unwrap();
    assert_eq!(ask(&mut whole, "count"), "count=2");
}

fn find(state: &[u8], pattern: &[u8]) -> usize {
    state.windows(pattern.len()).position(|bytes| bytes == pattern).unwrap()
}

/// The state with a second vCPU, which waits for the first to call it, as a processor does that the
/// kernel was told not to use.
fn with_second_vcpu(state: &[u8]) -> Vec<u8> {
    let u64s = |numbers: &[u64]| -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
    };
    // The CPUID list: a header of 8 bytes that counts 76, 76 entries, each of 40 bytes.
    let begin = find(state, &u64s(&[8, 76, 76, 40]));
    // The extended state: 4104 bytes, no more words, and the TSC's rate as an option.
    let end = begin + find(&state[begin..], &u64s(&[4104])) + 8 + 4104 + 8 + 5;
    let mut second = state[begin..end].to_vec();
    // The LAPIC's page, then the state (halted), then 144 bytes of registers.
    let halted = [&u64s(&[4])[..], &[3, 0, 0, 0], &u64s(&[144])[..]].concat();
    let mp_state = find(&second, &halted);
    let lapic = mp_state - 1024;
    second[lapic + 0x23] = 1;
    second[mp_state + 8] = 1;
    let mut both = state[..begin - 8].to_vec();
    both.extend(2u64.to_le_bytes());
    both.extend(&state[begin..end]);
    both.extend(second);
    both.extend(&state[end..]);
    both
}

#[test]
fn a_machine_of_two_processors_answers_as_one_of_one_does() {
    let file = fs::read(golden(BASE).join("vmstate")).unwrap();
    let dir = with_state(BASE, &sealed(&with_second_vcpu(&file[..file.len() - 8])));
    let snapshot = Arc::new(Snapshot::load(dir.path(), ANY_CLOCK).unwrap());
    let mut sandbox = Sandbox::fork(&snapshot, None).unwrap();
    assert_eq!(ask(&mut sandbox, "rev two"), "owt");
    assert_eq!(ask(&mut sandbox, "count"), "count=2");
    // Its thread lives no longer than the run: what the kernel still lists has ended, and soon goes.
    let lives = || {
        let names = fs::read_dir("/proc/self/task")
            .unwrap()
            .map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
        names.filter(|name| name.trim() == "zeroboot-vcpu").count()
    };
    let since = Instant::now();
    while lives() > 0 {
        assert!(since.elapsed() < Duration::from_secs(10), "a vCPU's thread is left");
        std::thread::yield_now();
    }
    let options = TalkOptions {
        until: b"never",
        timeout: Some(Duration::from_millis(50)),
        ..TalkOptions::default()
    };
    assert_eq!(sandbox.talk(b"", options).unwrap().outcome, Outcome::TimedOut);
    assert_eq!(ask(&mut sandbox, "count"), "count=3");
}
