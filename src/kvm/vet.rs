use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use kvm_bindings::{CpuId, kvm_cpuid_entry2, kvm_msr_entry};

use super::reset::UNLISTED;
use super::restore::{IA32_TSC, IA32_TSC_DEADLINE};
use super::save::read_msrs;
use super::{Error, Host, Result, Vm};

/// MSRs that others save besides: the branch records' switch, and the energy policy's.
const OTHERS: &[RangeInclusive<u32>] = &[0x1d9..=0x1e0, 0x1fc..=0x1fc];

/// Of the MSRs of a state that somebody else saved those that a new vCPU with this CPUID has otherwise,
/// in their order, and without the two that tell the time.
///
/// Only MSRs are taken that KVM lists for this purpose, or that a guest may write: a state must not
/// reach for anything else.
pub fn vet_msrs(
    host: &Host,
    cpuid: &[kvm_cpuid_entry2],
    msrs: &[kvm_msr_entry],
) -> Result<Vec<kvm_msr_entry>> {
    let list = host.kvm().get_msr_index_list().map_err(Error::ioctl("KVM_GET_MSR_INDEX_LIST"))?;
    let unlisted = UNLISTED.iter().chain(OTHERS).cloned().flatten();
    let known: BTreeSet<u32> = list.as_slice().iter().copied().chain(unlisted).collect();
    if let Some(unknown) = msrs.iter().find(|msr| !known.contains(&msr.index)) {
        return Err(Error::MsrRejected { index: unknown.index, value: unknown.data });
    }
    let leaves = CpuId::from_entries(cpuid)
        .map_err(|_| Error::TooMany { what: "CPUID leaves", have: cpuid.len() })?;
    let fresh = Vm::create(host)?.into_vcpu()?;
    fresh.fd().set_cpuid2(&leaves).map_err(Error::ioctl("KVM_SET_CPUID2"))?;
    let indices: Vec<u32> = msrs.iter().map(|msr| msr.index).collect();
    let before = read_msrs(fresh.fd(), &indices)?;
    let differs = |msr: &&kvm_msr_entry| {
        // One that this processor has not got is as good as 0 there.
        before.get(&msr.index).copied().unwrap_or(0) != msr.data
            && ![IA32_TSC, IA32_TSC_DEADLINE].contains(&msr.index)
    };
    Ok(msrs.iter().filter(differs).copied().collect())
}
