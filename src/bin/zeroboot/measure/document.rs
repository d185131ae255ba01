//! Results as documents: the report and the README's part. Both are functions of the results alone,
//! so that a test can tell whether what is shown is what was measured.

use super::lives::{BATCH, PAUSE, WARM_UP};
use super::results::Results;
use super::table;
use super::way::{ANSWER, PROGRAM};

/// What is between this line and [`END`] in README.md comes from a measurement.
pub const BEGIN: &str = "<!-- benchmark: begin; `make bench-report` writes what follows -->\n";
/// See [`BEGIN`].
pub const END: &str = "<!-- benchmark: end -->\n";

/// The README's part.
pub fn readme(results: &Results) -> String {
    let parts = [
        table::host(results),
        disturbed(results),
        table::latency(results),
        table::many(results),
        table::crowd(results),
        table::sustained(results),
        stopped(results),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// How many lives have their first result after how long.
pub const LATENCY: &str = "latency.svg";
/// What lives cost beside others.
pub const CROWD: &str = "crowd.svg";
/// What live forks weigh.
pub const MEMORY: &str = "memory.svg";

/// The pictures that there are figures for.
pub fn pictures(results: &Results) -> Vec<&'static str> {
    let crowd = results.ways.iter().any(|way| way.crowd.len() > 1);
    let memory = results.ways.iter().any(|way| way.many.is_some());
    [Some(LATENCY), crowd.then_some(CROWD), memory.then_some(MEMORY)]
        .into_iter()
        .flatten()
        .collect()
}

/// The whole report.
pub fn report(results: &Results) -> String {
    let mut out = format!("# Ways to run Python apart from the rest\n\n{}\n", method());
    for (title, text) in [
        ("Where", format!("{}\n{}", table::host(results), disturbed(results))),
        ("What starts and stops the clocks", table::clocks(results)),
        ("One life at a time", table::latency(results)),
        ("Many alive at once", format!("{}\n{}", table::many(results), MANY_TEXT)),
        ("Beside others", format!("{}\n{}", table::crowd(results), CROWD_TEXT)),
        ("Under load", format!("{}\n{}", table::sustained(results), SUSTAINED_TEXT)),
        ("Loading", format!("{}\n{}", table::load(results), LOAD_TEXT)),
        ("What could not be measured", stopped(results)),
    ] {
        if !text.is_empty() {
            out.push_str(&format!("## {title}\n\n{text}\n"));
        }
    }
    for picture in pictures(results) {
        out.push_str(&format!("![{}]({picture})\n\n", picture.trim_end_matches(".svg")));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn method() -> String {
    format!(
        "One run of one program on one machine measured all of this. A *life* is: something is \
         spawned, it runs `{PROGRAM}`, it is torn down. Each life's output is compared with \
         `{}`; a wrong one ends the measurement, so that no figure is of anything that did not \
         answer.\n\n\
         Latency is of one thread. The ways take turns of {BATCH} lives, there and back, with a \
         pause of {} ms in between, so that what else the machine does hits all of them; {WARM_UP} \
         lives of each come before the clock counts. Percentiles are by nearest rank, of n lives, \
         none left out. Each measurement has a pool of machines of its own where a way \
         has one; what a pool's background thread does is on no clock of one life, but takes its \
         share of the processors and so counts under load. A way whose lives take more than 50 ms lives a tenth of them.\n\n\
         The ancestor's way is our own rebuilding from its description (`benches/compare/ancestor` \
         says how, and which choices were made in its favour): a full interrupt controller and a \
         timer chip in each VM, memory copy-on-write from a memory file, all state set for each \
         fork, nothing used twice. It forks the same snapshot and runs the same guest. Its \
         *spawn* ends where its own figures end, before the guest's first instruction.\n\n\
         Ours and the ancestor's are calls in the measuring process. The warm Pythons are processes \
         that are asked through a pipe and answer through another, as such a server must be.\n\n\
         What is no virtual machine isolates less: a child of fork(2) shares the host's kernel, and \
         exec in process shares everything.\n",
        ANSWER.trim_end(),
        PAUSE.as_millis()
    )
}

const MANY_TEXT: &str = "Spawned, asked and freed by the threads that the table names, each with \
its share. The clock of the first two columns starts before the first spawn; each fork is asked a \
question as small as the usual one but its own. When all have answered and are weighed, each is \
given a number to keep, and when all have theirs, asked for it: so all of them are alive, and none \
is another. What a pool holds ready beside them is weighed with them. Private memory is `Private_Dirty` of the guest memory's mappings in /proc/self/smaps; \
the kernel's share is the growth of the process's control group (`memory.kmem.usage_in_bytes`, or \
`kernel` in version 2's `memory.stat`) and, for comparison, that of /proc/meminfo's SUnreclaim, \
PageTables, SecPageTables, KernelStack, Percpu and VmallocUsed, in which all that runs on the \
machine takes part.\n";

const CROWD_TEXT: &str =
    "The live forks are spawned and wait; medians are of 30 lives beside them.\n";

const SUSTAINED_TEXT: &str = "Whole lives without a pause, teardown included. Each thread has a warm \
interpreter of its own where there is one, so exec in process is counted through two pipes here; \
its times are still those of its own clock.\n";

const LOAD_TEXT: &str = "`Snapshot::load` to its return, the files in the page cache.\n";

/// Whoever reads the figures should know that the machine did other things, too.
fn disturbed(results: &Results) -> String {
    let load = &results.description.load_average;
    match load.parse::<f64>() {
        Ok(idle) if idle < 0.5 => String::new(),
        _ => format!(
            "The machine was not idle: its load average at the start was {load}, \
             and the figures suffer from that.\n"
        ),
    }
}

/// Which limit ended what.
fn stopped(results: &Results) -> String {
    let lines = results
        .ways
        .iter()
        .filter_map(|way| way.stopped.as_ref().map(|why| format!("- {}: {why}\n", way.name)));
    lines.collect()
}
