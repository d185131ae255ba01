//! Every way in which a program can end has its own outcome, and its output is whole.

mod common;

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{fork, printed, run, run_within};
use zeroboot::{Cancel, Outcome, RunError, RunOptions, RunResult, Sandbox, Stream};

const SIGKILL: i32 = 9;
const SIGSEGV: i32 = 11;

/// Enough for programs that take thousands of page faults where each costs milliseconds.
const LONG: Duration = Duration::from_secs(120);

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn run_in(sandbox: &mut Sandbox, code: &str) -> RunResult {
    sandbox.run(code.as_bytes(), RunOptions::default()).unwrap()
}

/// Runs a program that must fail like an uncaught exception; what it wrote to standard error.
fn failed(code: &str) -> String {
    let result = run(code);
    assert_eq!(result.outcome, Outcome::Exited(1), "{result:?}");
    text(&result.output.stderr).to_owned()
}

/// The sandbox refuses another run and says why.
fn assert_dead(sandbox: &mut Sandbox, how: &str) {
    assert!(!sandbox.is_alive());
    let error = sandbox.run(b"print(1)", RunOptions::default()).unwrap_err();
    assert!(matches!(error, RunError::Dead(_)), "{error:?}");
    let expected = format!("the sandbox is dead: an earlier run ended with {how}; fork a new one");
    assert_eq!(error.to_string(), expected);
}

// Exits.

#[test]
fn a_program_that_ends_has_exit_code_0() {
    let result = run("print('out')");
    assert_eq!(result.outcome, Outcome::Exited(0));
    assert_eq!((text(&result.output.stdout), text(&result.output.stderr)), ("out\n", ""));
}

#[test]
fn an_empty_program_does_nothing() {
    for code in ["", "\n", "# nothing\n", "   \n\t\n"] {
        let result = run(code);
        assert_eq!(result.outcome, Outcome::Exited(0), "{code:?}");
        assert!(result.output.stdout.is_empty() && result.output.stderr.is_empty(), "{code:?}");
    }
}

#[test]
fn the_argument_of_sys_exit_is_the_exit_code() {
    let mut sandbox = fork();
    let cases = [
        ("0", 0),
        ("3", 3),
        ("255", 255),
        ("256", 0),
        ("259", 3),
        ("-1", 255),
        ("True", 1),
        ("None", 0),
        ("", 0),
    ];
    for (argument, code) in cases {
        let result = run_in(&mut sandbox, &format!("import sys; sys.exit({argument})"));
        assert_eq!(result.outcome, Outcome::Exited(code), "sys.exit({argument})");
        assert_eq!(text(&result.output.stderr), "", "sys.exit({argument})");
    }
    assert_eq!(run_in(&mut sandbox, "raise SystemExit(4)").outcome, Outcome::Exited(4));
    assert_eq!(run_in(&mut sandbox, "exit(5)").outcome, Outcome::Exited(5));
}

#[test]
fn sys_exit_with_a_text_prints_it_and_has_exit_code_1() {
    assert_eq!(failed("import sys; print('before'); sys.exit('text: \u{e4}')"), "text: \u{e4}\n");
}

#[test]
fn what_the_program_registered_for_its_end_runs_before_the_run_ends() {
    let code = "import atexit\natexit.register(print, 'registered')\nprint('body')";
    let mut sandbox = fork();
    assert_eq!(printed(&run_in(&mut sandbox, code)), "body\nregistered\n");
    assert_eq!(printed(&run_in(&mut sandbox, "print('next')")), "next\n");
}

// Errors.

#[test]
fn an_uncaught_exception_prints_the_traceback_with_the_programs_own_lines() {
    let error = failed("def half(x):\n    return 1 / x  # the culprit\n\nhalf(0)\n");
    assert!(error.starts_with("Traceback (most recent call last):\n"), "{error}");
    assert!(error.contains("line 4, in <module>\n    half(0)\n"), "{error}");
    assert!(error.contains("line 2, in half\n    return 1 / x  # the culprit\n"), "{error}");
    assert!(error.ends_with("ZeroDivisionError: division by zero\n"), "{error}");
    assert!(!error.contains("zeroboot_guest"), "our own frames are shown: {error}");
}

#[test]
fn chained_exceptions_are_shown_with_their_causes() {
    let error = failed(
        "try:\n    {}['key']\nexcept KeyError as e:\n    raise RuntimeError('outer') from e\n",
    );
    let (inner, outer) = (error.find("KeyError: 'key'"), error.find("RuntimeError: outer"));
    assert!(inner.is_some() && inner < outer, "{error}");
    assert!(error.contains("direct cause of the following exception"), "{error}");
}

#[test]
fn a_syntax_error_points_at_its_place() {
    let error = failed("print('never printed')\nx = = 1\n");
    assert!(error.contains("line 2\n    x = = 1\n"), "{error}");
    assert!(
        error.contains("    ^\n") && error.ends_with("SyntaxError: invalid syntax\n"),
        "{error}"
    );
}

#[test]
fn a_syntax_error_keeps_the_rest_of_the_program_from_running() {
    let result = run("print('never printed')\nx = (\n");
    assert_eq!((result.outcome, text(&result.output.stdout)), (Outcome::Exited(1), ""));
}

#[test]
fn a_recursion_without_end_is_an_exception_and_no_crash() {
    let mut sandbox = fork();
    let result = run_in(&mut sandbox, "def f(n):\n    return f(n + 1)\nf(0)\n");
    let error = text(&result.output.stderr);
    assert_eq!(result.outcome, Outcome::Exited(1), "{error}");
    assert!(error.contains("[Previous line repeated "), "{error}");
    assert!(error.contains("RecursionError: maximum recursion depth exceeded"), "{error}");
    assert_eq!(printed(&run_in(&mut sandbox, "print('alive')")), "alive\n");
}

#[test]
fn a_program_with_a_nul_is_an_error_of_the_program() {
    let result = fork().run(b"print(1)\0\n", RunOptions::default()).unwrap();
    assert_eq!(result.outcome, Outcome::Exited(1));
    assert!(text(&result.output.stderr).contains("null bytes"), "{result:?}");
}

#[test]
fn a_program_that_is_no_utf8_is_an_error_of_the_program() {
    let result = fork().run(b"print('\xff\xfe')\n", RunOptions::default()).unwrap();
    assert_eq!(result.outcome, Outcome::Exited(1));
    let error = text(&result.output.stderr);
    assert!(error.contains("SyntaxError") && error.contains("utf-8"), "{error}");
}

#[test]
fn a_program_may_name_its_encoding() {
    let code = b"# -*- coding: latin-1 -*-\nprint('\xe4', len('\xe4'))\n";
    let result = fork().run(code, RunOptions::default()).unwrap();
    assert_eq!(printed(&result), "\u{e4} 1\n");
}

#[test]
fn a_program_that_is_too_long_is_refused_with_both_sizes() {
    let mut sandbox = fork();
    let code = vec![b'#'; 2_000_000];
    let error = sandbox.run(&code, RunOptions::default()).unwrap_err().to_string();
    let max = zeroboot_proto::PAYLOAD_MAX;
    assert_eq!(error, format!("a program of 2000000 bytes; the most is {max}"));
    assert_eq!(printed(&run_in(&mut sandbox, "print('unharmed')")), "unharmed\n");
}

#[test]
fn the_longest_program_runs() {
    let mut code = b"print('first')\n#".to_vec();
    let end = b"\nprint('last')";
    code.resize(zeroboot_proto::PAYLOAD_MAX as usize - end.len(), b'-');
    code.extend(end);
    let result = fork().run(&code, RunOptions { timeout: Some(LONG), ..Default::default() });
    assert_eq!(printed(&result.unwrap()), "first\nlast\n");
}

// Ends of the runtime's process.

#[test]
fn an_exit_of_the_process_is_told_apart_and_is_the_sandboxs_last() {
    let mut sandbox = fork();
    let result = run_in(&mut sandbox, "import os; print('said', flush=True); os._exit(7)");
    assert_eq!(result.outcome, Outcome::ProcessExited(7));
    assert_eq!(text(&result.output.stdout), "said\n");
    assert_dead(&mut sandbox, "_exit");
}

#[test]
fn a_signal_that_ends_the_process_is_named() {
    for signal in [SIGSEGV, SIGKILL] {
        let mut sandbox = fork();
        let code = format!("import os; os.write(1, b'said'); os.kill(os.getpid(), {signal})");
        let result = run_in(&mut sandbox, &code);
        assert_eq!(result.outcome, Outcome::Signaled(signal));
        assert_eq!(text(&result.output.stdout), "said");
        assert_dead(&mut sandbox, "a signal");
    }
}

#[test]
fn a_crash_in_native_code_is_a_signal() {
    let result = run("import ctypes; ctypes.string_at(0)");
    assert_eq!(result.outcome, Outcome::Signaled(SIGSEGV));
}

#[test]
fn an_allocation_that_cannot_be_is_an_exception_of_the_program() {
    let error = failed("bytearray(1 << 40)");
    assert!(error.ends_with("MemoryError\n"), "{error}");
}

// Limits.

#[test]
fn a_program_that_never_ends_is_stopped_at_its_timeout() {
    let timeout = Duration::from_millis(200);
    let loops = [
        "while True: pass",
        "import time\nwhile True: time.sleep(0.001)",
        "import threading; threading.Event().wait()",
        "try:\n    while True: pass\nfinally:\n    print('no time for this')",
    ];
    for code in loops {
        let mut sandbox = fork();
        let started = Instant::now();
        let options = RunOptions { timeout: Some(timeout), ..Default::default() };
        let result = sandbox.run(code.as_bytes(), options).unwrap();
        let late = started.elapsed().saturating_sub(timeout);
        println!("stopped {late:?} after its timeout: {code:?}");
        assert_eq!(result.outcome, Outcome::TimedOut, "{code}");
        assert!(started.elapsed() >= timeout, "stopped too early: {code}");
        assert!(late < Duration::from_millis(500), "{late:?} late: {code}");
        assert_dead(&mut sandbox, "a timeout");
    }
}

#[test]
fn output_up_to_a_timeout_is_kept() {
    let code = "import os\nprint('text', flush=True)\nos.write(2, b'bytes')\nwhile True: pass";
    let result = run_within(code, Duration::from_secs(2));
    assert_eq!(result.outcome, Outcome::TimedOut);
    assert_eq!((text(&result.output.stdout), text(&result.output.stderr)), ("text\n", "bytes"));
}

#[test]
fn a_timeout_of_zero_runs_nothing() {
    let result = run_within("print(1)", Duration::ZERO);
    assert_eq!(result.outcome, Outcome::TimedOut);
    assert!(result.output.stdout.is_empty());
}

#[test]
fn a_run_is_cancelled_from_another_thread() {
    let mut sandbox = fork();
    let cancel = Cancel::new();
    let (started, has_started) = mpsc::channel();
    let result = std::thread::scope(|scope| {
        let canceller = cancel.clone();
        scope.spawn(move || {
            has_started.recv().unwrap();
            canceller.cancel();
        });
        let mut on_output = |_: Stream, _: &[u8]| {
            // Whoever waits has enough with the first.
            let _ = started.send(());
            ControlFlow::Continue(())
        };
        let options = RunOptions {
            cancel: Some(cancel.clone()),
            // The program says that it runs by filling the output area: that is an exit.
            on_output: Some(&mut on_output),
            ..Default::default()
        };
        sandbox.run(b"print('x' * 2_000_000, flush=True)\nwhile True: pass", options).unwrap()
    });
    assert_eq!(result.outcome, Outcome::Cancelled);
    assert_dead(&mut sandbox, "a cancellation");
}

#[test]
fn a_token_that_was_cancelled_before_stops_the_run_at_once() {
    let cancel = Cancel::new();
    cancel.cancel();
    let options = RunOptions { cancel: Some(cancel), ..Default::default() };
    let result = fork().run(b"while True: pass", options).unwrap();
    assert_eq!(result.outcome, Outcome::Cancelled);
}

#[test]
fn the_sandboxs_own_token_stops_a_run() {
    let mut sandbox = fork();
    let stop = sandbox.stop_token().clone();
    let result = std::thread::scope(|scope| {
        scope.spawn(|| stop.cancel());
        run_in(&mut sandbox, "while True: pass")
    });
    assert_eq!(result.outcome, Outcome::Cancelled);
}

#[test]
fn output_stops_at_its_limit_and_what_fitted_is_kept() {
    for (code, stdout, stderr) in [
        ("print('0123456789' * 10)", "01234567", ""),
        ("import sys; print('0123', file=sys.stderr); print('abcdef')", "abc", "0123\n"),
    ] {
        let mut sandbox = fork();
        let options = RunOptions { max_output: 8, ..Default::default() };
        let result = sandbox.run(code.as_bytes(), options).unwrap();
        assert_eq!(result.outcome, Outcome::OutputLimit, "{code}");
        let output = (text(&result.output.stdout), text(&result.output.stderr));
        assert_eq!(output, (stdout, stderr), "{code}");
        assert_dead(&mut sandbox, "the output limit");
    }
}

#[test]
fn a_callback_gets_no_more_than_the_limit_either() {
    let mut got = Vec::new();
    let mut on_output = |_: Stream, bytes: &[u8]| {
        got.extend_from_slice(bytes);
        ControlFlow::Continue(())
    };
    let options =
        RunOptions { max_output: 8, on_output: Some(&mut on_output), ..Default::default() };
    let result = fork().run(b"print('0123456789' * 10)", options).unwrap();
    assert_eq!(result.outcome, Outcome::OutputLimit);
    assert_eq!((text(&result.output.stdout), text(&got)), ("01234567", "01234567"));
}

#[test]
fn output_that_just_fits_its_limit_is_no_reason_to_stop() {
    let options = RunOptions { max_output: 8, ..Default::default() };
    let result = fork().run(b"print('0123456')", options).unwrap();
    assert_eq!(printed(&result), "0123456\n");
}

#[test]
fn a_program_that_prints_for_ever_stops_at_the_limit() {
    let options = RunOptions { max_output: 3 << 20, timeout: Some(LONG), ..Default::default() };
    let result = fork().run(b"while True: print('x' * 65535)", options).unwrap();
    assert_eq!(result.outcome, Outcome::OutputLimit);
    assert_eq!(result.output.stdout.len(), 3 << 20);
}

#[test]
fn a_callback_that_has_seen_enough_ends_the_run() {
    let mut sandbox = fork();
    let mut on_output = |_: Stream, _: &[u8]| ControlFlow::Break(());
    let options = RunOptions { on_output: Some(&mut on_output), ..Default::default() };
    let result = sandbox.run(b"print('x')", options).unwrap();
    assert_eq!(result.outcome, Outcome::Cancelled);
    assert_dead(&mut sandbox, "a cancellation");
}

// Output.

/// Lines that are all different, so that a piece that is lost, doubled or moved shows.
fn numbered_lines(upto: usize) -> String {
    (0..upto).map(|i| format!("{i:>15}\n")).collect()
}

#[test]
fn ten_megabytes_of_output_are_whole() {
    let code = "import sys\nfor at in range(0, 655_360, 4096):\n    \
                print(*(f'{i:>15}' for i in range(at, at + 4096)), sep='\\n')";
    let result = run_within(code, LONG);
    let expected = numbered_lines(655_360);
    assert_eq!(expected.len(), 10 << 20);
    assert!(printed(&result) == expected, "{} bytes", result.output.stdout.len());
}

#[test]
fn output_comes_in_pieces_and_in_order() {
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    let mut on_output = |stream: Stream, bytes: &[u8]| {
        assert_eq!(stream, Stream::Stdout);
        pieces.push(bytes.to_vec());
        ControlFlow::Continue(())
    };
    let options =
        RunOptions { timeout: Some(LONG), on_output: Some(&mut on_output), ..Default::default() };
    let code = b"for i in range(200_000): print(f'{i:>15}')";
    let result = fork().run(code, options).unwrap();
    let expected = numbered_lines(200_000);
    assert!(printed(&result) == expected);
    assert!(pieces.concat() == expected.as_bytes(), "the pieces are not the whole");
    assert!(pieces.len() > 1, "all of it came at once");
}

#[test]
fn output_arrives_while_the_program_goes_on() {
    // Each write is more than the mailbox holds, so a callback comes before the program's end.
    let mut first_seen_at = None;
    let started = Instant::now();
    let mut on_output = |_: Stream, _: &[u8]| {
        first_seen_at.get_or_insert_with(|| started.elapsed());
        ControlFlow::Continue(())
    };
    let options = RunOptions {
        timeout: Some(Duration::from_secs(3)),
        on_output: Some(&mut on_output),
        ..Default::default()
    };
    let code = b"for i in range(20): print('x' * 65535, flush=True)\nwhile True: pass";
    let result = fork().run(code, options).unwrap();
    assert_eq!(result.outcome, Outcome::TimedOut);
    assert!(first_seen_at.unwrap() < Duration::from_secs(3));
}

#[test]
fn streams_and_ways_of_writing_are_kept_apart_and_in_order() {
    let code = r"
import os, subprocess, sys
for i in range(3):
    print('print', i, flush=True)
    sys.stderr.write(f'error {i}\n')
    os.write(1, b'write %d\n' % i)
    os.write(2, b'raw error %d\n' % i)
    subprocess.run(['sh', '-c', f'echo child {i}; echo child error {i} >&2'])
    sys.stdout.buffer.write(b'buffer %d\n' % i)
";
    let result = run_within(code, LONG);
    let expected: String =
        (0..3).map(|i| format!("print {i}\nwrite {i}\nchild {i}\nbuffer {i}\n")).collect();
    assert_eq!(printed(&result), expected);
    let expected: String =
        (0..3).map(|i| format!("error {i}\nraw error {i}\nchild error {i}\n")).collect();
    assert_eq!(text(&result.output.stderr), expected);
}

#[test]
fn one_order_holds_across_the_streams() {
    let mut order = Vec::new();
    let mut on_output = |stream: Stream, bytes: &[u8]| {
        order.push((stream, text(bytes).to_owned()));
        ControlFlow::Continue(())
    };
    let options = RunOptions { on_output: Some(&mut on_output), ..Default::default() };
    let code = "import os, sys\nfor i in range(3):\n    print('o', i, flush=True)\n    \
                print('e', i, file=sys.stderr, flush=True)\n    os.write(1, b'w%d' % i)\n";
    fork().run(code.as_bytes(), options).unwrap();
    let expected: Vec<_> = (0..3)
        .flat_map(|i| {
            [
                (Stream::Stdout, format!("o {i}\n")),
                (Stream::Stderr, format!("e {i}\n")),
                (Stream::Stdout, format!("w{i}")),
            ]
        })
        .collect();
    assert_eq!(order, expected);
}

#[test]
fn a_childs_output_beyond_the_mailbox_is_whole() {
    // 2 MB through the kernel's console area, which is 256 KiB.
    let code = "import subprocess\nsubprocess.run(['sh', '-c', \
                'i=0; while [ $i -lt 40 ]; do cat /tmp/lines; i=$((i+1)); done'])";
    let prepare = "open('/tmp/lines', 'w').write(''.join(f'{i:>15}\\n' for i in range(3200)))";
    let mut sandbox = fork();
    printed(&run_in(&mut sandbox, prepare));
    let options = RunOptions { timeout: Some(LONG), ..Default::default() };
    let result = sandbox.run(code.as_bytes(), options).unwrap();
    assert!(printed(&result) == numbered_lines(3200).repeat(40));
}

#[test]
fn output_is_bytes_and_not_text() {
    let result = run("import os, sys; os.write(1, bytes(range(256))); \
                      sys.stdout.buffer.write(bytes(range(255, -1, -1)))");
    let expected: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    assert_eq!(result.output.stdout, expected);
}

// One run behind the other.

#[test]
fn runs_in_one_sandbox_share_modules_but_not_names() {
    let mut sandbox = fork();
    printed(&run_in(&mut sandbox, "import json\njson.kept = 'module state'\nname = 1"));
    let second = "import json, sys\nprint(json.kept, 'name' in globals(), __name__, \
                  sys.modules['__main__'].__dict__ is globals())";
    assert_eq!(printed(&run_in(&mut sandbox, second)), "module state False __main__ True\n");
}

#[test]
fn a_failed_run_does_not_show_in_the_next() {
    let mut sandbox = fork();
    for code in [
        "raise ValueError",
        "import sys; sys.exit(9)",
        "import sys; sys.stdout = None; sys.stderr = None; sys.stdin.close()",
        "import sys; sys.stdout.close()",
        "import sys; sys.excepthook = None",
        "import builtins; x = (",
    ] {
        run_in(&mut sandbox, code);
        assert_eq!(printed(&run_in(&mut sandbox, "print('as new')")), "as new\n", "after {code}");
    }
    let error = run_in(&mut sandbox, "1 / 0").output.stderr;
    assert!(text(&error).ends_with("ZeroDivisionError: division by zero\n"));
}

#[test]
fn a_hundred_runs_in_one_sandbox_are_all_right() {
    let mut sandbox = fork();
    for i in 0..100 {
        assert_eq!(
            printed(&run_in(&mut sandbox, &format!("print({i} ** 3)"))),
            format!("{}\n", i * i * i)
        );
    }
}
