//! `zeroboot bench` measures what it says, whatever the times are.

mod common;

#[path = "../src/bin/zeroboot/measure/mod.rs"]
mod measure;

use std::process::{Command, Stdio};

use common::{ZEROBOOT, succeed, template};
use measure::results::{Results, Summary};
use measure::way::check;

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(ZEROBOOT);
    command.args(["bench", "-t", template().to_str().unwrap()]).args(arguments);
    command.stdin(Stdio::null());
    command
}

fn assert_sound(summary: &Summary, n: usize) {
    assert_eq!(summary.n, n);
    let in_order = [1, summary.p50_ns, summary.p90_ns, summary.p99_ns, summary.max_ns];
    assert!(in_order.is_sorted(), "{summary:?}");
}

#[test]
fn all_figures_are_in_the_json_and_fit_each_other() {
    let arguments = ["--json", "--runs", "25", "--seconds", "1", "--threads", "2", "--live", "3"];
    let output = succeed(&mut bench(&arguments));
    let results: Results = serde_json::from_slice(&output.stdout).unwrap();
    assert_sound(&results.load, 25);
    let ids: Vec<&str> = results.ways.iter().map(|way| way.id.as_str()).collect();
    assert_eq!(ids, ["recycled", "prewarmed", "fresh"]);
    for way in &results.ways {
        let (spawn, teardown) = (way.spawn.as_ref().unwrap(), way.teardown.as_ref().unwrap());
        assert_sound(spawn, 25);
        assert_sound(&way.first_result, 25);
        assert_sound(teardown, 25);
        assert!(spawn.p50_ns < way.first_result.p50_ns, "a first result comes after the spawn");
        assert_eq!(way.distribution_ns.len(), 201);
        assert!(way.distribution_ns.is_sorted());
        assert_eq!(way.distribution_ns[200], way.first_result.max_ns);
        assert!(way.clocks.iter().all(Option::is_some), "each clock is explained");

        assert_eq!(way.sustained.iter().map(|s| s.threads).collect::<Vec<_>>(), [1, 2]);
        for s in &way.sustained {
            let lives = s.lives_a_second * s.seconds;
            assert!(s.seconds >= 1.0 && (lives - s.first_result.n as f64).abs() < 0.5, "{s:?}");
        }
        let many = way.many.as_ref().unwrap();
        assert_eq!((many.count, many.threads), (3, 1));
        assert!(many.spawned_ns < many.answered_ns && many.freed_ns > 0);
        // A program that printed something wrote to some pages, not to all. Where machines come out
        // of a pool, their pages may have been there before.
        let least = if way.id == "fresh" { 16 } else { 0 };
        assert!((least..32 << 10).contains(&many.private_kib), "{} KiB", many.private_kib);
    }
}

#[test]
fn the_tables_have_a_line_for_each_way_and_leave_out_what_was_not_asked_for() {
    let output = succeed(&mut bench(&["--runs", "2", "--seconds", "0", "--live", "0"]));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("zeroboot, fresh")).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(text.contains("first result p50") && text.contains("load of the template"), "{text}");
    assert!(!text.contains("lives a second") && !text.contains("alive at once"), "{text}");
    for block in text.split("\n\n") {
        let widths: Vec<usize> = block.lines().map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|w| w[0] == w[1]), "aligned: {block}");
    }
}

#[test]
fn a_template_that_is_not_there_is_named() {
    let output = Command::new(ZEROBOOT).args(["bench", "-t", "/no/such"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such"));
}

#[test]
fn a_wrong_answer_counts_for_nothing() {
    assert!(check("42\n", "42\n").is_ok());
    assert!(check("41\n", "42\n").unwrap_err().to_string().contains("41"));
}
