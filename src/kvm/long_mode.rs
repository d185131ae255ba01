use kvm_bindings::{kvm_regs, kvm_segment};
use vm_memory::{Bytes, VolatileMemory};

use super::{Error, Result, Vcpu};
use crate::sys::Region;

const GDT_AT: u64 = 0x500;
const STACK_TOP: u64 = 0x8ff0;
const PML4_AT: u64 = 0x9000;
const PDPT_AT: u64 = 0xa000;
const PD_AT: u64 = 0xb000;

/// Flat 64-bit code at selector 0x10 and flat data at 0x18, where Linux's 64-bit boot protocol
/// wants __BOOT_CS and __BOOT_DS (Documentation/arch/x86/boot.rst).
const GDT: [u64; 4] = [0, 0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

const CR0_PE_ET_PG: u64 = 0x8000_0011;
const CR4_PAE: u64 = 0x20;
const EFER_LME_LMA: u64 = 0x500;
const PRESENT_WRITABLE: u64 = 0x3;
const LARGE_PAGE: u64 = 0x83;

/// Puts a vCPU into 64-bit mode at `entry`, the first GiB identity-mapped, RSI = `rsi`.
/// Uses guest memory from 0x500 to 0xbfff.
pub fn enter_long_mode(vcpu: &Vcpu, ram: &Region, entry: u64, rsi: u64) -> Result<()> {
    write_tables(ram);
    let fd = vcpu.fd();
    let mut sregs = fd.get_sregs().map_err(Error::ioctl("KVM_GET_SREGS"))?;
    sregs.cr0 = CR0_PE_ET_PG;
    sregs.cr3 = PML4_AT;
    sregs.cr4 = CR4_PAE;
    sregs.efer = EFER_LME_LMA;
    sregs.gdt.base = GDT_AT;
    sregs.gdt.limit = (size_of_val(&GDT) - 1) as u16;
    sregs.cs = segment(0x10, 11, 1);
    let data = segment(0x18, 3, 0);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    fd.set_sregs(&sregs).map_err(Error::ioctl("KVM_SET_SREGS"))?;
    let regs = kvm_regs { rip: entry, rsi, rflags: 2, rsp: STACK_TOP, ..Default::default() };
    fd.set_regs(&regs).map_err(Error::ioctl("KVM_SET_REGS"))
}

fn write_tables(ram: &Region) {
    let memory = ram.as_volatile_slice();
    let store = |at: u64, value: u64| {
        // The caller's region is larger than the tables; a shorter one is a bug in this crate.
        memory.write_obj(value, at as usize).expect("boot tables lie inside the region");
    };
    for (i, entry) in GDT.iter().enumerate() {
        store(GDT_AT + 8 * i as u64, *entry);
    }
    store(PML4_AT, PDPT_AT | PRESENT_WRITABLE);
    store(PDPT_AT, PD_AT | PRESENT_WRITABLE);
    for i in 0..512 {
        store(PD_AT + 8 * i, i << 21 | LARGE_PAGE);
    }
}

fn segment(selector: u16, type_: u8, long: u8) -> kvm_segment {
    kvm_segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        type_,
        present: 1,
        dpl: 0,
        db: 1 - long,
        s: 1,
        l: long,
        g: 1,
        avl: 0,
        unusable: 0,
        padding: 0,
    }
}
