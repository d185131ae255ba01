//! How to put a used machine's memory back: `make bench-reset`.
//!
//! A guest has run a program; which pages did it write, and how do they get their old bytes? Every
//! way is tried on a machine of its own, on the same template with the same programs, in turns. Three
//! clocks: *find* is asking which pages were written, *put back* is giving them their bytes, and *run*
//! is the program's next run, in which the guest pays for what the first two did to its mappings.
//! The processor's registers are put back outside the clocks.
//!
//! The library does what the best exact way does (src/machine/reset.rs).

#![allow(unsafe_code, reason = "raw ioctls; the library has no part in it")]

#[path = "../compare/ancestor/state.rs"]
mod state;

#[path = "../../tests/common/mod.rs"]
mod common;

mod find;
mod machine;
mod put_back;

/// What `state` wants.
mod measure {
    pub mod way {
        pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
    }
}

use std::time::{Duration, Instant};

use find::Find;
use machine::{Machine, Template};
use measure::way::Result;
use put_back::PutBack;

/// A program that needs no system call, and one that makes a megabyte of objects and text.
const PROGRAMS: &[(&str, &str)] = &[
    ("print(6*7)", "print(6*7)"),
    (
        "json, 100 KB",
        "import json; print(len(json.dumps([{'n': i, 's': str(i)} for i in range(4000)])))",
    ),
];

const ROUNDS: usize = 300;
/// Rounds before the clock counts.
const WARM: usize = 20;

fn main() -> Result<()> {
    if std::env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let template = Template::load(common::template())?;
    for (name, program) in PROGRAMS {
        println!("\n`{name}`\n");
        println!(
            "| find | put back | pages | find p50 | put back p50 | next run p50 | sum | exact |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for find in find::ALL {
            attempt(&template, program, *find, PutBack::Copy);
        }
        for put_back in [PutBack::DropFound, PutBack::DropAll, PutBack::CopyUsualDropRest] {
            attempt(&template, program, Find::KeptLog, put_back);
        }
    }
    Ok(())
}

/// A way may not be there on this host; or the guest does not survive what it misses.
fn attempt(template: &Template, program: &str, find: Find, put_back: PutBack) {
    if let Err(error) = compare(template, program, find, put_back) {
        println!("| {} | {} | | | | | {error} | no |", find.name(), put_back.name());
    }
}

fn compare(template: &Template, program: &str, find: Find, put_back: PutBack) -> Result<()> {
    let mut machine = Machine::new(template, find)?;
    machine.run(program)?;
    let [mut finding, mut putting, mut running] = <[Vec<Duration>; 3]>::default();
    let (mut pages, mut is_exact) = (0, true);
    for round in 0..WARM + ROUNDS {
        let started = Instant::now();
        machine.find()?;
        let found = Instant::now();
        machine.put_back(put_back)?;
        let put = Instant::now();
        pages = machine.found().len();
        if round % 50 == 0 {
            is_exact &= machine.memory_is_the_templates()?;
        }
        machine.reset_registers()?;
        let reset = Instant::now();
        machine.run(program)?;
        if round >= WARM {
            finding.push(found - started);
            putting.push(put - found);
            running.push(reset.elapsed());
        }
    }
    let [finding, putting, running] = [finding, putting, running].map(median_us);
    println!(
        "| {} | {} | {pages} | {finding:.0} us | {putting:.0} us | {running:.0} us | {:.0} us | {} |",
        find.name(),
        put_back.name(),
        finding + putting + running,
        if is_exact { "yes" } else { "no" },
    );
    Ok(())
}

fn median_us(mut samples: Vec<Duration>) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2].as_secs_f64() * 1e6
}
