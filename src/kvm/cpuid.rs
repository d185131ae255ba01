//! What CPUID says in a guest.

use std::ops::RangeInclusive;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};

use super::{Error, Host, Result, Ring0};

/// XCR0 components that fit into the 4096 bytes of KVM_GET_XSAVE: x87, SSE, AVX, AVX-512, PKRU
/// (SDM volume 1, 13.1). AMX does not, and nothing here needs it.
const XCR0_ALLOWED: u32 = 0x2e7;

/// The processor's own leaves, as far as they are defined: not those from 0x4000_0000 on, which are a
/// hypervisor's and switch on KVM's paravirtual devices, its imitation of Hyper-V and that of Xen.
const KNOWN: &[RangeInclusive<u32>] = &[0..=0x24, 0x8000_0000..=0x8000_0026];

/// Leaves that describe things that a sandbox has not got: PMU, SGX, processor trace, AMX, SVM,
/// IBS, SEV.
const DROPPED: &[u32] =
    &[0xa, 0xf, 0x10, 0x12, 0x14, 0x1d, 0x1e, 0x8000_000a, 0x8000_001b, 0x8000_001f, 0x8000_0022];

/// The leaves for a guest whose TSC runs at `tsc_khz`.
pub fn guest_cpuid(host: &Host, ring0: Ring0, tsc_khz: u32) -> Result<CpuId> {
    let supported = host
        .kvm()
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(Error::ioctl("KVM_GET_SUPPORTED_CPUID"))?;
    let mut leaves: Vec<_> = supported.as_slice().iter().filter(keep).copied().collect();
    leaves.iter_mut().for_each(restrict);
    if ring0 == Ring0::Emulated {
        leaves.iter_mut().for_each(disguise);
    }
    state_tsc_rate(&mut leaves, tsc_khz);
    CpuId::from_entries(&leaves)
        .map_err(|_| Error::TooMany { what: "CPUID leaves", have: leaves.len() })
}

/// Takes from the leaves of a snapshot what no sandbox is told.
pub(super) fn confine(leaves: &mut Vec<kvm_cpuid_entry2>) {
    leaves.retain(is_offered);
    leaves.iter_mut().for_each(restrict);
}

fn keep(leaf: &&kvm_cpuid_entry2) -> bool {
    is_offered(leaf) && !matches!(leaf.function, 0x15 | 0x16)
}

fn is_offered(leaf: &kvm_cpuid_entry2) -> bool {
    let is_known = KNOWN.iter().any(|range| range.contains(&leaf.function));
    let extended_state = leaf.function == 0xd && leaf.index >= 2;
    is_known
        && !DROPPED.contains(&leaf.function)
        && !(extended_state && (leaf.index >= 32 || XCR0_ALLOWED & (1 << leaf.index) == 0))
}

fn restrict(leaf: &mut kvm_cpuid_entry2) {
    match (leaf.function, leaf.index) {
        (0x1, _) => {
            leaf.ecx &= !(1 << 5); // VMX: no machine in the machine, whose state would be one more
            leaf.ecx |= 1 << 24; // TSC-deadline timer: KVM leaves the bit to us
            leaf.ebx &= 0x0000_ffff; // APIC id 0
            leaf.ebx |= 1 << 16; // one logical processor
        }
        (0x7, 0) => {
            leaf.edx &= !(1 << 22 | 1 << 24 | 1 << 25); // AMX
            leaf.ecx &= !(1 << 5); // WAITPKG has an MSR of its own
        }
        (0x8000_0001, _) => leaf.ecx &= !(1 << 2), // SVM
        (0xb | 0x1f, _) => leaf.edx = 0,           // x2APIC id 0
        (0xd, 0) => {
            leaf.eax &= XCR0_ALLOWED;
            leaf.edx = 0;
        }
        (0xd, 1) => {
            leaf.eax &= !(1 << 4); // XFD
            leaf.ecx = 0; // no supervisor states
            leaf.edx = 0;
        }
        _ => {}
    }
}

/// For a kernel whose ring 0 is emulated: an early Intel model, so that it does not take the
/// AMD path that works around an FXSAVE leak with instructions that the emulator has not got.
/// User space reads the processor's own CPUID on such hosts, whatever is said here.
fn disguise(leaf: &mut kvm_cpuid_entry2) {
    match leaf.function {
        0 | 0x8000_0000 => {
            leaf.ebx = u32::from_le_bytes(*b"Genu");
            leaf.edx = u32::from_le_bytes(*b"ineI");
            leaf.ecx = u32::from_le_bytes(*b"ntel");
        }
        1 => leaf.eax = 0x0003_06a9, // family 6, model 58
        _ => {}
    }
}

/// Leaves 0x15 and 0x16 (SDM volume 2, CPUID): without them an Intel kernel measures the TSC
/// against a PIT, which is not there.
fn state_tsc_rate(leaves: &mut Vec<kvm_cpuid_entry2>, tsc_khz: u32) {
    if let Some(first) = leaves.iter_mut().find(|leaf| leaf.function == 0) {
        first.eax = first.eax.max(0x16);
    }
    let mhz = tsc_khz / 1000;
    leaves.push(kvm_cpuid_entry2 {
        function: 0x15,
        eax: 1,
        ebx: 1,
        // The crystal's frequency in Hz has 32 bits; a ratio of 1 makes it the TSC's.
        ecx: tsc_khz.saturating_mul(1000),
        ..Default::default()
    });
    leaves.push(kvm_cpuid_entry2 {
        function: 0x16,
        eax: mhz,
        ebx: mhz,
        ecx: 100,
        ..Default::default()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(function: u32, index: u32) -> kvm_cpuid_entry2 {
        let all = u32::MAX;
        kvm_cpuid_entry2 {
            function,
            index,
            eax: all,
            ebx: all,
            ecx: all,
            edx: all,
            ..Default::default()
        }
    }

    fn confined(function: u32, index: u32) -> Option<kvm_cpuid_entry2> {
        let mut leaves = vec![leaf(function, index)];
        confine(&mut leaves);
        leaves.pop()
    }

    #[test]
    fn a_snapshot_offers_no_machines_within_the_machine() {
        assert_eq!(confined(1, 0).unwrap().ecx & (1 << 5), 0, "VMX");
        assert_eq!(confined(0x8000_0001, 0).unwrap().ecx & (1 << 2), 0, "SVM");
        assert!(confined(0x8000_000a, 0).is_none(), "SVM's features");
    }

    #[test]
    fn a_snapshot_offers_no_hypervisor() {
        for function in
            [0x4000_0000, 0x4000_0001, 0x4000_0003, 0x4000_0100, 0x4fff_ffff, 0xc000_0001]
        {
            assert!(confined(function, 0).is_none(), "{function:#x}");
        }
    }

    #[test]
    fn a_snapshot_offers_no_state_that_the_host_would_have_to_make_room_for() {
        assert_eq!(confined(0xd, 0).unwrap().eax, XCR0_ALLOWED);
        assert_eq!(confined(0xd, 1).unwrap().ecx, 0);
        assert!(confined(0xd, 18).is_none(), "AMX tiles");
        assert!(confined(0xd, 40).is_none());
    }

    #[test]
    fn what_is_confined_stays_as_it_is() {
        for function in [0, 1, 7, 0xb, 0xd, 0x15, 0x8000_0001, 0x8000_0008] {
            let once = confined(function, 0);
            let mut twice: Vec<_> = once.into_iter().collect();
            confine(&mut twice);
            assert_eq!(twice.pop(), once, "{function:#x}");
        }
    }
}
