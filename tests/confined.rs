//! The example of a host process that has given up all that it does not need.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use common::{compile, template};

fn confined(program: &str) -> Output {
    static EXAMPLE: OnceLock<std::path::PathBuf> = OnceLock::new();
    let example: &Path = EXAMPLE.get_or_init(|| compile("examples/confined.c", "confined"));
    Command::new(example).arg(template()).arg(program).output().unwrap()
}

#[test]
fn a_confined_process_runs_programs_and_can_do_nothing_else() {
    let output = confined("print(6*7)");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", output.status);
    assert_eq!(output.stdout, b"42\n42\n42\ndone\n");

    // The same process as it does what a program needs that has taken it over.
    let output = confined("#escape");
    const SIGSYS: i32 = 31;
    assert_eq!(output.status.signal(), Some(SIGSYS), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("done"));
}
