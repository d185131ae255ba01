//! Running

use std::ffi::{c_char, c_void};
use std::ops::ControlFlow;
use std::slice;
use std::time::Duration;

use zeroboot_proto::Stream;

use super::cancel::zb_cancel;
use super::error::zb_error;
use super::failure::{Failure, Result};
use super::guard;
use super::options::{self, Options};
use super::result::zb_result;
use super::sandbox::{Shared, zb_sandbox};
use super::status::zb_status;
use crate::fork::{OnOutput, RunOptions, TalkOptions};
use crate::sys::Cancel;

/// A stream of a program: ZB_STREAM_STDOUT or ZB_STREAM_STDERR.
///
/// Since 0.1.
pub type zb_stream = u32;

/// The standard output.
pub const ZB_STREAM_STDOUT: zb_stream = 1;

/// The standard error.
pub const ZB_STREAM_STDERR: zb_stream = 2;

/// For zb_run_options.timeout_ms: as long as it takes.
pub const ZB_NO_TIMEOUT: u64 = u64::MAX;

/// For zb_run_options.max_output_bytes: as much as there is memory for.
pub const ZB_NO_LIMIT: u64 = u64::MAX;

/// Gets a piece of a program's output while it runs.
///
/// user: zb_run_options.on_output_user.
/// stream: ZB_STREAM_STDOUT or ZB_STREAM_STDERR.
/// data: len bytes, at least one, which may be any; borrowed for the call. Where pieces begin and end
/// means nothing.
///
/// Returns 0 to go on. Anything else ends the run with ZB_OUTCOME_CANCELLED; the result then lacks this
/// piece.
/// Threads: comes on the thread that is inside zb_run. It may use the library, but not the sandbox
/// that it comes from (ZB_ERR_BUSY), save to free it. Since 0.1.
pub type zb_output_callback = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        stream: zb_stream,
        data: *const c_char,
        len: usize,
    ) -> i32,
>;

/// For zb_run_options.flags: write code to the guest's console, as it is, and read what the guest says
/// there until it has said zb_run_options.until: the way to reach the guest of a snapshot that somebody
/// else made.
///
/// ZB_OUTCOME_EXITED with exit code 0 says that it has; what was said is the result's standard output.
/// After any outcome but ZB_OUTCOME_CRASHED the sandbox can be used again: a guest that was too slow goes
/// on where it was. The guest runs during the call only.
pub const ZB_RUN_CONSOLE: u64 = 1;

/// What to run, and how far. Prepare with ZB_INIT, then set at least code and code_len.
///
/// Since 0.1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zb_run_options {
    /// Size of the structure in bytes; ZB_INIT sets it.
    pub size: usize,
    /// The program, in the language of the snapshot's runtime. May not be NULL, but may be empty.
    /// Borrowed for the call.
    pub code: *const c_char,
    /// Length of the program in bytes.
    pub code_len: usize,
    /// The longest time that it may take, in milliseconds; 0 for 60,000; or ZB_NO_TIMEOUT.
    pub timeout_ms: u64,
    /// The most that it may print, in bytes of both streams; 0 for 67,108,864 (64 MiB); or ZB_NO_LIMIT.
    pub max_output_bytes: u64,
    /// A token that may stop the run, or NULL. The run keeps what it needs: the token may be freed
    /// meanwhile.
    pub cancel: *const zb_cancel,
    /// Gets the output as it comes, besides the result; or NULL.
    pub on_output: zb_output_callback,
    /// Passed to on_output as it is.
    pub on_output_user: *mut c_void,
    /// ZB_RUN_CONSOLE or 0.
    pub flags: u64,
    /// For ZB_RUN_CONSOLE: what the guest says last. May be NULL if until_len is 0: then it is listened
    /// to until the timeout. Borrowed for the call.
    pub until: *const c_char,
    /// Length of until in bytes.
    pub until_len: usize,
}

const _: () = assert!(size_of::<zb_run_options>() == 88);

// SAFETY: repr(C), size first, eleven words without padding, zero is NULL or a number in all fields,
// and what a C program puts into the function pointer is a function.
unsafe impl Options for zb_run_options {
    const NAME: &'static str = "zb_run_options";
}

impl zb_run_options {
    /// # Safety
    ///
    /// The options must be as the header says.
    unsafe fn code<'a>(&self) -> Result<&'a [u8]> {
        if self.code.is_null() {
            return Err(Failure::invalid("zb_run_options.code is NULL: there is nothing to run"));
        }
        if isize::try_from(self.code_len).is_err() {
            return Err(Failure::invalid(format!(
                "zb_run_options.code_len is {}: more than a program can have",
                self.code_len
            )));
        }
        // SAFETY: not NULL, so code_len readable bytes by the caller's promise.
        Ok(unsafe { slice::from_raw_parts(self.code.cast(), self.code_len) })
    }

    /// # Safety
    ///
    /// The options must be as the header says.
    unsafe fn until<'a>(&self) -> Result<&'a [u8]> {
        if self.until_len == 0 {
            return Ok(&[]);
        }
        if self.flags & ZB_RUN_CONSOLE == 0 {
            return Err(Failure::invalid("zb_run_options.until is for ZB_RUN_CONSOLE only"));
        }
        if self.until.is_null() || isize::try_from(self.until_len).is_err() {
            return Err(Failure::invalid(format!(
                "zb_run_options.until is NULL, or longer than text can be: {} bytes",
                self.until_len
            )));
        }
        // SAFETY: not NULL, so until_len readable bytes by the caller's promise.
        Ok(unsafe { slice::from_raw_parts(self.until.cast(), self.until_len) })
    }

    /// # Safety
    ///
    /// The options must be as the header says.
    unsafe fn cancel(&self) -> Option<Cancel> {
        // SAFETY: NULL, or a live token by the caller's promise.
        let cancel = unsafe { self.cancel.as_ref() };
        cancel.map(|cancel| cancel.token().clone())
    }

    fn timeout(&self) -> Option<Duration> {
        match self.timeout_ms {
            0 => Some(RunOptions::TIMEOUT),
            ZB_NO_TIMEOUT => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }

    fn max_output(&self) -> u64 {
        match self.max_output_bytes {
            0 => RunOptions::MAX_OUTPUT,
            ZB_NO_LIMIT => u64::MAX,
            bytes => bytes,
        }
    }

    /// What hands output to the program's function, if it has given one.
    fn on_output(&self) -> Option<impl FnMut(Stream, &[u8]) -> ControlFlow<()> + use<>> {
        let (on_output, user) = (self.on_output?, self.on_output_user);
        Some(move |stream: Stream, bytes: &[u8]| {
            if bytes.is_empty() {
                return ControlFlow::Continue(());
            }
            let (data, len) = (bytes.as_ptr().cast(), bytes.len());
            let stream = stream_number(stream);
            // SAFETY: the program's own function, with the arguments that the header promises.
            let answer = guard::callback(|| unsafe { on_output(user, stream, data, len) });
            if answer == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    }
}

fn talk(
    shared: &Shared,
    input: &[u8],
    until: &[u8],
    cancel: Option<Cancel>,
    options: &zb_run_options,
) -> Result<zb_result> {
    let mut on_output = options.on_output();
    let talk_options = TalkOptions {
        until,
        timeout: options.timeout(),
        cancel,
        max_output: options.max_output(),
        on_output: on_output.as_mut().map(|f| f as &mut OnOutput<'_>),
    };
    shared.take_turn(|sandbox| Ok(sandbox.talk(input, talk_options)?)).and_then(zb_result::new)
}

fn run(
    shared: &Shared,
    code: &[u8],
    cancel: Option<Cancel>,
    options: &zb_run_options,
) -> Result<zb_result> {
    let mut on_output = options.on_output();
    let run_options = RunOptions {
        timeout: options.timeout(),
        cancel,
        max_output: options.max_output(),
        on_output: on_output.as_mut().map(|f| f as &mut OnOutput<'_>),
    };
    shared.take_turn(|sandbox| Ok(sandbox.run(code, run_options)?)).and_then(zb_result::new)
}

fn stream_number(stream: Stream) -> zb_stream {
    match stream {
        Stream::Stdout => ZB_STREAM_STDOUT,
        Stream::Stderr => ZB_STREAM_STDERR,
    }
}

/// Runs a program in a sandbox and waits for its end.
///
/// The program sees what earlier programs left in the sandbox. However it ends, that is a result and
/// no error: ZB_OK says that it was run, zb_result_outcome how that went. After any outcome but
/// ZB_OUTCOME_EXITED the sandbox is dead (but see ZB_RUN_CONSOLE).
///
/// sandbox: borrowed for the call.
/// opts: what to run. Borrowed for the call, with all that it points to.
/// out: gets the result; free it with zb_result_free.
/// err: may be NULL; gets NULL or an error; free it with zb_error_free.
///
/// Returns ZB_OK, or
/// ZB_ERR_INVALID_ARGUMENT (sandbox, out or the program is NULL, opts->size is none, the program is
/// too long; the message says how long it may be),
/// ZB_ERR_UNSUPPORTED (an unknown option or flag; a program for a guest that can only be reached by its
/// console, or the other way round),
/// ZB_ERR_BUSY (another call with this sandbox is under way; it is not disturbed),
/// ZB_ERR_DEAD (an earlier run was the sandbox's last; the message says how it ended),
/// ZB_ERR_LIMIT (no more timers or memory),
/// ZB_ERR_KVM (KVM refused something; the sandbox is dead),
/// ZB_ERR_WRONG_PROCESS, ZB_ERR_IO, ZB_ERR_NO_MEMORY,
/// ZB_ERR_INTERNAL (the sandbox is dead).
/// Threads: any, one at a time for a sandbox. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_run(
    sandbox: *mut zb_sandbox,
    opts: *const zb_run_options,
    out: *mut *mut zb_result,
    err: *mut *mut zb_error,
) -> zb_status {
    let body = || {
        // SAFETY: NULL, or a live sandbox by the header's rules.
        let shared = unsafe { zb_sandbox::of(sandbox) }?;
        // SAFETY: NULL or as long as its size says, by the header's rules.
        let options: zb_run_options = unsafe { options::read(opts) }?;
        // SAFETY: filled in as the header says.
        let code = unsafe { options.code() }?;
        // SAFETY: as above.
        let until = unsafe { options.until() }?;
        // SAFETY: as above.
        let cancel = unsafe { options.cancel() };
        options::check_flags::<zb_run_options>(options.flags, ZB_RUN_CONSOLE)?;
        if options.flags & ZB_RUN_CONSOLE != 0 {
            return talk(&shared, code, until, cancel, &options);
        }
        run(&shared, code, cancel, &options)
    };
    // SAFETY: NULL or places for a pointer, by the header's rules.
    unsafe { guard::give(out, err, body) }
}
