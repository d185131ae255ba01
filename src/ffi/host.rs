//! Host
//!
//! What this machine's KVM is and can do. Nothing else needs to be called first: loading a snapshot
//! checks by itself whether the host can run it.

use super::error::zb_error;
use super::failure::Result;
use super::guard;
use super::status::zb_status;
use crate::kvm::{Host, Kind, Ring0, Traits, TscControl};

/// What a host turned out to be when it was probed. It never changes, and keeps nothing open.
///
/// Freed with zb_host_free.
///
/// Since 0.1.
pub struct zb_host {
    kind: Kind,
    traits: Traits,
}

/// The module of the kernel that is behind /dev/kvm: a ZB_KVM_ constant. Later versions may add some.
///
/// Since 0.1.
pub type zb_kvm_kind = u32;

/// Intel VT-x.
pub const ZB_KVM_INTEL: zb_kvm_kind = 1;

/// AMD-V.
pub const ZB_KVM_AMD: zb_kvm_kind = 2;

/// A KVM that needs no hardware virtualisation.
pub const ZB_KVM_SOFTWARE: zb_kvm_kind = 3;

/// None of the others.
pub const ZB_KVM_OTHER: zb_kvm_kind = 4;

impl zb_host {
    fn probe() -> Result<Self> {
        let host = Host::open()?;
        Ok(zb_host { traits: host.traits()?, kind: host.kind() })
    }

    fn kvm_kind(&self) -> zb_kvm_kind {
        match self.kind {
            Kind::Intel => ZB_KVM_INTEL,
            Kind::Amd => ZB_KVM_AMD,
            Kind::Software => ZB_KVM_SOFTWARE,
            Kind::Unknown => ZB_KVM_OTHER,
        }
    }
}

/// Finds out whether sandboxes can be made on this host, and how well it runs them, by running a tiny
/// virtual machine. That takes some milliseconds the first time in a process, and little later.
///
/// out: gets what was found; free it with zb_host_free.
/// err: may be NULL; gets NULL or an error; free it with zb_error_free.
///
/// Returns ZB_OK, which says that sandboxes can be made, or
/// ZB_ERR_INVALID_ARGUMENT (out is NULL),
/// ZB_ERR_KVM (they cannot: /dev/kvm is not there or may not be used, or lacks what the message names),
/// ZB_ERR_LIMIT (no more files, mappings or timers),
/// ZB_ERR_IO, ZB_ERR_NO_MEMORY, ZB_ERR_INTERNAL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_host_probe(
    out: *mut *mut zb_host,
    err: *mut *mut zb_error,
) -> zb_status {
    // SAFETY: NULL or places for a pointer, by the header's rules.
    unsafe { guard::give(out, err, zb_host::probe) }
}

/// Which KVM the host has.
///
/// host: may be NULL.
///
/// Returns a ZB_KVM_ constant; 0, which is none of them, for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_host_kvm_kind(host: *const zb_host) -> zb_kvm_kind {
    // SAFETY: NULL, or a live host by the header's rules.
    let host = unsafe { host.as_ref() };
    guard::plain(0, || host.map_or(0, zb_host::kvm_kind))
}

/// Whether the processor executes a guest's kernel. Where it does not, KVM's instruction emulator does:
/// a guest's system calls and page faults are slow there, its computing is not. A snapshot is for one
/// or the other; loading it on a host of the other kind gives ZB_ERR_HOST.
///
/// host: may be NULL.
///
/// Returns 1 if it does; 0 if not, and for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_host_is_ring0_native(host: *const zb_host) -> i32 {
    // SAFETY: NULL, or a live host by the header's rules.
    let host = unsafe { host.as_ref() };
    guard::plain(0, || host.is_some_and(|h| h.traits.ring0 == Ring0::Native).into())
}

/// Whether a guest's time stamp counter can be set. Where it cannot, a snapshot is of use until its host
/// boots again or sets its clock; loading it after that gives ZB_ERR_CLOCK.
///
/// host: may be NULL.
///
/// Returns 1 if it can; 0 if not, and for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_host_is_tsc_settable(host: *const zb_host) -> i32 {
    // SAFETY: NULL, or a live host by the header's rules.
    let host = unsafe { host.as_ref() };
    guard::plain(0, || host.is_some_and(|h| h.traits.tsc == TscControl::Settable).into())
}

/// The rate of the host's time stamp counter, in kHz.
///
/// host: may be NULL.
///
/// Returns the kHz; 0 for NULL.
/// Threads: any, also several at once. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_host_tsc_khz(host: *const zb_host) -> u32 {
    // SAFETY: NULL, or a live host by the header's rules.
    let host = unsafe { host.as_ref() };
    guard::plain(0, || host.map_or(0, |h| h.traits.tsc_khz))
}

/// Frees what zb_host_probe gave.
///
/// host: may be NULL; not to be used again.
///
/// Threads: any. Since 0.1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn zb_host_free(host: *mut zb_host) {
    if host.is_null() {
        return;
    }
    // SAFETY: not NULL, so made by guard::boxed; this is its last use by the header's rules.
    let host = unsafe { Box::from_raw(host) };
    guard::plain((), || drop(host));
}
