//! What tests with a real guest share: the template, and a fork of it.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod forge;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{env, io};

use zeroboot::{LoadOptions, RunOptions, RunResult, Sandbox, Snapshot};

/// The command line that belongs to this build.
pub const ZEROBOOT: &str = env!("CARGO_BIN_EXE_zeroboot");

/// Where the repository is.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where this build's libzeroboot.so is: beside this test, where Cargo puts what tests are linked
/// with.
pub fn library_dir() -> PathBuf {
    let test = env::current_exe().unwrap();
    let dir = test.parent().unwrap();
    assert!(dir.join("libzeroboot.so").exists(), "no libzeroboot.so in {}", dir.display());
    dir.to_owned()
}

/// A place for compiled programs.
pub fn programs() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Compiles a program against the header and the library.
pub fn compile(source: &str, output: &str) -> PathBuf {
    compile_with(&[], source, output)
}

/// As [`compile`], with AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer. They watch
/// the program, and what the library does to its memory through malloc and memcpy; a report ends it.
pub fn compile_sanitized(source: &str, output: &str) -> PathBuf {
    compile_with(&["-fsanitize=address,undefined", "-fno-sanitize-recover=all"], source, output)
}

fn compile_with(flags: &[&str], source: &str, output: &str) -> PathBuf {
    let output = programs().join(output);
    let library_dir = library_dir();
    succeed(
        Command::new("cc")
            .args(["-std=gnu11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-g", "-pthread"])
            .args(flags)
            .arg(concat!("-DZEROBOOT_VERSION=\"", env!("CARGO_PKG_VERSION"), "\""))
            .arg("-I")
            .arg(root().join("include"))
            .arg(root().join(source))
            .arg("-L")
            .arg(&library_dir)
            .arg("-lzeroboot")
            // Before LD_LIBRARY_PATH, in which Cargo puts a directory that may hold an older build's.
            .arg(format!("-Wl,--disable-new-dtags,-rpath,{}", library_dir.display()))
            .arg("-o")
            .arg(&output),
    );
    output
}

/// The Python template's directory. It is built if it is not there or not up to date; the guest's
/// kernel and image must be there (`make guest`).
pub fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let lock = std::fs::File::create(std::env::temp_dir().join("zeroboot-test.lock")).unwrap();
        lock.lock().unwrap();
        succeed(Command::new(ZEROBOOT).args(["template", "build", "python"]));
        let path =
            succeed(Command::new(ZEROBOOT).args(["template", "inspect", "--path", "python"]));
        PathBuf::from(String::from_utf8(path.stdout).unwrap().trim())
    })
}

/// The directory of a Python template, in `ZB_TEST_TEMPLATE` or built here. `None` on a machine
/// that has no KVM and says so.
pub fn template_if_kvm() -> Option<PathBuf> {
    if env::var_os("ZB_TEST_NO_KVM").is_some_and(|value| value == "1") {
        // Not by eprintln, whose output nobody sees when the test passes.
        let _ = writeln!(io::stderr(), "SKIPPED: it needs a virtual machine, and ZB_TEST_NO_KVM=1");
        return None;
    }
    let given = env::var_os("ZB_TEST_TEMPLATE").map(PathBuf::from);
    Some(given.unwrap_or_else(|| template().to_owned()))
}

/// The Python template, loaded once a process.
pub fn snapshot() -> &'static Arc<Snapshot> {
    static SNAPSHOT: OnceLock<Arc<Snapshot>> = OnceLock::new();
    SNAPSHOT.get_or_init(|| Arc::new(Snapshot::load(template(), LoadOptions::default()).unwrap()))
}

/// A new fork.
pub fn fork() -> Sandbox {
    Sandbox::fork(snapshot(), None).unwrap()
}

/// Runs a program in a new fork, with the default limits.
pub fn run(code: &str) -> RunResult {
    fork().run(code.as_bytes(), RunOptions::default()).unwrap()
}

/// Runs a program in a new fork, with this much time.
pub fn run_within(code: &str, timeout: Duration) -> RunResult {
    let options = RunOptions { timeout: Some(timeout), ..RunOptions::default() };
    fork().run(code.as_bytes(), options).unwrap()
}

/// What a program prints, which must end well.
pub fn stdout(code: &str) -> String {
    printed(&run(code))
}

/// What a program printed, which must have ended well.
pub fn printed(result: &RunResult) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(
        result.outcome,
        zeroboot::Outcome::Exited(0),
        "stderr: {}",
        text(&result.output.stderr)
    );
    text(&result.output.stdout)
}

/// A command that must succeed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A copy of the template that a test may damage: the large files are links.
pub fn damaged_copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in(template().parent().unwrap()).unwrap();
    for file in ["manifest.json", "state.bin", "memory.img", "rootfs.img"] {
        let (from, to) = (template().join(file), dir.path().join(file));
        if file.ends_with(".img") {
            std::fs::hard_link(from, to).unwrap();
        } else {
            std::fs::write(to, std::fs::read(from).unwrap()).unwrap();
        }
    }
    dir
}
