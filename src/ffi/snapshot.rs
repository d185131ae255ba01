//! Snapshots
//!
//! A template on disk, loaded and ready to be forked.

use std::ffi::{CStr, CString, OsStr, c_char};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::error::{c_string, zb_error};
use super::failure::{Failure, Result};
use super::guard;
use super::options::{self, Options};
use super::status::zb_status;
use crate::fork::{Pool, PoolOptions};
use crate::snapshot::{LoadOptions, Manifest, Snapshot};

/// A snapshot that was checked against this host. It takes a few file descriptors and no memory of
/// its own: forks share its pages. It keeps the virtual machines of sandboxes that were freed, and
/// those that were made ahead, for sandboxes to come; see zb_load_options.
///
/// Freed with zb_snapshot_free.
///
/// Since 0.1.
pub struct zb_snapshot {
    owner: Owner,
    pool: Pool,
    runtime: CString,
}

/// For zb_load_options.flags: read and hash the memory and the root file system's image, and compare
/// with what the snapshot says of itself. Takes as long as reading them does.
pub const ZB_LOAD_VERIFY: u64 = 1;

/// For zb_load_options.flags: copy the memory into a sealed memory file first. Without it, somebody
/// who truncates the snapshot's file while it is in use makes this process fault (SIGBUS).
pub const ZB_LOAD_SEALED_COPY: u64 = 2;

/// For zb_load_options.flags: take a snapshot by Firecracker even if time would stand still in its
/// sandboxes, on a host whose time stamp counter cannot be set and has not got as far as it was when the
/// snapshot was taken. Without it that is ZB_ERR_CLOCK.
pub const ZB_LOAD_ANY_CLOCK: u64 = 4;

/// How to load. Prepare with ZB_INIT.
///
/// Since 0.1.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct zb_load_options {
    /// Size of the structure in bytes; ZB_INIT sets it.
    pub size: usize,
    /// ZB_LOAD_VERIFY, ZB_LOAD_SEALED_COPY and ZB_LOAD_ANY_CLOCK, any of them, or 0.
    pub flags: u64,
    /// Most virtual machines that are kept when their sandboxes are freed. Their memory and processor
    /// are put back to the snapshot's state, byte for byte, and a later zb_fork gets one in a fraction
    /// of the time that a new one takes. Each holds on to the memory that it wrote to, usually less
    /// than a megabyte, and all but one are given up when nobody has forked for ten seconds.
    ///
    /// 0 for four a processor, but at least eight; or ZB_NONE.
    pub recycle_max: u32,
    /// Most virtual machines that are made ahead, in which no program has run. As long as forks keep
    /// coming there are as many; when nobody has forked for ten seconds, one is left.
    ///
    /// 0 for none.
    pub prewarm: u32,
    /// Most bytes of memory that the snapshot's sandboxes may have together; 0 for no limit. Each
    /// counts with its zb_fork_options.memory_max_bytes, or with all of its guest's memory if it has
    /// no limit of its own, whatever it uses. A zb_fork beyond that gives ZB_ERR_LIMIT.
    pub memory_max_bytes: u64,
}

/// For options where 0 stands for another default: none.
pub const ZB_NONE: u32 = u32::MAX;

const _: () = assert!(size_of::<zb_load_options>() == 32);

// SAFETY: repr(C), size first, words without padding, any bytes are valid.
unsafe impl Options for zb_load_options {
    const NAME: &'static str = "zb_load_options";
}

impl zb_snapshot {
    /// What is behind a handle.
    ///
    /// # Safety
    ///
    /// `handle` must be NULL or a live handle.
    pub unsafe fn of<'a>(handle: *const zb_snapshot) -> Result<&'a Pool> {
        // SAFETY: the caller's promise.
        let handle = unsafe { handle.as_ref() };
        let handle = handle.ok_or_else(|| Failure::invalid("the snapshot is NULL"))?;
        handle.owner.check("snapshot")?;
        Ok(&handle.pool)
    }

    fn load(dir: &Path, options: zb_load_options) -> Result<Self> {
        options::check_flags::<zb_load_options>(
            options.flags,
            ZB_LOAD_VERIFY | ZB_LOAD_SEALED_COPY | ZB_LOAD_ANY_CLOCK,
        )?;
        let pool = pool_options(&options);
        let options = LoadOptions {
            verify: options.flags & ZB_LOAD_VERIFY != 0,
            sealed_copy: options.flags & ZB_LOAD_SEALED_COPY != 0,
            any_clock: options.flags & ZB_LOAD_ANY_CLOCK != 0,
        };
        let snapshot = Snapshot::load(dir, options)?;
        let runtime = c_string(&snapshot.manifest().runtime).ok_or_else(Failure::no_memory)?;
        let pool = Pool::new(Arc::new(snapshot), pool);
        Ok(zb_snapshot { owner: Owner::this_process(), pool, runtime })
    }

    fn manifest(&self) -> &Manifest {
        self.pool.snapshot().manifest()
    }
}

fn pool_options(options: &zb_load_options) -> PoolOptions {
    let default = PoolOptions::default();
    PoolOptions {
        recycle_max: match options.recycle_max {
            0 => default.recycle_max,
            ZB_NONE => 0,
            max => max as usize,
        },
        prewarm: match options.prewarm {
            ZB_NONE => 0,
            max => max as usize,
        },
        memory_max: Some(options.memory_max_bytes).filter(|max| *max > 0),
    }
}

/// The process that made a handle.
#[derive(Clone, Copy, Debug)]
pub struct Owner(u32);

impl Owner {
    pub fn this_process() -> Self {
        Owner(std::process::id())
    }

    pub fn is_this_process(self) -> bool {
        self.0 == std::process::id()
    }

    /// Refuses a handle that came over a fork(2): its virtual machine and its mappings stayed behind.
    pub fn check(self, what: &str) -> Result<()> {
        if self.is_this_process() {
            return Ok(());
        }
        Err(Failure::new(
            super::status::ZB_ERR_WRONG_PROCESS,
            format!(
                "the {what} was made in process {} and cannot be used in its child {}; load the \
                 snapshot here, after fork(2)",
                self.0,
                std::process::id()
            ),
        ))
    }
}

/// Loads a snapshot: opens its files and checks that this host can run it.
///
/// Takes about a millisecond, whatever the size of its memory (but see the flags).
///
/// A directory with a snapshot that Firecracker made (1.12 to 1.17) loads as it is: "vmstate", its memory
/// as "memory.img" or "mem", and its disks' images. The guest is reached with ZB_RUN_CONSOLE.
///
/// dir: path of the snapshot's directory, ending with a NUL; "zeroboot template inspect --path NAME"
/// prints that of a template. Borrowed for the call.
/// opts: may be NULL for defaults. Borrowed for the call.
/// out: gets the snapshot; free it with zb_snapshot_free.
/// err: may be NULL; gets NULL or an error; free it with zb_error_free.
///
/// Returns ZB_OK, or
/// ZB_ERR_INVALID_ARGUMENT (dir or out is NULL, dir is empty, opts->size is none),
/// ZB_ERR_UNSUPPORTED (an unknown option or flag),
/// ZB_ERR_NOT_FOUND (no snapshot there),
/// ZB_ERR_CORRUPT (truncated, changed, or no snapshot),
/// ZB_ERR_VERSION (of another version of zeroboot),
/// ZB_ERR_HOST (this processor or KVM lacks what it needs),
/// ZB_ERR_CLOCK (its clock would be wrong, because the host's stands before the snapshot's),
/// ZB_ERR_KVM (no usable /dev/kvm),
/// ZB_ERR_LIMIT (no more files or mappings),
/// ZB_ERR_IO, ZB_ERR_NO_MEMORY, ZB_ERR_INTERNAL.
/// Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_snapshot_load(
    dir: *const c_char,
    opts: *const zb_load_options,
    out: *mut *mut zb_snapshot,
    err: *mut *mut zb_error,
) -> zb_status {
    let body = || {
        // SAFETY: NULL or a string that ends with a NUL, by the header's rules.
        let dir = unsafe { path(dir) }?;
        // SAFETY: NULL or as long as its size says, by the header's rules.
        let options = unsafe { options::read(opts) }?;
        zb_snapshot::load(dir, options)
    };
    // SAFETY: NULL or places for a pointer, by the header's rules.
    unsafe { guard::give(out, err, body) }
}

/// # Safety
///
/// `text` must be NULL or end with a NUL, and outlive `'a`.
unsafe fn path<'a>(text: *const c_char) -> Result<&'a Path> {
    if text.is_null() {
        return Err(Failure::invalid("dir is NULL"));
    }
    // SAFETY: not NULL, so it ends with a NUL by the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    if text.is_empty() {
        return Err(Failure::invalid("dir is empty"));
    }
    Ok(Path::new(OsStr::from_bytes(text.to_bytes())))
}

/// The name of the runtime that runs the programs: "python", for one.
///
/// snapshot: may be NULL.
///
/// Returns text that ends with a NUL; it belongs to the snapshot and lives until zb_snapshot_free.
/// "" for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_snapshot_runtime(snapshot: *const zb_snapshot) -> *const c_char {
    // SAFETY: NULL, or a live snapshot by the header's rules.
    let snapshot = unsafe { snapshot.as_ref() };
    guard::plain(c"".as_ptr(), || snapshot.map_or(c"", |s| &s.runtime).as_ptr())
}

/// How much memory a fork's guest has, in bytes. A fork takes only what it writes to.
///
/// snapshot: may be NULL.
///
/// Returns the bytes; 0 for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_snapshot_memory_bytes(snapshot: *const zb_snapshot) -> u64 {
    // SAFETY: NULL, or a live snapshot by the header's rules.
    let snapshot = unsafe { snapshot.as_ref() };
    guard::plain(0, || snapshot.map_or(0, |s| s.manifest().ram_bytes))
}

/// How long the image of the root file system is, in bytes. All forks share its pages.
///
/// snapshot: may be NULL.
///
/// Returns the bytes; 0 for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_snapshot_rootfs_bytes(snapshot: *const zb_snapshot) -> u64 {
    // SAFETY: NULL, or a live snapshot by the header's rules.
    let snapshot = unsafe { snapshot.as_ref() };
    guard::plain(0, || snapshot.map_or(0, |s| s.manifest().rootfs_bytes))
}

/// When the snapshot was taken, by the clock of the host that took it: nanoseconds since the beginning
/// of 1970, UTC.
///
/// snapshot: may be NULL.
///
/// Returns the nanoseconds; 0 for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_snapshot_created_unix_ns(snapshot: *const zb_snapshot) -> u64 {
    // SAFETY: NULL, or a live snapshot by the header's rules.
    let snapshot = unsafe { snapshot.as_ref() };
    guard::plain(0, || snapshot.map_or(0, |s| s.manifest().clock.realtime_ns))
}

/// The version of the format of the snapshot's directory.
///
/// snapshot: may be NULL.
///
/// Returns the version, which begins with 1; 0 for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_snapshot_format(snapshot: *const zb_snapshot) -> u32 {
    // SAFETY: NULL, or a live snapshot by the header's rules.
    let snapshot = unsafe { snapshot.as_ref() };
    guard::plain(0, || snapshot.map_or(0, |s| s.manifest().format))
}

/// Frees a snapshot, and the virtual machines that it keeps. Its sandboxes live on; its files are
/// closed when the last of them is freed.
///
/// snapshot: may be NULL; not to be used again.
///
/// Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_snapshot_free(snapshot: *mut zb_snapshot) {
    if snapshot.is_null() {
        return;
    }
    // SAFETY: not NULL, so made by guard::boxed; this is its last use by the header's rules.
    let snapshot = unsafe { Box::from_raw(snapshot) };
    guard::plain((), || {
        if snapshot.owner.is_this_process() {
            drop(snapshot);
        } else {
            // The mappings did not come along, and what is mapped there now is somebody else's.
            std::mem::forget(snapshot);
        }
    });
}
