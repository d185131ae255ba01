use std::io;
use std::ops::ControlFlow;

use zeroboot_proto as proto;
use zeroboot_proto::{Event, Stage};

use super::assist::{self, Finished};
use super::peripherals::Peripherals;
use super::{Error, Machine, Result};
use crate::device::{Halt, Memory};
use crate::kvm::{Exit, Vcpu};
use crate::sys::{Armed, Expired};

/// Why a machine stopped running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The guest rang.
    Event(Event),
    /// A booting guest has got so far.
    Stage(Stage),
    /// The guest has printed what somebody waits for on its console.
    Heard,
    /// The thread was kicked, and not by a limit. The guest can go on.
    Poll,
    /// A limit was reached. The guest can go on.
    Expired(Expired),
    /// The guest did something from which there is no way on.
    Fault(Fault),
}

/// How a guest brings its machine to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A reset or a triple fault: a kernel that panicked reboots.
    #[error("the guest reset its machine (a kernel panic?)")]
    Shutdown,
    /// An instruction in the guest's ring 0 that neither KVM nor the VMM can finish.
    #[error("the guest's kernel executed an instruction that this host's KVM cannot emulate")]
    Emulation,
    /// The guest's state is one that the processor refuses to run.
    #[error("the processor refused the guest's state (reason {0:#x})")]
    Entry(u64),
    /// An exit that a machine of this shape does not have.
    #[error("the guest exited for a reason that its machine does not have")]
    Exit,
    /// A store to the doorbell that means nothing.
    #[error("the guest rang its doorbell with {0:#x}, which means nothing")]
    Doorbell(u32),
    /// A page of the guest's memory cannot be had.
    #[error("a page of the guest's memory cannot be had (is the snapshot's file truncated?)")]
    Memory,
}

/// How often KVM_RUN may say ENOMEM before it is believed: a new VM's first run allocates.
const ENOMEM_RETRIES: u32 = 16;

impl Machine {
    /// Runs the guest until something happens that this layer does not settle itself.
    pub fn run(&mut self, armed: &Armed<'_>) -> Result<Stop> {
        if !self.others.is_empty() {
            return self.run_crowd(armed);
        }
        let devices = &mut self.devices;
        run_vcpu(&mut self.vcpu, &self.memory, armed, |exit| settle(devices, exit))
    }
}

/// Runs a vCPU; `settle` does what its machine does about an exit.
pub(super) fn run_vcpu(
    vcpu: &mut Vcpu,
    memory: &Memory,
    armed: &Armed<'_>,
    mut settle: impl FnMut(Exit<'_>) -> Settled,
) -> Result<Stop> {
    let mask = armed.mask_in_guest();
    let mut out_of_memory = 0;
    loop {
        if let Some(expired) = armed.expired() {
            return Ok(Stop::Expired(expired));
        }
        let stop = match vcpu.run(mask) {
            Ok(exit) => match settle(exit) {
                Settled::Continue => None,
                Settled::Stop(stop) => Some(stop),
                Settled::Unemulated => finish_instruction(vcpu, memory)?,
            },
            Err(error) => retry_or_stop(error, armed, &mut out_of_memory)?,
        };
        if let Some(stop) = stop {
            return Ok(stop);
        }
    }
}

/// Executes what KVM's emulator could not.
fn finish_instruction(vcpu: &mut Vcpu, memory: &Memory) -> Result<Option<Stop>> {
    Ok(match assist::finish(vcpu, memory)? {
        Finished::Yes => None,
        Finished::No => Some(Stop::Fault(Fault::Emulation)),
    })
}

pub(super) enum Settled {
    Continue,
    Stop(Stop),
    Unemulated,
}

/// What the machine does about an exit. Addresses where nothing is read as ones.
pub(super) fn settle(devices: &mut Peripherals, exit: Exit<'_>) -> Settled {
    match exit {
        Exit::MmioWrite(address, data) => store(devices, address, data),
        Exit::Intr | Exit::IrqWindowOpen => Settled::Continue,
        Exit::MmioRead(address, data) => {
            match devices.window(address) {
                Some((window, offset)) => window.read(offset, data),
                None => data.fill(0xff),
            }
            Settled::Continue
        }
        Exit::IoOut(port, data) => match devices.ports.write(port, data) {
            ControlFlow::Continue(()) => Settled::Continue,
            ControlFlow::Break(Halt::Reset) => Settled::Stop(Stop::Fault(Fault::Shutdown)),
            ControlFlow::Break(Halt::Heard) => Settled::Stop(Stop::Heard),
        },
        Exit::IoIn(port, data) => {
            devices.ports.read(port, data);
            Settled::Continue
        }
        // A split irqchip tells us of EOIs for an IOAPIC that we have not got; HLT is the
        // in-kernel LAPIC's business, and one that comes here all the same is as good as run.
        Exit::IoapicEoi(_) | Exit::Hlt => Settled::Continue,
        Exit::InternalError => Settled::Unemulated,
        Exit::Shutdown | Exit::SystemEvent(..) => Settled::Stop(Stop::Fault(Fault::Shutdown)),
        Exit::FailEntry(reason, _) => Settled::Stop(Stop::Fault(Fault::Entry(reason))),
        Exit::MemoryFault { .. } => Settled::Stop(Stop::Fault(Fault::Memory)),
        _ => Settled::Stop(Stop::Fault(Fault::Exit)),
    }
}

/// A store to where no memory is.
fn store(devices: &mut Peripherals, address: u64, data: &[u8]) -> Settled {
    let has_doorbell = devices.has_doorbell;
    match devices.window(address) {
        Some((window, offset)) => window.write(offset, data),
        None if has_doorbell && address == proto::DOORBELL_GPA => {
            return Settled::Stop(rung(data));
        }
        None => {}
    }
    Settled::Continue
}

fn rung(data: &[u8]) -> Stop {
    let Ok(bytes) = <[u8; 4]>::try_from(data) else {
        return Stop::Fault(Fault::Doorbell(u32::MAX));
    };
    let value = u32::from_le_bytes(bytes);
    let stop = match Event::from_u32(value & 0xff) {
        Some(Event::Stage) => Stage::from_u32(value >> 8).map(Stop::Stage),
        Some(event) if value >> 8 == 0 => Some(Stop::Event(event)),
        _ => None,
    };
    stop.unwrap_or(Stop::Fault(Fault::Doorbell(value)))
}

fn retry_or_stop(
    error: io::Error,
    armed: &Armed<'_>,
    out_of_memory: &mut u32,
) -> Result<Option<Stop>> {
    match error.raw_os_error() {
        // A kick, or a signal of the host program's. Nothing is lost by forgetting it: the next
        // run begins with a look at the limits.
        Some(libc::EINTR) => {
            armed.consume_kick();
            Ok(Some(Stop::Poll))
        }
        Some(libc::EAGAIN) => Ok(None),
        Some(libc::EFAULT) => Ok(Some(Stop::Fault(Fault::Memory))),
        Some(libc::ENOMEM) if *out_of_memory < ENOMEM_RETRIES => {
            *out_of_memory += 1;
            Ok(None)
        }
        _ => Err(Error::Run(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_doorbell_value_has_one_meaning() {
        assert_eq!(rung(&proto::ring(Event::Done).to_le_bytes()), Stop::Event(Event::Done));
        assert_eq!(
            rung(&proto::ring_stage(Stage::Mounted).to_le_bytes()),
            Stop::Stage(Stage::Mounted)
        );
        let stages = [0x106, 0x206, 0x306];
        let far = (0..1_000_000u32).map(|i| i.wrapping_mul(0x9e37_79b1) | 1 << 16);
        for value in (0..1 << 16).chain(far).chain([u32::MAX]) {
            let is_fault = rung(&value.to_le_bytes()) == Stop::Fault(Fault::Doorbell(value));
            assert_ne!(is_fault, (1..=5).contains(&value) || stages.contains(&value), "{value:#x}");
        }
        assert_eq!(rung(&[1]), Stop::Fault(Fault::Doorbell(u32::MAX)));
        assert_eq!(rung(&[1, 0, 0, 0, 0, 0, 0, 0]), Stop::Fault(Fault::Doorbell(u32::MAX)));
    }
}
