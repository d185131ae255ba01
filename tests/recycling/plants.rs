//! One difference in each part of a machine, put there as a guest's ring 0 or its user could.

use kvm_bindings::{KVM_MP_STATE_HALTED, Msrs, kvm_msr_entry};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, VolatileMemory};
use zeroboot::Sandbox;

use crate::examination::PAGE;

/// What it is; what the comparison has to say of it; how it is done.
pub struct Plant {
    pub what: String,
    pub shows_in: String,
    put: Box<dyn Fn(&mut Sandbox)>,
}

impl Plant {
    fn new(what: &str, shows_in: &str, put: impl Fn(&mut Sandbox) + 'static) -> Self {
        Plant { what: what.into(), shows_in: shows_in.into(), put: Box::new(put) }
    }

    /// In a register, by reading it all and writing it all.
    fn vcpu(what: &str, shows_in: &str, put: impl Fn(&VcpuFd) + 'static) -> Self {
        Plant::new(what, shows_in, move |sandbox| put(sandbox.inside().vcpu))
    }

    fn msr(index: u32, what: &str, flip: u64) -> Self {
        Plant::vcpu(what, &format!("msr {index:#x}"), move |vcpu| {
            let value = read_msr(vcpu, index).unwrap();
            assert!(change_msr(vcpu, index, value ^ flip), "MSR {index:#x}");
        })
    }

    /// One bit of a byte of memory.
    fn memory(what: &str, at: usize) -> Self {
        let page = format!("memory: 1 pages, [{:x}]", at / PAGE);
        Plant::new(what, &page, move |sandbox| {
            let inside = sandbox.inside();
            let memory = inside.memory.as_volatile_slice();
            let byte: u8 = memory.read_obj(at).unwrap();
            memory.write_obj(byte ^ 0x10, at).unwrap();
        })
    }

    pub fn put(&self, sandbox: &mut Sandbox) {
        (self.put)(sandbox);
    }
}

/// Writes an MSR; whether it has the value then.
pub fn change_msr(vcpu: &VcpuFd, index: u32, value: u64) -> bool {
    let written = vcpu.set_msrs(&msrs(index, value)) == Ok(1);
    written && read_msr(vcpu, index) == Some(value)
}

fn read_msr(vcpu: &VcpuFd, index: u32) -> Option<u64> {
    let mut read = msrs(index, 0);
    (vcpu.get_msrs(&mut read) == Ok(1)).then(|| read.as_slice()[0].data)
}

fn msrs(index: u32, data: u64) -> Msrs {
    Msrs::from_entries(&[kvm_msr_entry { index, data, ..Default::default() }]).unwrap()
}

/// A plant in each part, and several in those that have many.
pub fn plants(cr3: usize, memory_len: usize) -> Vec<Plant> {
    let mut plants = registers();
    plants.extend(devices());
    plants.extend(model_specific());
    plants.extend([
        Plant::memory("the first page", 0x123),
        Plant::memory("the kernel's text", 0x100_0000 + 77),
        Plant::memory("the topmost page table", (cr3 & !0xfff) + 0x7f8),
        Plant::memory("the mailbox's header", memory_len - 0x10_0000 + 9),
        Plant::memory("the last byte", memory_len - 1),
    ]);
    plants
}

fn registers() -> Vec<Plant> {
    vec![
        Plant::vcpu("RAX", "regs", |vcpu| {
            let mut regs = vcpu.get_regs().unwrap();
            regs.rax ^= 1;
            vcpu.set_regs(&regs).unwrap();
        }),
        Plant::vcpu("the direction flag", "regs", |vcpu| {
            let mut regs = vcpu.get_regs().unwrap();
            regs.rflags ^= 1 << 10;
            vcpu.set_regs(&regs).unwrap();
        }),
        Plant::vcpu("FS's base", "sregs", |vcpu| {
            let mut sregs = vcpu.get_sregs().unwrap();
            sregs.fs.base ^= 0x1000;
            vcpu.set_sregs(&sregs).unwrap();
        }),
        Plant::vcpu("CR2", "sregs", |vcpu| {
            let mut sregs = vcpu.get_sregs().unwrap();
            sregs.cr2 ^= 0x1000;
            vcpu.set_sregs(&sregs).unwrap();
        }),
        Plant::vcpu("the task priority", "sregs", |vcpu| {
            let mut sregs = vcpu.get_sregs().unwrap();
            sregs.cr8 ^= 3;
            vcpu.set_sregs(&sregs).unwrap();
        }),
        Plant::vcpu("the interrupt table's limit", "sregs", |vcpu| {
            let mut sregs = vcpu.get_sregs().unwrap();
            sregs.idt.limit ^= 0x100;
            vcpu.set_sregs(&sregs).unwrap();
        }),
        Plant::vcpu("XCR0", "xcrs", |vcpu| {
            let mut xcrs = vcpu.get_xcrs().unwrap();
            xcrs.xcrs[0].value = if xcrs.xcrs[0].value == 3 { 7 } else { 3 };
            vcpu.set_xcrs(&xcrs).unwrap();
        }),
        // Words of the area in the SDM's standard format; XSTATE_BV is at 512.
        vector_state("MXCSR", 24 / 4, 0x2000, 0x2),
        vector_state("the x87 control word", 0, 0x0300, 0x1),
        vector_state("XMM5", (160 + 5 * 16) / 4, 1, 0x2),
        vector_state("the upper half of YMM0", 576 / 4, 1, 0x4),
        Plant::vcpu("DR0", "debugregs", |vcpu| {
            let mut debug = vcpu.get_debug_regs().unwrap();
            debug.db[0] ^= 0x1000;
            vcpu.set_debug_regs(&debug).unwrap();
        }),
        Plant::vcpu("DR7", "debugregs", |vcpu| {
            let mut debug = vcpu.get_debug_regs().unwrap();
            debug.dr7 ^= 1 << 10 | 3;
            vcpu.set_debug_regs(&debug).unwrap();
        }),
        Plant::vcpu("a pending NMI", "events", |vcpu| {
            let mut events = vcpu.get_vcpu_events().unwrap();
            events.nmi.pending ^= 1;
            vcpu.set_vcpu_events(&events).unwrap();
        }),
        Plant::vcpu("masked NMIs", "events", |vcpu| {
            let mut events = vcpu.get_vcpu_events().unwrap();
            events.nmi.masked ^= 1;
            vcpu.set_vcpu_events(&events).unwrap();
        }),
        Plant::vcpu("an injected exception", "events", |vcpu| {
            let mut events = vcpu.get_vcpu_events().unwrap();
            (events.exception.injected, events.exception.nr) = (1, 13);
            (events.exception.has_error_code, events.exception.error_code) = (1, 0);
            vcpu.set_vcpu_events(&events).unwrap();
        }),
        Plant::vcpu("a halted processor", "mp_state", |vcpu| {
            let mut state = vcpu.get_mp_state().unwrap();
            state.mp_state = KVM_MP_STATE_HALTED;
            vcpu.set_mp_state(state).unwrap();
        }),
    ]
}

fn vector_state(what: &str, word: usize, flip: u32, component: u32) -> Plant {
    Plant::vcpu(what, "xsave", move |vcpu| {
        let mut area = vcpu.get_xsave().unwrap();
        area.region[word] ^= flip;
        area.region[512 / 4] |= component;
        set_xsave(vcpu, &area);
    })
}

#[allow(unsafe_code, reason = "the state is no larger than the struct")]
fn set_xsave(vcpu: &VcpuFd, area: &kvm_bindings::kvm_xsave) {
    // SAFETY: KVM reads more than the struct only for a process that asked for larger state.
    unsafe { vcpu.set_xsave(area) }.unwrap();
}

fn devices() -> Vec<Plant> {
    let lapic = |what: &str, register: usize, value: i8| {
        Plant::vcpu(what, "lapic", move |vcpu| {
            let mut lapic = vcpu.get_lapic().unwrap();
            lapic.regs[register] ^= value as std::ffi::c_char;
            vcpu.set_lapic(&lapic).unwrap();
        })
    };
    vec![
        lapic("the LAPIC timer's divider", 0x3e0, 0x3),
        lapic("the LAPIC's error vector", 0x370, 0x5),
        lapic("an interrupt request", 0x220, 0x2),
        lapic("an interrupt in service", 0x150, 0x4),
        lapic("the LAPIC's logical id", 0xd3, 0x20),
        Plant::new("the UART's scratch register", "uart", |sandbox| {
            sandbox.inside().write_port(0x3ff, 0x5a);
        }),
        Plant::new("the UART's loopback", "uart", |sandbox| {
            sandbox.inside().write_port(0x3fc, 0x13);
        }),
    ]
}

fn model_specific() -> Vec<Plant> {
    vec![
        Plant::msr(0xc000_0081, "STAR", 1 << 40),
        Plant::msr(0xc000_0082, "LSTAR", 0x1000),
        Plant::msr(0xc000_0084, "SFMASK", 0x400),
        Plant::msr(0xc000_0102, "KERNEL_GS_BASE", 0x1000),
        Plant::msr(0xc000_0103, "TSC_AUX", 0x77),
        Plant::msr(0x174, "SYSENTER_CS", 0x10),
        Plant::msr(0x176, "SYSENTER_EIP", 0x1000),
        Plant::msr(0x277, "PAT", 0x0101),
        Plant::msr(0x200, "an MTRR", 0x6),
        Plant::msr(0x26f, "a fixed MTRR", 0x6),
        Plant::msr(0x1a0, "MISC_ENABLE", 1),
        Plant::msr(0x3b, "TSC_ADJUST", 0x1000),
        Plant::msr(0x402, "a machine check's address", 0x1000),
    ]
}
