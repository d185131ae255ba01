//! A fork's processor state is the snapshot's, whole, and stays its own.

mod common;

use std::process::Command;
use std::time::Duration;

use common::{fork, printed, run_within, stdout, succeed};
use zeroboot::RunOptions;

/// Compiles a program of tests/guest for the guest's C library, which is the host's distribution's
/// or older, and makes a Python program of it that runs it.
fn in_guest(source: &str, arguments: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("program");
    let path = format!("{}/tests/guest/{source}", env!("CARGO_MANIFEST_DIR"));
    succeed(
        Command::new("cc")
            .args(["-O2", "-Wall", "-Werror", "-pthread", "-s", "-o"])
            .arg(&binary)
            .arg(path),
    );
    let hex: String =
        std::fs::read(binary).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "import os, subprocess\n\
         open('/tmp/program', 'wb').write(bytes.fromhex('{hex}'))\n\
         os.chmod('/tmp/program', 0o755)\n\
         raise SystemExit(subprocess.run(['/tmp/program', '{arguments}']).returncode)\n"
    )
}

#[test]
fn six_threads_of_vector_code_under_preemption_corrupt_nothing() {
    let result = run_within(&in_guest("vectors.c", "20"), Duration::from_secs(120));
    let text = printed(&result);
    println!("{text}");
    assert!(text.contains("corrupt 0 "), "{text}");
}

#[test]
fn floats_keep_their_values_from_run_to_run() {
    let mut sandbox = fork();
    let mut run =
        |code: &str| printed(&sandbox.run(code.as_bytes(), RunOptions::default()).unwrap());
    run("import json, math; json.kept = [math.sqrt(i) for i in range(1000)]");
    assert_eq!(
        run("import json, math; print(sum(json.kept) == sum(math.sqrt(i) for i in range(1000)))"),
        "True\n"
    );
    assert_eq!(
        run("import math; print(math.pi.hex(), (0.1 + 0.2).hex())"),
        "0x1.921fb54442d18p+1 0x1.3333333333334p-2\n"
    );
}

#[test]
fn rounding_and_exceptions_are_as_the_runtime_set_them() {
    assert_eq!(
        stdout("print(1/3, 2**0.5, 1e308*10, round(2.5), 0.1+0.7)"),
        "0.3333333333333333 1.4142135623730951 inf 2 0.7999999999999999\n"
    );
}

/// Keeps many integers and floats in registers: a hash and a chaotic map, whose results are off
/// for good after any wrong bit.
const REGISTER_HEAVY: &str = "
import hashlib, zlib
x, h = 0.4, 0
for i in range(2000):
    x = 3.99 * x * (1.0 - x)
    h = (h * 6364136223846793005 + int(x * 2**53) + i) & 0xffffffffffffffff
data = h.to_bytes(8, 'little') * 512
print(x.hex(), h, hashlib.sha256(data).hexdigest(), zlib.crc32(data))
";

#[test]
fn a_register_heavy_program_is_right_in_a_thousand_consecutive_forks() {
    // The host's own Python says what is right.
    let host = succeed(Command::new("python3").args(["-c", REGISTER_HEAVY]));
    let expected = String::from_utf8(host.stdout).unwrap();
    for i in 0..1000 {
        assert_eq!(stdout(REGISTER_HEAVY), expected, "fork {i}");
    }
}
