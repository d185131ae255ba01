//! The command line: templates, runs, and what this host can do.

#[macro_use]
mod print;

mod bench;
mod console;
mod doctor;
mod measure;
mod paths;
mod progress;
mod run;
mod snapshot;
mod template;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  zeroboot doctor                   what this host can do
  zeroboot template build python    once
  zeroboot run 'print(6*7)'         as often as you like";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Virtual machines for the price of a function call.
///
/// Build a template once, then run programs in forks of it, each a KVM virtual machine of its own.
#[derive(Parser)]
#[command(name = "zeroboot", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what this host's KVM can do, and what is missing
    Doctor,
    /// Build, list, look at, verify and remove templates
    #[command(subcommand)]
    Template(template::Command),
    /// Run a program in a fork of a template
    Run(run::Arguments),
    /// Measure what forks of a template cost on this host
    Bench(bench::Arguments),
    /// Take in snapshots that somebody else made
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// Talk with the guest of such a snapshot, in a fork of it
    Console(console::Arguments),
}

fn main() -> ExitCode {
    let (result, failure) = match Arguments::parse().command {
        Command::Doctor => (doctor::doctor(), 1),
        Command::Template(command) => (template::template(command), 1),
        Command::Snapshot(command) => (snapshot::snapshot(command), 1),
        Command::Console(arguments) => (console::console(arguments), run::OWN_FAILURE),
        Command::Run(arguments) => (run::run(arguments), run::OWN_FAILURE),
        Command::Bench(arguments) => (bench::bench(arguments), 1),
    };
    result.unwrap_or_else(|error| {
        err!("zeroboot: {error}");
        ExitCode::from(failure)
    })
}
