//! Results as tables in Markdown.

use super::results::{Crowd, Many, Results, Summary, Sustained, WayResults};

/// What is between this line and [`END`] in README.md comes from a measurement.
pub const BEGIN: &str = "<!-- benchmark: begin; `make bench-report` writes what follows -->";
/// See [`BEGIN`].
pub const END: &str = "<!-- benchmark: end -->";

/// Where it was measured.
pub fn host(results: &Results) -> String {
    let d = &results.description;
    let mut rows = vec![
        ["processor".into(), format!("{}, {} of them", d.processor, d.processors)],
        ["memory".into(), format!("{} MiB", d.memory_mib)],
        ["kernel".into(), d.kernel.clone()],
        ["KVM".into(), d.kvm.clone()],
        ["guest".into(), format!("{}, {} MiB", d.runtime, d.guest_mib)],
        ["load average at the start".into(), d.load_average.clone()],
    ];
    rows.extend(d.python.clone().map(|python| ["Python on the host".into(), python]));
    table(["host", ""], rows)
}

/// One life at a time.
pub fn latency(results: &Results) -> String {
    let row = |way: &WayResults| {
        let [spawn, teardown] = [&way.spawn, &way.teardown]
            .map(|summary| summary.as_ref().map_or("-".into(), |s| ms(s.p50_ns)));
        let spawn_p99 = way.spawn.as_ref().map_or("-".into(), |s| ms(s.p99_ns));
        let first = &way.first_result;
        [
            way.name.clone(),
            spawn,
            spawn_p99,
            ms(first.p50_ns),
            ms(first.p90_ns),
            ms(first.p99_ns),
            ms(first.max_ns),
            teardown,
            first.n.to_string(),
        ]
    };
    let head = [
        "times in ms",
        "spawn p50",
        "p99",
        "first result p50",
        "p90",
        "p99",
        "max",
        "teardown p50",
        "n",
    ];
    table(head, results.ways.iter().map(row))
}

/// Lives a second.
pub fn sustained(results: &Results) -> String {
    let runs = results.ways.iter().flat_map(|way| way.sustained.iter().map(move |s| (way, s)));
    let row = |(way, s): (&WayResults, &Sustained)| {
        [
            way.name.clone(),
            s.threads.to_string(),
            format!("{:.0}", s.lives_a_second),
            ms(s.first_result.p50_ns),
            ms(s.first_result.p99_ns),
            format!("{:.0} s", s.seconds),
        ]
    };
    let head = ["under load", "threads", "lives a second", "first result p50, ms", "p99", "for"];
    table(head, runs.map(row))
}

/// Many at once.
pub fn many(results: &Results) -> String {
    let all: Vec<(&WayResults, &Many)> =
        results.ways.iter().filter_map(|way| Some((way, way.many.as_ref()?))).collect();
    let count = all.iter().map(|(_, many)| many.count).max().unwrap_or_default();
    let threads = all.iter().map(|(_, many)| many.threads).max().unwrap_or_default();
    let row = |(way, many): (&WayResults, &Many)| {
        [
            way.name.clone(),
            format!("{:.2} s", seconds(many.spawned_ns)),
            format!("{:.2} s", seconds(many.answered_ns)),
            format!("{:.2} s", seconds(many.freed_ns)),
            format!("{} KiB", many.private_kib),
            many.kernel_group_kib.map_or("-".into(), |kib| format!("{kib} KiB")),
            format!("{} KiB", many.kernel_host_kib),
        ]
    };
    let first = format!("{count} forks alive at once, {threads} threads");
    let head = [
        first.as_str(),
        "all spawned",
        "all have answered",
        "all freed",
        "private memory each",
        "kernel memory each, cgroup",
        "the same, whole machine",
    ];
    table(head, all.into_iter().map(row))
}

/// A phase's name and its part of the figures.
pub type Phase = (&'static str, fn(&Crowd) -> &Summary);

/// Of lives beside others.
pub const PHASES: [Phase; 3] =
    [("spawn", |c| &c.spawn), ("first result", |c| &c.first_result), ("teardown", |c| &c.teardown)];

/// What a life costs beside others: spawn and first result of each way at each number of them.
pub fn crowd(results: &Results) -> String {
    let mut levels: Vec<usize> =
        results.ways.iter().flat_map(|way| way.crowd.iter().map(|c| c.live)).collect();
    levels.sort_unstable();
    levels.dedup();
    let head: Vec<String> = ["p50 in ms beside live forks".to_owned(), String::new()]
        .into_iter()
        .chain(levels.iter().map(|level| level.to_string()))
        .collect();
    let ways = results.ways.iter().filter(|way| !way.crowd.is_empty());
    let rows = ways.flat_map(|way| {
        let levels = &levels;
        PHASES.iter().map(move |(phase, of)| {
            let at = |level: &usize| {
                let found = way.crowd.iter().find(|c| c.live == *level);
                found.map_or("-".to_owned(), |c| ms(of(c).p50_ns))
            };
            let names = [way.name.clone(), (*phase).to_owned()];
            names.into_iter().chain(levels.iter().map(at)).collect::<Vec<_>>()
        })
    });
    table(head, rows)
}

/// Loading.
pub fn load(results: &Results) -> String {
    let Summary { n, p50_ns, p90_ns, p99_ns, max_ns } = results.load;
    let name = format!("load of the template, {} MiB", results.description.guest_mib);
    let row = [name, ms(p50_ns), ms(p90_ns), ms(p99_ns), ms(max_ns), n.to_string()];
    table(["times in ms", "p50", "p90", "p99", "max", "n"], [row])
}

/// What starts and stops each clock.
pub fn clocks(results: &Results) -> String {
    let rows = results.ways.iter().map(|way| {
        let [spawn, first, teardown] =
            [0, 1, 2].map(|i| way.clocks[i].clone().unwrap_or("-".into()));
        [way.name.clone(), spawn, first, teardown]
    });
    table(["way", "spawn", "first result", "teardown"], rows)
}

/// A table, aligned for those who read it as it is.
fn table<Row: AsRef<[String]>>(
    head: impl IntoIterator<Item = impl Into<String>>,
    rows: impl IntoIterator<Item = Row>,
) -> String {
    let head: Vec<String> = head.into_iter().map(Into::into).collect();
    let mut lines = vec![head];
    lines.extend(rows.into_iter().map(|row| row.as_ref().to_vec()));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).filter_map(width).collect();
    let mut out = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            out.push_str(&format!("| {cell:width$} "));
        }
        out.push_str("|\n");
        if number == 0 {
            widths.iter().for_each(|width| out.push_str(&format!("|{}", "-".repeat(width + 2))));
            out.push_str("|\n");
        }
    }
    out
}

/// Milliseconds, down to microseconds.
pub fn ms(ns: u64) -> String {
    format!("{:.3}", ns as f64 / 1e6)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
