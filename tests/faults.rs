//! Faults of the host: whatever fails, and wherever, gives an error that says what, leaves nothing
//! behind, and is over when its cause is.
//!
//! `tests/faults` has a shim that lets system calls fail on order, a program that uses the library
//! under it, and the smallest guest that becomes a template.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use common::{ZEROBOOT, root, succeed};

const SIGKILL: i32 = 9;
const SIGBUS: i32 = 7;

fn shim() -> &'static Path {
    static SHIM: OnceLock<PathBuf> = OnceLock::new();
    SHIM.get_or_init(|| {
        let output = common::programs().join("libfaultshim.so");
        compile(&["-fPIC", "-shared"], "shim.c", &output, &[]);
        output
    })
}

fn compile(flags: &[&str], source: &str, output: &Path, libraries: &[&str]) {
    succeed(
        Command::new("cc")
            .args(["-std=gnu11", "-Wall", "-Wextra", "-pedantic", "-Werror", "-g", "-pthread"])
            .args(flags)
            .arg(root().join("tests/faults").join(source))
            .args(libraries)
            .arg("-o")
            .arg(output),
    );
}

/// The program in `tests/faults/driver.c`. The shim comes first, so that its functions do.
fn driver() -> &'static Path {
    static DRIVER: OnceLock<PathBuf> = OnceLock::new();
    DRIVER.get_or_init(|| {
        let (here, library) = (common::programs(), common::library_dir());
        let in_dir = |option: &str, dir: &Path| format!("{option}{}", dir.display());
        let output = here.join("faults-driver");
        shim();
        compile(
            &[&in_dir("-I", &root().join("include"))],
            "driver.c",
            &output,
            &[
                &in_dir("-L", here),
                "-lfaultshim",
                &in_dir("-L", &library),
                "-lzeroboot",
                &in_dir("-Wl,-rpath,", here),
                &in_dir("-Wl,-rpath,", &library),
            ],
        );
        output
    })
}

fn drive(case: &str, template: &Path) -> Output {
    Command::new(driver()).arg(case).arg(template).output().unwrap()
}

fn drive_well(case: &str, template: &Path) {
    let output = drive(case, template);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && error.is_empty(), "{case}: {}: {error}", output.status);
}

macro_rules! cases {
    ($($case:ident)+) => { $(
        #[test]
        fn $case() {
            drive_well(stringify!($case), common::template());
        }
    )+ };
}

cases! {
    each_call_of_a_load_fails_once
    each_call_of_a_fork_and_a_run_fails_once
    each_call_of_a_reset_fails_once
    each_call_of_the_keeper_fails_once
    a_host_that_is_out_of_everything_says_so_until_it_is_not
    a_device_that_goes_away_is_not_missed_by_who_has_it
    without_threads_a_pool_does_its_work_itself
    a_run_that_is_interrupted_goes_on
    a_run_that_never_gets_anywhere_ends_at_its_timeout
    a_run_that_fails_says_so_and_is_the_sandboxs_last
    a_storm_of_signals_disturbs_nothing
    a_thread_that_is_cancelled_ends_behind_the_call
    threads_may_be_cancelled_at_any_time
    a_step_of_the_clock_disturbs_no_sandbox
}

/// A copy of the template whose files may be deleted and truncated.
fn copy() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in(common::programs()).unwrap();
    succeed(
        Command::new("cp")
            .args(["--sparse=always", "--no-preserve=mode"])
            .args(
                ["manifest.json", "state.bin", "memory.img", "rootfs.img"]
                    .map(|file| common::template().join(file)),
            )
            .arg(dir.path()),
    );
    dir
}

#[test]
fn a_snapshot_that_is_deleted_serves_on() {
    let copy = copy();
    drive_well("a_snapshot_that_is_deleted_serves_on", copy.path());
    assert!(!copy.path().exists());
}

#[test]
fn a_sealed_copy_does_not_mind_truncation() {
    drive_well("a_sealed_copy_does_not_mind_truncation", copy().path());
}

#[test]
fn a_truncated_image_ends_the_guests_that_read_it() {
    drive_well("a_truncated_image_ends_the_guests_that_read_it", copy().path());
}

/// As the documentation says, the process may end by SIGBUS; but it does not go on with what was
/// never in memory.
#[test]
fn a_truncated_memory_file_gives_no_wrong_answer() {
    use std::os::unix::process::ExitStatusExt;
    let output = drive("a_truncated_memory_file_gives_no_wrong_answer", copy().path());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || output.status.signal() == Some(SIGBUS), "{error}");
}

#[test]
fn every_case_of_the_driver_is_run() {
    let here = include_str!("faults.rs");
    let cases = include_str!("faults/driver.c")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("CASE(")?.strip_suffix("),"));
    let mut count = 0;
    for case in cases {
        assert!(here.contains(&format!("    {case}\n")) || here.contains(&format!("\"{case}\"")));
        count += 1;
    }
    assert!(count > 15);
}

// Building a template.

/// A cache of its own in memory, and what the smallest template is built of.
struct Cache(tempfile::TempDir);

impl Cache {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let cache =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let cache = Cache(cache.unwrap());
        compile(
            &["-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none,-Ttext=0x200000"],
            "guest.S",
            &cache.kernel(),
            &[],
        );
        fs::File::create(cache.image()).unwrap().set_len(2 << 20).unwrap();
        cache
    }

    fn kernel(&self) -> PathBuf {
        self.0.path().join("kernel")
    }

    fn image(&self) -> PathBuf {
        self.0.path().join("image")
    }

    fn templates(&self) -> PathBuf {
        self.0.path().join("zeroboot/templates")
    }

    fn zeroboot(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(ZEROBOOT);
        command.args(arguments).env("XDG_CACHE_HOME", self.0.path());
        command
    }

    /// The command that builds the template anew.
    fn build(&self) -> Command {
        let mut command = self.zeroboot(&[
            "template",
            "build",
            "python",
            "--name=small",
            "--memory=32",
            "--force",
        ]);
        command.arg("--kernel").arg(self.kernel()).arg("--rootfs").arg(self.image());
        command
    }

    /// The same in which the nth call that changes files meets a fault; `None` if there is none.
    fn build_with_fault(&self, nth: u32, action: &str) -> Option<Output> {
        let report = self.0.path().join("report");
        let output = self
            .build()
            .env("LD_PRELOAD", shim())
            .env("ZB_FAULT", format!("files:{nth}:{action}"))
            .env("ZB_FAULT_REPORT", &report)
            .output()
            .unwrap();
        fs::remove_file(report).is_ok().then_some(output)
    }

    /// Whether there is a template; what is there under its name must be one, and work.
    fn has_template(&self) -> bool {
        if !self.templates().join("small").exists() {
            return false;
        }
        succeed(&mut self.zeroboot(&["template", "verify", "small"]));
        true
    }

    /// What a build that was ended has left is no template by any name.
    fn check_left_over(&self) {
        let left = self.templates().join(".small.new");
        if left.join("memory.img").exists() && !left.join("manifest.json").exists() {
            let run = self.zeroboot(&["run", "-t", left.to_str().unwrap(), "x"]).output().unwrap();
            assert_eq!(run.status.code(), Some(125));
        }
        let list = succeed(&mut self.zeroboot(&["template", "list"]));
        assert!(!String::from_utf8_lossy(&list.stdout).contains(".new"));
    }
}

#[test]
fn a_build_that_is_killed_at_any_call_leaves_no_half_template_and_the_next_works() {
    use std::os::unix::process::ExitStatusExt;
    let cache = Cache::new();
    let mut nth = 1;
    let mut had_one = false;
    while let Some(output) = cache.build_with_fault(nth, "KILL") {
        assert_eq!(output.status.signal(), Some(SIGKILL));
        let has_one = cache.has_template();
        assert!(has_one || !had_one, "kill {nth}: the template that was there is gone");
        cache.check_left_over();
        had_one = has_one;
        nth += 1;
    }
    assert!(nth > 15, "{nth} calls");
    assert!(cache.has_template());
    // Once more, with one that is replaced from the first call on.
    for nth in 1..=nth {
        cache.build_with_fault(nth, "KILL");
        assert!(cache.has_template(), "kill {nth}");
    }
    succeed(&mut cache.build());
    let names: Vec<_> = fs::read_dir(cache.templates()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(cache.has_template());
}

#[test]
fn a_build_that_is_killed_while_its_guest_boots_leaves_nothing() {
    let cache = Cache::new();
    let kernel = common::template().join("../../guest");
    assert!(kernel.join("vmlinux").exists() && kernel.join("python.erofs").exists());
    for ms in [0, 10, 50, 200, 700] {
        let mut command = cache.zeroboot(&["template", "build", "python", "--name=small"]);
        command.arg("--kernel").arg(kernel.join("vmlinux"));
        command.arg("--rootfs").arg(kernel.join("python.erofs"));
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(ms));
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(!cache.has_template());
        cache.check_left_over();
    }
    succeed(&mut cache.build());
    assert!(cache.has_template());
}

fn fails_with(cache: &Cache, errno: i32, says: &str) {
    let mut nth = 1;
    let mut failed = 0;
    while let Some(output) = cache.build_with_fault(nth, &errno.to_string()) {
        let error = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            assert_eq!(output.status.code(), Some(1), "fault {nth}: {error}");
            let last = error.lines().last().unwrap_or_default();
            assert!(last.contains(says), "fault {nth}: {error}");
            failed += 1;
        }
        cache.has_template();
        nth += 1;
    }
    // A link that cannot be made is made up for by a copy, and what is left over is removed later.
    assert!(failed > 12 && failed + 6 >= nth - 1, "{failed} of {nth}");
    assert!(cache.has_template());
}

#[test]
fn a_write_that_fails_at_any_call_of_a_build_is_an_error_that_says_so() {
    let cache = Cache::new();
    fails_with(&cache, 5, "Input/output error");
    fails_with(&cache, 28, "No space left on device");
    succeed(&mut cache.build());
}

/// A file system of its own, which goes with the process that has it.
#[test]
fn a_full_file_system_ends_a_build_with_its_name_and_leaves_nothing() {
    let cache = Cache::new();
    let dir = cache.0.path().join("zeroboot");
    fs::create_dir_all(&dir).unwrap();
    for kib in [4, 8, 16, 24, 32, 2080] {
        let build = cache.build();
        let script = format!(
            "mount -t tmpfs -o size={kib}k tmpfs {0} && ! \"$@\" && ls -A {0}/templates",
            dir.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", &script, "sh"]);
        command.arg(build.get_program()).args(build.get_args());
        command.env("XDG_CACHE_HOME", cache.0.path());
        let output = succeed(&mut command);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains("No space left on device"), "{kib} KiB: {error}");
        assert!(output.stdout.is_empty(), "{kib} KiB: {output:?}");
    }
    assert!(fs::read_dir(&dir).unwrap().next().is_none());
    succeed(&mut cache.build());
}
