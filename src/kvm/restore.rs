//! Putting a state into a new vCPU, in the one order that works.

use std::time::Duration;

use kvm_bindings::{
    CpuId, KVM_MP_STATE_RUNNABLE, Msrs, kvm_debugregs, kvm_mp_state, kvm_msr_entry,
    kvm_vcpu_events, kvm_xsave,
};
use kvm_ioctls::VcpuFd;

use super::save::MSRS_MAX;
use super::{Clock, CpuState, Error, Passed, Result, Ring0, Traits, TscControl, Vcpu};
use crate::sys::Moment;

/// SDM volume 4: the time stamp counter.
pub(super) const IA32_TSC: u32 = 0x10;
/// SDM volume 4: the LAPIC timer's deadline on that counter.
pub(super) const IA32_TSC_DEADLINE: u32 = 0x6e0;

/// How long after a fork the guest's timer first fires.
///
/// The deadline in a snapshot lies in the past and would fire before the first instruction, at
/// the cost of a tick's work. Where ring 0 is emulated that is some 7 ms in a new fork, more than
/// most programs take; and when many forks share a processor, each of them owes a tick for every
/// 40 ms of wall time, so that beyond a dozen they would do nothing but tick. So it waits until a
/// short program is done even among a hundred others. A longer one is late by that much once: the
/// guest's kernel has the tick down as due, and arms the timer for nothing later than that.
const fn timer_grace(ring0: Ring0) -> Duration {
    match ring0 {
        Ring0::Emulated => Duration::from_millis(500),
        Ring0::Native => Duration::from_millis(4),
    }
}

/// A state in the form in which the ioctls take it, made once a snapshot.
#[derive(Debug)]
pub struct Prepared {
    state: CpuState,
    clock: Clock,
    cpuid: CpuId,
    host: Traits,
    host_tsc_khz: Option<u32>,
}

impl Prepared {
    /// Gets a state ready for many forks on a host of this kind.
    pub fn new(mut state: CpuState, clock: Clock, host: Traits) -> Result<Self> {
        state.events = without_leftovers(state.events);
        let cpuid = CpuId::from_entries(&state.cpuid)
            .map_err(|_| Error::TooMany { what: "CPUID leaves", have: state.cpuid.len() })?;
        Ok(Prepared { state, clock, cpuid, host, host_tsc_khz: None })
    }

    /// Has each fork's TSC run at the snapshot's rate on a host with another.
    pub fn scale_tsc(mut self) -> Self {
        self.host_tsc_khz = Some(self.clock.tsc_khz);
        self
    }

    /// The state.
    pub fn state(&self) -> &CpuState {
        &self.state
    }

    /// Who executes the guest's ring 0.
    pub(super) fn ring0(&self) -> Ring0 {
        self.host.ring0
    }

    fn guest_tsc(&self, now: Moment) -> u64 {
        match self.host.tsc {
            TscControl::Settable => self.clock.tsc_at(now),
            TscControl::Raw => now.tsc,
        }
    }

    /// What has passed for a guest that begins now.
    pub fn passed(&self, now: Moment) -> Passed {
        self.clock.passed(now, self.guest_tsc(now))
    }

    /// The timer's deadline for a guest that begins when its TSC reads `tsc`, if it was armed.
    fn first_tick(&self, tsc: u64) -> Option<kvm_msr_entry> {
        let grace = timer_grace(self.host.ring0).as_millis() as u64;
        let ticks = grace * u64::from(self.clock.tsc_khz);
        let armed = self.state.tsc_deadline != 0;
        armed.then(|| entry(IA32_TSC_DEADLINE, tsc.saturating_add(ticks)))
    }

    /// The two MSRs that tell the time, as far as they can be set: the counter, and behind it the
    /// timer's deadline.
    pub(super) fn time_at(&self, now: Moment) -> impl Iterator<Item = kvm_msr_entry> + use<> {
        let tsc = self.guest_tsc(now);
        let counter = (self.host.tsc == TscControl::Settable).then(|| entry(IA32_TSC, tsc));
        counter.into_iter().chain(self.first_tick(tsc))
    }
}

/// Makes a new vCPU the snapshot's. Nothing of it has run yet.
///
/// The order, and why:
/// 1. CPUID: it decides which bits the registers below may have.
/// 2. TSC rate, before any value of the TSC is set.
/// 3. sregs: they carry EFER and the APIC base, so they go before the LAPIC and the MSRs.
/// 4. xcrs before xsave: XCR0 says which components there are.
/// 5. regs.
/// 6. LAPIC before MSRs: TSC_DEADLINE is dropped while the timer is in another mode.
/// 7. MSRs, the TSC and at last the deadline behind it.
/// 8. events, debug registers, MP state: nothing above may disturb them. They are seldom other than
///    a new vCPU's, and an ioctl costs some 5 us.
pub fn restore(vcpu: &Vcpu, prepared: &Prepared, now: Moment) -> Result<()> {
    let fd = vcpu.fd();
    let state = &prepared.state;
    fd.set_cpuid2(&prepared.cpuid).map_err(Error::ioctl("KVM_SET_CPUID2"))?;
    if let Some(khz) = prepared.host_tsc_khz {
        fd.set_tsc_khz(khz).map_err(Error::ioctl("KVM_SET_TSC_KHZ"))?;
    }
    fd.set_sregs(&state.sregs).map_err(Error::ioctl("KVM_SET_SREGS"))?;
    fd.set_xcrs(&state.xcrs).map_err(Error::ioctl("KVM_SET_XCRS"))?;
    set_xsave(fd, &state.xsave)?;
    fd.set_regs(&state.regs).map_err(Error::ioctl("KVM_SET_REGS"))?;
    fd.set_lapic(&state.lapic).map_err(Error::ioctl("KVM_SET_LAPIC"))?;
    let msrs: Vec<_> = state.msrs.iter().copied().chain(prepared.time_at(now)).collect();
    set_msrs(fd, &msrs)?;
    if !is_new_events(&state.events) {
        fd.set_vcpu_events(&state.events).map_err(Error::ioctl("KVM_SET_VCPU_EVENTS"))?;
    }
    if state.debugregs != NEW_DEBUGREGS {
        fd.set_debug_regs(&state.debugregs).map_err(Error::ioctl("KVM_SET_DEBUGREGS"))?;
    }
    if state.mp_state != NEW_MP_STATE || !vcpu.is_first() {
        fd.set_mp_state(state.mp_state).map_err(Error::ioctl("KVM_SET_MP_STATE"))?;
    }
    Ok(())
}

/// SDM volume 3, table 10-1: debug registers after a reset.
const NEW_DEBUGREGS: kvm_debugregs =
    kvm_debugregs { db: [0; 4], dr6: 0xffff_0ff0, dr7: 0x400, flags: 0, reserved: [0; 9] };

/// The first vCPU of a VM is its bootstrap processor and can run at once.
const NEW_MP_STATE: kvm_mp_state = kvm_mp_state { mp_state: KVM_MP_STATE_RUNNABLE };

/// KVM leaves the number of an exception or interrupt behind when it was delivered.
fn without_leftovers(mut events: kvm_vcpu_events) -> kvm_vcpu_events {
    if events.exception.injected == 0 && events.exception.pending == 0 {
        events.exception = Default::default();
    }
    if events.interrupt.injected == 0 {
        events.interrupt.nr = 0;
        events.interrupt.soft = 0;
    }
    events
}

/// Whether nothing is pending, as in a new vCPU. The flags say which fields have a meaning.
fn is_new_events(events: &kvm_vcpu_events) -> bool {
    *events == kvm_vcpu_events { flags: events.flags, ..Default::default() }
}

/// Arms the timer of a restored vCPU that nothing has run on yet as if it were restored now.
pub fn postpone_timer(vcpu: &Vcpu, prepared: &Prepared, now: Moment) -> Result<()> {
    let Some(deadline) = prepared.first_tick(prepared.guest_tsc(now)) else { return Ok(()) };
    set_msrs(vcpu.fd(), &[deadline])
}

/// Sets x87, SSE and all that came after.
pub fn set_xsave(fd: &VcpuFd, xsave: &kvm_xsave) -> Result<()> {
    // SAFETY: KVM reads more than the struct's 4096 bytes only for a process that asked for
    // larger state with arch_prctl(ARCH_REQ_XCOMP_GUEST_PERM); this library never does, and the
    // guest's CPUID offers no component that would need it.
    unsafe { fd.set_xsave(xsave) }.map_err(Error::ioctl("KVM_SET_XSAVE"))
}

/// Sets MSRs in this order.
pub(super) fn set_msrs(fd: &VcpuFd, msrs: &[kvm_msr_entry]) -> Result<()> {
    for msrs in msrs.chunks(MSRS_MAX) {
        let entries = Msrs::from_entries(msrs)
            .map_err(|_| Error::TooMany { what: "MSRs", have: msrs.len() })?;
        let set = fd.set_msrs(&entries).map_err(Error::ioctl("KVM_SET_MSRS"))?;
        if let Some(entry) = msrs.get(set) {
            return Err(Error::MsrRejected { index: entry.index, value: entry.data });
        }
    }
    Ok(())
}

pub(super) fn entry(index: u32, data: u64) -> kvm_msr_entry {
    kvm_msr_entry { index, data, ..Default::default() }
}
