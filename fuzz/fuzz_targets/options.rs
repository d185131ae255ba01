//! Option structures through the C ABI: any bytes in any size that the structure claims to have.
//!
//! Without a template nothing gets further than the options. With ZB_FUZZ_TEMPLATE, forks and runs
//! are real.

#![no_main]

use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
// Links the library, whose C functions are declared below.
use zeroboot as _;

unsafe extern "C" {
    fn zb_snapshot_load(
        dir: *const c_char,
        opts: *const c_void,
        out: *mut *mut c_void,
        err: *mut *mut c_void,
    ) -> i32;
    fn zb_fork(
        snapshot: *const c_void,
        opts: *const c_void,
        out: *mut *mut c_void,
        err: *mut *mut c_void,
    ) -> i32;
    fn zb_run(
        sandbox: *mut c_void,
        opts: *const c_void,
        out: *mut *mut c_void,
        err: *mut *mut c_void,
    ) -> i32;
    fn zb_free(sandbox: *mut c_void);
    fn zb_result_free(result: *mut c_void);
    fn zb_snapshot_free(snapshot: *mut c_void);
    fn zb_error_free(error: *mut c_void);
    fn zb_error_message(error: *const c_void) -> *const c_char;
}

/// Options as a program has them: as many bytes behind the size as the size says. What that is not
/// is the program's fault, so such a size is made right.
fn options(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    bytes.resize(bytes.len().max(8), 0);
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    if (8..=4096).contains(&size) {
        bytes.resize(size as usize, data.last().copied().unwrap_or(0));
    }
    bytes
}

/// What a call gave: a status without an error and with an object, or the other way round.
fn check(status: i32, out: *mut c_void, err: *mut c_void) {
    assert_eq!(status == 0, !out.is_null(), "status {status}");
    assert_eq!(status == 0, err.is_null(), "status {status}");
    if !err.is_null() {
        assert!(!unsafe { zb_error_message(err) }.is_null());
        unsafe { zb_error_free(err) };
    }
}

fn load(dir: &CString, opts: &[u8]) -> *mut c_void {
    let (mut out, mut err) = (ptr::null_mut(), ptr::null_mut());
    let status =
        unsafe { zb_snapshot_load(dir.as_ptr(), opts.as_ptr().cast(), &mut out, &mut err) };
    check(status, out, err);
    out
}

struct Template(*mut c_void);
unsafe impl Send for Template {}
unsafe impl Sync for Template {}

fn template() -> Option<*mut c_void> {
    static TEMPLATE: OnceLock<Option<Template>> = OnceLock::new();
    let load_it = || {
        let dir = std::env::var("ZB_FUZZ_TEMPLATE").ok()?;
        let defaults = [24u64, 0, 0].map(u64::to_le_bytes).concat();
        let snapshot = load(&CString::new(dir).unwrap(), &defaults);
        assert!(!snapshot.is_null());
        Some(Template(snapshot))
    };
    TEMPLATE.get_or_init(load_it).as_ref().map(|template| template.0)
}

fn fork_and_run(snapshot: *mut c_void, fork: &[u8], run: &[u8]) {
    let (mut sandbox, mut err) = (ptr::null_mut(), ptr::null_mut());
    let status = unsafe { zb_fork(snapshot, fork.as_ptr().cast(), &mut sandbox, &mut err) };
    check(status, sandbox, err);
    if sandbox.is_null() {
        return;
    }
    // Pointers are the program's promise: these are kept, everything else is the fuzzer's.
    const CODE: &[u8] = b"print(1)";
    let mut run = run.to_vec();
    let words = [CODE.as_ptr() as u64, CODE.len() as u64];
    let pointers = [(8, words[0]), (16, words[1]), (40, 0), (48, 0)];
    for (at, word) in pointers {
        if run.len() >= at + 8 {
            run[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
    }
    let (mut result, mut err) = (ptr::null_mut(), ptr::null_mut());
    let status = unsafe { zb_run(sandbox, run.as_ptr().cast(), &mut result, &mut err) };
    check(status, result, err);
    unsafe { zb_result_free(result) };
    unsafe { zb_free(sandbox) };
}

fuzz_target!(|data: &[u8]| {
    let (kind, data) = data.split_at(data.len().min(1));
    let half = options(&data[..data.len() / 2]);
    let whole = options(data);
    match (template(), kind.first().copied().unwrap_or(0) % 2) {
        (Some(snapshot), 0) => fork_and_run(snapshot, &half, &options(&data[data.len() / 2..])),
        (Some(snapshot), _) => {
            fork_and_run(snapshot, &[16u64, 0].map(u64::to_le_bytes).concat(), &whole)
        }
        (None, _) => {
            let nowhere = c"/nonexistent".to_owned();
            let snapshot = load(&nowhere, &whole);
            unsafe { zb_snapshot_free(snapshot) };
            fork_and_run(ptr::null_mut(), &whole, &half);
        }
    }
});
