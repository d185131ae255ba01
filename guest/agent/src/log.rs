//! The boot log: what is written here, the kernel prints on the host's console.
//!
//! The kernel's own log and not /dev/console, because the UART of these machines has no interrupt
//! and the kernel then refuses what user space writes to it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

/// As an error, so that a `quiet` kernel prints it too: see "/dev/kmsg" in the kernel's ABI.
const ERROR: &str = "<3>";

/// The log, to write lines to.
pub fn open() -> io::Result<File> {
    OpenOptions::new().write(true).open("/dev/kmsg")
}

/// Writes a line. There is nowhere to complain to when that fails, and PID 1 must go on.
pub fn say(line: &str) {
    let _ =
        open().and_then(|mut log| log.write_all(format!("{ERROR}zeroboot: {line}\n").as_bytes()));
}
