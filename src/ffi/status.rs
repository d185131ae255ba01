//! Status
//!
//! What a function returns. Values are never given another meaning; later versions may add some, so
//! treat one that you do not know as a failure.

/// What a function returns: ZB_OK, or a ZB_ERR_ constant.
///
/// Since 0.1.
pub type zb_status = i32;

/// It worked.
pub const ZB_OK: zb_status = 0;

/// An argument is NULL, or has a value that makes no sense.
pub const ZB_ERR_INVALID_ARGUMENT: zb_status = 1;

/// An option, a flag or a field that this version of the library does not know.
pub const ZB_ERR_UNSUPPORTED: zb_status = 2;

/// There is no such file or directory.
pub const ZB_ERR_NOT_FOUND: zb_status = 3;

/// A file's contents are not what they should be: truncated, changed, or of another kind.
pub const ZB_ERR_CORRUPT: zb_status = 4;

/// A snapshot in a format of another version; build it again.
pub const ZB_ERR_VERSION: zb_status = 5;

/// A snapshot that this host cannot run, because its processor or its KVM lacks something.
pub const ZB_ERR_HOST: zb_status = 6;

/// A snapshot in which clocks would be wrong, because its host's stands before it.
pub const ZB_ERR_CLOCK: zb_status = 7;

/// KVM is not there, may not be used, lacks something, or refused something.
pub const ZB_ERR_KVM: zb_status = 8;

/// A limit of the process or of the system was reached: open files, mappings, memory. The message
/// names it.
pub const ZB_ERR_LIMIT: zb_status = 9;

/// A file cannot be read, or the system refused something else.
pub const ZB_ERR_IO: zb_status = 10;

/// There is no memory for the object to be returned.
pub const ZB_ERR_NO_MEMORY: zb_status = 11;

/// The sandbox, or the callback to be replaced, is in use at this moment.
pub const ZB_ERR_BUSY: zb_status = 12;

/// The sandbox cannot run anything any more: an earlier run was its last.
pub const ZB_ERR_DEAD: zb_status = 13;

/// The handle was made by another process, of which this one is a child by fork(2).
pub const ZB_ERR_WRONG_PROCESS: zb_status = 14;

/// A defect of the library. A sandbox that it happened to is dead; all else can be used as before.
pub const ZB_ERR_INTERNAL: zb_status = 15;
