use std::fs::File;
use std::sync::Arc;

use vm_memory::{GuestAddress, GuestRegionMmap};

use super::{Error, Result};
use crate::device::{Memory, WindowState};
use crate::kvm::GSIS;
use crate::sys::{self, Region};

const PAGE: u64 = 4096;
/// 46 bits: what every processor has.
const ADDRESS_MAX: u64 = 1 << 46;

/// Each piece of memory is a mapping of the process's.
const SLOTS_MAX: usize = 512;

/// A machine with a PC's board, as data: what is at which address.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Memory; together the memory file, or less of it.
    pub slots: Vec<MemorySlot>,
    /// How many vCPUs.
    pub vcpus: usize,
    /// Devices behind MMIO windows.
    pub windows: Vec<WindowState>,
    /// The UART's interrupt line.
    pub uart_gsi: u32,
}

/// A piece of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySlot {
    /// Guest-physical address.
    pub at: u64,
    /// Where it begins in the memory file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

impl Shape {
    /// Checks what a machine is made of: pieces of memory lie in order of their addresses, none over
    /// another or over a window, and there is a line for each device.
    pub fn check(mut self) -> Result<Self> {
        if self.slots.len() > SLOTS_MAX {
            return Err(Error::Slots { have: self.slots.len() });
        }
        self.slots.sort_by_key(|slot| slot.at);
        let mut free_from = 0;
        for slot in &self.slots {
            let whole = [slot.at, slot.offset, slot.len].iter().all(|n| n.is_multiple_of(PAGE));
            let end = slot.at.checked_add(slot.len).filter(|end| *end <= ADDRESS_MAX);
            match end {
                Some(end) if whole && slot.len > 0 && slot.at >= free_from => free_from = end,
                _ => return Err(Error::Slot { at: slot.at, len: slot.len }),
            }
        }
        for window in &self.windows {
            let in_memory = self.slots.iter().any(|slot| {
                window.address < slot.at + slot.len && slot.at < window.address.saturating_add(PAGE)
            });
            if in_memory || window.gsi >= GSIS {
                return Err(Error::Window { id: window.id.clone(), at: window.address });
            }
        }
        Ok(self)
    }

    /// Whether all of a range is memory.
    pub fn has(&self, at: u64, len: u64) -> bool {
        let inside =
            |slot: &MemorySlot| at >= slot.at && len <= slot.len && at - slot.at <= slot.len - len;
        self.slots.iter().any(inside)
    }

    /// Maps memory copy-on-write.
    pub fn map_private(&self, file: &Arc<File>) -> Result<Vec<Arc<Region>>> {
        let map = |slot: &MemorySlot| {
            sys::private_of_file_at(file, slot.offset, slot.len as usize).map(Arc::new)
        };
        Ok(self.slots.iter().map(map).collect::<sys::Result<_>>()?)
    }
}

/// Guest memory by address.
pub(super) fn memory(regions: impl Iterator<Item = (u64, Arc<Region>)>) -> Result<Memory> {
    let mut slots = Vec::new();
    for (at, region) in regions {
        let len = region.size() as u64;
        let slot = GuestRegionMmap::with_arc(region, GuestAddress(at));
        slots.push(slot.ok_or(Error::Slot { at, len })?);
    }
    Memory::from_regions(slots).map_err(|_| Error::Slot { at: 0, len: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(slots: &[(u64, u64)]) -> Shape {
        let slots =
            slots.iter().map(|(at, len)| MemorySlot { at: *at, offset: 0, len: *len }).collect();
        Shape { slots, vcpus: 1, windows: Vec::new(), uart_gsi: 4 }
    }

    #[test]
    fn memory_that_lies_over_itself_or_at_no_page_is_refused() {
        assert!(shape(&[(4 << 30, 1 << 20), (0, 3 << 30)]).check().is_ok());
        for wrong in [
            &[(0, 0x2000), (0x1000, 0x1000)][..],
            &[(0x800, 0x1000)],
            &[(0, 0x800)],
            &[(0, 0)],
            &[(u64::MAX - 0xfff, 0x1000)],
            &[(ADDRESS_MAX, 0x1000)],
        ] {
            assert!(shape(wrong).check().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_range_is_memory_if_one_piece_has_all_of_it() {
        let shape = shape(&[(0, 0x2000), (0x2000, 0x1000)]).check().unwrap();
        assert!(shape.has(0x1000, 0x1000) && shape.has(0x2000, 16));
        assert!(!shape.has(0x1ff8, 16) && !shape.has(0x2ff8, 16) && !shape.has(u64::MAX, 16));
    }
}
