use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{Error, Result};

/// Swaps two names of one file system in one step: whoever opens either sees the one or the other.
pub fn exchange(a: &Path, b: &Path) -> Result<()> {
    let (a, b) = (c_string(a)?, c_string(b)?);
    // SAFETY: both names are NUL-terminated and outlive the call.
    let done = unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            a.as_ptr(),
            libc::AT_FDCWD,
            b.as_ptr(),
            libc::RENAME_EXCHANGE,
        )
    };
    if done == 0 { Ok(()) } else { Err(Error::last("renameat2 (exchange)")) }
}

fn c_string(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|e| Error::new("renameat2 (exchange)", io::Error::from(e)))
}
