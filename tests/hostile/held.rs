//! What an attack must not change.

use std::fs;
use std::sync::{Mutex, PoisonError};

use crate::common::{fork, printed, snapshot};
use zeroboot::{ForkOptions, Pool, PoolOptions, RunOptions, Sandbox};

/// What this process holds.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    files: usize,
    mappings_of_guests: usize,
    threads_of_the_library: usize,
    timers: usize,
}

fn held() -> Held {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let of_guests = |line: &&str| ["memory.img", "kvm-vcpu"].iter().any(|n| line.contains(n));
    let threads = fs::read_dir("/proc/self/task").unwrap().filter(|task| {
        let name = task.as_ref().unwrap().path().join("comm");
        fs::read_to_string(name).is_ok_and(|name| name.starts_with("zeroboot"))
    });
    Held {
        files: fs::read_dir("/proc/self/fd").unwrap().count(),
        mappings_of_guests: maps.lines().filter(of_guests).count(),
        threads_of_the_library: threads.count(),
        timers: fs::read_to_string("/proc/self/timers").map_or(0, |t| t.lines().count()),
    }
}

fn resident_kib() -> u64 {
    status_kib("VmRSS:")
}

/// The most that was ever resident.
pub fn peak_kib() -> u64 {
    status_kib("VmHWM:")
}

fn status_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Attacks, one test at a time, after which this process holds what it held before.
pub fn undisturbed(attacks: impl FnOnce()) {
    undisturbed_once_prepared(|| {}, attacks);
}

/// The same, with something made before that is made once a process.
pub fn undisturbed_once_prepared(prepare: impl FnOnce(), attacks: impl FnOnce()) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    prepare();
    // Afterwards all is made that is made once a process.
    assert_the_next_fork_is_right();
    let (before, resident) = (held(), resident_kib());
    attacks();
    assert_eq!(held(), before);
    let grown = resident_kib().saturating_sub(resident);
    assert!(grown < 64 << 10, "{grown} KiB more are resident than before");
}

/// A new fork of the ordinary template, and one whose machine another sandbox has had.
pub fn assert_the_next_fork_is_right() {
    let pool = Pool::new(snapshot().clone(), PoolOptions { recycle_max: 1, ..PoolOptions::NONE });
    for _ in 0..2 {
        assert_right(&mut pool.fork(ForkOptions::default()).unwrap());
    }
    assert_right(&mut fork());
}

fn assert_right(sandbox: &mut Sandbox) {
    const CODE: &[u8] =
        b"import hashlib; print(6 * 7, hashlib.sha256(b'x' * 1000).hexdigest()[:8])";
    let result = sandbox.run(CODE, RunOptions::default()).unwrap();
    assert_eq!(printed(&result), "42 44f83544\n");
}
