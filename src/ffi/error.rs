//! Errors

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};
use std::ptr;

use super::failure::Failure;
use super::guard;
use super::status::*;

/// What went wrong: a status, a message, and the errno where there is one. It never changes.
///
/// Freed with zb_error_free.
///
/// Since 0.1.
pub struct zb_error {
    status: zb_status,
    errno: i32,
    message: Cow<'static, CStr>,
}

/// For when there is no memory for another.
static OUT_OF_MEMORY: zb_error = zb_error {
    status: ZB_ERR_NO_MEMORY,
    errno: libc::ENOMEM,
    message: Cow::Borrowed(c"out of memory"),
};

impl zb_error {
    /// The error object of a failure, which the program will free.
    pub fn into_raw(failure: Failure) -> *mut Self {
        let Failure { status, errno, message } = failure;
        let Some(message) = c_string(&message) else { return Self::out_of_memory() };
        guard::boxed(zb_error { status, errno, message: Cow::Owned(message) })
            .unwrap_or(Self::out_of_memory())
    }

    /// The error that takes no memory. Nothing writes through the pointer.
    pub fn out_of_memory() -> *mut Self {
        ptr::from_ref(&OUT_OF_MEMORY).cast_mut()
    }
}

/// A copy for C, in one line: a control character becomes a space. `None` if there is no memory.
pub fn c_string(text: &str) -> Option<CString> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(text.len() + 1).ok()?;
    bytes.extend(text.bytes().map(|byte| if byte.is_ascii_control() { b' ' } else { byte }));
    CString::new(bytes).ok()
}

/// The status that the failed function returned.
///
/// error: may be NULL.
///
/// Returns the status; ZB_OK for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_error_status(error: *const zb_error) -> zb_status {
    // SAFETY: NULL, or a live error by the header's rules.
    let error = unsafe { error.as_ref() };
    guard::plain(ZB_ERR_INTERNAL, || error.map_or(ZB_OK, |e| e.status))
}

/// The errno (of errno.h) that the system gave.
///
/// error: may be NULL.
///
/// Returns the errno; 0 if the failure was not the system's, and for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_error_errno(error: *const zb_error) -> i32 {
    // SAFETY: NULL, or a live error by the header's rules.
    let error = unsafe { error.as_ref() };
    guard::plain(0, || error.map_or(0, |e| e.errno))
}

/// What failed, which one and by how much, in English, for a log or a person.
///
/// error: may be NULL.
///
/// Returns UTF-8 text that ends with a NUL and has no line end; it belongs to the error and lives
/// until zb_error_free. "" for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_error_message(error: *const zb_error) -> *const c_char {
    // SAFETY: NULL, or a live error by the header's rules.
    let error = unsafe { error.as_ref() };
    guard::plain(c"".as_ptr(), || error.map_or(c"", |e| &e.message).as_ptr())
}

/// Frees an error.
///
/// error: may be NULL; not to be used again, nor its message.
///
/// Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_error_free(error: *mut zb_error) {
    if error.is_null() || error == zb_error::out_of_memory() {
        return;
    }
    // SAFETY: not static, so made by guard::boxed; this is its last use by the header's rules.
    let error = unsafe { Box::from_raw(error) };
    guard::plain((), || drop(error));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_no_memory_can_be_freed_like_any_other() {
        let error = zb_error::out_of_memory();
        // SAFETY: static.
        assert_eq!(unsafe { zb_error_status(error) }, ZB_ERR_NO_MEMORY);
        for _ in 0..2 {
            // SAFETY: a static error is not freed.
            unsafe { zb_error_free(error) };
        }
        // SAFETY: static.
        assert_eq!(unsafe { zb_error_errno(error) }, libc::ENOMEM);
    }

    #[test]
    fn a_message_is_one_line_and_whole() {
        assert_eq!(c_string("a\0b\nc").unwrap().as_c_str(), c"a b c");
    }
}
