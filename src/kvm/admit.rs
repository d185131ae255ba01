//! What of a snapshot's state may go into a vCPU.
//!
//! Whoever wrote a snapshot's files owns its guests, and must not get further than a guest gets. KVM
//! checks each value that it is given, but takes more from its user than from a guest: facts about
//! the processor, its own paravirtual devices, machines within the machine, counters that it backs
//! with the host's. What no guest of ours can set in itself is no part of its state.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use kvm_bindings::{KVM_MP_STATE_HALTED, KVM_MP_STATE_RUNNABLE};

use super::cpuid::confine;
use super::reset::UNLISTED;
use super::restore::{IA32_TSC, IA32_TSC_DEADLINE};
use super::{CpuState, Error, Host, Result};

/// MSRs that KVM lists, or takes from its user, and that are not the guest's: it cannot write them,
/// or what it writes there is for a feature that its CPUID does not offer.
const NOT_THE_GUESTS: &[RangeInclusive<u32>] = &[
    IA32_TSC..=IA32_TSC,                   // set from the clock at each fork
    IA32_TSC_DEADLINE..=IA32_TSC_DEADLINE, // the same
    0x11..=0x12,                           // KVM's clock, old numbers
    0x8b..=0x8b,                           // microcode revision
    0x9b..=0x9b,                           // system management mode
    0x9e..=0x9e,                           // SMBASE
    0xc1..=0xc8,                           // performance counters
    0xce..=0xcf,                           // platform information, core capabilities
    0x10a..=0x10a,                         // IA32_ARCH_CAPABILITIES
    0x186..=0x18d,                         // performance event selectors
    0x309..=0x30c,                         // fixed counters
    0x345..=0x345,                         // IA32_PERF_CAPABILITIES
    0x38d..=0x392,                         // counter control
    0x3f1..=0x3f7,                         // PEBS
    0x480..=0x493,                         // VMX capabilities
    0x4c1..=0x4c8,                         // full-width counters
    0x560..=0x58f,                         // processor trace
    0x600..=0x600,                         // debug store area
    0x4000_0000..=0x4fff_ffff,             // Hyper-V's, Xen's and KVM's own
    0xc000_0300..=0xc000_0303,             // AMD: performance counters, version 2
    0xc001_0000..=0xc001_0007,             // AMD: the K7's counters
    0xc001_0114..=0xc001_0117,             // AMD: SVM
    0xc001_0130..=0xc001_0133,             // AMD: SEV
    0xc001_0200..=0xc001_020b,             // AMD: core counters
];

/// Whether an MSR is one that a guest sets in itself.
pub(super) fn is_the_guests(index: u32) -> bool {
    !NOT_THE_GUESTS.iter().any(|range| range.contains(&index))
}

/// The state, with CPUID cut down to what a sandbox is told, if it is one that a guest can be in.
pub fn admit(host: &Host, mut state: CpuState) -> Result<CpuState> {
    confine(&mut state.cpuid);
    let listed = host.kvm().get_msr_index_list().map_err(Error::ioctl("KVM_GET_MSR_INDEX_LIST"))?;
    check_msrs(listed.as_slice(), &state)?;
    let smi = state.events.smi;
    if smi.smm != 0 || smi.pending != 0 {
        return Err(Error::NotAdmitted { what: "system management mode" });
    }
    match state.mp_state.mp_state {
        KVM_MP_STATE_RUNNABLE | KVM_MP_STATE_HALTED => Ok(state),
        _ => Err(Error::NotAdmitted { what: "a processor that waits for another to start it" }),
    }
}

/// Each MSR at most once, and only those that KVM lists or a reset puts back.
fn check_msrs(listed: &[u32], state: &CpuState) -> Result<()> {
    let mut seen = BTreeSet::new();
    for msr in &state.msrs {
        let is_known = || {
            listed.contains(&msr.index) || UNLISTED.iter().any(|range| range.contains(&msr.index))
        };
        if !is_the_guests(msr.index) || !seen.insert(msr.index) || !is_known() {
            return Err(Error::MsrNotAdmitted { index: msr.index });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_sets_up_for_itself_is_admitted() {
        let names = [
            ("SYSENTER", 0x174),
            ("PAT", 0x277),
            ("MTRR", 0x2ff),
            ("STAR", 0xc000_0081),
            ("LSTAR", 0xc000_0082),
            ("GS base", 0xc000_0102),
            ("TSC_AUX", 0xc000_0103),
            ("MISC_ENABLE", 0x1a0),
        ];
        assert!(names.iter().all(|(_, index)| is_the_guests(*index)));
    }

    #[test]
    fn what_is_the_hosts_or_another_devices_is_not() {
        let names = [
            ("KVM's clock", 0x4b56_4d01),
            ("KVM's asynchronous page faults", 0x4b56_4d02),
            ("Hyper-V's hypercall page", 0x4000_0001),
            ("VMX basic", 0x480),
            ("SVM's save area", 0xc001_0117),
            ("architectural capabilities", 0x10a),
            ("a performance counter", 0xc1),
            ("the TSC", 0x10),
        ];
        assert!(names.iter().all(|(_, index)| !is_the_guests(*index)));
    }
}
