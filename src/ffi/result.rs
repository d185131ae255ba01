//! Results
//!
//! What a run gave: how it ended, and what it printed.

use std::ffi::{CString, c_char};

use super::error::c_string;
use super::failure::{Failure, Result};
use super::guard;
use crate::agent::Outcome;
use crate::fork::RunResult;

/// How a run ended and what it printed until then. It never changes.
///
/// Freed with zb_result_free.
///
/// Since 0.1.
pub struct zb_result {
    run: RunResult,
    message: CString,
}

/// How a run ended: a ZB_OUTCOME_ constant. Later versions may add some.
///
/// Since 0.1.
pub type zb_outcome = u32;

/// The program ended; see zb_result_exit_code. The only outcome after which the sandbox can run
/// another program.
pub const ZB_OUTCOME_EXITED: zb_outcome = 1;

/// The program ended its process without the runtime, as by _exit; see zb_result_exit_code.
pub const ZB_OUTCOME_PROCESS_EXITED: zb_outcome = 2;

/// A signal ended the program's process; see zb_result_signal.
pub const ZB_OUTCOME_SIGNALED: zb_outcome = 3;

/// The guest's memory was used up, and its kernel killed the program.
pub const ZB_OUTCOME_OUT_OF_MEMORY: zb_outcome = 4;

/// The run took longer than zb_run_options.timeout_ms.
pub const ZB_OUTCOME_TIMED_OUT: zb_outcome = 5;

/// Somebody stopped it: a cancel token, zb_run_options.on_output, or zb_free.
pub const ZB_OUTCOME_CANCELLED: zb_outcome = 6;

/// The program printed more than zb_run_options.max_output_bytes. The result has that much of it.
pub const ZB_OUTCOME_OUTPUT_LIMIT: zb_outcome = 7;

/// The virtual machine came to an end, by the guest's doing; zb_result_message says how.
pub const ZB_OUTCOME_CRASHED: zb_outcome = 8;

/// The guest wrote to more memory than zb_fork_options.memory_max_bytes.
pub const ZB_OUTCOME_MEMORY_LIMIT: zb_outcome = 9;

impl zb_result {
    pub fn new(run: RunResult) -> Result<Self> {
        let message = c_string(&describe(run.outcome)).ok_or_else(Failure::no_memory)?;
        Ok(zb_result { run, message })
    }

    fn outcome(&self) -> zb_outcome {
        match self.run.outcome {
            Outcome::Exited(_) => ZB_OUTCOME_EXITED,
            Outcome::ProcessExited(_) => ZB_OUTCOME_PROCESS_EXITED,
            Outcome::Signaled(_) => ZB_OUTCOME_SIGNALED,
            Outcome::OutOfMemory => ZB_OUTCOME_OUT_OF_MEMORY,
            Outcome::TimedOut => ZB_OUTCOME_TIMED_OUT,
            Outcome::Cancelled => ZB_OUTCOME_CANCELLED,
            Outcome::OutputLimit => ZB_OUTCOME_OUTPUT_LIMIT,
            Outcome::Crashed(_) => ZB_OUTCOME_CRASHED,
            Outcome::MemoryLimit => ZB_OUTCOME_MEMORY_LIMIT,
        }
    }

    fn exit_code(&self) -> i32 {
        match self.run.outcome {
            Outcome::Exited(code) | Outcome::ProcessExited(code) => code,
            _ => -1,
        }
    }

    fn signal(&self) -> i32 {
        match self.run.outcome {
            Outcome::Signaled(signal) => signal,
            _ => 0,
        }
    }
}

fn describe(outcome: Outcome) -> String {
    match outcome {
        Outcome::Exited(code) => format!("the program exited with code {code}"),
        Outcome::ProcessExited(code) => format!("the program's process exited with code {code}"),
        Outcome::Signaled(signal) => format!("signal {signal} ended the program's process"),
        Outcome::OutOfMemory => "the guest's memory was used up".into(),
        Outcome::TimedOut => "the run took longer than its timeout".into(),
        Outcome::Cancelled => "the run was cancelled".into(),
        Outcome::OutputLimit => "the program printed more than its output limit".into(),
        Outcome::MemoryLimit => "the guest wrote to more memory than its sandbox may have".into(),
        Outcome::Crashed(crash) => format!("the virtual machine came to an end: {crash}"),
    }
}

/// How the run ended.
///
/// result: may be NULL.
///
/// Returns a ZB_OUTCOME_ constant; 0, which is none of them, for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_result_outcome(result: *const zb_result) -> zb_outcome {
    // SAFETY: NULL, or a live result by the header's rules.
    let result = unsafe { result.as_ref() };
    guard::plain(0, || result.map_or(0, zb_result::outcome))
}

/// The program's exit code. 0 is success, as with a process, and only then.
///
/// result: may be NULL.
///
/// Returns 0 to 255 for ZB_OUTCOME_EXITED and ZB_OUTCOME_PROCESS_EXITED; -1 for all other outcomes and
/// for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_result_exit_code(result: *const zb_result) -> i32 {
    // SAFETY: NULL, or a live result by the header's rules.
    let result = unsafe { result.as_ref() };
    guard::plain(-1, || result.map_or(-1, zb_result::exit_code))
}

/// The signal that ended the program's process, by its number in Linux on x86-64.
///
/// result: may be NULL.
///
/// Returns 1 to 127 for ZB_OUTCOME_SIGNALED; 0 for all other outcomes and for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_result_signal(result: *const zb_result) -> i32 {
    // SAFETY: NULL, or a live result by the header's rules.
    let result = unsafe { result.as_ref() };
    guard::plain(0, || result.map_or(0, zb_result::signal))
}

/// What was written to the standard output, by the program and by processes that it started.
///
/// result: may be NULL.
/// len: may be NULL; gets the number of bytes.
///
/// Returns the bytes, which may be any and do not end with a NUL. They belong to the result and live
/// until zb_result_free. Never NULL; without output, and for NULL, *len is 0.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_result_stdout(
    result: *const zb_result,
    len: *mut usize,
) -> *const c_char {
    // SAFETY: NULL, or a live result by the header's rules.
    let result = unsafe { result.as_ref() };
    let bytes = guard::plain(&[] as &[u8], || result.map_or(&[], |r| &r.run.output.stdout));
    // SAFETY: NULL or a place for a size, by the header's rules.
    unsafe { buffer(bytes, len) }
}

/// What was written to the standard error. As zb_result_stdout.
///
/// result: may be NULL.
/// len: may be NULL; gets the number of bytes.
///
/// Returns the bytes, which may be any and do not end with a NUL. They belong to the result and live
/// until zb_result_free. Never NULL; without output, and for NULL, *len is 0.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_result_stderr(
    result: *const zb_result,
    len: *mut usize,
) -> *const c_char {
    // SAFETY: NULL, or a live result by the header's rules.
    let result = unsafe { result.as_ref() };
    let bytes = guard::plain(&[] as &[u8], || result.map_or(&[], |r| &r.run.output.stderr));
    // SAFETY: NULL or a place for a size, by the header's rules.
    unsafe { buffer(bytes, len) }
}

/// # Safety
///
/// `len` must be NULL or valid for writing.
unsafe fn buffer(bytes: &[u8], len: *mut usize) -> *const c_char {
    if !len.is_null() {
        // SAFETY: not NULL, so valid by the caller's promise.
        unsafe { len.write(bytes.len()) };
    }
    // An empty slice's pointer is none that C should see.
    if bytes.is_empty() { c"".as_ptr() } else { bytes.as_ptr().cast() }
}

/// How long the run took, from handing over the program to its end, in nanoseconds.
///
/// result: may be NULL.
///
/// Returns the nanoseconds; 0 for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_result_elapsed_ns(result: *const zb_result) -> u64 {
    // SAFETY: NULL, or a live result by the header's rules.
    let result = unsafe { result.as_ref() };
    let nanoseconds = |r: &zb_result| u64::try_from(r.run.elapsed.as_nanos()).unwrap_or(u64::MAX);
    guard::plain(0, || result.map_or(0, nanoseconds))
}

/// How the run ended, in English, for a log or a person.
///
/// result: may be NULL.
///
/// Returns UTF-8 text that ends with a NUL and has no line end; it belongs to the result and lives
/// until zb_result_free. "" for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_result_message(result: *const zb_result) -> *const c_char {
    // SAFETY: NULL, or a live result by the header's rules.
    let result = unsafe { result.as_ref() };
    guard::plain(c"".as_ptr(), || result.map_or(c"", |r| &r.message).as_ptr())
}

/// Frees a result.
///
/// result: may be NULL; not to be used again, nor anything that belongs to it.
///
/// Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_result_free(result: *mut zb_result) {
    if result.is_null() {
        return;
    }
    // SAFETY: not NULL, so made by guard::boxed; this is its last use by the header's rules.
    let result = unsafe { Box::from_raw(result) };
    guard::plain((), || drop(result));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::Crash;
    use std::time::Duration;

    fn result(outcome: Outcome) -> zb_result {
        let run =
            RunResult { outcome, output: Default::default(), elapsed: Duration::from_micros(3) };
        zb_result::new(run).unwrap()
    }

    #[test]
    fn only_a_program_that_ended_has_an_exit_code() {
        let of = |outcome| {
            let result = result(outcome);
            (result.outcome(), result.exit_code(), result.signal())
        };
        assert_eq!(of(Outcome::Exited(3)), (ZB_OUTCOME_EXITED, 3, 0));
        assert_eq!(of(Outcome::ProcessExited(0)), (ZB_OUTCOME_PROCESS_EXITED, 0, 0));
        assert_eq!(of(Outcome::Signaled(11)), (ZB_OUTCOME_SIGNALED, -1, 11));
        assert_eq!(of(Outcome::OutOfMemory), (ZB_OUTCOME_OUT_OF_MEMORY, -1, 0));
        assert_eq!(of(Outcome::TimedOut), (ZB_OUTCOME_TIMED_OUT, -1, 0));
        assert_eq!(of(Outcome::Cancelled), (ZB_OUTCOME_CANCELLED, -1, 0));
        assert_eq!(of(Outcome::OutputLimit), (ZB_OUTCOME_OUTPUT_LIMIT, -1, 0));
        assert_eq!(of(Outcome::MemoryLimit), (ZB_OUTCOME_MEMORY_LIMIT, -1, 0));
        assert_eq!(of(Outcome::Crashed(Crash::Death(9))), (ZB_OUTCOME_CRASHED, -1, 0));
    }

    #[test]
    fn a_crash_says_how() {
        let message = result(Outcome::Crashed(Crash::Death(9))).message;
        assert!(message.to_str().unwrap().contains("runtime died"), "{message:?}");
    }
}
