//! The chips of a PC's board, for machines that were made with them.

use std::sync::Arc;

use kvm_bindings::{
    KVM_CLOCK_REALTIME, KVM_PIT_SPEAKER_DUMMY, kvm_clock_data, kvm_irqchip, kvm_pit_config,
    kvm_pit_state2,
};

use super::{Error, Result, Vcpu, Vm};
use crate::sys::Moment;

/// Interrupt lines that there are: the IOAPIC's pins.
pub const GSIS: u32 = 24;

/// Where VT-x keeps three pages for a guest's real mode; what Firecracker says, too.
const TSS_AT: usize = 0xfffb_d000;

/// Two PICs, an IOAPIC, an interval timer, and KVM's clock.
#[derive(Clone)]
pub struct Board {
    /// The interval timer.
    pub pit: kvm_pit_state2,
    /// KVM's clock.
    pub clock: kvm_clock_data,
    /// Master, slave, IOAPIC.
    pub irqchips: [kvm_irqchip; 3],
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board").field("clock_ns", &self.clock.clock).finish_non_exhaustive()
    }
}

impl Board {
    /// KVM's clock as it ought to read at a later moment. A host that did not note when it was read
    /// has it go on from there.
    fn clock_at(&self, now: Moment) -> kvm_clock_data {
        let noted = self.clock.flags & KVM_CLOCK_REALTIME != 0;
        let slept = if noted { now.realtime_ns.saturating_sub(self.clock.realtime) } else { 0 };
        kvm_clock_data { clock: self.clock.clock.saturating_add(slept), ..Default::default() }
    }
}

impl Vm {
    /// Adds the chips. Behind the memslots: from then on each of those waits for an RCU grace period.
    pub fn add_board(&self) -> Result<()> {
        let fd = self.fd();
        fd.set_tss_address(TSS_AT).map_err(Error::ioctl("KVM_SET_TSS_ADDR"))?;
        fd.create_irq_chip().map_err(Error::ioctl("KVM_CREATE_IRQCHIP"))?;
        // Port 0x61, which a kernel reads when it measures its TSC.
        let pit = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
        fd.create_pit2(pit).map_err(Error::ioctl("KVM_CREATE_PIT2"))
    }
}

/// Puts the chips into the state that they were saved in, and a guest's clock right. Behind the vCPUs,
/// since a line that is up goes straight to a LAPIC.
pub fn restore_board(first: &Vcpu, others: &[Vcpu], board: &Board, now: Moment) -> Result<()> {
    let fd = first.vm().fd();
    let mut pit = board.pit;
    pit.flags |= KVM_PIT_SPEAKER_DUMMY;
    fd.set_pit2(&pit).map_err(Error::ioctl("KVM_SET_PIT2"))?;
    fd.set_clock(&board.clock_at(now)).map_err(Error::ioctl("KVM_SET_CLOCK"))?;
    for chip in &board.irqchips {
        fd.set_irqchip(chip).map_err(Error::ioctl("KVM_SET_IRQCHIP"))?;
    }
    [first].into_iter().chain(others).try_for_each(tell_of_pause)
}

/// Has a guest's watchdog know that it was stopped, so that it does not take that for a lockup.
fn tell_of_pause(vcpu: &Vcpu) -> Result<()> {
    match vcpu.fd().kvmclock_ctrl() {
        // It does not use KVM's clock.
        Err(e) if e.errno() == libc::EINVAL => Ok(()),
        other => other.map_err(Error::ioctl("KVM_KVMCLOCK_CTRL")),
    }
}

/// An interrupt line of a board.
#[derive(Clone, Debug)]
pub struct Line {
    vm: Arc<Vm>,
    gsi: u32,
}

impl Line {
    /// Line `gsi` of the vCPU's board; `None` if there is none of that number.
    pub fn new(vcpu: &Vcpu, gsi: u32) -> Option<Self> {
        (gsi < GSIS).then(|| Line { vm: Arc::clone(vcpu.vm()), gsi })
    }

    /// Up and down again: an edge.
    pub fn pulse(&self) -> Result<()> {
        let set =
            |up| self.vm.fd().set_irq_line(self.gsi, up).map_err(Error::ioctl("KVM_IRQ_LINE"));
        set(true)?;
        set(false)
    }
}
