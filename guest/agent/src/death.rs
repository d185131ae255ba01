//! How the runtime's process ended.

use std::fs;

use rustix::process::WaitStatus;
use zeroboot_driver::Death;

const SIGKILL: i32 = 9;

/// The kind of an end, and the exit code or signal that goes with it.
pub fn classify(status: WaitStatus) -> (Death, u32) {
    match status.terminating_signal() {
        Some(SIGKILL) if memory_ran_out() => (Death::OutOfMemory, SIGKILL as u32),
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

/// Whether the kernel has killed any process for lack of memory.
fn memory_ran_out() -> bool {
    fs::read_to_string("/proc/vmstat").is_ok_and(|vmstat| oom_kills(&vmstat) > 0)
}

fn oom_kills(vmstat: &str) -> u64 {
    let count = vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(script: &str) -> (Death, u32) {
        let child = std::process::Command::new("/bin/sh").args(["-c", script]).spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let ended = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        classify(ended.unwrap().unwrap().1)
    }

    #[test]
    fn an_exit_and_a_signal_are_told_apart() {
        assert_eq!(end_of("exit 3"), (Death::Exited, 3));
        assert_eq!(end_of("kill -SEGV $$"), (Death::Signaled, 11));
    }

    #[test]
    fn the_kernel_counts_its_out_of_memory_kills() {
        assert_eq!(oom_kills("nr_free_pages 12\noom_kill 2\nfoo 1\n"), 2);
        assert_eq!(oom_kills("nr_free_pages 12\noom_kill 0\n"), 0);
        assert_eq!(oom_kills("nr_free_pages 12\n"), 0);
    }
}
