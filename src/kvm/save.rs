use std::collections::BTreeMap;

use kvm_bindings::{CpuId, Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;

use super::admit::is_the_guests;
use super::restore::{IA32_TSC, IA32_TSC_DEADLINE};
use super::{Clock, CpuState, Error, Host, Result, Vcpu, Vm};
use crate::sys::Moment;

/// Reads everything out of a vCPU that stands between two instructions. `clock` is what its guest
/// goes by; the result is the same clock now.
pub fn save(
    host: &Host,
    vcpu: &mut Vcpu,
    cpuid: &CpuId,
    clock: &Clock,
) -> Result<(CpuState, Clock)> {
    vcpu.complete_exit()?;
    let now = clock.when(guest_tsc(vcpu)?);
    let fd = vcpu.fd();
    let state = CpuState {
        cpuid: cpuid.as_slice().to_vec(),
        regs: fd.get_regs().map_err(Error::ioctl("KVM_GET_REGS"))?,
        sregs: fd.get_sregs().map_err(Error::ioctl("KVM_GET_SREGS"))?,
        xcrs: fd.get_xcrs().map_err(Error::ioctl("KVM_GET_XCRS"))?,
        xsave: Box::new(fd.get_xsave().map_err(Error::ioctl("KVM_GET_XSAVE"))?),
        lapic: fd.get_lapic().map_err(Error::ioctl("KVM_GET_LAPIC"))?,
        msrs: changed_msrs(host, fd, cpuid)?,
        events: fd.get_vcpu_events().map_err(Error::ioctl("KVM_GET_VCPU_EVENTS"))?,
        debugregs: fd.get_debug_regs().map_err(Error::ioctl("KVM_GET_DEBUGREGS"))?,
        mp_state: fd.get_mp_state().map_err(Error::ioctl("KVM_GET_MP_STATE"))?,
        tsc_deadline: read_msr(fd, IA32_TSC_DEADLINE)?,
    };
    Ok((state, now))
}

/// The wall clock at a moment of the guest's TSC. The closest of a few readings is taken, so that a
/// preemption between the two does not count.
pub fn guest_clock(vcpu: &Vcpu, tsc_khz: u32) -> Result<Clock> {
    let mut best = (u64::MAX, Clock { realtime_ns: 0, tsc: 0, tsc_khz });
    for _ in 0..4 {
        let before = guest_tsc(vcpu)?;
        let realtime_ns = Moment::now().realtime_ns;
        let width = guest_tsc(vcpu)?.saturating_sub(before);
        if width < best.0 {
            best = (width, Clock { realtime_ns, tsc: before + width / 2, tsc_khz });
        }
    }
    Ok(best.1)
}

/// What the guest's TSC reads now.
pub fn guest_tsc(vcpu: &Vcpu) -> Result<u64> {
    read_msr(vcpu.fd(), IA32_TSC)
}

/// Every MSR that KVM lists and that a new vCPU with the same CPUID would have otherwise.
///
/// A fork is a new vCPU, so what equals a new vCPU's value is right in it without being written;
/// writing all of KVM's list would be an ioctl of 100 entries a fork.
fn changed_msrs(host: &Host, fd: &VcpuFd, cpuid: &CpuId) -> Result<Vec<kvm_msr_entry>> {
    let fresh = Vm::create(host)?.into_vcpu()?;
    fresh.fd().set_cpuid2(cpuid).map_err(Error::ioctl("KVM_SET_CPUID2"))?;
    let list = host.kvm().get_msr_index_list().map_err(Error::ioctl("KVM_GET_MSR_INDEX_LIST"))?;
    let wanted = |index: &&u32| is_the_guests(**index);
    let indices: Vec<u32> = list.as_slice().iter().filter(wanted).copied().collect();
    let before = read_msrs(fresh.fd(), &indices)?;
    let now = read_msrs(fd, &indices)?;
    Ok(now
        .into_iter()
        .filter(|(index, value)| before.get(index) != Some(value))
        .map(|(index, data)| kvm_msr_entry { index, data, ..Default::default() })
        .collect())
}

/// Reads those of the MSRs that can be read: KVM lists some that this processor has not got, and
/// stops at the first of them.
pub(super) fn read_msrs(fd: &VcpuFd, indices: &[u32]) -> Result<BTreeMap<u32, u64>> {
    let mut values = BTreeMap::new();
    let mut rest = indices;
    while !rest.is_empty() {
        let mut msrs = entries(rest.iter().take(MSRS_MAX).copied())?;
        let read = fd.get_msrs(&mut msrs).map_err(Error::ioctl("KVM_GET_MSRS"))?;
        values.extend(msrs.as_slice()[..read].iter().map(|entry| (entry.index, entry.data)));
        // Behind the one that stopped it, if one did.
        let skipped = usize::from(read < rest.len().min(MSRS_MAX));
        rest = &rest[read + skipped..];
    }
    Ok(values)
}

fn read_msr(fd: &VcpuFd, index: u32) -> Result<u64> {
    let value = read_msrs(fd, &[index])?.get(&index).copied();
    value.ok_or(Error::MsrUnreadable { index })
}

/// Most MSRs that KVM_GET_MSRS takes in one call (MSR_MAX_ENTRIES, less one as it compares).
pub(super) const MSRS_MAX: usize = 255;

/// A list to read, at most [`MSRS_MAX`] long.
pub(super) fn entries(indices: impl Iterator<Item = u32>) -> Result<Msrs> {
    let entries: Vec<_> =
        indices.map(|index| kvm_msr_entry { index, ..Default::default() }).collect();
    Msrs::from_entries(&entries).map_err(|_| Error::TooMany { what: "MSRs", have: entries.len() })
}
