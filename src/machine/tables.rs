//! The guest's page tables, read as a whole: for diagnostics, not for running anything.

use std::collections::HashSet;

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
const ENTRIES: usize = 512;
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
    /// and each table is looked at once, however often it is pointed to.
    pub fn page_tables(&mut self) -> Result<Tables> {
        let root = self.page_table_root()?;
        let mut tables = Tables::default();
        let mut walk = Walk { ram: &self.ram, seen: HashSet::new() };
        walk.table(root, 0, 0, &mut |found| match found {
            Found::Table { page, virt } => tables.pages.push((page, virt)),
            Found::Leaf { mapping, .. } => tables.mappings.push(mapping),
        });
        tables.pages.sort_unstable();
        Ok(tables)
    }

    /// Clears the accessed bits of everything that ring 3 may use, so that a later
    /// [`Machine::page_tables`] tells what was used in between. Only for a machine that has not
    /// run yet: the processor would go on using what it has cached.
    pub fn forget_accesses(&mut self) -> Result<()> {
        let root = self.page_table_root()?;
        let mut used = Vec::new();
        let mut walk = Walk { ram: &self.ram, seen: HashSet::new() };
        walk.table(root, 0, 0, &mut |found| match found {
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

    fn page_table_root(&mut self) -> Result<u64> {
        let sregs = self.vcpu.registers().get_sregs().map_err(Error::ioctl("KVM_GET_SREGS"))?;
        Ok(sregs.cr3 & FRAME)
    }
}

enum Found {
    Table { page: u64, virt: u64 },
    Leaf { entry: u64, at: u64, mapping: Mapping },
}

struct Walk<'a> {
    ram: &'a Region,
    seen: HashSet<u64>,
}

impl Walk<'_> {
    fn table(&mut self, table: u64, level: usize, base: u64, found: &mut dyn FnMut(Found)) {
        let Some(entries) = self.entries(table) else { return };
        found(Found::Table { page: table / PAGE, virt: canonical(base) });
        let shift = SHIFTS[level];
        for (index, entry) in (0u64..).zip(entries) {
            let virt = base | index << shift;
            if entry & PRESENT == 0 {
                continue;
            }
            if shift == 12 || (entry & LARGE != 0 && shift <= 30) {
                let mapping = Mapping {
                    virt: canonical(virt),
                    page: (entry & FRAME & !((1 << shift) - 1)) / PAGE,
                    pages: 1 << (shift - 12),
                    user: entry & USER != 0,
                    accessed: entry & ACCESSED != 0,
                    dirty: entry & DIRTY != 0,
                };
                found(Found::Leaf { entry, at: table + index * 8, mapping });
            } else if level + 1 < SHIFTS.len() {
                self.table(entry & FRAME, level + 1, virt, found);
            }
        }
    }

    /// A table's entries, if it lies in RAM and has not been looked at yet.
    fn entries(&mut self, table: u64) -> Option<[u64; ENTRIES]> {
        let mut entries = [0; ENTRIES];
        for (i, entry) in entries.iter_mut().enumerate() {
            *entry = self.ram.as_volatile_slice().read_obj(table as usize + i * 8).ok()?;
        }
        self.seen.insert(table).then_some(entries)
    }
}

/// Bits 48 to 63 repeat bit 47.
fn canonical(virt: u64) -> u64 {
    ((virt << 16) as i64 >> 16) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    fn found(entries: &[(usize, u64)]) -> (Vec<Mapping>, Vec<(u64, u64)>) {
        let (_file, ram) = sys::shared_of_memfd(0x10_0000).unwrap();
        for (at, entry) in entries {
            ram.as_volatile_slice().write_obj(*entry, *at).unwrap();
        }
        let (mut mappings, mut tables) = (Vec::new(), Vec::new());
        let mut walk = Walk { ram: &ram, seen: HashSet::new() };
        walk.table(0x1000, 0, 0, &mut |found| match found {
            Found::Table { page, virt } => tables.push((page, virt)),
            Found::Leaf { mapping, .. } => mappings.push(mapping),
        });
        (mappings, tables)
    }

    #[test]
    fn small_and_huge_pages_are_found_with_their_bits() {
        let (mappings, tables) = found(&[
            (0x1000 + 8 * 511, 0x2003),
            (0x2000, 0x3003),
            (0x3000, 0x4007),
            (0x3008, 0x20_00a5),
            (0x4000 + 8 * 7, 0x9067),
        ]);
        assert_eq!(tables.iter().map(|table| table.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
        let base = 0xffff_ff80_0000_0000;
        let small = Mapping {
            virt: base + 0x7000,
            page: 9,
            pages: 1,
            user: true,
            accessed: true,
            dirty: true,
        };
        let huge =
            Mapping { virt: base + 0x20_0000, page: 0x200, pages: 512, dirty: false, ..small };
        assert_eq!(mappings, [small, huge]);
    }

    #[test]
    fn tables_in_a_circle_or_outside_ram_come_to_an_end() {
        let circle: Vec<(usize, u64)> = (0..512)
            .map(|i| (0x1000 + 8 * i, if i % 2 == 0 { 0x1007 } else { 0x7f00_0007 }))
            .collect();
        assert_eq!(found(&circle), (vec![], vec![(1, 0)]));
    }
}
