//! How the runtime's process ended.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::process::{Pid, WaitStatus};
use zeroboot_driver::Death;

const SIGKILL: i32 = 9;

/// Longest record that a read of the kernel's log gives.
const RECORD_MAX: usize = 8192;

/// The kind of an end, and the exit code or signal that goes with it.
pub fn classify(runtime: Pid, status: WaitStatus) -> (Death, u32) {
    match status.terminating_signal() {
        Some(SIGKILL) if memory_ran_out(runtime) => (Death::OutOfMemory, SIGKILL as u32),
        Some(signal) => (Death::Signaled, signal as u32),
        // Stopped processes are not waited for.
        None => (Death::Exited, status.exit_status().unwrap_or_default() as u32),
    }
}

/// The same for people.
pub fn describe(death: Death, detail: u32) -> String {
    match death {
        Death::Exited => format!("exited with code {detail}"),
        Death::Signaled => format!("was ended by signal {detail}"),
        Death::OutOfMemory => "was killed: the guest is out of memory".into(),
    }
}

/// Whether the kernel has killed the process for lack of memory. It says so in its log, whatever
/// statistics it was built with.
fn memory_ran_out(process: Pid) -> bool {
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    let log = OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg");
    log.is_ok_and(|log| records(log).any(|record| tells_of_kill(&record, process)))
}

/// The log's records up to now.
fn records(mut log: File) -> impl Iterator<Item = String> {
    let mut buffer = vec![0; RECORD_MAX];
    std::iter::from_fn(move || {
        loop {
            match log.read(&mut buffer) {
                Ok(len) => return Some(String::from_utf8_lossy(&buffer[..len]).into_owned()),
                // The kernel has dropped old records; the next read continues behind them.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(_) => return None,
            }
        }
    })
}

/// Written by oom_kill_process() in mm/oom_kill.c.
fn tells_of_kill(record: &str, process: Pid) -> bool {
    record.contains(&format!("ut of memory: Killed process {process} ("))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::zombie_processes, reason = "waitpid waits for it")]
    fn end_of(script: &str) -> (Death, u32) {
        let child = std::process::Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let ended = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        classify(pid, ended.unwrap().unwrap().1)
    }

    #[test]
    fn an_exit_and_a_signal_are_told_apart() {
        assert_eq!(end_of("exit 3"), (Death::Exited, 3));
        assert_eq!(end_of("kill -SEGV $$"), (Death::Signaled, 11));
    }

    #[test]
    fn the_kernel_names_the_process_that_it_kills() {
        let record = "3,500,73279,-;Out of memory: Killed process 20 (python3.11) total-vm:1kB";
        assert!(tells_of_kill(record, Pid::from_raw(20).unwrap()));
        assert!(!tells_of_kill(record, Pid::from_raw(2).unwrap()));
        assert!(!tells_of_kill("6,1,0,-;Freeing memory", Pid::from_raw(20).unwrap()));
    }
}
