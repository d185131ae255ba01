//! Instructions of the guest's ring 0 that KVM's emulator does not know, finished here.
//!
//! On a host whose KVM emulates ring 0, KVM_RUN returns an internal error at such an instruction.
//! What is done about it is what the processor would do (SDM volume 2): XSAVE and XRSTOR against
//! the vCPU's state in KVM, XGETBV from XCR0; FWAIT has nothing to wait for, since a pending x87
//! exception shows at the next x87 instruction of ring 3. A memory operand that is not mapped
//! gives the guest its page fault. On hardware none of this is ever reached.
//!
//! The operand's address and all it points to are the guest's: hostile.

mod decode;
mod memory;
mod xsave;

use kvm_bindings::{kvm_regs, kvm_sregs};
use kvm_ioctls::VcpuFd;

use crate::device::Memory as GuestMemory;
use crate::kvm::{Error, Result, Vcpu};
use decode::{Instruction, Operation};
use memory::Memory;

/// Whether the instruction at RIP has been executed (or has got its exception).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The guest can go on.
    Yes,
    /// It is none that is known here.
    No,
}

/// An exception that the instruction raises instead of completing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trap {
    /// #PF with the address and the error code (SDM volume 3, 4.7).
    PageFault { address: u64, code: u32 },
    /// #GP(0).
    GeneralProtection,
}

/// SDM volume 3, 6.15: vectors.
const PAGE_FAULT: u8 = 14;
const GENERAL_PROTECTION: u8 = 13;

/// Executes the instruction that the vCPU stands at.
pub(super) fn finish(vcpu: &mut Vcpu, ram: &GuestMemory) -> Result<Finished> {
    let fd = vcpu.registers();
    let regs = fd.get_regs().map_err(Error::ioctl("KVM_GET_REGS"))?;
    let sregs = fd.get_sregs().map_err(Error::ioctl("KVM_GET_SREGS"))?;
    let memory = Memory::new(ram, &sregs);
    let Some(instruction) = decode::at_rip(&memory, &regs, &sregs) else {
        return Ok(Finished::No);
    };
    match execute(fd, &memory, &regs, &instruction)? {
        Ok(result) => retire(fd, result, instruction.len)?,
        Err(trap) => raise(fd, sregs, trap)?,
    }
    Ok(Finished::Yes)
}

/// The registers behind the instruction, but for RIP.
fn execute(
    fd: &VcpuFd,
    memory: &Memory<'_>,
    regs: &kvm_regs,
    instruction: &Instruction,
) -> Result<std::result::Result<kvm_regs, Trap>> {
    let mut after = *regs;
    let mask = regs.rdx << 32 | regs.rax & 0xffff_ffff;
    let done = match instruction.operation {
        Operation::Fwait => Ok(()),
        Operation::Xgetbv => {
            let xcr0 = xsave::xcr0(fd)?;
            (after.rax, after.rdx) = (xcr0 & 0xffff_ffff, xcr0 >> 32);
            // XGETBV knows XCR0 and, with an index of 1, XINUSE; the latter is not offered.
            if regs.rcx & 0xffff_ffff == 0 { Ok(()) } else { Err(Trap::GeneralProtection) }
        }
        Operation::Xsave { at } => xsave::save(fd, memory, at, mask)?,
        Operation::Xrstor { at } => xsave::restore(fd, memory, at, mask)?,
    };
    Ok(done.map(|()| after))
}

fn retire(fd: &VcpuFd, mut regs: kvm_regs, len: u64) -> Result<()> {
    // KVM has queued #UD for the instruction that it could not emulate.
    let mut events = fd.get_vcpu_events().map_err(Error::ioctl("KVM_GET_VCPU_EVENTS"))?;
    events.exception.injected = 0;
    events.exception.pending = 0;
    fd.set_vcpu_events(&events).map_err(Error::ioctl("KVM_SET_VCPU_EVENTS"))?;
    regs.rip = regs.rip.wrapping_add(len);
    fd.set_regs(&regs).map_err(Error::ioctl("KVM_SET_REGS"))
}

fn raise(fd: &VcpuFd, mut sregs: kvm_sregs, trap: Trap) -> Result<()> {
    let (vector, code) = match trap {
        Trap::PageFault { address, code } => {
            sregs.cr2 = address;
            fd.set_sregs(&sregs).map_err(Error::ioctl("KVM_SET_SREGS"))?;
            (PAGE_FAULT, code)
        }
        Trap::GeneralProtection => (GENERAL_PROTECTION, 0),
    };
    let mut events = fd.get_vcpu_events().map_err(Error::ioctl("KVM_GET_VCPU_EVENTS"))?;
    events.exception.injected = 1;
    events.exception.pending = 0;
    events.exception.nr = vector;
    events.exception.has_error_code = 1;
    events.exception.error_code = code;
    fd.set_vcpu_events(&events).map_err(Error::ioctl("KVM_SET_VCPU_EVENTS"))
}
