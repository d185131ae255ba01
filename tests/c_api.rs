//! The C API as a C program meets it: `include/zeroboot.h` and `libzeroboot.so`.
//!
//! The cases are C functions in `tests/abi`; each runs in a process of its own, once as it is and
//! once under sanitizers.

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

const GENERATED_HEADER: &str = concat!(env!("OUT_DIR"), "/zeroboot.h");

/// Runs a case; the library must print nothing.
fn run_case(command: &mut Command) {
    let output = common::succeed(command);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

fn misuse(case: &str) {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| common::compile("tests/abi/misuse.c", "misuse"));
    run_case(Command::new(program).arg(case));
}

fn guest(case: &str) {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| common::compile("tests/abi/guest.c", "guest"));
    if let Some(template) = common::template_if_kvm() {
        run_case(Command::new(program).arg(case).arg(template));
    }
}

fn recycle(case: &str) {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| common::compile("tests/abi/recycle.c", "recycle"));
    if let Some(template) = common::template_if_kvm() {
        run_case(Command::new(program).arg(case).arg(template));
    }
}

/// The same under sanitizers.
mod sanitized {
    use super::*;

    pub fn misuse(case: &str) {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let program = PROGRAM
            .get_or_init(|| common::compile_sanitized("tests/abi/misuse.c", "misuse-sanitized"));
        run_case(Command::new(program).arg(case));
    }

    pub fn guest(case: &str) {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let program = PROGRAM
            .get_or_init(|| common::compile_sanitized("tests/abi/guest.c", "guest-sanitized"));
        if let Some(template) = common::template_if_kvm() {
            // The long run of the threads is for the program without sanitizers.
            let mut command = Command::new(program);
            run_case(command.env_remove("ZB_TEST_THREADS_SECONDS").arg(case).arg(template));
        }
    }

    pub fn recycle(case: &str) {
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let program = PROGRAM
            .get_or_init(|| common::compile_sanitized("tests/abi/recycle.c", "recycle-sanitized"));
        if let Some(template) = common::template_if_kvm() {
            run_case(Command::new(program).arg(case).arg(template));
        }
    }
}

/// Only these: a snapshot says which processor it needs, and valgrind's is another.
#[test]
fn the_cases_of_misuse_are_clean_under_valgrind() {
    let program = common::compile("tests/abi/misuse.c", "misuse-valgrind");
    let source = include_str!("abi/misuse.c");
    let cases: Vec<_> = source
        .lines()
        .flat_map(|line| {
            line.match_indices("CASE(").map(move |(at, found)| &line[at + found.len()..])
        })
        .filter_map(|rest| rest.split_once(')').map(|(name, _)| name))
        .collect();
    assert!(cases.len() > 10, "{cases:?}");
    for case in cases {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=9", "--leak-check=full"]);
        run_case(valgrind.arg("--errors-for-leak-kinds=definite").arg(&program).arg(case));
    }
}

macro_rules! cases {
    ($program:ident: $($case:ident)*) => {
        mod $program {
            $(#[test] fn $case() { super::$program(stringify!($case)); })*

            mod sanitized {
                $(#[test] fn $case() { super::super::sanitized::$program(stringify!($case)); })*
            }
        }
    };
}

cases! { misuse:
    a_missing_directory_is_not_found_and_named
    an_error_has_the_errno_of_the_system
    null_where_something_must_be_is_an_invalid_argument
    freeing_null_does_nothing
    accessors_take_null
    a_structure_whose_size_nobody_set_is_refused
    a_structure_of_an_older_program_is_taken
    a_structure_of_a_newer_program_is_taken_if_it_asks_for_nothing_new
    a_flag_that_the_library_does_not_know_is_unsupported
    a_file_that_is_no_snapshot_is_refused_with_its_name
    a_host_that_cannot_be_probed_gives_an_error_that_says_why
    a_token_can_be_triggered_twice_and_freed
    a_log_level_that_is_none_is_refused
    the_library_says_which_version_it_is
    the_fields_of_option_structures_stay_where_they_are
    threads_may_fail_at_the_same_time
}

cases! { guest:
    a_host_says_what_it_is_and_keeps_nothing_open
    a_snapshot_says_what_it_is
    a_program_prints_and_exits
    a_program_may_be_empty_but_not_missing
    a_program_that_is_too_long_is_refused_and_does_no_harm
    a_sandbox_has_the_name_that_it_was_given_or_a_random_one
    handles_may_be_freed_in_any_order
    a_sandbox_is_dead_after_a_timeout_and_says_so
    a_token_cancels_from_another_thread_and_stays_triggered
    a_token_may_be_freed_while_a_run_has_it
    a_call_that_overlaps_another_is_refused_and_does_not_disturb_it
    a_free_during_a_run_cancels_it_and_waits
    output_comes_in_pieces_and_in_the_result
    a_callback_that_wants_no_more_cancels_the_run
    a_callback_may_use_other_sandboxes_but_not_its_own
    a_callback_may_free_its_own_sandbox
    output_beyond_its_limit_ends_the_run_and_the_rest_is_kept
    memory_beyond_a_limit_ends_the_run_or_is_not_given_at_all
    a_process_that_exits_or_dies_has_an_outcome_of_its_own
    a_child_of_fork_2_gets_an_error_and_the_parent_goes_on
    signals_masks_and_handlers_are_as_they_were
    nothing_is_left_open_and_nothing_is_inherited_by_exec
    threads_fork_run_cancel_and_free_at_the_same_time
}

cases! { recycle:
    a_program_finds_nothing_of_those_before_it_in_a_recycled_machine
    what_a_program_wrote_to_its_files_does_not_count_for_the_next
    a_fresh_fork_gets_a_machine_in_which_no_program_ran
    no_more_machines_are_kept_than_was_asked_for
    kept_machines_are_not_inherited_by_exec_and_go_with_the_snapshot
    a_dead_sandbox_is_not_recycled
    machines_are_made_ahead
    a_program_from_before_recycling_gets_it_too
    a_sandbox_may_be_freed_after_its_snapshot
    a_child_of_fork_2_may_free_and_exit_while_machines_are_recycled
    the_librarys_thread_ends_with_the_snapshot
    threads_fork_and_free_more_than_is_kept
}

#[test]
fn every_case_of_the_c_programs_is_run() {
    let here = include_str!("c_api.rs");
    let sources =
        [include_str!("abi/misuse.c"), include_str!("abi/guest.c"), include_str!("abi/recycle.c")];
    for source in sources {
        let cases = source.lines().filter_map(|line| line.trim().strip_prefix("CASE("));
        for case in cases.map(|case| case.trim_end_matches("),")) {
            assert!(here.lines().any(|line| line.trim() == case), "{case} is not run");
        }
    }
}

#[test]
fn hello_prints_what_a_program_in_a_virtual_machine_prints() {
    let hello = common::compile("examples/hello.c", "hello");
    let lines =
        fs::read_to_string(common::root().join("examples/hello.c")).unwrap().lines().count();
    assert!(lines <= 40, "a hello of {lines} lines");
    let Some(template) = common::template_if_kvm() else { return };
    let output = common::succeed(Command::new(&hello).arg(&template));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello from a virtual machine\n");
    let program = "import sys; print(6*7); print('oops', file=sys.stderr); sys.exit(3)";
    let output = Command::new(&hello).arg(&template).arg(program).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "42\n");
    assert!(output.stderr.starts_with(b"oops\n[the program exited with code 3, in "));
}

#[test]
fn hello_says_what_went_wrong() {
    let hello = common::compile("examples/hello.c", "hello-without-a-template");
    let output = Command::new(hello).arg("/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.starts_with("hello: /nonexistent/"), "{message}");
}

#[test]
fn the_header_is_what_src_ffi_says() {
    let committed = common::root().join("include/zeroboot.h");
    let generated = fs::read_to_string(GENERATED_HEADER).unwrap();
    if env::var_os("ZEROBOOT_UPDATE_HEADER").is_some() {
        fs::write(&committed, &generated).unwrap();
    }
    let committed = fs::read_to_string(committed).unwrap_or_default();
    let differs = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    assert!(
        committed == generated,
        "include/zeroboot.h is out of date from line {} on; run `make header`",
        differs.map_or(committed.lines().count().min(generated.lines().count()), |at| at) + 1
    );
}

#[test]
fn the_header_compiles_alone_in_every_standard() {
    for (compiler, language, standards) in [
        ("cc", "c", ["c99", "c11", "c17", "c2x"]),
        ("c++", "c++", ["c++11", "c++14", "c++17", "c++20"]),
    ] {
        for standard in standards {
            common::succeed(
                Command::new(compiler)
                    .args(["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"])
                    .arg(format!("-std={standard}"))
                    .args(["-x", language, "-I"])
                    .arg(common::root().join("include"))
                    .arg(common::root().join("tests/abi/alone.c")),
            );
        }
    }
}

#[test]
fn the_library_exports_the_listed_symbols_and_no_others() {
    let library = common::library_dir().join("libzeroboot.so");
    let output = common::succeed(
        Command::new("nm").args(["-D", "--defined-only", "--format=just-symbols"]).arg(library),
    );
    let mut exported: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    exported.sort_unstable();
    let listed: Vec<_> = include_str!("abi/symbols.txt").lines().collect();
    assert_eq!(exported, listed);
}
