//! A sandbox writes to no more memory than it may, and a snapshot's sandboxes to no more together.

mod common;

use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::{printed, snapshot};
use zeroboot::{ForkOptions, Outcome, Pool, PoolOptions, RunError, RunOptions, RunResult, Sandbox};

const MIB: u64 = 1 << 20;

/// A program that writes to this much memory in one go.
fn write_to(bytes: u64) -> String {
    format!(
        "kept = bytearray({bytes})\nfor i in range(0, {bytes}, 4096): kept[i] = 1\nprint('done')"
    )
}

fn pool(options: PoolOptions) -> Pool {
    Pool::new(Arc::clone(snapshot()), options)
}

fn limited(pool: &Pool, bytes: u64) -> Sandbox {
    let options = ForkOptions { memory_max: Some(bytes), ..ForkOptions::default() };
    pool.fork(options).unwrap()
}

fn run_in(sandbox: &mut Sandbox, code: &str) -> RunResult {
    sandbox.run(code.as_bytes(), RunOptions::default()).unwrap()
}

/// One test at a time: they measure what the process holds.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of guests' memory that are this process's own.
fn private() -> u64 {
    let mut bytes = 0;
    let mut is_guest = false;
    for line in fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        if line.contains("memory.img") {
            is_guest = true;
        } else if line.starts_with("VmFlags:") {
            is_guest = false;
        } else if let Some(kib) = line.strip_prefix("Private_Dirty:").filter(|_| is_guest) {
            bytes += kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10;
        }
    }
    bytes
}

#[test]
fn a_guest_that_writes_to_all_its_memory_is_stopped_at_its_limit_and_costs_no_more() {
    let _alone = alone();
    for options in [PoolOptions::default(), PoolOptions::NONE] {
        let pool = pool(options);
        let mut sandbox = limited(&pool, 4 * MIB);
        let result = run_in(&mut sandbox, &write_to(90 * MIB));
        assert_eq!(result.outcome, Outcome::MemoryLimit);
        // What the host writes: the mailbox, and pages that it makes ready. And what the guest wrote
        // in the time of a look.
        let (limit, cost) = (4 * MIB, private());
        assert!((limit..limit + 3 * MIB).contains(&cost), "{cost} bytes");
        let error = sandbox.run(b"print(1)", RunOptions::default()).unwrap_err();
        assert!(error.to_string().contains("the memory limit"), "{error}");
        drop(sandbox);
        drop(pool);
        assert_eq!(private(), 0);
    }
}

#[test]
fn a_program_within_its_limit_does_not_notice_it() {
    let _alone = alone();
    let pool = pool(PoolOptions::default());
    for _ in 0..3 {
        let mut sandbox = limited(&pool, 6 * MIB);
        assert_eq!(printed(&run_in(&mut sandbox, &write_to(MIB))), "done\n");
    }
}

#[test]
fn what_a_machine_held_before_does_not_count() {
    let _alone = alone();
    let pool = pool(PoolOptions { recycle_max: 1, ..PoolOptions::NONE });
    let mut first = pool.fork(ForkOptions::default()).unwrap();
    assert_eq!(printed(&run_in(&mut first, &write_to(5 * MIB))), "done\n");
    drop(first);
    let mut second = limited(&pool, 4 * MIB);
    assert_eq!(printed(&run_in(&mut second, &write_to(MIB))), "done\n");
    drop(second);
    let mut third = limited(&pool, 4 * MIB);
    assert_eq!(run_in(&mut third, &write_to(30 * MIB)).outcome, Outcome::MemoryLimit);
}

#[test]
fn the_limit_is_for_all_runs_of_a_sandbox_together() {
    let _alone = alone();
    let pool = pool(PoolOptions::default());
    let mut sandbox = limited(&pool, 5 * MIB);
    let more = "import json; json.kept = getattr(json, 'kept', []) + [bytearray(b'x' * (3 << 19))]";
    let mut runs = 0;
    while run_in(&mut sandbox, more).outcome == Outcome::Exited(0) {
        runs += 1;
        assert!(runs < 5, "{runs} runs of 1.5 MiB each in 5 MiB");
    }
    assert!(runs > 0);
}

#[test]
fn a_short_program_that_goes_over_is_found_each_time() {
    let _alone = alone();
    let pool = pool(PoolOptions::default());
    for _ in 0..5 {
        let mut sandbox = limited(&pool, 16 << 10);
        assert_eq!(run_in(&mut sandbox, "pass").outcome, Outcome::MemoryLimit);
    }
}

#[test]
fn a_snapshots_sandboxes_may_have_so_much_together() {
    let _alone = alone();
    let all = 2 * (snapshot().manifest().ram_bytes + MIB);
    let pool = pool(PoolOptions { memory_max: Some(all), ..PoolOptions::default() });
    let whole = pool.fork(ForkOptions::default()).unwrap();
    let mut small: Vec<_> = (0..4).map(|_| limited(&pool, all / 8)).collect();
    let error = pool.fork(ForkOptions::default()).unwrap_err();
    assert!(matches!(error, RunError::MemoryTotal { .. }), "{error}");
    assert!(error.to_string().contains(&all.to_string()), "{error}");
    assert_eq!(printed(&run_in(&mut small[0], "print(1)")), "1\n");
    drop(whole);
    let mut whole = pool.fork(ForkOptions::default()).unwrap();
    assert_eq!(printed(&run_in(&mut whole, "print(2)")), "2\n");
    drop(small);
    pool.fork(ForkOptions::default()).unwrap();
}
