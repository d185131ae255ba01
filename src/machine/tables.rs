//! The guest's page tables, read as a whole: for diagnostics, not for running anything.

use vm_memory::{Bytes, VolatileMemory};

use super::{Machine, Result};
use crate::kvm::Error;
use crate::sys::Region;

/// Page table entry bits (SDM volume 3, 4.5.4).
const PRESENT: u64 = 1 << 0;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

const PAGE: u64 = 4096;
const ENTRIES: u64 = 512;
/// Where the four levels take their index from.
const SHIFTS: [u32; 4] = [39, 30, 21, 12];

/// What one entry of a guest's page tables maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The virtual address.
    pub virt: u64,
    /// Number of the first guest-physical page.
    pub page: u64,
    /// How many pages: 1, 512 or 512 * 512.
    pub pages: u64,
    /// Whether ring 3 may use it.
    pub user: bool,
    /// Whether it was used since its bit was last cleared.
    pub accessed: bool,
    /// Whether it was written to since its bit was last cleared.
    pub dirty: bool,
}

/// A guest's page tables at one moment.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// What they map.
    pub mappings: Vec<Mapping>,
    /// Numbers of the pages that they lie in, with the first address that each is for.
    pub pages: Vec<(u64, u64)>,
}

impl Machine {
    /// Walks the guest's page tables. They are the guest's: what points outside RAM is left out,
    /// and tables in a circle end with their levels.
    pub fn page_tables(&mut self) -> Result<Tables> {
        let sregs = self.vcpu.registers().get_sregs().map_err(Error::ioctl("KVM_GET_SREGS"))?;
        let mut tables = Tables::default();
        walk(&self.ram, sregs.cr3 & FRAME, 0, 0, &mut |found| match found {
            Found::Table { page, virt } => tables.pages.push((page, virt)),
            Found::Leaf { entry, mapping, .. } if entry & PRESENT != 0 => {
                tables.mappings.push(mapping);
            }
            Found::Leaf { .. } => {}
        });
        tables.pages.sort_unstable();
        tables.pages.dedup_by_key(|table| table.0);
        Ok(tables)
    }

    /// Clears the accessed bits of everything that ring 3 may use, so that a later
    /// [`Machine::page_tables`] tells what was used in between. Only for a machine that has not
    /// run yet: the processor would go on using what it has cached.
    pub fn forget_accesses(&mut self) -> Result<()> {
        let sregs = self.vcpu.registers().get_sregs().map_err(Error::ioctl("KVM_GET_SREGS"))?;
        let mut used = Vec::new();
        walk(&self.ram, sregs.cr3 & FRAME, 0, 0, &mut |found| match found {
            Found::Leaf { entry, at, mapping } if mapping.user && mapping.accessed => {
                used.push((at, entry & !ACCESSED));
            }
            _ => {}
        });
        for (at, entry) in used {
            // Found in RAM a moment ago.
            let _ = self.ram.as_volatile_slice().write_obj(entry, at as usize);
        }
        Ok(())
    }
}

enum Found {
    Table { page: u64, virt: u64 },
    Leaf { entry: u64, at: u64, mapping: Mapping },
}

fn walk(ram: &Region, table: u64, level: usize, base: u64, found: &mut dyn FnMut(Found)) {
    let mut entries = [0u64; ENTRIES as usize];
    for (index, entry) in entries.iter_mut().enumerate() {
        let at = table + index as u64 * 8;
        let Ok(value) = ram.as_volatile_slice().read_obj(at as usize) else { return };
        *entry = value;
    }
    found(Found::Table { page: table / PAGE, virt: canonical(base) });
    let shift = SHIFTS[level];
    for (index, entry) in entries.into_iter().enumerate() {
        if entry & PRESENT == 0 {
            continue;
        }
        let virt = base | (index as u64) << shift;
        if shift == 12 || (entry & LARGE != 0 && shift <= 30) {
            let mapping = Mapping {
                virt: canonical(virt),
                page: (entry & FRAME & !((1 << shift) - 1)) / PAGE,
                pages: 1 << (shift - 12),
                user: entry & USER != 0,
                accessed: entry & ACCESSED != 0,
                dirty: entry & DIRTY != 0,
            };
            found(Found::Leaf { entry, at: table + index as u64 * 8, mapping });
        } else if level + 1 < SHIFTS.len() {
            walk(ram, entry & FRAME, level + 1, virt, found);
        }
    }
}

/// Bits 48 to 63 repeat bit 47.
fn canonical(virt: u64) -> u64 {
    ((virt << 16) as i64 >> 16) as u64
}
