//! `make install` as a program outside the source tree meets it: through pkg-config.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// This build, installed once under a prefix of its own.
fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = common::programs().join("installed");
        // What an earlier version installed is not to be found.
        let _ = fs::remove_dir_all(&prefix);
        install(&prefix, Path::new(""));
        prefix
    })
}

/// Installs what Cargo has put beside this test.
fn install(prefix: &Path, destdir: &Path) {
    common::succeed(
        Command::new(common::root().join("install.sh"))
            .env_remove("LIBDIR")
            .env("PREFIX", prefix)
            .env("DESTDIR", destdir)
            .env("LIBRARY_DIR", common::library_dir())
            .env("COMMAND", common::ZEROBOOT),
    );
}

/// What pkg-config says of the installed library.
fn pkg_config(arguments: &[&str]) -> Vec<String> {
    let output = common::succeed(
        Command::new("pkg-config")
            .env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"))
            .args(arguments)
            .arg("zeroboot"),
    );
    let words = String::from_utf8(output.stdout).unwrap();
    words.split_whitespace().map(str::to_owned).collect()
}

/// Compiles examples/hello.c with what pkg-config says and nothing else.
fn compile_hello(name: &str, libraries: &[String]) -> PathBuf {
    let output = prefix().join(name);
    common::succeed(
        Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror"])
            .args(pkg_config(&["--cflags"]))
            .arg(common::root().join("examples/hello.c"))
            .args(libraries)
            .arg("-o")
            .arg(&output),
    );
    output
}

/// Runs it; its library is that of the prefix. Without KVM, it must fail in its own words.
fn run_hello(hello: &Path) {
    let mut command = Command::new(hello);
    command.env("LD_LIBRARY_PATH", prefix().join("lib"));
    if let Some(template) = common::template_if_kvm() {
        let output = common::succeed(command.arg(template));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello from a virtual machine\n");
    } else {
        let output = command.arg("/nonexistent").output().unwrap();
        assert!(output.stderr.starts_with(b"hello: /nonexistent/"), "{output:?}");
    }
}

fn needed(program: &Path) -> String {
    let output = common::succeed(Command::new("readelf").args(["-d", "--wide"]).arg(program));
    String::from_utf8(output.stdout).unwrap()
}

/// Every file and link below a directory, by its path in there.
fn files(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[test]
fn a_program_is_built_with_pkg_config_and_runs_with_the_shared_library() {
    let hello = compile_hello("hello-shared", &pkg_config(&["--libs"]));
    assert!(needed(&hello).contains("[libzeroboot.so.0]"), "{}", needed(&hello));
    run_hello(&hello);
}

#[test]
fn a_program_is_built_with_the_static_library_and_runs_without_the_shared_one() {
    let mut libraries = pkg_config(&["--static", "--libs"]);
    let shared = libraries.iter_mut().find(|library| *library == "-lzeroboot").unwrap();
    *shared = "-l:libzeroboot.a".to_owned();
    let hello = compile_hello("hello-static", &libraries);
    assert!(!needed(&hello).contains("libzeroboot"), "{}", needed(&hello));
    run_hello(&hello);
}

#[test]
fn pkg_config_knows_the_version() {
    assert_eq!(pkg_config(&["--modversion"]), [VERSION]);
}

#[test]
fn the_installed_command_is_this_one() {
    let output = common::succeed(Command::new(prefix().join("bin/zeroboot")).arg("--version"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("zeroboot {VERSION}\n"));
}

#[test]
fn the_installed_library_exports_the_listed_symbols_and_no_others() {
    let output = common::succeed(
        Command::new("nm")
            .args(["-D", "--defined-only", "--format=just-symbols"])
            .arg(prefix().join("lib/libzeroboot.so")),
    );
    let mut exported: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    exported.sort_unstable();
    let listed: Vec<_> = include_str!("abi/symbols.txt").lines().collect();
    assert_eq!(exported, listed);
}

#[test]
fn everything_goes_under_destdir_and_nothing_knows_of_it() {
    let destdir = TempDir::new().unwrap();
    install(Path::new("/opt/zeroboot"), destdir.path());
    let shared = format!("lib/libzeroboot.so.{VERSION}");
    let mut expected = [
        "bin/zeroboot",
        "include/zeroboot.h",
        "lib/libzeroboot.a",
        "lib/libzeroboot.so",
        "lib/libzeroboot.so.0",
        &shared,
        "lib/pkgconfig/zeroboot.pc",
    ];
    expected.sort_unstable();
    let installed = destdir.path().join("opt/zeroboot");
    assert_eq!(files(&installed), expected);
    let pc = fs::read_to_string(installed.join("lib/pkgconfig/zeroboot.pc")).unwrap();
    assert!(pc.starts_with("prefix=/opt/zeroboot\n"), "{pc}");
    assert!(!pc.contains(destdir.path().to_str().unwrap()), "{pc}");
}
