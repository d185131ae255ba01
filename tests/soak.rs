//! All that a program can do with the library, in 16 threads and for as long as
//! `ZB_TEST_SOAK_SECONDS` says (`make soak`: an hour).

mod common;

use std::env;
use std::process::Command;

use common::{compile, succeed, template};

#[test]
fn sixteen_threads_do_everything_and_the_process_holds_no_more_at_the_end() {
    let seconds = env::var("ZB_TEST_SOAK_SECONDS").unwrap_or_else(|_| "6".into());
    let program = compile("tests/faults/soak.c", "soak");
    let output = succeed(Command::new(program).arg(template()).arg(seconds));
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
