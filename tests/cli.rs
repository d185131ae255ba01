//! The command line does what its help says.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{ZEROBOOT, succeed, template};

fn zeroboot(arguments: &[&str]) -> Command {
    let mut command = Command::new(ZEROBOOT);
    command.args(arguments).stdin(Stdio::null());
    command
}

/// `zeroboot run` with these arguments, on the test's template.
fn run(arguments: &[&str]) -> Command {
    let mut command = zeroboot(&["run", "-t", template().to_str().unwrap()]);
    command.args(arguments);
    command
}

fn output(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Runs a command with something on its standard input.
fn with_input(command: &mut Command, input: &str) -> (Option<i32>, String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn ok(stdout: &str) -> (Option<i32>, String, String) {
    (Some(0), stdout.into(), String::new())
}

/// A cache of its own, in which the guest's kernel and image are those of the real one.
struct Cache(tempfile::TempDir);

impl Cache {
    fn new() -> Self {
        // On the template's file system, so that large files can be linked.
        let cache = template().parent().and_then(Path::parent).unwrap();
        let dir = tempfile::tempdir_in(cache).unwrap();
        fs::create_dir_all(dir.path().join("zeroboot/templates")).unwrap();
        std::os::unix::fs::symlink(cache.join("guest"), dir.path().join("zeroboot/guest")).unwrap();
        Cache(dir)
    }

    /// One that holds the Python template.
    fn with_template() -> Self {
        let cache = Cache::new();
        let copy = cache.templates().join("python");
        fs::create_dir(&copy).unwrap();
        for file in fs::read_dir(template()).unwrap().map(Result::unwrap) {
            fs::hard_link(file.path(), copy.join(file.file_name())).unwrap();
        }
        cache
    }

    fn templates(&self) -> std::path::PathBuf {
        self.0.path().join("zeroboot/templates")
    }

    fn zeroboot(&self, arguments: &[&str]) -> Command {
        let mut command = zeroboot(arguments);
        command.env("XDG_CACHE_HOME", self.0.path());
        command
    }
}

// Help.

#[test]
fn every_command_explains_itself() {
    let commands: [&[&str]; 10] = [
        &[],
        &["doctor"],
        &["template"],
        &["template", "build"],
        &["template", "list"],
        &["template", "inspect"],
        &["template", "verify"],
        &["template", "rm"],
        &["run"],
        &["bench"],
    ];
    for command in commands {
        let (code, text, error) = output(zeroboot(command).arg("--help"));
        assert_eq!((code, error.as_str()), (Some(0), ""), "{command:?}");
        assert!(text.contains("Usage: zeroboot"), "{command:?}: {text}");
        // More than a usage line: what it does, in a sentence.
        assert!(text.lines().next().unwrap().split_whitespace().count() >= 4, "{text}");
        // Every option says what it is for.
        for option in text.lines().filter(|line| line.trim_start().starts_with("--")) {
            assert!(option.split_whitespace().count() > 2, "{command:?}: {option}");
        }
    }
}

#[test]
fn the_help_of_run_has_examples_and_tells_its_exit_codes() {
    let (_, text, _) = output(zeroboot(&["run", "--help"]).env("COLUMNS", "100"));
    assert!(text.contains("Examples:"), "{text}");
    for code in ["124", "125", "128"] {
        assert!(text.contains(code), "{code}: {text}");
    }
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(
        output(&mut zeroboot(&["--version"])),
        ok(&format!("zeroboot {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn a_wrong_command_line_has_exit_code_2() {
    let lines: [&[&str]; 11] = [
        &[],
        &["no-such-command"],
        &["template"],
        &["template", "no-such-command"],
        &["template", "inspect"],
        &["run", "--no-such-option", "1"],
        &["run", "-n", "0", "1"],
        &["run", "-f", "file", "and code"],
        &["run", "--timeout", "soon", "1"],
        &["bench", "no-such-measurement"],
        &["bench", "--runs", "0"],
    ];
    for line in lines {
        let (code, stdout, error) = output(&mut zeroboot(line));
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{line:?}");
        assert!(error.contains("Usage:") || error.contains("--help"), "{line:?}: {error}");
    }
}

// Where the program comes from.

#[test]
fn code_is_an_argument_a_file_or_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("program.py");
    fs::write(&file, "print(6 * 7)\n").unwrap();
    assert_eq!(output(&mut run(&["print(6*7)"])), ok("42\n"));
    assert_eq!(output(&mut run(&["-f", file.to_str().unwrap()])), ok("42\n"));
    assert_eq!(with_input(&mut run(&["-f", "-"]), "print(6*7)"), ok("42\n"));
    assert_eq!(with_input(&mut run(&[]), "print(6*7)\n"), ok("42\n"));
    assert_eq!(with_input(&mut run(&[]), ""), ok(""));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (code, stdout, error) = output(&mut run(&["-f", "/no/such/program.py"]));
    assert_eq!((code, stdout.as_str()), (Some(125), ""));
    assert_eq!(error, "zeroboot: /no/such/program.py: No such file or directory (os error 2)\n");
}

#[test]
fn code_that_begins_with_a_dash_follows_two_dashes() {
    assert_eq!(output(&mut run(&["--", "-1; print('ran')"])), ok("ran\n"));
}

// How it ends.

#[test]
fn the_exit_code_is_the_programs() {
    for (code, expected) in [
        ("pass", 0),
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit(255)", 255),
        ("import os; os._exit(7)", 7),
        ("1 / 0", 1),
    ] {
        assert_eq!(output(&mut run(&[code])).0, Some(expected), "{code}");
    }
}

#[test]
fn a_signal_gives_128_and_its_number() {
    for (signal, expected) in [(11, 139), (9, 137), (6, 134)] {
        let code = format!("import os; os.kill(os.getpid(), {signal})");
        let (exit, _, error) = output(&mut run(&[&code]));
        assert_eq!(exit, Some(expected));
        assert_eq!(error, format!("zeroboot: ended by signal {signal}\n"));
    }
}

#[test]
fn a_timeout_gives_124_and_the_output_so_far() {
    let code = "print('so far', flush=True)\nwhile True: pass";
    let (exit, stdout, error) = output(&mut run(&["--timeout", "0.5", code]));
    assert_eq!((exit, stdout.as_str()), (Some(124), "so far\n"));
    assert!(error.starts_with("zeroboot: timed out after 0.5"), "{error}");
}

#[test]
fn a_timeout_of_zero_means_none() {
    assert_eq!(output(&mut run(&["--timeout", "0", "print(1)"])), ok("1\n"));
}

#[test]
fn a_timeout_that_is_no_time_is_refused() {
    for seconds in ["-1", "nan", "1e30"] {
        let argument = format!("--timeout={seconds}");
        let (code, _, error) = output(&mut run(&[&argument, "print(1)"]));
        assert_eq!(code, Some(125), "{error}");
        assert!(error.starts_with("zeroboot: --timeout "), "{error}");
    }
}

#[test]
fn the_output_limit_gives_125_and_what_fitted() {
    let (code, stdout, error) = output(&mut run(&["--max-output", "4", "print('0123456789')"]));
    assert_eq!((code, stdout.as_str()), (Some(125), "0123"));
    assert_eq!(error, "zeroboot: stopped: the output limit is reached\n");
}

// What it prints.

#[test]
fn timing_goes_to_standard_error_and_nothing_more_to_standard_output() {
    let (code, stdout, error) = output(&mut run(&["--timing", "print(6*7)"]));
    assert_eq!((code, stdout.as_str()), (Some(0), "42\n"));
    assert_eq!(error.lines().count(), 1, "{error}");
    for figure in ["load ", "fork ", "exec ", "fork + exec ", " ms"] {
        assert!(error.contains(figure), "{figure}: {error}");
    }
}

#[test]
fn many_forks_print_one_output_and_a_summary() {
    let (code, stdout, error) = output(&mut run(&["-n", "20", "print(6*7)"]));
    assert_eq!((code, stdout.as_str()), (Some(0), "42\n"));
    assert!(error.starts_with("20 forks (recycled machines) in "), "{error}");
    assert!(error.contains("0 with another result than the first"), "{error}");
    for name in ["fork", "exec", "fork + exec", "free"] {
        let line = error.lines().find(|line| line.split("  ").next().unwrap().trim() == name);
        let line = line.unwrap_or_else(|| panic!("no line for {name}: {error}"));
        assert!(line.contains("p50") && line.contains("p99") && line.contains("ms"), "{line}");
    }
}

#[test]
fn many_forks_leave_nothing_to_the_next_in_recycled_machines_nor_in_new_ones() {
    let program = "import json, os; print(hasattr(json, 'mark'), os.path.exists('/tmp/mark'))
json.mark = 1; open('/tmp/mark', 'w').close()";
    let ways: [(&[&str], &str); 2] =
        [(&["-n20"], "recycled machines"), (&["-n20", "--fresh"], "a new machine each")];
    for (options, machines) in ways {
        let (code, stdout, error) = output(run(options).arg(program));
        assert_eq!((code, stdout.as_str()), (Some(0), "False False\n"));
        assert!(error.starts_with(&format!("20 forks ({machines}) in ")), "{error}");
        assert!(error.contains("0 with another result than the first"), "{error}");
    }
}

#[test]
fn many_forks_of_a_failing_program_fail() {
    let (code, _, _) = output(&mut run(&["-n", "3", "import sys; sys.exit(6)"]));
    assert_eq!(code, Some(6));
}

#[test]
fn output_is_passed_on_as_bytes() {
    let code = "import os; os.write(1, bytes(range(256))); os.write(2, b'\\xff\\x00')";
    let output = run(&[code]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, (0..=255).collect::<Vec<u8>>());
    assert_eq!(output.stderr, b"\xff\x00");
}

/// A run whose standard output is ours to read, and when it began.
fn spawn(code: &str, timeout: Duration) -> (Child, Instant) {
    let seconds = timeout.as_secs().to_string();
    let mut command = run(&["--timeout", &seconds, code]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    (command.spawn().unwrap(), Instant::now())
}

#[test]
fn a_line_arrives_while_the_program_goes_on() {
    let timeout = Duration::from_secs(8);
    let (mut child, started) = spawn("print('first', flush=True)\nwhile True: pass", timeout);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let arrived = started.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(line, "first\n");
    assert!(arrived < timeout, "it came at the end, after {arrived:?}");
}

#[test]
fn output_beyond_the_mailbox_arrives_while_the_program_goes_on() {
    let timeout = Duration::from_secs(30);
    let code = "for i in range(20): print('x' * 65535, flush=True)\nwhile True: pass";
    let (mut child, started) = spawn(code, timeout);
    let mut piece = vec![0; 500_000];
    child.stdout.take().unwrap().read_exact(&mut piece).unwrap();
    let arrived = started.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(arrived < timeout, "it came at the end, after {arrived:?}");
}

#[test]
fn a_reader_that_goes_away_ends_the_run_without_a_panic() {
    let (mut child, started) =
        spawn("while True: print('x' * 65535, flush=True)", Duration::from_secs(60));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // The pipe's reading end is closed now.
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    let error = String::from_utf8(stderr).unwrap();
    assert!(started.elapsed() < Duration::from_secs(60), "it went on to its timeout");
    assert!(!error.contains("panicked"), "{error}");
    assert!(status.code().is_some_and(|code| code != 0 && code != 101), "{status}");
}

/// Runs a command whose standard output, and error too, nobody reads.
fn unread(command: &mut Command) -> (Option<i32>, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let Output { status, stderr, .. } =
        command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn no_command_panics_when_nobody_reads_what_it_prints() {
    template();
    let name = template().to_str().unwrap();
    let commands: [&[&str]; 7] = [
        &["--help"],
        &["doctor"],
        &["template", "list"],
        &["template", "inspect", name],
        &["template", "inspect", "--path", name],
        &["run", "-t", name, "print(1)"],
        &["run", "-t", name, "-n", "2", "print(1)"],
    ];
    for command in commands {
        let (code, error) = unread(&mut zeroboot(command));
        assert!(code.is_some_and(|code| code != 101), "{command:?}: {code:?} {error}");
        assert!(!error.contains("panicked"), "{command:?}: {error}");
    }
}

#[test]
fn no_command_panics_when_its_standard_error_is_closed() {
    let name = template().to_str().unwrap();
    let commands: [&[&str]; 3] = [
        &["run", "-t", name, "--timing", "print(1)"],
        &["run", "-t", name, "import os; os.kill(os.getpid(), 9)"],
        &["template", "verify", "no-such-template"],
    ];
    for (command, expected) in commands.into_iter().zip([0, 137, 1]) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = zeroboot(command).stdout(Stdio::null()).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(expected), "{command:?}");
    }
}

// Doctor.

#[test]
fn the_doctor_says_what_this_host_can_do() {
    let (code, text, error) = output(&mut zeroboot(&["doctor"]));
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for word in [
        "processor",
        "kernel",
        "kvm",
        "ring 0",
        "tsc",
        "KVM_CAP_USER_MEMORY",
        "RLIMIT_NOFILE",
        "guest kernel",
        "python image",
        "template",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("MISSING"), "{text}");
}

// Templates.

#[test]
fn an_empty_cache_has_no_templates_and_says_how_to_make_one() {
    let cache = Cache::new();
    let (code, text, error) = output(&mut cache.zeroboot(&["template", "list"]));
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(text.contains("zeroboot template build python"), "{text}");
    let (code, _, error) = output(&mut cache.zeroboot(&["run", "print(1)"]));
    assert_eq!(code, Some(125));
    assert!(
        error.contains("no template python") && error.contains("zeroboot template build"),
        "{error}"
    );
}

#[test]
fn templates_are_listed_inspected_verified_and_removed() {
    let cache = Cache::with_template();
    let dir = cache.templates().join("python");
    let on = |arguments: &[&str]| {
        let (code, stdout, error) = output(&mut cache.zeroboot(arguments));
        assert_eq!((code, error.as_str()), (Some(0), ""), "{arguments:?}");
        stdout
    };
    let list = on(&["template", "list"]);
    assert!(list.lines().count() == 2 && list.starts_with("NAME"), "{list}");
    let line = list.lines().nth(1).unwrap();
    assert!(line.starts_with("python ") && line.ends_with("  ready"), "{line}");

    assert_eq!(on(&["template", "inspect", "--path", "python"]), format!("{}\n", dir.display()));
    let text = on(&["template", "inspect", "python"]);
    for word in [
        "path ",
        "runtime     python",
        "memory ",
        "image ",
        "kernel ",
        "sha256",
        "command ",
        "made ",
        "warmed ",
        "took ",
        "state       ready",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let text = on(&["template", "verify", "python"]);
    assert!(text.starts_with("python: memory and image are as they were written"), "{text}");
    assert_eq!(on(&["run", "print(6*7)"]), "42\n");

    assert_eq!(on(&["template", "rm", "python"]), "");
    assert!(!dir.exists());
    let (code, _, error) = output(&mut cache.zeroboot(&["template", "rm", "python"]));
    assert_eq!(code, Some(1));
    assert!(error.contains("no template python"), "{error}");
    // The files of the template that it was a copy of are still whole.
    assert_eq!(output(&mut run(&["print(6*7)"])), ok("42\n"));
}

#[test]
fn building_what_is_up_to_date_does_nothing() {
    let cache = Cache::with_template();
    let state = cache.templates().join("python/state.bin");
    let written = || fs::metadata(&state).unwrap().modified().unwrap();
    let before = written();
    let (code, text, _) = output(&mut cache.zeroboot(&["template", "build", "python"]));
    assert_eq!((code, text.as_str()), (Some(0), "python: up to date\n"));
    assert_eq!(written(), before);
}

/// Fills the memory page by page.
const FILL_MEMORY: &str = "
import mmap
kept = []
while True:
    area = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for at in range(0, len(area), 4096):
        area[at] = 1
    kept.append(area)
";

#[test]
fn a_template_is_built_with_ones_own_name_memory_and_warm_program() {
    let cache = Cache::new();
    let warm = cache.0.path().join("warm.py");
    fs::write(&warm, "import json\njson.warmed = 'by a file'\n").unwrap();
    // A name that is taken, by something that --force must replace.
    let dir = cache.templates().join("small");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("manifest.json"), "{}").unwrap();
    let build = [
        "template",
        "build",
        "python",
        "--name",
        "small",
        "--memory",
        "48",
        "--force",
        "--warm",
        warm.to_str().unwrap(),
    ];
    let built = succeed(&mut cache.zeroboot(&build));
    let (text, steps) =
        (String::from_utf8_lossy(&built.stdout), String::from_utf8_lossy(&built.stderr));
    assert!(text.starts_with("small: built in ") && text.contains(dir.to_str().unwrap()), "{text}");
    assert!(text.contains("took        kernel "), "{text}");
    for step in [
        "hashing",
        "booting the kernel",
        "mounting",
        "starting the runtime",
        "warming up",
        "warm.py",
        "writing",
    ] {
        assert!(steps.contains(step), "{step}: {steps}");
    }
    let names: Vec<_> =
        fs::read_dir(cache.templates()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["small"]);

    let (_, text, _) = output(&mut cache.zeroboot(&["template", "inspect", "small"]));
    assert!(text.contains("memory      48 MiB") && text.contains("warm.py"), "{text}");
    let warmed = "import json; print(json.warmed)";
    assert_eq!(output(&mut cache.zeroboot(&["run", "-t", "small", warmed])), ok("by a file\n"));
    let again: Vec<&str> = build.into_iter().filter(|argument| *argument != "--force").collect();
    let (code, text, _) = output(&mut cache.zeroboot(&again));
    assert_eq!((code, text.as_str()), (Some(0), "small: up to date\n"));

    // In so small a machine the memory is soon used up.
    let (code, _, error) =
        output(&mut cache.zeroboot(&["run", "-t", "small", "--timeout", "120", FILL_MEMORY]));
    assert_eq!(
        (code, error.as_str()),
        (Some(137), "zeroboot: killed: the sandbox is out of memory\n")
    );
}

#[test]
fn bench_faults_tells_whose_the_pages_of_a_first_run_are() {
    let template = template().to_str().unwrap();
    let faults = |more: &[&str]| {
        let mut command = zeroboot(&["bench", "faults", "-t", template, "--rounds", "2"]);
        let (code, stdout, stderr) = output(command.args(more));
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        stdout
    };
    let report: serde_json::Value = serde_json::from_str(&faults(&["--json"])).unwrap();
    assert_eq!(report["owners"]["mailbox"]["private"], 1);
    assert!(report["owners"]["[stack]"]["read"].as_u64().unwrap() > 0);
    let pages = report["pages"].as_array().unwrap();
    let private = pages.iter().filter(|page| page["private"] == true).count();
    assert_eq!(report["total"]["private"], private);
    assert_ne!(report["counters"]["exits"][0], 0);
    let table = faults(&["--pages", "x = 6 * 7"]);
    assert!(table.contains("first run") && table.contains("mailbox +0x0"), "{table}");
}

#[test]
fn bench_faults_refuses_a_kernel_that_the_template_was_not_made_with() {
    let template = template().to_str().unwrap();
    let mut command = zeroboot(&["bench", "faults", "-t", template, "--kernel", "Cargo.toml"]);
    let (code, _, stderr) = output(&mut command);
    assert_eq!(
        (code, stderr.as_str()),
        (Some(1), "zeroboot: Cargo.toml is not this template's kernel\n")
    );
}
