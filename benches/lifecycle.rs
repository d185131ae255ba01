//! The life of a sandbox, phase by phase: `make bench`.
//!
//! Each figure times one phase; everything else happens outside the clock. Latencies are of one
//! thread. The clocks: *load* is `Snapshot::load`; *fork* is `Sandbox::fork`; *first result* is from
//! the call of fork to the return of the first run of `print(6*7)`, its output checked; *run again*
//! is a further run in the same sandbox; *free* is the drop of a sandbox that has run.

#[path = "../src/bin/zeroboot/statistics.rs"]
mod statistics;

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use common::{snapshot, template};
use statistics::Samples;
use zeroboot::{Host, LoadOptions, RunOptions, Sandbox, Snapshot};

const CODE: &[u8] = b"print(6*7)";
const ROUNDS: usize = 1000;
const LIVE: usize = 1000;

fn main() {
    // `cargo bench` passes --bench; `cargo test` would pass --test and must not run for minutes.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let host = Host::open().expect("a usable /dev/kvm");
    let ram = snapshot().manifest().ram_bytes >> 20;
    println!("| host | |\n|---|---|");
    println!("| processor | {} |", common_name());
    println!("| kernel | Linux {} |", read("/proc/sys/kernel/osrelease").trim());
    println!("| KVM | {} |", host.kind());
    println!("| guest | Python, {ram} MiB |\n");
    println!("| phase | p50 | p99 | max | n |\n|---|---|---|---|---|");
    load(template(), &format!("load, {ram} MiB"));
    let large = large_template();
    load(&large, "load, 256 MiB");
    life();
    run_again();
    println!();
    live_at_once();
}

/// A larger one, to see whether loading depends on the size.
fn large_template() -> PathBuf {
    let zeroboot = || Command::new(common::ZEROBOOT);
    let build = ["template", "build", "python", "--memory", "256", "--name", "python-256"];
    common::succeed(zeroboot().args(build));
    let path = common::succeed(zeroboot().args(["template", "inspect", "--path", "python-256"]));
    PathBuf::from(String::from_utf8(path.stdout).unwrap().trim())
}

fn load(dir: &Path, name: &str) {
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let snapshot = Snapshot::load(dir, LoadOptions::default()).unwrap();
        samples.add(started.elapsed());
        drop(snapshot);
    }
    row(name, &samples);
}

fn life() {
    let [mut fork, mut first_run, mut first_result, mut free] = <[Samples; 4]>::default();
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let mut sandbox = Sandbox::fork(snapshot(), None).unwrap();
        let forked = Instant::now();
        run(&mut sandbox);
        let ran = Instant::now();
        drop(sandbox);
        free.add(ran.elapsed());
        fork.add(forked - started);
        first_run.add(ran - forked);
        first_result.add(ran - started);
    }
    row("fork", &fork);
    row("first run", &first_run);
    row("fork to first result", &first_result);
    row("free", &free);
}

fn run_again() {
    let mut samples = Samples::default();
    let mut sandbox = Sandbox::fork(snapshot(), None).unwrap();
    run(&mut sandbox);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        run(&mut sandbox);
        samples.add(started.elapsed());
    }
    row("run again", &samples);
}

/// Forks that are all alive when the last of them has answered.
fn live_at_once() {
    let (kernel_before, started) = (kernel_kib(), Instant::now());
    let mut forks = Vec::with_capacity(LIVE);
    for _ in 0..LIVE {
        let mut sandbox = Sandbox::fork(&Arc::clone(snapshot()), None).unwrap();
        run(&mut sandbox);
        forks.push(sandbox);
    }
    let seconds = started.elapsed().as_secs_f64();
    let private = private_kib() / LIVE as u64;
    let kernel = kernel_kib().saturating_sub(kernel_before) / LIVE as u64;
    let started = Instant::now();
    drop(forks);
    let freed = started.elapsed().as_secs_f64();
    println!("| {LIVE} forks alive at once, each of which has answered | |\n|---|---|");
    println!("| fork and first result of all | {seconds:.2} s |");
    println!("| free of all | {freed:.2} s |");
    println!("| private guest memory a fork (smaps, Private_Dirty) | {private} KiB |");
    println!(
        "| kernel memory a fork (meminfo: slab, page tables, stacks, per-CPU) | {kernel} KiB |"
    );
}

fn run(sandbox: &mut Sandbox) {
    let result = sandbox.run(CODE, RunOptions::default()).unwrap();
    assert_eq!(result.output.stdout, b"42\n");
}

fn row(name: &str, samples: &Samples) {
    let ms = |share: f64| samples.percentile(share).as_secs_f64() * 1e3;
    println!(
        "| {name} | {:.3} ms | {:.3} ms | {:.3} ms | {} |",
        ms(0.5),
        ms(0.99),
        ms(1.0),
        samples.len()
    );
}

/// Pages that forks have to themselves.
fn private_kib() -> u64 {
    let (mut ours, mut sum) = (false, 0);
    for line in read("/proc/self/smaps").lines() {
        match line.strip_prefix("Private_Dirty:") {
            Some(rest) if ours => sum += first_number(rest),
            Some(_) => {}
            // A mapping's first line begins with its addresses.
            None if line.contains('-') && !line.contains("kB") => {
                ours = line.contains("memory.img")
            }
            None => {}
        }
    }
    sum
}

/// What the kernel itself uses, all of it: nothing else should run beside this bench.
fn kernel_kib() -> u64 {
    const FIELDS: &[&str] = &[
        "SUnreclaim:",
        "PageTables:",
        "SecPageTables:",
        "KernelStack:",
        "Percpu:",
        "VmallocUsed:",
    ];
    read("/proc/meminfo")
        .lines()
        .filter_map(|line| FIELDS.iter().find_map(|field| line.strip_prefix(field)))
        .map(first_number)
        .sum()
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn common_name() -> String {
    let info = read("/proc/cpuinfo");
    let line = info.lines().find_map(|line| line.strip_prefix("model name"));
    line.unwrap_or("unknown").trim_start_matches([' ', '\t', ':']).to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
