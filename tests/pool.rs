//! A pool keeps what it says, gives back what it need not keep, and leaves nothing behind.

mod common;

use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{printed, snapshot};
use kvm_bindings::{Msrs, kvm_msr_entry};
use zeroboot::{ForkOptions, Host, Pool, PoolOptions, Ring0, RunOptions, Sandbox};

/// These tests count what their process holds, so they come one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    snapshot();
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pool(recycle_max: usize, prewarm: usize, idle: Duration) -> Pool {
    Pool::with_idle(
        Arc::clone(snapshot()),
        PoolOptions { recycle_max, prewarm, memory_max: None },
        idle,
    )
}

const LONG: Duration = Duration::from_secs(3600);

fn fork(pool: &Pool) -> Sandbox {
    pool.fork(ForkOptions::default()).unwrap()
}

fn fork_fresh(pool: &Pool) -> Sandbox {
    pool.fork(ForkOptions { fresh: true, ..ForkOptions::default() }).unwrap()
}

fn answers(sandbox: &mut Sandbox) {
    let result = sandbox.run(b"print(6*7)", RunOptions::default()).unwrap();
    assert_eq!(printed(&result), "42\n");
}

/// Counts of what a leak would make grow.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    files: usize,
    mappings_of_guests: usize,
    keepers: usize,
    timers: usize,
}

fn held() -> Held {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let of_guests =
        |line: &&str| ["memory.img", "rootfs.img", "kvm-vcpu"].iter().any(|n| line.contains(n));
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    // A thread of the test runner's may end while it is looked at.
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks.filter_map(|task| name(task.unwrap()));
    Held {
        files: fs::read_dir("/proc/self/fd").unwrap().count(),
        mappings_of_guests: maps.lines().filter(of_guests).count(),
        keepers: names.filter(|name| name.starts_with("zeroboot-keeper")).count(),
        timers: fs::read_to_string("/proc/self/timers").map_or(0, |t| t.lines().count()),
    }
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn cycles_without_end_hold_no_more_than_the_first_and_nothing_when_the_pool_has_ended() {
    let _alone = alone();
    let cycles = std::env::var("ZB_TEST_CYCLES").map_or(10_000, |text| text.parse().unwrap());
    let before = held();
    let pool = pool(2, 1, LONG);
    let cycle = |count: usize| {
        for i in 0..count {
            let mut sandbox = fork(&pool);
            if i % 4 == 0 {
                answers(&mut sandbox);
            }
        }
        pool.settle();
    };
    // As many as it ever keeps: two that were in use at a time, and one made ahead.
    drop([fork(&pool), fork(&pool), fork(&pool)]);
    cycle(500);
    assert_eq!(pool.kept(), (2, 1));
    let (warm, resident) = (held(), resident_kib());
    let started = Instant::now();
    cycle(cycles);
    println!("{cycles} cycles in {:?}; {warm:?}, {resident} KiB", started.elapsed());
    assert_eq!(held(), warm);
    assert_eq!(warm.keepers, before.keepers + 1);
    let grown = resident_kib().saturating_sub(resident);
    assert!(grown < 1024, "{grown} KiB more are resident than before");
    drop(pool);
    assert_eq!(held(), before);
}

#[test]
fn an_idle_pool_gives_its_machines_back_but_for_one() {
    let _alone = alone();
    let pool = pool(3, 0, Duration::from_millis(300));
    let sandboxes: Vec<Sandbox> = (0..3).map(|_| fork(&pool)).collect();
    let with_three = held();
    drop(sandboxes);
    // All are put back, one after the other, before any is given up.
    pool.settle();
    // Nothing tells when that has happened.
    let limit = Instant::now() + Duration::from_secs(60);
    while pool.kept() != (1, 0) {
        assert!(Instant::now() < limit, "{:?}", pool.kept());
        std::thread::sleep(Duration::from_millis(10));
    }
    pool.settle();
    let with_one = held();
    assert!(with_one.files < with_three.files, "{with_one:?} after {with_three:?}");
    answers(&mut fork(&pool));
}

#[test]
fn a_pool_in_use_keeps_what_it_may() {
    let _alone = alone();
    let pool = pool(3, 0, LONG);
    let sandboxes: Vec<Sandbox> = (0..5).map(|_| fork(&pool)).collect();
    drop(sandboxes);
    pool.settle();
    assert_eq!(pool.kept(), (3, 0));
}

#[test]
fn machines_made_ahead_are_taken_and_made_again_and_end_with_the_pool() {
    let _alone = alone();
    let before = held();
    let pool = pool(2, 2, LONG);
    pool.settle();
    assert_eq!(pool.kept(), (0, 2));
    let mut first = fork_fresh(&pool);
    pool.settle();
    assert_eq!(pool.kept(), (0, 2));
    answers(&mut first);
    drop(first);
    pool.settle();
    assert_eq!(pool.kept(), (1, 2));
    // One in which a program ran is there, and is not what is asked for.
    let mut second = fork_fresh(&pool);
    assert_eq!(second.inside().put_back(), None);
    answers(&mut second);
    drop(pool);
    assert_eq!(held().keepers, before.keepers);
    // A sandbox outlives its pool.
    answers(&mut second);
    drop(second);
    assert_eq!(held(), before);
}

/// Sets how many descriptors the process may have open, and gives back how many that were.
#[allow(unsafe_code, reason = "the standard library has no such call")]
fn set_file_limit(files: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the argument is a live local of the right type.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
    let was = limit.rlim_cur;
    limit.rlim_cur = files;
    // SAFETY: the argument is a live local of the right type.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    was
}

#[test]
fn a_pool_that_meets_the_limit_of_files_says_so_and_recovers() {
    let _alone = alone();
    let pool = pool(2, 2, LONG);
    let mut first = fork_fresh(&pool);
    pool.settle();
    let was = set_file_limit(3);
    // What is there is given out; the keeper's attempts to make more come to nothing.
    let mut taken = vec![fork_fresh(&pool), fork_fresh(&pool)];
    pool.settle();
    assert_eq!(pool.kept(), (0, 0));
    let error = pool.fork(ForkOptions::default()).map(drop).unwrap_err().to_string();
    assert!(error.contains("open files") || error.contains("RLIMIT_NOFILE"), "{error}");
    // A run needs no files.
    taken.iter_mut().for_each(answers);
    // A machine cannot be put back before it is known how machines look, which takes files, too.
    answers(&mut first);
    drop(first);
    pool.settle();
    set_file_limit(was);
    answers(&mut fork(&pool));
    drop(taken);
    answers(&mut fork_fresh(&pool));
    pool.settle();
    let (ready, fresh) = pool.kept();
    assert!(ready > 0 && fresh > 0, "{ready} ready, {fresh} fresh");
}

/// IA32_TSC_DEADLINE less IA32_TSC.
fn until_the_timer_fires(sandbox: &mut Sandbox) -> Duration {
    let inside = sandbox.inside();
    let entry = |index| kvm_msr_entry { index, ..Default::default() };
    let mut msrs = Msrs::from_entries(&[entry(0x10), entry(0x6e0)]).unwrap();
    assert_eq!(inside.vcpu.get_msrs(&mut msrs), Ok(2));
    let [now, deadline] = [0, 1].map(|i| msrs.as_slice()[i].data);
    let khz = u64::from(inside.vcpu.get_tsc_khz().unwrap());
    Duration::from_millis(deadline.saturating_sub(now) / khz)
}

#[test]
fn a_machine_that_has_waited_does_not_begin_with_the_ticks_that_it_missed() {
    let _alone = alone();
    if Host::open().unwrap().traits().unwrap().ring0 == Ring0::Native {
        // There the first tick comes so soon that it tells nothing.
        return;
    }
    let pool = pool(1, 0, LONG);
    answers(&mut fork(&pool));
    pool.settle();
    let mut sandbox = fork(&pool);
    assert!(sandbox.inside().put_back().is_some());
    let left = until_the_timer_fires(&mut sandbox);
    std::thread::sleep(left + Duration::from_millis(100));
    assert_eq!(until_the_timer_fires(&mut sandbox), Duration::ZERO);
    answers(&mut sandbox);
    // A tick would have armed it for the next one, at most 40 ms on.
    let left = until_the_timer_fires(&mut sandbox);
    assert!(left > Duration::from_millis(100), "{left:?}");
}
