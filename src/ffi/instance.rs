//! Names of sandboxes

use std::ptr;

use super::guard;
use super::sandbox::zb_sandbox;
use crate::fork::InstanceId;

/// The name in an option structure; all zeros are none.
pub fn given(id: [u8; 16]) -> Option<InstanceId> {
    (id != [0; 16]).then_some(InstanceId(id))
}

/// The sandbox's name: zb_fork_options.instance_id, or the random one that it got instead.
///
/// sandbox: may be NULL.
///
/// Returns 16 bytes that belong to the sandbox and live until zb_free; NULL for NULL.
/// Threads: any, also while a run is in flight. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_sandbox_instance_id(sandbox: *const zb_sandbox) -> *const u8 {
    // SAFETY: NULL, or a live sandbox by the header's rules.
    let sandbox = unsafe { sandbox.as_ref() };
    guard::plain(ptr::null(), || sandbox.map_or(ptr::null(), |s| s.instance_id.0.as_ptr()))
}
