//! A guest that owns its virtual machine entirely, and whoever writes a snapshot's files, can waste
//! the guest's own time and nothing else.
//!
//! After each attack a fork of the ordinary template, new and recycled, gives the right answer, and at
//! the end this process holds what it held before.

mod common;
#[path = "hostile/files.rs"]
mod files;
#[path = "hostile/forged.rs"]
mod forged;
#[path = "hostile/held.rs"]
mod held;
#[path = "hostile/linux.rs"]
mod linux;
#[path = "hostile/requests.rs"]
mod requests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use forged::{Forged, Ring};
use held::{assert_the_next_fork_is_right, undisturbed};
use zeroboot::{
    Crash, ForkOptions, LineSink, Outcome, Pool, PoolOptions, RunOptions, RunResult, Sandbox,
    Stream,
};

/// How long a program may go on that never ends by itself.
const SHORT: Duration = Duration::from_millis(300);
/// For those that end.
const LONG: Duration = Duration::from_secs(120);
/// Beyond a run's deadline; generous, since it is no measure of speed.
const SLACK: Duration = Duration::from_secs(20);

/// What an attack may come to. All of them are results, with the output so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It gave up its turn like a program that has ended.
    Answers,
    /// Its machine came to an end.
    Dies,
    /// The deadline did.
    Stopped,
    /// The limit of output did.
    Printed,
}

use End::{Answers, Dies, Printed, Stopped};

fn end(outcome: Outcome) -> End {
    match outcome {
        Outcome::Exited(_) => Answers,
        Outcome::Crashed(_) => Dies,
        Outcome::TimedOut => Stopped,
        Outcome::OutputLimit => Printed,
        other => panic!("{other:?} is no outcome of an attack without a kernel"),
    }
}

/// Lets a program of attacks.S loose, in a new machine and again in one of the pool's.
fn attack(label: &str, ring: Ring, timeout: Duration, allowed: &[End]) {
    let pool = Pool::new(Forged::at(label, ring).load(), PoolOptions::default());
    for _ in 0..2 {
        let mut sandbox = pool.fork(ForkOptions::default()).unwrap();
        let result = run_to(&mut sandbox, b"", timeout);
        println!("{label} in {ring:?}: {:?} after {:?}", result.outcome, result.elapsed);
        let ended = end(result.outcome);
        assert!(allowed.contains(&ended), "{label} in {ring:?}: {:?}", result.outcome);
        assert_eq!(sandbox.is_alive(), ended == Answers, "{label} in {ring:?}");
        // Once is enough of what takes long.
        if ended == Stopped || result.elapsed > Duration::from_secs(1) {
            break;
        }
    }
}

fn run_to(sandbox: &mut Sandbox, payload: &[u8], timeout: Duration) -> RunResult {
    let started = Instant::now();
    let options = RunOptions { timeout: Some(timeout), ..Default::default() };
    let result = sandbox.run(payload, options).unwrap();
    assert!(started.elapsed() < timeout + SLACK, "{:?}: {result:?}", started.elapsed());
    result
}

fn in_both_rings(attacks: &[(&str, Duration, &[End], &[End])]) {
    undisturbed(|| {
        for (label, timeout, in_ring_0, in_ring_3) in attacks {
            for (ring, allowed) in [(Ring::Kernel, in_ring_0), (Ring::User, in_ring_3)] {
                attack(label, ring, *timeout, allowed);
            }
            assert_the_next_fork_is_right();
        }
    });
}

const D: &[End] = &[Dies];
const S: &[End] = &[Stopped];
/// Where a processor and an emulator, or two processors, differ.
const DS: &[End] = &[Dies, Stopped];
const AD: &[End] = &[Answers, Dies];
const ANY: &[End] = &[Answers, Dies, Stopped];

#[test]
fn a_machine_that_ends_itself_is_a_crash_of_the_guest() {
    in_both_rings(&[
        ("triple_fault", SHORT, D, D),
        ("reset_by_keyboard", SHORT, D, D),
        ("wild_stack", SHORT, DS, DS),
        ("no_interrupt_table", SHORT, D, D),
        ("interrupt_table_of_garbage", SHORT, DS, DS),
        ("interrupt_table_in_a_hole", SHORT, DS, DS),
        ("interrupt_table_nowhere", SHORT, DS, DS),
        ("segment_table_of_garbage", SHORT, DS, DS),
        ("segment_table_in_a_hole", SHORT, DS, DS),
        ("task_register_of_garbage", SHORT, DS, DS),
        ("single_step", SHORT, DS, DS),
        ("tables_in_a_hole", SHORT, DS, DS),
        ("tables_far_away", SHORT, DS, DS),
        ("tables_of_themselves", SHORT, DS, DS),
        ("tables_erased", SHORT, DS, DS),
    ]);
}

#[test]
fn a_jump_into_nothing_ends_or_stops_the_guest() {
    in_both_rings(&[
        ("jump_into_a_hole", SHORT, DS, DS),
        ("jump_onto_the_doorbell", SHORT, DS, DS),
        ("jump_onto_the_apic", SHORT, DS, DS),
        ("jump_out_of_the_tables", SHORT, DS, DS),
        ("jump_off_the_edge", SHORT, DS, DS),
    ]);
}

#[test]
fn a_guest_that_stands_still_is_stopped_at_its_deadline() {
    in_both_rings(&[
        ("halt", SHORT, S, D),
        ("spin", SHORT, S, DS),
        ("loop_for_ever", SHORT, S, S),
        ("double_fault_for_ever", SHORT, S, DS),
        ("init_itself", SHORT, DS, DS),
        ("start_itself", SHORT, DS, DS),
        ("nmi_itself", SHORT, DS, DS),
        ("smi_itself", SHORT, DS, DS),
    ]);
}

#[test]
fn storms_of_exits_are_bounded_by_the_deadline() {
    in_both_rings(&[
        ("port_storm", SHORT, S, DS),
        ("hole_storm", SHORT, S, S),
        ("stage_storm", SHORT, S, S),
        ("output_storm", SHORT, S, S),
        ("fault_storm", SHORT, S, DS),
        ("interrupt_storm", SHORT, S, DS),
        ("flood_of_nothing", SHORT, S, S),
        ("flood_of_output", LONG, &[Printed], &[Printed]),
    ]);
}

#[test]
fn every_port_can_be_written_and_read() {
    in_both_rings(&[("all_ports", LONG, &[Answers], AD), ("wide_ports", LONG, &[Answers], AD)]);
}

#[test]
fn addresses_where_nothing_is_read_as_ones_and_forget_what_is_written() {
    in_both_rings(&[
        ("all_holes", LONG, &[Answers], AD),
        ("far_memory", SHORT, ANY, ANY),
        ("apic_page", SHORT, ANY, ANY),
    ]);
}

#[test]
fn registers_that_a_guest_may_not_have_stay_its_own_trouble() {
    in_both_rings(&[
        ("control_registers", SHORT, ANY, ANY),
        ("extended_controls", SHORT, ANY, ANY),
        ("model_specific_registers", LONG, ANY, DS),
        ("hypercalls", SHORT, ANY, ANY),
    ]);
}

#[test]
fn operands_of_finished_instructions_are_not_trusted() {
    in_both_rings(&[("extended_state", LONG, ANY, ANY)]);
}

#[test]
fn code_that_changes_itself_and_memory_that_is_filled_are_the_guests_own() {
    in_both_rings(&[
        ("self_modifying", LONG, &[Answers], &[Answers]),
        ("fill_memory", LONG, &[Answers], &[Answers]),
    ]);
}

#[test]
fn a_mailbox_that_is_scribbled_on_while_the_host_reads_it_is_a_violation_or_output() {
    undisturbed(|| {
        for label in ["scribble_everything", "scribble_records", "scribble_lengths"] {
            for ring in [Ring::Kernel, Ring::User] {
                let snapshot = Forged::at(label, ring).load();
                let mut seen = BTreeMap::new();
                for _ in 0..8 {
                    let mut sandbox = Sandbox::fork(&snapshot, None).unwrap();
                    let mut bytes = 0;
                    let mut on_output = |_: Stream, piece: &[u8]| {
                        bytes += piece.len();
                        ControlFlow::Continue(())
                    };
                    let options = RunOptions {
                        timeout: Some(SHORT),
                        on_output: Some(&mut on_output),
                        ..Default::default()
                    };
                    let result = sandbox.run(b"", options).unwrap();
                    let text = result.output.stdout.len() + result.output.stderr.len();
                    assert_eq!(text, bytes, "{label}");
                    let kind = match result.outcome {
                        Outcome::Crashed(Crash::Protocol(_)) => "violation",
                        Outcome::TimedOut => "stopped",
                        Outcome::OutputLimit => "limit",
                        other => panic!("{label}: {other:?}"),
                    };
                    *seen.entry(kind).or_insert(0) += 1;
                }
                println!("{label} in {ring:?}: {seen:?}");
            }
        }
        assert_the_next_fork_is_right();
    });
}

#[test]
fn a_flooded_console_costs_the_log_a_mebibyte_at_most() {
    undisturbed(|| {
        for label in ["console_flood", "console_line"] {
            let (lines, bytes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let sink: LineSink = {
                let (lines, bytes) = (lines.clone(), bytes.clone());
                Arc::new(move |line: &[u8]| {
                    lines.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(line.len() + 1, Ordering::Relaxed);
                })
            };
            let snapshot = Forged::at(label, Ring::Kernel).load();
            let mut sandbox = Sandbox::fork(&snapshot, Some(sink)).unwrap();
            let result = run_to(&mut sandbox, b"", Duration::from_secs(2));
            assert_eq!(result.outcome, Outcome::TimedOut, "{label}");
            let (lines, bytes) = (lines.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
            println!("{label}: {lines} lines, {bytes} bytes");
            assert!(lines > 0 && bytes <= (1 << 20) + 100, "{label}: {lines}, {bytes}");
        }
        assert_the_next_fork_is_right();
    });
}
