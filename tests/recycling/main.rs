//! A recycled machine is what a new fork is: every byte of memory, every register.

#[path = "../common/mod.rs"]
mod common;

mod battery;
mod examination;
mod plants;
mod translations;

use std::sync::{Arc, OnceLock};

use battery::battery;
use common::{fork, snapshot};
use examination::{Examination, examine};
use plants::{change_msr, plants};
use zeroboot::{ForkOptions, Pool, PoolOptions, PutBack, Sandbox};

/// What a fork is in which nothing ran.
fn fresh() -> &'static Examination {
    static FRESH: OnceLock<Examination> = OnceLock::new();
    FRESH.get_or_init(|| examine(&mut fork()))
}

/// A pool that keeps one machine.
fn pool_of_one() -> Pool {
    Pool::new(Arc::clone(snapshot()), PoolOptions { recycle_max: 1, ..PoolOptions::NONE })
}

/// Frees a sandbox and forks its machine again, put back.
fn recycle(pool: &Pool, used: Sandbox) -> (Sandbox, PutBack) {
    drop(used);
    pool.settle();
    let mut next = pool.fork(ForkOptions::default()).unwrap();
    let how = next.inside().put_back().expect("the machine that was freed, and not a new one");
    (next, how)
}

#[test]
fn two_fresh_forks_are_equal() {
    assert_eq!(examine(&mut fork()).differences(fresh()), [""; 0]);
    println!("{} MSRs can be read", fresh().msrs().len());
}

#[test]
fn after_every_hostile_run_the_recycled_machine_equals_a_fresh_fork() {
    let pool = pool_of_one();
    let (mut copied, mut dropped) = (0, 0);
    let mut sandbox = pool.fork(ForkOptions::default()).unwrap();
    for hostile in battery() {
        hostile.run(&mut sandbox);
        let changes = examine(&mut sandbox).differences(fresh());
        assert!(!changes.is_empty(), "{} changed nothing", hostile.name);
        let (mut next, how) = recycle(&pool, sandbox);
        println!("{:20} {how:?}; had changed {}", hostile.name, changes.join("; "));
        match how {
            PutBack::Copied(_) => copied += 1,
            PutBack::Dropped => dropped += 1,
        }
        assert_eq!(examine(&mut next).differences(fresh()), [""; 0], "after {}", hostile.name);
        sandbox = next;
    }
    assert!(copied > 0 && dropped > 0, "copied {copied}, dropped {dropped}");
}

/// The test of the tests above: what they do not see, they cannot show to be put back.
#[test]
fn a_difference_in_any_part_is_found_and_a_reset_removes_it() {
    let pool = pool_of_one();
    let mut sandbox = pool.fork(ForkOptions::default()).unwrap();
    let cr3 = sandbox.inside().vcpu.get_sregs().unwrap().cr3 as usize;
    for plant in plants(cr3, fresh().memory.len()) {
        plant.put(&mut sandbox);
        let found = examine(&mut sandbox).differences(fresh());
        assert!(
            found.iter().any(|line| line.starts_with(&plant.shows_in)),
            "{}: {found:?}",
            plant.what
        );
        let (mut next, how) = recycle(&pool, sandbox);
        println!("{:30} {}; {how:?}", plant.what, found.join("; "));
        assert_eq!(examine(&mut next).differences(fresh()), [""; 0], "{}", plant.what);
        sandbox = next;
    }
}

#[test]
fn every_model_specific_register_that_takes_another_value_is_put_back() {
    let pool = pool_of_one();
    let mut sandbox = pool.fork(ForkOptions::default()).unwrap();
    let mut changed = Vec::new();
    for (index, value) in fresh().msrs() {
        let vcpu = &*sandbox.inside().vcpu;
        let takes = |bit: &u32| change_msr(vcpu, *index, value ^ 1 << bit);
        if [0, 12, 4, 32, 40].iter().any(takes) {
            changed.push(format!("{index:#x}"));
        }
    }
    println!(
        "{} of {} took another value: {}",
        changed.len(),
        fresh().msrs().len(),
        changed.join(" ")
    );
    assert!(changed.len() > 50, "only {}", changed.len());
    let (mut next, _) = recycle(&pool, sandbox);
    assert_eq!(examine(&mut next).differences(fresh()), [""; 0]);
}
