//! What every export goes through.
//!
//! # Panics
//!
//! A panic is caught here and becomes `ZB_ERR_INTERNAL`. It must not print either, and what prints
//! is the panic hook, of which a process has one for each copy of Rust's standard library. In
//! `libzeroboot.so` that copy is private; in a program that links the Rust or the static library it
//! may be the program's own. So the hook is wrapped rather than replaced: it is silent while the
//! panicking thread is inside one of our exports (and not inside a callback of the program's), and
//! hands everything else on to the hook that was there.
//!
//! # Cancellation
//!
//! A thread is not cancelled inside of an export: pthread_cancel(3) takes effect behind it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::ptr;
use std::sync::Once;

use super::error::zb_error;
use super::failure::{Failure, Result};
use super::status::*;
use crate::sys::Uncancellable;

thread_local! {
    /// How many of our exports the thread is inside of, not counting those that a callback is in.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// How many callbacks of the program's the thread is inside of.
    static CALLBACKS: Cell<u32> = const { Cell::new(0) };
    /// Where the last silenced panic happened.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// An export that gives an object: clears `out` and `err`, runs the body, stores what it gives.
///
/// # Safety
///
/// `out` and `err` must each be NULL or valid for writing a pointer.
pub unsafe fn give<T>(
    out: *mut *mut T,
    err: *mut *mut zb_error,
    body: impl FnOnce() -> Result<T>,
) -> zb_status {
    // SAFETY: the caller's promise about err.
    unsafe { set(err, ptr::null_mut()) };
    // SAFETY: the caller's promise about out.
    unsafe { set(out, ptr::null_mut()) };
    let made = if out.is_null() {
        Err(Failure::invalid("the out parameter is NULL"))
    } else {
        caught(body).and_then(|made| made).and_then(boxed)
    };
    match made {
        Ok(object) => {
            // SAFETY: the caller's promise about out.
            unsafe { set(out, object) };
            ZB_OK
        }
        // SAFETY: the caller's promise about err.
        Err(failure) => unsafe { tell(failure, err) },
    }
}

/// An export that does something and gives nothing but a status.
///
/// # Safety
///
/// `err` must be NULL or valid for writing a pointer.
pub unsafe fn act(err: *mut *mut zb_error, body: impl FnOnce() -> Result<()>) -> zb_status {
    // SAFETY: the caller's promise about err.
    unsafe { set(err, ptr::null_mut()) };
    match caught(body).and_then(|done| done) {
        Ok(()) => ZB_OK,
        // SAFETY: the caller's promise about err.
        Err(failure) => unsafe { tell(failure, err) },
    }
}

/// An export that cannot fail: an accessor, a free. A panic gives `fallback`.
pub fn plain<T>(fallback: T, body: impl FnOnce() -> T) -> T {
    caught(body).unwrap_or(fallback)
}

/// Calls into the program: a panic in there is the program's own, and [`in_callback`] says so.
pub fn callback<T>(body: impl FnOnce() -> T) -> T {
    let depth = DEPTH.replace(0);
    CALLBACKS.set(CALLBACKS.get() + 1);
    // No guard object: a callback that unwinds ends the process, by the rules of extern "C".
    let value = body();
    CALLBACKS.set(CALLBACKS.get() - 1);
    DEPTH.set(depth);
    value
}

/// Whether the calling thread is inside a callback of the program's.
pub fn in_callback() -> bool {
    CALLBACKS.get() > 0
}

/// An object on the heap, or `ZB_ERR_NO_MEMORY`; never an abort.
pub fn boxed<T>(object: T) -> Result<*mut T> {
    let mut one = Vec::new();
    one.try_reserve_exact(1).map_err(|_| Failure::no_memory())?;
    one.push(object);
    // A box of a slice of one T has the layout of a box of a T, so Box::from_raw takes it back.
    Ok(Box::into_raw(one.into_boxed_slice()).cast())
}

/// # Safety
///
/// `place` must be NULL or valid for writing.
unsafe fn set<T>(place: *mut *mut T, value: *mut T) {
    if !place.is_null() {
        // SAFETY: not NULL, so valid for writing by the caller's promise.
        unsafe { place.write(value) };
    }
}

/// Stores an error; its status.
///
/// # Safety
///
/// `err` must be NULL or valid for writing.
unsafe fn tell(failure: Failure, err: *mut *mut zb_error) -> zb_status {
    let status = failure.status;
    if !err.is_null() {
        let error = caught(|| zb_error::into_raw(failure)).unwrap_or(zb_error::out_of_memory());
        // SAFETY: the caller's promise.
        unsafe { set(err, error) };
    }
    status
}

fn caught<T>(body: impl FnOnce() -> T) -> Result<T> {
    // In callbacks, too: their thread has our frames below it.
    let _uncancellable = Uncancellable::new();
    wrap_hook();
    DEPTH.set(DEPTH.get() + 1);
    let caught = panic::catch_unwind(AssertUnwindSafe(body));
    DEPTH.set(DEPTH.get() - 1);
    caught.map_err(|payload| internal(payload.as_ref()))
}

#[cold]
fn internal(payload: &(dyn Any + Send)) -> Failure {
    let what = match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "no message",
    };
    let place = PLACE.try_with(|place| place.take()).unwrap_or_default();
    Failure::new(ZB_ERR_INTERNAL, format!("defect of zeroboot, please report it: {what} ({place})"))
}

fn wrap_hook() {
    static WRAPPED: Once = Once::new();
    // A panicking thread may not touch the hook; it gets here when a destructor calls the library.
    if !WRAPPED.is_completed() && !std::thread::panicking() {
        WRAPPED.call_once(|| {
            let theirs = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if DEPTH.get() > 0 { note_place(info) } else { theirs(info) }
            }));
        });
    }
}

fn note_place(info: &PanicHookInfo<'_>) {
    let Some(location) = info.location() else { return };
    // A thread that is ending has no place any more, and the message does without.
    let _ = PLACE.try_with(|place| place.replace(location.to_string()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::error::{zb_error_free, zb_error_message, zb_error_status};
    use std::ffi::CStr;

    fn message_of(error: *const zb_error) -> String {
        // SAFETY: the error is alive; its message ends with a NUL.
        let message = unsafe { zb_error_message(error) };
        // SAFETY: as above.
        unsafe { CStr::from_ptr(message) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_becomes_an_internal_error_that_says_where() {
        let mut out: *mut u32 = ptr::dangling_mut();
        let mut err = ptr::null_mut();
        // SAFETY: both are live locals.
        let status = unsafe { give(&mut out, &mut err, || -> Result<u32> { panic!("no {}", 7) }) };
        assert_eq!((status, out), (ZB_ERR_INTERNAL, ptr::null_mut()));
        let message = message_of(err);
        assert!(message.contains("no 7") && message.contains("guard.rs:"), "{message}");
        // SAFETY: the error is alive and freed below.
        assert_eq!(unsafe { zb_error_status(err) }, ZB_ERR_INTERNAL);
        // SAFETY: the error is not used again.
        unsafe { zb_error_free(err) };
    }

    #[test]
    fn an_object_is_stored_and_the_error_is_cleared() {
        let mut out = ptr::null_mut();
        let mut err: *mut zb_error = ptr::dangling_mut();
        // SAFETY: both are live locals.
        assert_eq!(unsafe { give(&mut out, &mut err, || Ok(42u32)) }, ZB_OK);
        assert!(err.is_null());
        // SAFETY: made by boxed, and taken back once.
        assert_eq!(*unsafe { Box::from_raw(out) }, 42);
    }

    #[test]
    fn without_a_place_for_the_object_nothing_is_done() {
        let mut err = ptr::null_mut();
        let body = || -> Result<u32> { unreachable!("the body must not run") };
        // SAFETY: out is NULL, err a live local.
        assert_eq!(unsafe { give(ptr::null_mut(), &mut err, body) }, ZB_ERR_INVALID_ARGUMENT);
        assert!(message_of(err).contains("out parameter"));
        // SAFETY: the error is not used again.
        unsafe { zb_error_free(err) };
    }

    #[test]
    fn in_a_callback_panics_are_the_programs_own() {
        assert!(!in_callback());
        plain((), || {
            assert_eq!(DEPTH.get(), 1);
            callback(|| {
                assert!(in_callback());
                assert_eq!(DEPTH.get(), 0);
            });
            assert_eq!(DEPTH.get(), 1);
        });
        assert_eq!((in_callback(), DEPTH.get()), (false, 0));
    }
}
