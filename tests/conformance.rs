//! The table in `tests/conformance` through the Rust API and through the C API.
//!
//! The wrappers of other languages run the same table in their own tests.

mod common;

use std::collections::HashSet;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{io, thread};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use zeroboot::{AgentError, Outcome, RunError, RunOptions, Sandbox};

/// A case, or one of its runs.
type Case = Map<String, Value>;

/// What a case may have; another field would be passed over.
const FIELDS: &[&str] = &[
    "name",
    "code",
    "code_repeat",
    "runs",
    "options",
    "outcome",
    "exit_code",
    "signal",
    "stdout",
    "stderr",
    "stdout_hex",
    "stdout_contains",
    "stderr_contains",
    "stdout_sha256",
    "stdout_len",
    "alive",
    "error",
];

/// What is to be run.
struct Program {
    code: Vec<u8>,
    timeout_ms: Option<u64>,
    max_output_bytes: Option<u64>,
}

/// What a run gave; exit code and signal only where the outcome has one.
#[derive(Debug)]
struct Ran {
    outcome: String,
    exit_code: Option<i64>,
    signal: Option<i64>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    alive: bool,
}

/// A run's result, or the name of the status with which the call failed.
type Given = Result<Ran, String>;

#[test]
fn every_case_gives_what_it_says_in_rust() {
    if common::template_if_kvm().is_some() {
        for_each_case(|programs| {
            let mut sandbox = common::fork();
            programs.iter().map(|program| run_in_rust(&mut sandbox, program)).collect()
        });
    }
}

#[test]
fn every_case_gives_what_it_says_in_c() {
    let runner = common::compile_sanitized("tests/abi/conformance.c", "conformance");
    if let Some(template) = common::template_if_kvm() {
        for_each_case(|programs| run_in_c(&runner, &template, programs));
    }
}

/// Runs the table; `surface` runs programs one after the other in one new sandbox.
fn for_each_case(surface: impl Fn(&[Program]) -> Vec<Given>) {
    let cases: Vec<Case> =
        serde_json::from_str(include_str!("conformance/cases.json")).expect("a list of cases");
    let mut names = HashSet::new();
    for case in &cases {
        let name = case["name"].as_str().expect("a name");
        assert!(names.insert(name), "two cases are named {name:?}");
        let runs: Vec<Case> = match case.get("runs") {
            Some(runs) => serde_json::from_value(runs.clone()).expect("a list of cases"),
            None => vec![case.clone()],
        };
        let given = surface(&runs.iter().map(program).collect::<Vec<_>>());
        assert_eq!(given.len(), runs.len(), "{name}");
        for (run, given) in runs.iter().zip(given) {
            check(name, run, given);
        }
    }
}

fn program(case: &Case) -> Program {
    for field in case.keys() {
        assert!(FIELDS.contains(&field.as_str()), "a field that this test does not know: {field}");
    }
    let code = match case.get("code_repeat") {
        Some(repeat) => text(&repeat[0]).repeat(repeat[1].as_u64().unwrap() as usize),
        None => text(&case["code"]).to_owned(),
    };
    let options = case.get("options").and_then(Value::as_object).cloned().unwrap_or_default();
    for option in options.keys() {
        assert!(
            ["timeout_ms", "max_output_bytes"].contains(&option.as_str()),
            "an option that this test does not know: {option}"
        );
    }
    let option = |name: &str| options.get(name).map(|value| value.as_u64().unwrap());
    Program {
        code: code.into_bytes(),
        timeout_ms: option("timeout_ms"),
        max_output_bytes: option("max_output_bytes"),
    }
}

fn check(name: &str, case: &Case, given: Given) {
    let ran = match (given, case.get("error")) {
        (Ok(ran), None) => ran,
        (given, error) => {
            assert_eq!(given.err().as_deref(), error.map(text), "{name}");
            return;
        }
    };
    let outcome = text(&case["outcome"]);
    let number = |field: &str| case.get(field).map_or(0, |value| value.as_i64().unwrap());
    let has_exit_code = matches!(outcome, "exited" | "process_exited");
    assert_eq!(ran.outcome, outcome, "{name}: {ran:?}");
    assert_eq!(ran.exit_code, has_exit_code.then(|| number("exit_code")), "{name}: {ran:?}");
    assert_eq!(ran.signal, (outcome == "signaled").then(|| number("signal")), "{name}: {ran:?}");
    let alive = case.get("alive").map_or(outcome == "exited", |alive| alive.as_bool().unwrap());
    assert_eq!(ran.alive, alive, "{name}: {ran:?}");
    check_stream(name, "stdout", case, &ran.stdout);
    check_stream(name, "stderr", case, &ran.stderr);
}

fn check_stream(name: &str, stream: &str, case: &Case, bytes: &[u8]) {
    let given = String::from_utf8_lossy(bytes);
    let expected = |suffix: &str| case.get(&format!("{stream}{suffix}"));
    if let Some(exact) = expected("") {
        assert_eq!(given, text(exact), "{name}: {stream}");
    }
    if let Some(exact) = expected("_hex") {
        assert_eq!(hex(bytes), text(exact), "{name}: {stream}");
    }
    if let Some(len) = expected("_len") {
        assert_eq!(bytes.len() as u64, len.as_u64().unwrap(), "{name}: length of {stream}");
    }
    if let Some(sha256) = expected("_sha256") {
        assert_eq!(hex(&Sha256::digest(bytes)), text(sha256), "{name}: {stream}");
    }
    let mut rest = &*given;
    for part in expected("_contains").and_then(Value::as_array).into_iter().flatten().map(text) {
        let at = rest.find(part);
        let at = at.unwrap_or_else(|| panic!("{name}: no {part:?} in {stream}, in order: {given}"));
        rest = &rest[at + part.len()..];
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run_in_rust(sandbox: &mut Sandbox, program: &Program) -> Given {
    let default = RunOptions::default();
    let options = RunOptions {
        timeout: program.timeout_ms.map(Duration::from_millis).or(default.timeout),
        max_output: program.max_output_bytes.unwrap_or(default.max_output),
        ..default
    };
    let result = match sandbox.run(&program.code, options) {
        Ok(result) => result,
        Err(RunError::Dead(_)) => return Err("DEAD".to_owned()),
        Err(RunError::Agent(AgentError::PayloadTooLong(_))) => {
            return Err("INVALID_ARGUMENT".to_owned());
        }
        Err(error) => panic!("{error}"),
    };
    let (outcome, exit_code, signal) = match result.outcome {
        Outcome::Exited(code) => ("exited", Some(code), None),
        Outcome::ProcessExited(code) => ("process_exited", Some(code), None),
        Outcome::Signaled(signal) => ("signaled", None, Some(signal)),
        Outcome::OutOfMemory => ("out_of_memory", None, None),
        Outcome::TimedOut => ("timed_out", None, None),
        Outcome::Cancelled => ("cancelled", None, None),
        Outcome::OutputLimit => ("output_limit", None, None),
        Outcome::MemoryLimit => ("memory_limit", None, None),
        Outcome::Crashed(_) => ("crashed", None, None),
    };
    Ok(Ran {
        outcome: outcome.to_owned(),
        exit_code: exit_code.map(i64::from),
        signal: signal.map(i64::from),
        stdout: result.output.stdout,
        stderr: result.output.stderr,
        alive: sandbox.is_alive(),
    })
}

/// Runs the programs with tests/abi/conformance.c, whose comment has the format.
fn run_in_c(runner: &Path, template: &PathBuf, programs: &[Program]) -> Vec<Given> {
    let mut request = Vec::new();
    for Program { code, timeout_ms, max_output_bytes } in programs {
        let (timeout, max_output) = (timeout_ms.unwrap_or(0), max_output_bytes.unwrap_or(0));
        writeln!(request, "{timeout} {max_output} {}", code.len()).unwrap();
        request.extend(code);
    }
    let mut child = Command::new(runner)
        .arg(template)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // In a thread of its own: both pipes may be full at the same time.
    let writer = thread::spawn(move || stdin.write_all(&request));
    let mut answers = io::BufReader::new(child.stdout.take().unwrap());
    let given = programs.iter().map(|_| read_answer(&mut answers)).collect();
    writer.join().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    given
}

fn read_answer(answers: &mut impl BufRead) -> Given {
    let mut line = String::new();
    answers.read_line(&mut line).unwrap();
    let (kind, numbers) = line.trim_end().split_once(' ').expect("an answer");
    let numbers: Vec<i64> = numbers.split(' ').map(|number| number.parse().unwrap()).collect();
    if kind == "error" {
        return Err(constant("ZB_ERR_", numbers[0]));
    }
    let [outcome, exit_code, signal, alive, stdout_len, stderr_len] = numbers[..] else {
        panic!("not the numbers of a result: {line}");
    };
    let mut stream = |len: i64| {
        let mut bytes = vec![0; len.try_into().unwrap()];
        answers.read_exact(&mut bytes).unwrap();
        bytes
    };
    Ok(Ran {
        outcome: constant("ZB_OUTCOME_", outcome).to_lowercase(),
        exit_code: (exit_code != -1).then_some(exit_code),
        signal: (signal != 0).then_some(signal),
        stdout: stream(stdout_len),
        stderr: stream(stderr_len),
        alive: alive == 1,
    })
}

/// The rest of the name of the header's constant that has a value.
fn constant(prefix: &str, value: i64) -> String {
    let mut lines = include_str!("../include/zeroboot.h").lines();
    let found = lines.find_map(|line| {
        let (name, number) = line.strip_prefix("#define ")?.split_once(' ')?;
        (number == value.to_string()).then_some(name.strip_prefix(prefix)?)
    });
    found.unwrap_or_else(|| panic!("no {prefix} constant is {value}")).to_owned()
}
