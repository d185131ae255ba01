mod faults;
mod owners;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use zeroboot::{LoadOptions, Snapshot};

use crate::measure::results::{Results, Summary, WayResults};
use crate::measure::way::{self, PROGRAM, Way};
use crate::measure::{host, lives, many, ours, sustained, table};
use crate::{Result, paths};

const MORE: &str = "\
Examples:
  zeroboot bench
  zeroboot bench -t mine --runs 200 --live 0 --seconds 0
  zeroboot bench --json > results.json

A life is: fork, run `print(6*7)`, free. Its spawn is the call that forks; its first result is from \
that call to the return of the run; its teardown is the drop of the sandbox. Fresh forks are new \
machines; prewarmed ones were made ahead, by a background thread; recycled ones have run before and \
were put back.

Times are of one thread unless it says otherwise; each figure is of whole lives, every answer checked. \
Nothing else should run meanwhile. `make bench` in zeroboot's source compares with other ways to \
run Python.";

#[derive(clap::Args)]
#[command(after_help = MORE, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    of: Option<Of>,
    #[command(flatten)]
    lives: Lives,
}

/// What is looked at more closely than as a life.
#[derive(clap::Subcommand)]
enum Of {
    /// Show which pages a fork's first run reads and writes, whose they are, and what KVM does for it
    Faults(faults::Arguments),
}

#[derive(clap::Args)]
struct Lives {
    /// Template to fork: a name, or a directory (with a slash in it)
    #[arg(short, long, default_value = "python")]
    template: String,
    /// How many lives (fork, run, free) to time one after the other
    #[arg(long, value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How long to keep up the load for the throughput, with each number of threads; 0 for not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    seconds: u64,
    /// Most threads of the throughput; it is measured with 1, 2, 4 and so on [default: one a
    /// processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// How many forks to keep alive at once for their weight; 0 for none
    #[arg(long, value_name = "N", default_value_t = 100)]
    live: usize,
    /// Print everything as JSON instead of tables
    #[arg(long)]
    json: bool,
}

pub fn bench(arguments: Arguments) -> Result<ExitCode> {
    match arguments.of {
        Some(Of::Faults(arguments)) => faults::faults(arguments),
        None => lives_of(&arguments.lives),
    }
}

fn lives_of(arguments: &Lives) -> Result<ExitCode> {
    let dir = paths::existing_template(&arguments.template)?;
    let results =
        measure(&dir, arguments).map_err(|error| -> Box<dyn std::error::Error> { error })?;
    if arguments.json {
        out!("{}", serde_json::to_string_pretty(&results)?);
    } else {
        print(&results);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(dir: &Path, arguments: &Lives) -> way::Result<Results> {
    let runs = arguments.runs as usize;
    let snapshot = Arc::new(Snapshot::load(dir, LoadOptions::default())?);
    let description = host::describe(&snapshot)?;
    say(format_args!("loading, {runs} times"));
    let load = Summary::of(&lives::load(dir, runs)?);
    let ours = ours::ways(&snapshot);
    let ways: Vec<&dyn Way> = ours.iter().map(|way| way as &dyn Way).collect();
    say(format_args!("{runs} lives of {PROGRAM}"));
    let lives = lives::measure(&ways, runs)?;
    let mut results = Vec::new();
    for (way, lives) in ways.iter().zip(&lives) {
        let mut result = WayResults::of(way.about(), lives);
        for threads in thread_counts(arguments) {
            say(format_args!("{}: load of {threads} threads", way.about().name));
            let time = Duration::from_secs(arguments.seconds);
            result.sustained.push(sustained::measure(*way, threads, time)?);
        }
        if arguments.live > 0 {
            say(format_args!("{}: {} forks at once", way.about().name, arguments.live));
            result.many = many::measure(*way, arguments.live, 1)?;
        }
        results.push(result);
    }
    Ok(Results { description, load, ways: results })
}

fn thread_counts(arguments: &Lives) -> Vec<usize> {
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let most = arguments.threads.map_or_else(processors, usize::from);
    let counts = std::iter::successors(Some(1), |n| Some(n * 2)).take_while(|n| *n <= most);
    if arguments.seconds == 0 { Vec::new() } else { counts.collect() }
}

fn print(results: &Results) {
    let tables = [
        Some(table::host(results)),
        Some(table::load(results)),
        Some(table::latency(results)),
        results.ways.iter().any(|w| !w.sustained.is_empty()).then(|| table::sustained(results)),
        results.ways.iter().any(|w| w.many.is_some()).then(|| table::many(results)),
    ];
    let tables: Vec<String> = tables.into_iter().flatten().collect();
    out!("{}", tables.join("\n").trim_end());
}

/// What is being done, for those who wait at a terminal or read a log.
fn say(what: std::fmt::Arguments<'_>) {
    err!("zeroboot: {what}");
}
