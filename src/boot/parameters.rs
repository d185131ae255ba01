//! What Linux's 64-bit boot protocol wants in memory (Documentation/arch/x86/boot.rst): the zero
//! page with its e820 map, the command line, and a seed for the kernel's random numbers.

use linux_loader::cmdline::Cmdline;
use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use linux_loader::loader::load_cmdline;
use vm_memory::{Bytes, GuestAddress};

use super::kernel::Memory;
use super::{Error, Result};
use crate::machine::Layout;

/// Where the zero page lies; RSI at the kernel's entry.
pub(super) const ZERO_PAGE_AT: u64 = 0x7000;
const COMMAND_LINE_AT: u64 = 0x2_0000;
const SETUP_DATA_AT: u64 = 0x3_0000;

const BOOT_FLAG: u16 = 0xaa55;
const HEADER_MAGIC: u32 = 0x5372_6448; // "HdrS"
const PROTOCOL_2_12: u16 = 0x20c;
const LOADER_UNDEFINED: u8 = 0xff;
const LOADED_HIGH: u8 = 1;
const KERNEL_ALIGNMENT: u32 = 0x20_0000;

/// Conventional memory ends where a PC has its extended BIOS data area.
const LOW_RAM_END: u64 = 0x9_fc00;
const HIGH_RAM_AT: u64 = 0x10_0000;

const E820_RAM: u32 = 1;
/// Persistent memory without a label ("legacy pmem"): the kernel makes /dev/pmem0 of it.
const E820_PRAM: u32 = 12;

const SETUP_RNG_SEED: u32 = 9;
/// Of the kernel's random numbers.
pub(super) const SEED_BYTES: usize = 32;

/// Writes all of it. `seed` is for the kernel's random numbers.
pub(super) fn write(
    memory: &Memory,
    layout: Layout,
    command_line: &Cmdline,
    seed: &[u8; SEED_BYTES],
) -> Result<()> {
    load_cmdline(memory, GuestAddress(COMMAND_LINE_AT), command_line).map_err(wrong)?;
    write_seed(memory, seed)?;
    let length = command_line.as_cstring().map_err(wrong)?.as_bytes_with_nul().len();
    let params = zero_page(layout, length as u32);
    let params = BootParams::new::<boot_params>(&params, GuestAddress(ZERO_PAGE_AT));
    LinuxBootConfigurator::write_bootparams(&params, memory).map_err(wrong)
}

fn zero_page(layout: Layout, command_line_len: u32) -> boot_params {
    let mut params = boot_params::default();
    params.hdr.boot_flag = BOOT_FLAG;
    params.hdr.header = HEADER_MAGIC;
    params.hdr.version = PROTOCOL_2_12;
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    params.hdr.loadflags = LOADED_HIGH;
    params.hdr.kernel_alignment = KERNEL_ALIGNMENT;
    params.hdr.cmd_line_ptr = COMMAND_LINE_AT as u32;
    params.hdr.cmdline_size = command_line_len;
    params.hdr.setup_data = SETUP_DATA_AT;
    let map = [
        (0, LOW_RAM_END, E820_RAM),
        (HIGH_RAM_AT, layout.ram_bytes() - HIGH_RAM_AT, E820_RAM),
        (Layout::ROOTFS_AT, layout.rootfs_bytes(), E820_PRAM),
    ];
    for (entry, (addr, size, r#type)) in params.e820_table.iter_mut().zip(map) {
        *entry = boot_e820_entry { addr, size, r#type };
    }
    params.e820_entries = map.len() as u8;
    params
}

/// `struct setup_data`: next, type, length, data.
fn write_seed(memory: &Memory, seed: &[u8; SEED_BYTES]) -> Result<()> {
    let mut data = Vec::with_capacity(16 + SEED_BYTES);
    data.extend(0u64.to_le_bytes());
    data.extend(SETUP_RNG_SEED.to_le_bytes());
    data.extend((SEED_BYTES as u32).to_le_bytes());
    data.extend(seed);
    memory.write_slice(&data, GuestAddress(SETUP_DATA_AT)).map_err(wrong)
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::Kernel { path: "boot parameters".into(), why: error.to_string() }
}
