//! Cancel tokens
//!
//! A token stops runs from another thread.

use super::error::zb_error;
use super::guard;
use super::snapshot::Owner;
use super::status::zb_status;
use crate::sys::Cancel;

/// Stops the runs that were given it in zb_run_options.cancel; one token may go to any number. It is
/// sticky: once it was triggered, a run that begins later stops at once, too.
///
/// Freed with zb_cancel_free.
///
/// Since 0.1.
pub struct zb_cancel {
    owner: Owner,
    token: Cancel,
}

impl zb_cancel {
    pub fn token(&self) -> &Cancel {
        &self.token
    }
}

/// Makes a token that nobody has triggered.
///
/// out: gets the token; free it with zb_cancel_free.
/// err: may be NULL; gets NULL or an error; free it with zb_error_free.
///
/// Returns ZB_OK, or ZB_ERR_INVALID_ARGUMENT (out is NULL), ZB_ERR_NO_MEMORY, ZB_ERR_INTERNAL.
/// Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_cancel_new(
    out: *mut *mut zb_cancel,
    err: *mut *mut zb_error,
) -> zb_status {
    let body = || Ok(zb_cancel { owner: Owner::this_process(), token: Cancel::new() });
    // SAFETY: NULL or places for a pointer, by the header's rules.
    unsafe { guard::give(out, err, body) }
}

/// Stops all runs that have the token, now and in future; their outcome is ZB_OUTCOME_CANCELLED. Does
/// not wait for them. Does nothing in a child of fork(2), which has none of the runs.
///
/// cancel: may be NULL.
///
/// Threads: any, also several at once, also from callbacks; not from a signal handler. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_cancel_trigger(cancel: *const zb_cancel) {
    // SAFETY: NULL, or a live token by the header's rules.
    let cancel = unsafe { cancel.as_ref() };
    guard::plain((), || {
        // In a child, the list of runs may be locked forever by a thread that stayed behind.
        if let Some(cancel) = cancel.filter(|c| c.owner.is_this_process()) {
            cancel.token.cancel();
        }
    });
}

/// Frees a token without triggering it. A run that has it goes on, and cannot be cancelled by it.
///
/// cancel: may be NULL; not to be used again.
///
/// Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_cancel_free(cancel: *mut zb_cancel) {
    if cancel.is_null() {
        return;
    }
    // SAFETY: not NULL, so made by guard::boxed; this is its last use by the header's rules.
    let cancel = unsafe { Box::from_raw(cancel) };
    guard::plain((), || drop(cancel));
}
