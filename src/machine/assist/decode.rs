use iced_x86::{Decoder, DecoderOptions, Mnemonic, Register};
use kvm_bindings::{kvm_regs, kvm_sregs};

use super::memory::Memory;

/// SDM volume 2, 2.3.11: no instruction is longer.
const INSTRUCTION_MAX: usize = 15;

/// An instruction that can be finished, with its operand's address worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) operation: Operation,
    pub(super) len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Fwait,
    Xgetbv,
    Xsave { at: u64 },
    Xrstor { at: u64 },
}

/// The instruction at RIP, if the vCPU is in 64-bit ring 0 and it is one of ours.
pub(super) fn at_rip(
    memory: &Memory<'_>,
    regs: &kvm_regs,
    sregs: &kvm_sregs,
) -> Option<Instruction> {
    let ring3_cannot_come_here = sregs.cs.l == 1 && sregs.ss.dpl == 0;
    if !ring3_cannot_come_here {
        return None;
    }
    let mut code = [0u8; INSTRUCTION_MAX];
    let readable = memory.read_as_far_as_mapped(regs.rip, &mut code);
    decode(&code[..readable], regs, sregs)
}

fn decode(code: &[u8], regs: &kvm_regs, sregs: &kvm_sregs) -> Option<Instruction> {
    let mut decoder = Decoder::with_ip(64, code, regs.rip, DecoderOptions::NONE);
    let decoded = decoder.decode();
    let address = || decoded.virtual_address(0, 0, |name, _, _| value(name, regs, sregs));
    let operation = match decoded.mnemonic() {
        Mnemonic::Wait => Operation::Fwait,
        Mnemonic::Xgetbv => Operation::Xgetbv,
        Mnemonic::Xsave | Mnemonic::Xsave64 => Operation::Xsave { at: address()? },
        Mnemonic::Xrstor | Mnemonic::Xrstor64 => Operation::Xrstor { at: address()? },
        _ => return None,
    };
    Some(Instruction { operation, len: decoded.len() as u64 })
}

fn value(name: Register, regs: &kvm_regs, sregs: &kvm_sregs) -> Option<u64> {
    let full = match name.full_register() {
        Register::RAX => regs.rax,
        Register::RBX => regs.rbx,
        Register::RCX => regs.rcx,
        Register::RDX => regs.rdx,
        Register::RSI => regs.rsi,
        Register::RDI => regs.rdi,
        Register::RBP => regs.rbp,
        Register::RSP => regs.rsp,
        Register::R8 => regs.r8,
        Register::R9 => regs.r9,
        Register::R10 => regs.r10,
        Register::R11 => regs.r11,
        Register::R12 => regs.r12,
        Register::R13 => regs.r13,
        Register::R14 => regs.r14,
        Register::R15 => regs.r15,
        Register::FS => sregs.fs.base,
        Register::GS => sregs.gs.base,
        // The bases of the others are zero in 64-bit mode.
        Register::CS | Register::DS | Register::ES | Register::SS => 0,
        _ => return None,
    };
    // An address-size prefix uses the low half of a register.
    Some(if name.size() == 4 { full & 0xffff_ffff } else { full })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(code: &[u8]) -> Option<Instruction> {
        let regs = kvm_regs {
            rip: 0x1000,
            rdi: 0xffff_8880_0000_1000,
            rsp: 0x2000,
            r12: 0x3000,
            ..Default::default()
        };
        decode(code, &regs, &kvm_sregs::default())
    }

    #[test]
    fn operands_of_every_form_are_worked_out() {
        let xsave64_rdi = decoded(&[0x48, 0x0f, 0xae, 0x27]).unwrap();
        assert_eq!(xsave64_rdi.operation, Operation::Xsave { at: 0xffff_8880_0000_1000 });
        assert_eq!(xsave64_rdi.len, 4);
        let xrstor_rsp_0x40 = decoded(&[0x0f, 0xae, 0x6c, 0x24, 0x40]).unwrap();
        assert_eq!(xrstor_rsp_0x40.operation, Operation::Xrstor { at: 0x2040 });
        let xrstor64_r12 = decoded(&[0x49, 0x0f, 0xae, 0x2c, 0x24]).unwrap();
        assert_eq!(xrstor64_r12.operation, Operation::Xrstor { at: 0x3000 });
    }

    #[test]
    fn what_is_not_known_is_not_decoded() {
        assert_eq!(decoded(&[0x0f, 0x0b]), None); // ud2
        assert_eq!(decoded(&[0x0f]), None); // cut off
        assert_eq!(decoded(&[]), None);
        assert_eq!(decoded(&[0x9b]).unwrap().operation, Operation::Fwait);
    }
}
