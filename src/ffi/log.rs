//! Log
//!
//! The library prints nothing. What it and the guests' kernels have to say goes to a callback.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once, OnceLock, PoisonError, RwLock};

use super::error::zb_error;
use super::failure::{Failure, Result};
use super::guard;
use super::status::{ZB_ERR_BUSY, zb_status};
use crate::device::LineSink;

/// How much a message matters: a ZB_LOG_ constant from ZB_LOG_ERROR to ZB_LOG_TRACE.
///
/// Since 0.1.
pub type zb_log_level = u32;

/// Something failed.
pub const ZB_LOG_ERROR: zb_log_level = 1;

/// Something is not as it should be.
pub const ZB_LOG_WARN: zb_log_level = 2;

/// Something worth knowing. Lines of guests' consoles have this level.
pub const ZB_LOG_INFO: zb_log_level = 3;

/// For people who look for a fault.
pub const ZB_LOG_DEBUG: zb_log_level = 4;

/// For people who look for a fault in the library.
pub const ZB_LOG_TRACE: zb_log_level = 5;

/// Who a message comes from: ZB_LOG_LIBRARY or ZB_LOG_GUEST.
///
/// Since 0.1.
pub type zb_log_source = u32;

/// The library.
pub const ZB_LOG_LIBRARY: zb_log_source = 1;

/// A guest's console. The guest decides what is written there, so trust it no more than the guest.
pub const ZB_LOG_GUEST: zb_log_source = 2;

/// Gets a message.
///
/// user: what was given to zb_log_set_callback.
/// level: ZB_LOG_ERROR to ZB_LOG_TRACE.
/// source: ZB_LOG_LIBRARY or ZB_LOG_GUEST.
/// text: len bytes, without a line end or a NUL at the end; borrowed for the call. From a guest, any
/// bytes.
///
/// Threads: comes on whatever thread is inside the library, so on several at once. Messages that its
/// own calls to the library give are dropped. Since 0.1.
pub type zb_log_callback = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        level: zb_log_level,
        source: zb_log_source,
        text: *const c_char,
        len: usize,
    ),
>;

type Function =
    unsafe extern "C" fn(*mut c_void, zb_log_level, zb_log_source, *const c_char, usize);

struct Receiver {
    function: Function,
    user: *mut c_void,
}

// SAFETY: the pointer is only handed back to the program, which the header tells that this happens
// on several threads.
unsafe impl Send for Receiver {}
// SAFETY: as above.
unsafe impl Sync for Receiver {}

/// Held for reading during a call, so that whoever replaces it knows that no call is under way.
static RECEIVER: RwLock<Option<Receiver>> = RwLock::new(None);

/// The level up to which messages are wanted; 0 without a receiver. Looked at before the lock.
static LEVEL: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// The thread is inside the callback.
    static LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// Sets who gets the log of the whole process, in place of who got it before.
///
/// When it returns, the callback from before is no longer being called and its user pointer is no
/// longer used. Messages that come at that very moment may be lost.
///
/// max_level: messages up to this level are passed on: ZB_LOG_ERROR to ZB_LOG_TRACE.
/// callback: called for each message until it is replaced; NULL for none, with any max_level.
/// user: passed to the callback as it is; may be NULL.
/// err: may be NULL; gets NULL or an error; free it with zb_error_free.
///
/// Returns ZB_OK, or ZB_ERR_INVALID_ARGUMENT (max_level is none), ZB_ERR_BUSY (called from the
/// callback), ZB_ERR_INTERNAL.
/// Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_log_set_callback(
    max_level: zb_log_level,
    callback: zb_log_callback,
    user: *mut c_void,
    err: *mut *mut zb_error,
) -> zb_status {
    let receiver = callback.map(|function| Receiver { function, user });
    // SAFETY: NULL or a place for a pointer, by the header's rules.
    unsafe { guard::act(err, || replace(max_level, receiver)) }
}

fn replace(max_level: zb_log_level, receiver: Option<Receiver>) -> Result<()> {
    if LOGGING.get() {
        return Err(Failure::new(ZB_ERR_BUSY, "the log's callback cannot replace itself"));
    }
    if receiver.is_some() && !(ZB_LOG_ERROR..=ZB_LOG_TRACE).contains(&max_level) {
        return Err(Failure::invalid(format!(
            "a log level of {max_level}; there are {ZB_LOG_ERROR} to {ZB_LOG_TRACE}"
        )));
    }
    let level = if receiver.is_some() { max_level } else { 0 };
    let mut slot = RECEIVER.write().unwrap_or_else(PoisonError::into_inner);
    *slot = receiver;
    LEVEL.store(level, Ordering::Relaxed);
    collect_from_library(level);
    Ok(())
}

/// Passes a message on, if somebody wants it.
fn emit(level: zb_log_level, source: zb_log_source, text: &[u8]) {
    if level > LEVEL.load(Ordering::Relaxed) || LOGGING.get() {
        return;
    }
    // Never waits: the lock is free but for the moment in which the receiver is replaced, and in a
    // child of fork(2) it may be held for ever by a thread that stayed behind.
    let Ok(slot) = RECEIVER.try_read() else { return };
    if let Some(Receiver { function, user }) = &*slot {
        LOGGING.set(true);
        // SAFETY: the program's own function, with the arguments that the header promises.
        guard::callback(|| unsafe {
            function(*user, level, source, text.as_ptr().cast(), text.len())
        });
        LOGGING.set(false);
    }
}

/// Where guests' console lines go: to the callback, whenever there is one.
pub fn console_sink() -> LineSink {
    static SINK: OnceLock<LineSink> = OnceLock::new();
    Arc::clone(SINK.get_or_init(|| Arc::new(|line| emit(ZB_LOG_INFO, ZB_LOG_GUEST, line))))
}

/// Takes the messages of the `log` crate. A program that links the Rust library may have a logger of
/// its own, which then keeps them.
fn collect_from_library(level: zb_log_level) {
    static LIBRARY: Library = Library;
    static INSTALLED: Once = Once::new();
    if level > 0 {
        INSTALLED.call_once(|| {
            let _ = ::log::set_logger(&LIBRARY);
        });
    }
    if INSTALLED.is_completed() {
        ::log::set_max_level(filter(level));
    }
}

fn filter(level: zb_log_level) -> ::log::LevelFilter {
    let finest = ::log::Level::iter().filter(|wanted| number(*wanted) <= level).last();
    finest.map_or(::log::LevelFilter::Off, |finest| finest.to_level_filter())
}

fn number(level: ::log::Level) -> zb_log_level {
    match level {
        ::log::Level::Error => ZB_LOG_ERROR,
        ::log::Level::Warn => ZB_LOG_WARN,
        ::log::Level::Info => ZB_LOG_INFO,
        ::log::Level::Debug => ZB_LOG_DEBUG,
        ::log::Level::Trace => ZB_LOG_TRACE,
    }
}

struct Library;

impl ::log::Log for Library {
    fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
        number(metadata.level()) <= LEVEL.load(Ordering::Relaxed)
    }

    fn log(&self, record: &::log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let text = format!("{}: {}", record.target(), record.args());
            emit(number(record.level()), ZB_LOG_LIBRARY, text.as_bytes());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;
    use std::sync::Mutex;

    type Seen = Mutex<Vec<(u32, u32, Vec<u8>, zb_status)>>;

    /// Notes the message, and what it gets for replacing itself and for logging.
    unsafe extern "C" fn note(
        user: *mut c_void,
        level: zb_log_level,
        source: zb_log_source,
        text: *const c_char,
        len: usize,
    ) {
        // SAFETY: the test passes a Seen that outlives the callback.
        let seen = unsafe { &*user.cast::<Seen>() };
        // SAFETY: emit passes a slice.
        let text = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len) };
        // SAFETY: no callback, no error wanted.
        let again = unsafe { zb_log_set_callback(0, None, ptr::null_mut(), ptr::null_mut()) };
        emit(ZB_LOG_ERROR, ZB_LOG_LIBRARY, b"from inside the callback");
        seen.lock().unwrap().push((level, source, text.to_vec(), again));
    }

    // One test, since there is one callback in a process.
    #[test]
    fn messages_up_to_the_level_come_until_the_callback_is_removed() {
        let seen = Seen::default();
        let user = ptr::from_ref(&seen).cast_mut().cast();
        let set = |level, callback| {
            // SAFETY: seen outlives the callback, which is removed below.
            unsafe { zb_log_set_callback(level, callback, user, ptr::null_mut()) }
        };
        for level in [0, 6] {
            assert_eq!(set(level, Some(note)), super::super::status::ZB_ERR_INVALID_ARGUMENT);
        }
        assert_eq!(set(ZB_LOG_INFO, Some(note)), 0);
        console_sink()(b"a line");
        emit(ZB_LOG_DEBUG, ZB_LOG_LIBRARY, b"too fine");
        ::log::warn!(target: "zeroboot::test", "careful");
        ::log::debug!(target: "zeroboot::test", "too fine");
        assert_eq!(set(0, None), 0);
        console_sink()(b"nobody listens");
        let seen = seen.lock().unwrap();
        assert_eq!(
            *seen,
            [
                (ZB_LOG_INFO, ZB_LOG_GUEST, b"a line".to_vec(), ZB_ERR_BUSY),
                (ZB_LOG_WARN, ZB_LOG_LIBRARY, b"zeroboot::test: careful".to_vec(), ZB_ERR_BUSY),
            ]
        );
    }
}
