//! Ways to run Python apart from the rest, measured in one run on one machine: `make bench`.
//!
//! | way | what |
//! |---|---|
//! | zeroboot's | as `zeroboot bench` measures them |
//! | the ancestor's | rebuilt in [`ancestor`] from its description, with the same guest |
//! | a Firecracker snapshot's | [`firecracker`]: another guest, answering by its console |
//! | fork(2) of a warm Python, cold `python3 -c`, exec in process | [`python`]; less isolation |
//!
//! The report says what starts and stops each clock.

#![deny(unsafe_op_in_unsafe_fn)]

mod ancestor;
mod crowd;
mod firecracker;
mod plot;
mod python;
mod report;

#[path = "../../src/bin/zeroboot/measure/mod.rs"]
mod measure;

#[path = "../../tests/common/mod.rs"]
mod common;

#[path = "../../tests/common/foreign.rs"]
mod foreign;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;

use measure::lives::Lives;
use measure::results::{Results, Summary, WayResults};
use measure::statistics::Samples;
use measure::way::{Result, Way};
use measure::{document, host, lives, many, ours, sustained};
use zeroboot::{LoadOptions, Snapshot};

/// Compare ways to run Python apart from the rest.
#[derive(Parser)]
struct Arguments {
    /// A small measurement, in less than a minute, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Lives of each way, one after the other [default: 1000]
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Seconds of load, with one thread and with two [default: 30]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Forks alive at once [default: 1000]
    #[arg(long, value_name = "N")]
    live: Option<usize>,
    /// Most forks that wait beside a life [default: 5000]
    #[arg(long, value_name = "N")]
    crowd: Option<usize>,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// Write the report again from the results.json of an earlier measurement
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Copy the report to docs/benchmark and its tables to README.md
    #[arg(long)]
    update_readme: bool,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much is measured.
struct Plan {
    runs: usize,
    load: Duration,
    live: usize,
    levels: Vec<usize>,
}

impl Plan {
    fn of(arguments: &Arguments) -> Self {
        let usual: (usize, u64, usize, &[usize]) = match arguments.quick {
            false => (1000, 30, 1000, &[10, 100, 300, 1000, 2500, 5000]),
            true => (40, 1, 50, &[10, 50]),
        };
        let most = arguments.crowd.unwrap_or(usize::MAX);
        Plan {
            runs: arguments.runs.unwrap_or(usual.0),
            load: Duration::from_secs(arguments.seconds.unwrap_or(usual.1)),
            live: arguments.live.unwrap_or(usual.2),
            levels: usual.3.iter().copied().filter(|level| *level <= most).collect(),
        }
    }
}

/// Of the throughput.
const THREADS: [usize; 2] = [1, 2];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // `cargo test --benches` must not run for minutes.
    if !arguments.bench {
        return Ok(());
    }
    let root = common::root();
    let out = root.join(&arguments.out);
    let results = match &arguments.from {
        Some(file) => serde_json::from_str(&fs::read_to_string(file)?)?,
        None => measure_all(&Plan::of(&arguments), &out)?,
    };
    report::write(&results, &out)?;
    if arguments.update_readme {
        report::write(&results, &root.join("docs/benchmark"))?;
        report::update_readme(&results, &root.join("README.md"))?;
    }
    println!("{}", document::readme(&results));
    println!("The report is in {}.", out.display());
    Ok(())
}

fn measure_all(plan: &Plan, out: &Path) -> Result<Results> {
    raise_file_limit()?;
    let dir = common::template();
    let snapshot = Arc::new(Snapshot::load(dir, LoadOptions::default())?);
    let interpreter = python::Interpreter::find()?;
    let mut description = host::describe(&snapshot)?;
    description.python = Some(interpreter.describe()?);

    let ours = ours::ways(&snapshot);
    let ancestor = ancestor::Ancestor::new(dir, &snapshot)?;
    let pythons = interpreter.ways();
    let mut ways: Vec<&dyn Way> = ours.iter().map(|way| way as &dyn Way).collect();
    ways.push(&ancestor);
    ways.extend(pythons.iter().map(|way| &**way));

    say(&format!("loading, {} times", plan.runs));
    let load = lives::load(dir, plan.runs)?;
    say(&format!("{} lives of each way, in turns", plan.runs));
    let lives = lives::measure(&ways, plan.runs)?;
    raw(out, &ways, &lives, &load)?;
    let results = ways.iter().zip(&lives).map(|(way, lives)| one(*way, lives, plan));
    let mut results = results.collect::<Result<Vec<_>>>()?;
    say("a snapshot that Firecracker made");
    results.push(firecracker::measure()?);
    Ok(Results { description, load: Summary::of(&load), ways: results })
}

/// What is measured of a way on its own.
fn one(way: &dyn Way, lives: &Lives, plan: &Plan) -> Result<WayResults> {
    let name = way.about().name;
    let mut results = WayResults::of(way.about(), lives);
    for threads in THREADS {
        say(&format!("{name}: load, {threads} threads, {} s", plan.load.as_secs()));
        results.sustained.push(sustained::measure(way, threads, plan.load)?);
    }
    if way.about().mapping.is_none() {
        return Ok(results);
    }
    say(&format!("{name}: {} forks alive at once", plan.live));
    match many::measure(way, plan.live, 2) {
        Ok(many) => results.many = many,
        Err(error) => results.stopped = Some(error.to_string()),
    }
    say(&format!("{name}: lives beside {:?} others", plan.levels));
    let (crowd, stopped) = crowd::measure(way, &plan.levels)?;
    results.crowd = crowd;
    results.stopped = results.stopped.or(stopped);
    Ok(results)
}

/// Every sample, in the order in which it was taken.
fn raw(out: &Path, ways: &[&dyn Way], lives: &[Lives], load: &Samples) -> Result<()> {
    let mut samples: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    samples.insert("load".into(), load.nanoseconds());
    for (way, lives) in ways.iter().zip(lives) {
        let id = way.about().id;
        samples.insert(format!("{id} spawn"), lives.spawn.nanoseconds());
        samples.insert(format!("{id} first result"), lives.first_result.nanoseconds());
        samples.insert(format!("{id} teardown"), lives.teardown.nanoseconds());
    }
    fs::create_dir_all(out)?;
    Ok(fs::write(out.join("raw.json"), serde_json::to_string(&samples)?)?)
}

/// A fork takes two files, and the soft limit is often 1,024.
#[allow(unsafe_code, reason = "setrlimit(2), which the library never calls")]
fn raise_file_limit() -> Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the limit is a live local, which the call fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the limit is a live local, which the call reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}

fn say(what: &str) {
    eprintln!("bench: {what}");
}
