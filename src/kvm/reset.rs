//! Putting the state back into a vCPU that a guest has used.
//!
//! What a guest can change is put back, or read and compared: there is no list of what it probably
//! leaves alone. KVM's ioctls cost some 5 us each where it has to load the vCPU for them, so the
//! registers go by way of kvm_run (KVM_CAP_SYNC_REGS), three ioctls in one.

use std::ops::RangeInclusive;

use kvm_bindings::{KVM_SYNC_X86_EVENTS, KVM_SYNC_X86_REGS, KVM_SYNC_X86_SREGS, kvm_msr_entry};
use kvm_ioctls::{Cap, SyncReg, VcpuFd};

use super::restore::{IA32_TSC, IA32_TSC_DEADLINE, set_msrs};
use super::save::{MSRS_MAX, entries, read_msrs};
use super::{CpuState, Error, Host, Prepared, Result, Ring0, Vcpu, Vm, restore, set_xsave};
use crate::sys::Moment;

/// MSRs that a guest may write and that KVM_GET_MSR_INDEX_LIST leaves out. Those that a processor
/// has not got are passed over. From KVM's kvm_set_msr_common and its parts for Intel and AMD.
pub(super) const UNLISTED: &[RangeInclusive<u32>] = &[
    0x48..=0x48,               // IA32_SPEC_CTRL
    0x8c..=0x8f,               // IA32_SGXLEPUBKEYHASH
    0x122..=0x122,             // IA32_TSX_CTRL
    0x1c4..=0x1c5,             // IA32_XFD, IA32_XFD_ERR
    0x1d9..=0x1d9,             // IA32_DEBUGCTL
    0x1db..=0x1de,             // AMD's last branch and last exception
    0x200..=0x20f,             // MTRRs, variable
    0x250..=0x250,             // MTRRs, fixed
    0x258..=0x259,             // MTRRs, fixed
    0x268..=0x26f,             // MTRRs, fixed
    0x277..=0x277,             // IA32_PAT
    0x280..=0x29f,             // machine check banks, CTL2
    0x2ff..=0x2ff,             // IA32_MTRR_DEF_TYPE
    0x400..=0x47f,             // machine check banks: MCi_ADDR and MCi_MISC take any value
    0xda0..=0xda0,             // IA32_XSS
    0x4b56_4d00..=0x4b56_4dff, // KVM's own; one without hardware virtualisation has more
    0xc000_0103..=0xc000_0104, // TSC_AUX, AMD's TSC ratio
    0xc001_0015..=0xc001_0015, // HWCR
    0xc001_0140..=0xc001_0141, // OSVW
    0xc001_1019..=0xc001_101b, // DR1 to DR3 address masks
    0xc001_1027..=0xc001_1027, // DR0 address mask
];

/// SDM volume 3, 2.5: global pages.
const CR4_PGE: u64 = 1 << 7;

/// What a vCPU has to look like after a reset: made once for many.
#[derive(Debug)]
pub struct Baseline {
    /// Every MSR that a guest can write, but for the two that tell the time, with its value in a
    /// fork that has not run.
    msrs: Vec<kvm_msr_entry>,
    sync_regs: bool,
}

impl Baseline {
    /// Looks at a vCPU of the snapshot's that nothing has run on.
    pub fn new(host: &Host, prepared: &Prepared) -> Result<Self> {
        let vcpu = Vm::create(host)?.into_vcpu()?;
        restore(&vcpu, prepared, Moment::now())?;
        let list =
            host.kvm().get_msr_index_list().map_err(Error::ioctl("KVM_GET_MSR_INDEX_LIST"))?;
        let unlisted = UNLISTED.iter().cloned().flatten();
        let mut indices: Vec<u32> = list.as_slice().iter().copied().chain(unlisted).collect();
        indices.retain(|index| ![IA32_TSC, IA32_TSC_DEADLINE].contains(index));
        indices.sort_unstable();
        indices.dedup();
        let values = read_msrs(vcpu.fd(), &indices)?;
        let entry = |(index, data)| kvm_msr_entry { index, data, ..Default::default() };
        let wanted = (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS) as i32;
        Ok(Baseline {
            msrs: values.into_iter().map(entry).collect(),
            sync_regs: host.kvm().check_extension_int(Cap::SyncRegs) & wanted == wanted,
        })
    }
}

/// Makes a vCPU the snapshot's again. The guest stands behind a store to its doorbell, or nothing
/// has run yet. What CPUID says, it cannot change.
///
/// The order is that of `restore`, for the same reasons. MP state is set although a guest at its
/// doorbell is runnable: KVM forgets with it that the guest has kicked itself out of a HLT to come.
///
/// What no ioctl sets, a guest is not known to reach: nested virtualisation, shadow stacks and AMX are not
/// in its CPUID, INIT and SIPI to itself have been taken by the time that it rings, and what an
/// emulated instruction leaves in KVM is forgotten when the next one is decoded.
///
/// Budget: 40 us.
pub fn reset(vcpu: &mut Vcpu, prepared: &Prepared, baseline: &Baseline, now: Moment) -> Result<()> {
    let state = prepared.state();
    if prepared.ring0() == Ring0::Native {
        forget_translations(vcpu, state)?;
    }
    reset_registers(vcpu, state, baseline.sync_regs)?;
    let fd = vcpu.fd();
    fd.set_xcrs(&state.xcrs).map_err(Error::ioctl("KVM_SET_XCRS"))?;
    set_xsave(fd, &state.xsave)?;
    fd.set_lapic(&state.lapic).map_err(Error::ioctl("KVM_SET_LAPIC"))?;
    reset_msrs(fd, prepared, baseline, now)?;
    fd.set_debug_regs(&state.debugregs).map_err(Error::ioctl("KVM_SET_DEBUGREGS"))?;
    fd.set_mp_state(state.mp_state).map_err(Error::ioctl("KVM_SET_MP_STATE"))
}

/// Has KVM flush the guest's TLB when the guest goes on, as it does when set_sregs changes paging.
///
/// The processor may remember translations that the guest's kernel, put back to the snapshot,
/// believes that it never had: under the number of an address space (PCID) that the last run gave to
/// a process of its own, or marked global by a hostile kernel. Where ring 0 is emulated, guests have
/// no PCIDs, and what the processor remembers is KVM's shadow page tables, after which KVM looks.
fn forget_translations(vcpu: &Vcpu, state: &CpuState) -> Result<()> {
    let mut sregs = state.sregs;
    sregs.cr4 ^= CR4_PGE;
    vcpu.fd().set_sregs(&sregs).map_err(Error::ioctl("KVM_SET_SREGS"))
}

/// Finishes the guest's last exit and puts the registers and pending events back.
fn reset_registers(vcpu: &mut Vcpu, state: &CpuState, sync_regs: bool) -> Result<()> {
    if sync_regs {
        let registers = vcpu.registers();
        let values = registers.sync_regs_mut();
        (values.regs, values.sregs, values.events) = (state.regs, state.sregs, state.events);
        for part in [SyncReg::SystemRegister, SyncReg::Register, SyncReg::VcpuEvents] {
            registers.set_sync_dirty_reg(part);
        }
        return vcpu.complete_exit();
    }
    vcpu.complete_exit()?;
    let fd = vcpu.fd();
    fd.set_sregs(&state.sregs).map_err(Error::ioctl("KVM_SET_SREGS"))?;
    fd.set_regs(&state.regs).map_err(Error::ioctl("KVM_SET_REGS"))?;
    fd.set_vcpu_events(&state.events).map_err(Error::ioctl("KVM_SET_VCPU_EVENTS"))
}

/// Reads all MSRs, and writes those that are not as they were and the two that tell the time.
fn reset_msrs(fd: &VcpuFd, prepared: &Prepared, baseline: &Baseline, now: Moment) -> Result<()> {
    let state = prepared.state();
    let mut changed = Vec::new();
    for wanted in baseline.msrs.chunks(MSRS_MAX) {
        let mut found = entries(wanted.iter().map(|entry| entry.index))?;
        let read = fd.get_msrs(&mut found).map_err(Error::ioctl("KVM_GET_MSRS"))?;
        if let Some(unread) = wanted.get(read) {
            return Err(Error::MsrUnreadable { index: unread.index });
        }
        let differs = found.as_slice().iter().zip(wanted).filter(|(now, was)| now.data != was.data);
        changed.extend(differs.map(|(_, was)| *was));
    }
    if state.tsc_deadline == 0 {
        // A timer that the snapshot has not armed, the guest may have.
        changed.push(kvm_msr_entry { index: IA32_TSC_DEADLINE, data: 0, ..Default::default() });
    }
    changed.extend(prepared.time_at(now));
    set_msrs(fd, &changed)
}
