//! What a fork of a Firecracker snapshot costs, phase by phase, with a guest that is reached by its console.
//! *first answer* is from the call of fork to the end of the first answer.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/foreign.rs"]
mod foreign;

use std::sync::Arc;
use std::time::{Duration, Instant};

use foreign::{ANY_CLOCK, BASE, unpacked};
use zeroboot::{Outcome, Sandbox, Snapshot, TalkOptions};

const ROUNDS: usize = 200;
/// First answers take seconds where ring 0 is emulated.
const FIRST_ANSWERS: usize = 10;

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let dir = unpacked(BASE);
    println!(
        "| phase, a snapshot by Firecracker 1.12 | p50 | p99 | max | n |\n|---|---|---|---|---|"
    );
    let load = || Snapshot::load(&dir, ANY_CLOCK).unwrap();
    row("load", &timed(ROUNDS, || (), |()| drop(load())));
    let snapshot = Arc::new(load());
    let new = || Sandbox::fork(&snapshot, None).unwrap();
    let mut forks = Vec::new();
    row("fork", &timed(ROUNDS, || (), |()| forks.push(new())));
    row("free, not run", &timed(ROUNDS, || forks.pop(), drop));
    let mut answered = Vec::new();
    let first = timed(
        FIRST_ANSWERS,
        || (),
        |()| {
            let mut sandbox = new();
            ask(&mut sandbox, b"count\n", b"count=2\nDONE\n");
            answered.push(sandbox);
        },
    );
    row("fork to first answer", &first);
    let mut sandbox = answered.pop().unwrap();
    row("answer again", &timed(ROUNDS, || (), |()| ask(&mut sandbox, b"rev a\n", b"a\nDONE\n")));
    row("free", &timed(answered.len(), || answered.pop(), drop));
}

fn ask(sandbox: &mut Sandbox, line: &[u8], answer: &[u8]) {
    let options = TalkOptions { until: b"DONE\n", ..TalkOptions::default() };
    let result = sandbox.talk(line, options).unwrap();
    assert_eq!(result.outcome, Outcome::Exited(0));
    assert!(result.output.stdout.ends_with(answer), "{:?}", result.output);
}

/// The durations of `phase`, in ascending order; `before` is outside the clock.
fn timed<T>(
    rounds: usize,
    mut before: impl FnMut() -> T,
    mut phase: impl FnMut(T),
) -> Vec<Duration> {
    let mut samples: Vec<Duration> = (0..rounds)
        .map(|_| {
            let given = before();
            let started = Instant::now();
            phase(given);
            started.elapsed()
        })
        .collect();
    samples.sort();
    samples
}

fn row(name: &str, samples: &[Duration]) {
    let ms = |share: usize| samples[(samples.len() - 1) * share / 100].as_secs_f64() * 1e3;
    let n = samples.len();
    println!("| {name} | {:.3} ms | {:.3} ms | {:.3} ms | {n} |", ms(50), ms(99), ms(100));
}
