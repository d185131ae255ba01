use kvm_bindings::kvm_sregs;
use vm_memory::{Bytes, GuestAddress};

use super::Trap;
use crate::device::Memory as GuestMemory;

/// Page table entry bits (SDM volume 3, 4.5.4).
const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// Page fault error code bits (SDM volume 3, 4.7). The supervisor's accesses have no others.
const CODE_PRESENT: u32 = 1 << 0;
const CODE_WRITE: u32 = 1 << 1;

const CR4_LA57: u64 = 1 << 12;
const PAGE: u64 = 4096;

/// Where the four levels of tables take their index from, and the size of what an entry maps.
const LEVEL_SHIFTS: [u32; 4] = [39, 30, 21, 12];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Guest memory by virtual address, as the guest's ring 0 sees it.
pub(super) struct Memory<'a> {
    ram: &'a GuestMemory,
    root: u64,
    five_levels: bool,
}

impl<'a> Memory<'a> {
    pub(super) fn new(ram: &'a GuestMemory, sregs: &kvm_sregs) -> Self {
        Memory { ram, root: sregs.cr3 & FRAME, five_levels: sregs.cr4 & CR4_LA57 != 0 }
    }

    /// Checks that all of a range can be accessed, before any of it is.
    pub(super) fn check(&self, at: u64, len: usize, access: Access) -> Result<(), Trap> {
        self.pages(at, len, access, |_, _| Ok(()))
    }

    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Trap> {
        let len = into.len();
        self.pages(at, len, Access::Read, |gpa, range| {
            self.ram.read_slice(&mut into[range], GuestAddress(gpa)).map_err(drop)
        })
    }

    pub(super) fn write(&self, at: u64, from: &[u8]) -> Result<(), Trap> {
        self.pages(at, from.len(), Access::Write, |gpa, range| {
            self.ram.write_slice(&from[range], GuestAddress(gpa)).map_err(drop)
        })
    }

    /// Reads up to the first page that is not mapped; says how much that was.
    pub(super) fn read_as_far_as_mapped(&self, at: u64, into: &mut [u8]) -> usize {
        let to_page_end = (PAGE - at % PAGE) as usize;
        if self.read(at, into).is_ok() {
            into.len()
        } else if to_page_end < into.len() && self.read(at, &mut into[..to_page_end]).is_ok() {
            to_page_end
        } else {
            0
        }
    }

    /// Calls `each` with the physical address of each piece of the range that lies in one page.
    fn pages(
        &self,
        at: u64,
        len: usize,
        access: Access,
        mut each: impl FnMut(u64, std::ops::Range<usize>) -> Result<(), ()>,
    ) -> Result<(), Trap> {
        let mut done = 0;
        while done < len {
            let address = at.checked_add(done as u64).ok_or(Trap::GeneralProtection)?;
            let piece = ((PAGE - address % PAGE) as usize).min(len - done);
            let gpa = self.translate(address, access)?;
            // Tables may point anywhere; what is not RAM is no place for state.
            each(gpa, done..done + piece).map_err(|()| Trap::GeneralProtection)?;
            done += piece;
        }
        Ok(())
    }

    /// Walks the guest's tables as the processor does, accessed and dirty bits included.
    fn translate(&self, address: u64, access: Access) -> Result<u64, Trap> {
        let canonical = ((address << 16) as i64 >> 16) as u64 == address;
        if !canonical || self.five_levels {
            return Err(Trap::GeneralProtection);
        }
        let write = access == Access::Write;
        let fault = |present: u32| Trap::PageFault {
            address,
            code: present | if write { CODE_WRITE } else { 0 },
        };
        let mut table = self.root;
        let mut used = [0u64; LEVEL_SHIFTS.len()];
        for (level, shift) in LEVEL_SHIFTS.into_iter().enumerate() {
            used[level] = table + (address >> shift & 0x1ff) * 8;
            let entry = self.entry(used[level])?;
            if entry & PRESENT == 0 {
                return Err(fault(0));
            }
            // CR0.WP is taken as set: Linux sets it before it runs anything.
            if write && entry & WRITABLE == 0 {
                return Err(fault(CODE_PRESENT));
            }
            if shift == 12 || (entry & LARGE != 0 && shift <= 30) {
                self.mark(&used[..=level], write)?;
                let offset_mask = (1u64 << shift) - 1;
                return Ok(entry & FRAME & !offset_mask | address & offset_mask);
            }
            table = entry & FRAME;
        }
        Err(fault(0))
    }

    fn mark(&self, used: &[u64], write: bool) -> Result<(), Trap> {
        for (i, at) in used.iter().enumerate() {
            let leaf = i + 1 == used.len();
            let entry = self.entry(*at)?;
            let marked = entry | ACCESSED | if leaf && write { DIRTY } else { 0 };
            if marked != entry {
                self.ram
                    .write_obj(marked, GuestAddress(*at))
                    .map_err(|_| Trap::GeneralProtection)?;
            }
        }
        Ok(())
    }

    fn entry(&self, at: u64) -> Result<u64, Trap> {
        self.ram.read_obj(GuestAddress(at)).map_err(|_| Trap::GeneralProtection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{self, Region};
    use std::sync::Arc;
    use vm_memory::{GuestRegionMmap, VolatileMemory};

    /// Tables at 0x1000..0x5000 that map one page, and 2 MiB at a large page.
    fn tables(leaf: u64) -> (Arc<Region>, GuestMemory) {
        let (_file, region) = sys::shared_of_memfd(0x40_0000).unwrap();
        let memory = region.as_volatile_slice();
        for (at, value) in [
            (0x1000, 0x2003u64),
            (0x2000, 0x3003),
            (0x3000, 0x4003),
            (0x3008, 0x20_0083),
            (0x4000 + 8 * 7, leaf),
        ] {
            memory.write_obj(value, at).unwrap();
        }
        let region = Arc::new(region);
        let slot = GuestRegionMmap::with_arc(Arc::clone(&region), GuestAddress(0)).unwrap();
        (region, GuestMemory::from_regions(vec![slot]).unwrap())
    }

    fn sregs() -> kvm_sregs {
        kvm_sregs { cr3: 0x1000, ..Default::default() }
    }

    #[test]
    fn a_mapped_page_is_found_and_marked() {
        let (region, ram) = tables(0x9003);
        let memory = Memory::new(&ram, &sregs());
        memory.write(0x7010, b"state").unwrap();
        let mut got = [0u8; 5];
        region.as_volatile_slice().read_slice(&mut got, 0x9010).unwrap();
        assert_eq!(&got, b"state");
        let entry: u64 = region.as_volatile_slice().read_obj(0x4000 + 8 * 7).unwrap();
        assert_eq!(entry, 0x9003 | ACCESSED | DIRTY);
        memory.write(0x20_0123, b"large").unwrap();
        region.as_volatile_slice().read_slice(&mut got, 0x20_0123).unwrap();
        assert_eq!(&got, b"large");
    }

    #[test]
    fn what_is_not_mapped_or_not_writable_faults_as_the_processor_would() {
        let (_, ram) = tables(0x9001);
        let memory = Memory::new(&ram, &sregs());
        let fault = |address, code| Err(Trap::PageFault { address, code });
        assert_eq!(memory.check(0x7000, 8, Access::Write), fault(0x7000, 3));
        assert_eq!(memory.check(0x7ff8, 16, Access::Read), fault(0x8000, 0));
        assert_eq!(memory.check(0x6000, 8, Access::Write), fault(0x6000, 2));
        assert_eq!(memory.check(1 << 62, 8, Access::Read), Err(Trap::GeneralProtection));
        assert_eq!(memory.check(u64::MAX - 3, 8, Access::Read), fault(u64::MAX - 3, 0));
    }

    #[test]
    fn tables_that_point_outside_ram_do_no_harm() {
        let (_, ram) = tables(0x000f_ffff_ffff_f003);
        let memory = Memory::new(&ram, &sregs());
        assert_eq!(memory.read(0x7000, &mut [0; 8]), Err(Trap::GeneralProtection));
        let wild = Memory::new(&ram, &kvm_sregs { cr3: 0x000f_ffff_ffff_f000, ..sregs() });
        assert_eq!(wild.check(0x7000, 8, Access::Read), Err(Trap::GeneralProtection));
        assert_eq!(memory.read_as_far_as_mapped(0x7000, &mut [0; 15]), 0);
    }
}
