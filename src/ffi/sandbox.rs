//! Sandboxes
//!
//! A virtual machine of its own, forked from a snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::zb_error;
use super::failure::{Failure, Result};
use super::options::{self, Options};
use super::snapshot::{Owner, zb_snapshot};
use super::status::*;
use super::turn::{Refused, Turn};
use super::{guard, instance, log};
use crate::fork::{ForkOptions, InstanceId, Pool, Sandbox};
use crate::sys::Cancel;

/// A virtual machine that stands where its snapshot was taken: in the runtime, waiting for a
/// program. Neither the snapshot nor other sandboxes see what it writes.
///
/// It takes two file descriptors, two mappings, and the memory that it writes to.
///
/// Freed with zb_free.
///
/// Since 0.1.
pub struct zb_sandbox {
    owner: Owner,
    // A run holds this for itself, so that a zb_free that comes in the middle takes nothing away.
    shared: Arc<Shared>,
    pub(super) instance_id: InstanceId,
}

/// What a run and a free that comes in the middle of it both use.
pub struct Shared {
    turn: Turn<Sandbox>,
    stop: Cancel,
    /// For those who ask while somebody has the turn.
    alive: AtomicBool,
}

/// For zb_fork_options.flags: a virtual machine in which no program ever ran. Without it the library
/// may reuse one whose memory and processor were put back to the snapshot's state, byte for byte.
pub const ZB_FORK_FRESH: u64 = 1;

/// How to fork. Prepare with ZB_INIT.
///
/// Since 0.1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zb_fork_options {
    /// Size of the structure in bytes; ZB_INIT sets it.
    pub size: usize,
    /// ZB_FORK_FRESH or 0.
    pub flags: u64,
    /// A name for the sandbox; all zeros for a random one. Its guest finds it in /etc/machine-id, as
    /// 32 hexadecimal digits, and in its host name. Nobody minds two sandboxes with one name.
    pub instance_id: [u8; 16],
    /// Most bytes of memory that the guest may write to, in whole pages of 4096; 0 for as much as it
    /// has (zb_snapshot_memory_bytes). A run in which it writes to more ends with
    /// ZB_OUTCOME_MEMORY_LIMIT, at the latest a millisecond after it has done so: until then it may go
    /// over by what it can write to in that time, a few megabytes at most. A program needs about a
    /// megabyte. A virtual machine that is reused holds up to 8 MiB from before, which do not count.
    pub memory_max_bytes: u64,
}

const _: () = assert!(size_of::<zb_fork_options>() == 40);

// SAFETY: repr(C), size first, two words and bytes without padding, any bytes are valid.
unsafe impl Options for zb_fork_options {
    const NAME: &'static str = "zb_fork_options";
}

impl zb_sandbox {
    fn fork(pool: &Pool, options: zb_fork_options) -> Result<Self> {
        options::check_flags::<zb_fork_options>(options.flags, ZB_FORK_FRESH)?;
        let options = ForkOptions {
            fresh: options.flags & ZB_FORK_FRESH != 0,
            memory_max: Some(options.memory_max_bytes).filter(|max| *max > 0),
            console: Some(log::console_sink()),
            instance_id: instance::given(options.instance_id),
        };
        let sandbox = pool.fork(options)?;
        let instance_id = sandbox.instance_id();
        let shared = Shared {
            stop: sandbox.stop_token().clone(),
            turn: Turn::new(sandbox),
            alive: AtomicBool::new(true),
        };
        Ok(zb_sandbox { owner: Owner::this_process(), shared: Arc::new(shared), instance_id })
    }

    /// A share in the sandbox behind a handle.
    ///
    /// # Safety
    ///
    /// `handle` must be NULL or a live handle.
    pub unsafe fn of(handle: *const zb_sandbox) -> Result<Arc<Shared>> {
        // SAFETY: the caller's promise.
        let handle = unsafe { handle.as_ref() };
        let handle = handle.ok_or_else(|| Failure::invalid("the sandbox is NULL"))?;
        handle.owner.check("sandbox")?;
        Ok(Arc::clone(&handle.shared))
    }

    fn is_alive(&self) -> bool {
        self.owner.is_this_process() && self.shared.is_alive()
    }

    fn end(self) {
        if !self.owner.is_this_process() {
            // Its mappings did not come along, and what is mapped there now is somebody else's.
            std::mem::forget(self);
            return;
        }
        self.shared.stop.cancel();
        // A callback that waited for a run could be waiting for itself. The run that is under way
        // has a share, and ends the sandbox when it lets go of it.
        if guard::in_callback() {
            self.shared.turn.try_close();
        } else {
            self.shared.turn.close();
        }
    }
}

impl Shared {
    /// Uses the sandbox, unless somebody else does.
    pub fn take_turn<R>(&self, body: impl FnOnce(&mut Sandbox) -> Result<R>) -> Result<R> {
        let turn = self.turn.take(|sandbox| {
            let result = body(sandbox);
            if !sandbox.is_alive() {
                self.alive.store(false, Ordering::Release);
            }
            result
        });
        turn.unwrap_or_else(|refused| Err(refusal(refused)))
    }

    fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire) && !self.turn.is_broken()
    }
}

fn refusal(refused: Refused) -> Failure {
    match refused {
        Refused::Busy => Failure::new(
            ZB_ERR_BUSY,
            "the sandbox is busy: another call is under way, or this one comes from its callback",
        ),
        Refused::Broken => Failure::new(
            ZB_ERR_DEAD,
            "the sandbox is dead: a defect of zeroboot ended an earlier call; fork a new one",
        ),
        Refused::Closed => Failure::new(ZB_ERR_DEAD, "the sandbox was freed"),
    }
}

/// Makes a sandbox of a snapshot.
///
/// snapshot: borrowed for the call; it may be freed before the sandbox.
/// opts: may be NULL for defaults. Borrowed for the call.
/// out: gets the sandbox; free it with zb_free.
/// err: may be NULL; gets NULL or an error; free it with zb_error_free.
///
/// Returns ZB_OK, or
/// ZB_ERR_INVALID_ARGUMENT (snapshot or out is NULL, opts->size is none),
/// ZB_ERR_UNSUPPORTED (an unknown option or flag),
/// ZB_ERR_LIMIT (no more files, mappings or memory for another, or zb_load_options.memory_max_bytes;
/// the message names the limit),
/// ZB_ERR_KVM (KVM refused something, or cannot keep a limit of memory: before Linux 5.2),
/// ZB_ERR_WRONG_PROCESS, ZB_ERR_IO, ZB_ERR_NO_MEMORY, ZB_ERR_INTERNAL.
/// Threads: any, also several at once with one snapshot. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_fork(
    snapshot: *const zb_snapshot,
    opts: *const zb_fork_options,
    out: *mut *mut zb_sandbox,
    err: *mut *mut zb_error,
) -> zb_status {
    let body = || {
        // SAFETY: NULL, or a live snapshot by the header's rules.
        let snapshot = unsafe { zb_snapshot::of(snapshot) }?;
        // SAFETY: NULL or as long as its size says, by the header's rules.
        let options = unsafe { options::read(opts) }?;
        zb_sandbox::fork(snapshot, options)
    };
    // SAFETY: NULL or places for a pointer, by the header's rules.
    unsafe { guard::give(out, err, body) }
}

/// Whether the sandbox can run another program. It cannot after a run with any outcome but
/// ZB_OUTCOME_EXITED.
///
/// sandbox: may be NULL.
///
/// Returns 1 if it can; 0 if it cannot, for NULL, and in a child of fork(2).
/// Threads: any, also while a run is in flight. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_sandbox_is_alive(sandbox: *const zb_sandbox) -> i32 {
    // SAFETY: NULL, or a live sandbox by the header's rules.
    let sandbox = unsafe { sandbox.as_ref() };
    guard::plain(0, || sandbox.is_some_and(zb_sandbox::is_alive).into())
}

/// Ends a sandbox and frees it.
///
/// A run that is in flight in another thread is cancelled (its outcome there is ZB_OUTCOME_CANCELLED)
/// and waited for, callbacks included. Called from a callback, zb_free does not wait: a run that is in
/// flight is cancelled and frees the sandbox as it ends.
///
/// sandbox: may be NULL; not to be used again, save that runs in flight come to their end.
///
/// Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_free(sandbox: *mut zb_sandbox) {
    if sandbox.is_null() {
        return;
    }
    // SAFETY: not NULL, so made by guard::boxed; this is its last use by the header's rules, and a
    // run in flight uses its own share instead.
    let sandbox = unsafe { Box::from_raw(sandbox) };
    guard::plain((), || sandbox.end());
}
