//! Clones differ in all that has to differ, and their clocks are right.

mod common;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use common::forge::{self, change_manifest, change_section, forged, read_section, seal};
use common::{ZEROBOOT, damaged_copy, printed, snapshot, stdout, succeed, template};
use zeroboot::{
    ForkOptions, InstanceId, LoadOptions, Outcome, Pool, PoolOptions, RunOptions, Sandbox, Snapshot,
};
use zeroboot_proto::CloneKind;

const NS: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

fn load(dir: &Path) -> Arc<Snapshot> {
    Arc::new(Snapshot::load(dir, LoadOptions::default()).unwrap())
}

fn fork_of(snapshot: &Arc<Snapshot>) -> Sandbox {
    Sandbox::fork(snapshot, None).unwrap()
}

fn run_in(sandbox: &mut Sandbox, code: &str) -> String {
    printed(&sandbox.run(code.as_bytes(), RunOptions::default()).unwrap())
}

fn host_seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

// Randomness.

/// A line for each generator.
const NUMBERS: &str = "
import os, random, secrets, ssl, uuid
print('urandom', os.urandom(12).hex())
print('random', random.getrandbits(96))
print('secrets', secrets.token_hex(12))
print('uuid4', uuid.uuid4())
print('uuid1', uuid.uuid1())
print('ssl', ssl.RAND_bytes(12).hex())
";
const GENERATORS: usize = 6;

/// Adds a clone's lines to those of all others; none may be there already.
fn add_all(seen: &Mutex<HashSet<String>>, lines: &str) {
    let mut seen = seen.lock().unwrap();
    assert_eq!(lines.lines().count(), GENERATORS, "{lines}");
    for line in lines.lines() {
        assert!(seen.insert(line.to_owned()), "two clones have {line}");
    }
}

#[test]
fn a_thousand_clones_draw_no_number_twice() {
    const THREADS: usize = 2;
    const EACH: usize = 500;
    let seen = Mutex::new(HashSet::new());
    let pool = Pool::new(Arc::clone(snapshot()), PoolOptions::default());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for i in 0..EACH {
                    // A third of them in machines that others have run in.
                    let fresh = i % 3 != 0;
                    let mut sandbox =
                        pool.fork(ForkOptions { fresh, ..ForkOptions::default() }).unwrap();
                    add_all(&seen, &run_in(&mut sandbox, NUMBERS));
                    // Nor does a clone draw its own again.
                    if i % 10 == 0 {
                        add_all(&seen, &run_in(&mut sandbox, NUMBERS));
                    }
                }
            });
        }
    });
    assert_eq!(seen.lock().unwrap().len(), THREADS * (EACH + EACH / 10) * GENERATORS);
}

/// A program that leaves all the random state behind that it can, for a template to be warmed up
/// with. Its thread has a generator of OpenSSL's of its own.
const CARELESS: &str = "
import random, ssl, tempfile, threading, uuid
import zeroboot_guest

random.seed(1)
uuid.uuid1(), uuid.getnode()
tempfile.mkdtemp()
ssl.RAND_bytes(1)

class Worker:
    def __init__(self):
        self.ask, self.answered = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self.serve, daemon=True).start()
    def serve(self):
        while True:
            self.ask.acquire()
            self.bytes = ssl.RAND_bytes(12)
            self.answered.release()
    def draw(self):
        self.ask.release()
        self.answered.acquire()
        return self.bytes.hex()

ssl.worker = Worker()
ssl.worker.draw()
ssl.own = [b'template']
zeroboot_guest.on_fork(ssl.own.append)
";

const WHAT_WAS_LEFT: &str = "
import random, ssl, tempfile, uuid
print('random', random.random())
print('node', uuid.getnode())
print('uuid1', uuid.uuid1())
print('name', next(tempfile._name_sequence))
print('ssl', ssl.RAND_bytes(12).hex())
print('worker', ssl.worker.draw())
print('own', ssl.own[-1].hex(), len(ssl.own[-1]))
";

/// Builds a template with a warm-up of the test's own, under a name that nobody else uses.
struct OwnTemplate(PathBuf);

impl OwnTemplate {
    fn build(name: &str, warm: &str) -> Self {
        let script = tempfile::Builder::new().suffix(".py").tempfile().unwrap();
        fs::write(script.path(), warm).unwrap();
        template();
        succeed(
            Command::new(ZEROBOOT)
                .args(["template", "build", "python", "--name", name, "--warm"])
                .arg(script.path()),
        );
        OwnTemplate(template().with_file_name(name))
    }
}

impl Drop for OwnTemplate {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn what_a_warm_up_has_seeded_is_renewed_in_each_clone() {
    let own = OwnTemplate::build("test-careless", CARELESS);
    let snapshot = load(&own.0);
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let text = run_in(&mut fork_of(&snapshot), WHAT_WAS_LEFT);
        assert!(text.contains(" 32\n"), "{text}");
        for line in text.lines() {
            assert!(seen.insert(line.to_owned()), "two clones have {line}");
        }
    }
}

#[test]
fn a_childs_numbers_are_not_its_parents() {
    let code = "
import os, random
r, w = os.pipe()
if not os.fork():
    os.write(w, f'{os.urandom(8).hex()} {random.random()}'.encode())
    os._exit(0)
os.wait()
child = os.read(r, 100).decode().split()
print(child[0] != os.urandom(8).hex(), child[1] != str(random.random()))
";
    // Python itself reseeds its generator in a child.
    assert_eq!(stdout(code), "True True\n");
}

// Names.

const NAMES: &str = "
import socket
name = socket.gethostname()
print(name, open('/etc/hostname').read().strip(), socket.gethostbyname(name))
print(open('/etc/machine-id').read().strip())
print(open('/proc/sys/kernel/random/boot_id').read().strip())
";

#[test]
fn clones_have_names_of_their_own_and_keep_them() {
    let mut seen = HashSet::new();
    let pool = Pool::new(Arc::clone(snapshot()), PoolOptions::default());
    for _ in 0..10 {
        let mut sandbox = pool.fork(ForkOptions::default()).unwrap();
        let text = run_in(&mut sandbox, NAMES);
        let [names, machine, boot] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
        assert_eq!(machine, sandbox.instance_id().to_string());
        assert_eq!(names, format!("zeroboot-{machine} zeroboot-{machine} 127.0.0.1"));
        assert_eq!(boot.len(), 36, "{boot}");
        assert_eq!(&boot[14..15], "4", "not a random UUID: {boot}");
        assert!(seen.insert(machine.to_owned()) && seen.insert(boot.to_owned()), "{text}");
        assert_eq!(run_in(&mut sandbox, NAMES), text);
    }
}

#[test]
fn a_clone_finds_the_name_that_it_was_given() {
    let id: InstanceId = "00112233-4455-6677-8899-aabbccddeeff".parse().unwrap();
    let options = ForkOptions { instance_id: Some(id), ..ForkOptions::default() };
    let mut sandbox = Sandbox::fork_with(snapshot(), options).unwrap();
    assert_eq!(sandbox.instance_id(), id);
    let told = run_in(&mut sandbox, "print(open('/proc/zeroboot/instance-id').read(), end='')");
    assert_eq!(told, "00112233445566778899aabbccddeeff\n");
    let output = succeed(
        Command::new(ZEROBOOT)
            .args(["run", "-t"])
            .arg(template())
            .args(["--instance-id", "00112233-4455-6677-8899-aabbccddeeff"])
            .arg("import socket; print(socket.gethostname())"),
    );
    assert_eq!(output.stdout, b"zeroboot-00112233445566778899aabbccddeeff\n");
}

// Time.

/// Where a guest's clocks stand: wall clock, monotonic, processor time, time since boot. The quickest
/// of some readings counts, because others may run between the first and the last.
const CLOCKS: &str = "
import time
def read():
    now = time.time(), time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic() - now[1], now
wall, monotonic, boot = min(read() for _ in range(9))[1]
print(wall, monotonic, time.process_time(), boot)
";

fn clocks(sandbox: &mut Sandbox) -> [f64; 4] {
    let text = run_in(sandbox, CLOCKS);
    let numbers: Vec<f64> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Between the moment before a run and that after it, a guest's clock must stand between the two.
/// By how much it is outside.
fn error_of(before: f64, guest: f64, after: f64) -> f64 {
    (before - guest).max(guest - after).max(0.0)
}

#[test]
fn a_clones_clock_is_right_to_the_millisecond() {
    let mut worst = 0.0f64;
    let pool = Pool::new(Arc::clone(snapshot()), PoolOptions::default());
    for i in 0..50 {
        let fresh = i % 2 == 0;
        let mut sandbox = pool.fork(ForkOptions { fresh, ..ForkOptions::default() }).unwrap();
        let before = host_seconds();
        let [wall, _, processor, _] = clocks(&mut sandbox);
        worst = worst.max(error_of(before, wall, host_seconds()));
        assert!(processor < 600.0, "{processor} s of processor time");
    }
    println!("the worst of 50 clocks was {:.3} ms off", worst * 1e3);
    // What the guest's PID 1 has set it to is the wall clock at the boot, to some microseconds.
    assert!(worst < 0.002, "{worst} s off");
}

/// Time goes on, timers fire when they should, and nothing is said on the console.
fn expect_time_to_go_on(snapshot: &Arc<Snapshot>, slept: f64, text: &str) {
    let console = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&console);
    let sink = move |line: &[u8]| {
        lines.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
    };
    let mut sandbox = Sandbox::fork(snapshot, Some(Arc::new(sink))).unwrap();
    let before = host_seconds();
    let [wall, monotonic, processor, boot] = clocks(&mut sandbox);
    let error = error_of(before + slept, wall, host_seconds() + slept);
    assert!(error < 0.002, "{text}: {error} s off");
    // The template has run for a minute or so before it slept.
    let uptime = monotonic - slept;
    let age = (before - snapshot.manifest().clock.realtime_ns as f64 / 1e9) - slept;
    assert!((age..age + 600.0).contains(&uptime), "{text}: up for {uptime} s, {age} s old");
    assert!((boot - monotonic).abs() < 0.01, "{text}: {boot} since boot, {monotonic}");
    assert!(processor < 600.0, "{text}: {processor} s of processor time");

    // Beyond the first ticks, in which the kernel catches up.
    let started = std::time::Instant::now();
    run_in(&mut sandbox, "import time; time.sleep(1.5)");
    let took = started.elapsed();
    assert!(
        (Duration::from_millis(1500)..Duration::from_secs(20)).contains(&took),
        "{text}: {took:?}"
    );
    let before = host_seconds();
    let [wall_later, monotonic_later, ..] = clocks(&mut sandbox);
    let error = error_of(before + slept, wall_later, host_seconds() + slept);
    assert!(error < 0.002, "{text}: {error} s off after a sleep");
    let went_on = ((wall_later - wall) - (monotonic_later - monotonic)).abs();
    assert!(went_on < 0.002, "{text}: the clocks went on by {went_on} s more and less");
    let coarse = "import os, time; open('/tmp/x', 'w').close(); print(time.time() - os.stat('/tmp/x').st_mtime)";
    let behind: f64 = run_in(&mut sandbox, coarse).trim().parse().unwrap();
    assert!((-0.01..10.0).contains(&behind), "{text}: a new file is {behind} s old");
    assert_eq!(*console.lock().unwrap(), Vec::<String>::new(), "{text}");
}

#[test]
fn a_guest_that_slept_for_an_hour_a_month_or_ten_years_knows_it() {
    for slept in [3600, 30 * DAY, 3652 * DAY] {
        let taken = snapshot().manifest().clock.realtime_ns;
        let dir = forged(&taken.to_string(), &(taken - slept * NS).to_string());
        expect_time_to_go_on(&load(dir.path()), slept as f64, &format!("{slept} s"));
    }
}

/// The template as it would be if the TSC had stood elsewhere while it was made: every reading that
/// its kernel has kept, and the one in its manifest.
fn made_at_another_tsc(moved: i64) -> tempfile::TempDir {
    let dir = damaged_copy();
    let memory = dir.path().join("memory.img");
    fs::remove_file(&memory).unwrap();
    fs::copy(template().join("memory.img"), &memory).unwrap();
    fs::set_permissions(&memory, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let memory = fs::OpenOptions::new().read(true).write(true).open(memory).unwrap();
    let read = |at: u64| {
        let mut bytes = [0; 8];
        memory.read_exact_at(&mut bytes, at).unwrap();
        u64::from_le_bytes(bytes)
    };
    let add = |at: u64, value: u64| {
        memory.write_all_at(&read(at).wrapping_add(value).to_le_bytes(), at).unwrap();
    };
    let mut readings = 0;
    for field in read_section(dir.path(), forge::CLONE_FIELDS).chunks(16) {
        let at = u64::from_le_bytes(field[..8].try_into().unwrap());
        let kind = u32::from_le_bytes(field[12..].try_into().unwrap());
        if kind == CloneKind::Tsc as u32 {
            add(at, moved as u64);
            readings += 1;
        } else if kind == CloneKind::Cyc2Ns as u32 {
            let (multiplier, shift) = (read(at) as u32, (read(at) >> 32) as u32);
            let ns = (i128::from(moved) * i128::from(multiplier)) >> shift;
            add(at + 8, (-ns) as u64);
        }
    }
    assert!(readings >= 4, "{readings} readings of the TSC");
    let tsc = snapshot().manifest().clock.tsc;
    let then = tsc.wrapping_add(moved as u64);
    change_manifest(dir.path(), &format!("\"tsc\": {tsc}"), &format!("\"tsc\": {then}"));
    seal(dir.path());
    dir
}

#[test]
fn a_snapshot_from_another_boot_has_the_right_time_whether_the_tsc_was_ahead_or_behind() {
    let clock = snapshot().manifest().clock;
    let days = |n: i64| n * DAY as i64 * i64::from(clock.tsc_khz) * 1000;
    // A host that was up for months, one that was up for a second, and one that drifts: 0.4 s.
    let just_booted = i64::from(clock.tsc_khz) * 1000 - clock.tsc as i64;
    for moved in [days(100), just_booted, i64::from(clock.tsc_khz) * 400] {
        let dir = made_at_another_tsc(moved);
        expect_time_to_go_on(&load(dir.path()), 0.0, &format!("TSC moved by {moved}"));
    }
}

// What cannot be made to differ is not forked.

/// What loading says about the template with other clone fields.
fn refused(change: impl FnOnce(&mut [u8])) -> String {
    let dir = damaged_copy();
    change_section(dir.path(), forge::CLONE_FIELDS, change);
    Snapshot::load(dir.path(), LoadOptions::default()).unwrap_err().to_string()
}

#[test]
fn a_snapshot_whose_fields_lie_outside_of_its_memory_is_refused() {
    for address in [1u64 << 27, 1 << 32, u64::MAX - 7, u64::MAX] {
        let error = refused(|fields| fields[..8].copy_from_slice(&address.to_le_bytes()));
        assert!(error.contains("state.bin: clone field 0 ("), "{error}");
        assert!(error.contains(&format!("{address:#x} is no place")), "{error}");
    }
}

#[test]
fn a_snapshot_that_does_not_say_where_its_random_state_is_is_refused() {
    let generation = (CloneKind::Generation as u32).to_le_bytes();
    let error = refused(|fields| {
        for field in fields.chunks_mut(16).filter(|f| f[12..] == 1u32.to_le_bytes()) {
            field[8..12].copy_from_slice(&8u32.to_le_bytes());
            field[12..].copy_from_slice(&generation);
        }
    });
    assert!(error.contains("0 clone fields of kind Secret; there must be 2 to 8"), "{error}");
    let error = refused(|fields| fields[12..16].copy_from_slice(&77u32.to_le_bytes()));
    assert!(error.contains("kind 77 is not known"), "{error}");
}

#[test]
fn a_fork_whose_own_renewal_fails_runs_no_program() {
    // In the template it is called before each program that follows, and forks are made later.
    let warm = "
import os, time, zeroboot_guest
begun = time.monotonic()
def renew(seed):
    if time.monotonic() - begun > 600: raise OSError('no renewal')
zeroboot_guest.on_fork(renew)
";
    let own = OwnTemplate::build("test-no-renewal", warm);
    let taken = load(&own.0).manifest().clock.realtime_ns;
    assert_eq!(run_in(&mut fork_of(&load(&own.0)), "print(1)"), "1\n");
    // An hour later.
    change_manifest(&own.0, &taken.to_string(), &(taken - 3600 * NS).to_string());
    seal(&own.0);
    let mut sandbox = fork_of(&load(&own.0));
    let result = sandbox.run(b"print('ran')", RunOptions::default()).unwrap();
    assert_eq!(result.outcome, Outcome::ProcessExited(1));
    assert_eq!(result.output.stdout, b"");
    let error = String::from_utf8(result.output.stderr).unwrap();
    assert!(
        error.contains("cannot make this fork differ") && error.contains("no renewal"),
        "{error}"
    );
    assert!(!sandbox.is_alive());
}
