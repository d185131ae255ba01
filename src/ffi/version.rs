//! Version

use std::ffi::{CStr, c_char};

use super::guard;

/// The version of the binary interface that this header describes: see zb_abi_version.
pub const ZB_ABI_VERSION: u32 = 0;

/// In zb_features: zb_load_options.flags takes ZB_LOAD_VERIFY.
pub const ZB_FEATURE_LOAD_VERIFY: u64 = 1;

/// In zb_features: zb_load_options.flags takes ZB_LOAD_SEALED_COPY.
pub const ZB_FEATURE_LOAD_SEALED_COPY: u64 = 2;

/// In zb_features: zb_fork_options.flags takes ZB_FORK_FRESH.
pub const ZB_FEATURE_FORK_FRESH: u64 = 4;

/// In zb_features: zb_fork_options has instance_id.
pub const ZB_FEATURE_FORK_INSTANCE_ID: u64 = 8;

/// The library's version.
///
/// Returns text such as "0.1.0" that ends with a NUL and lives as long as the library is loaded.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn zb_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version has no NUL"),
        };
    guard::plain(c"".as_ptr(), || VERSION.as_ptr())
}

/// The version of the binary interface that the library has. A program works with every library that
/// has the ZB_ABI_VERSION that it was compiled with; what is added does not change it.
///
/// Returns the version.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn zb_abi_version() -> u32 {
    guard::plain(0, || ZB_ABI_VERSION)
}

/// What the library can do beyond what every library of its ZB_ABI_VERSION can.
///
/// Returns ZB_FEATURE_ bits. Bits that you do not know are of no concern.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub extern "C" fn zb_features() -> u64 {
    guard::plain(0, || {
        ZB_FEATURE_LOAD_VERIFY
            | ZB_FEATURE_LOAD_SEALED_COPY
            | ZB_FEATURE_FORK_FRESH
            | ZB_FEATURE_FORK_INSTANCE_ID
    })
}
