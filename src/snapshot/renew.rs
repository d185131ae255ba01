//! What tells a guest that it is another one than it was: its generation id and its clock page.

use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use super::firecracker::{VmClock, VmGenId};
use crate::device::Memory;
use crate::kvm::GSIS;
use crate::machine::{self, Machine, Shape};
use crate::sys;

/// Length of a generation id (Microsoft's "Virtual Machine Generation ID", 2012).
const GENERATION_BYTES: usize = 16;

/// `struct vmclock_abi` of Linux: where its fields are.
mod clock_page {
    pub const MAGIC: u64 = 0;
    pub const SEQUENCE: u64 = 12;
    pub const DISRUPTION: u64 = 16;
    pub const FLAGS: u64 = 24;
    pub const GENERATION: u64 = 104;
    pub const LEN: u64 = 112;
}

const CLOCK_MAGIC: u32 = u32::from_le_bytes(*b"VCLK");
/// `VMCLOCK_FLAG_VM_GEN_COUNTER_PRESENT`.
const HAS_GENERATION: u64 = 1 << 8;

/// Where they are; both lie in memory.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Renewed {
    generation: Option<VmGenId>,
    clock: Option<VmClock>,
}

impl Renewed {
    /// What a machine of this shape has, or what is wrong with that.
    pub(super) fn check(
        generation: Option<VmGenId>,
        clock: Option<VmClock>,
        shape: &Shape,
    ) -> Result<Self, String> {
        let places = [
            generation.map(|id| (id.address, GENERATION_BYTES as u64)),
            clock.map(|page| (page.address, clock_page::LEN)),
        ];
        let lines = [generation.map(|id| id.gsi), clock.and_then(|page| page.gsi)];
        if let Some((at, _)) = places.into_iter().flatten().find(|(at, len)| !shape.has(*at, *len))
        {
            return Err(format!(
                "no memory at {at:#x}, where its generation id or clock should be"
            ));
        }
        match lines.into_iter().flatten().find(|gsi| *gsi >= GSIS) {
            Some(gsi) => Err(format!("interrupt line {gsi}: there is no such line")),
            None => Ok(Renewed { generation, clock }),
        }
    }

    /// Gives a new fork an id of its own and a clock page that says that time was disrupted, and
    /// raises the interrupts that tell of it.
    pub(super) fn renew(&self, machine: &Machine) -> Result<(), machine::Error> {
        let mut fresh = Fresh::default();
        sys::fill_random(&mut fresh.id)?;
        sys::fill_random(&mut fresh.counters)?;
        let memory = machine.memory();
        if let Some(id) = self.generation {
            let written = memory.write_slice(&fresh.id, GuestAddress(id.address));
            written.map_err(|_| nothing_at(id.address))?;
            machine.pulse(id.gsi)?;
        }
        if let Some(page) = self.clock {
            let disrupted = disrupt(memory, page.address, &fresh);
            disrupted.map_err(|_| nothing_at(page.address))?;
            page.gsi.map_or(Ok(()), |gsi| machine.pulse(gsi))?;
        }
        Ok(())
    }
}

/// Random numbers for one fork: no sibling has the same.
#[derive(Default)]
struct Fresh {
    id: [u8; GENERATION_BYTES],
    counters: [u8; 16],
}

impl Fresh {
    fn counter(&self, index: usize) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|i| self.counters[index * 8 + i]))
    }
}

fn nothing_at(at: u64) -> machine::Error {
    machine::Error::Slot { at, len: clock_page::LEN }
}

/// Changes both counters of a clock page. All that a guest knows of them is whether they changed.
fn disrupt(memory: &Memory, page: u64, fresh: &Fresh) -> Result<(), GuestMemoryError> {
    let at = |field: u64| GuestAddress(page + field);
    if memory.read_obj::<u32>(at(clock_page::MAGIC))? != CLOCK_MAGIC {
        return Ok(());
    }
    let sequence: u32 = memory.read_obj(at(clock_page::SEQUENCE))?;
    memory.write_obj(sequence | 1, at(clock_page::SEQUENCE))?;
    memory.write_obj(fresh.counter(0), at(clock_page::DISRUPTION))?;
    if memory.read_obj::<u64>(at(clock_page::FLAGS))? & HAS_GENERATION != 0 {
        memory.write_obj(fresh.counter(1), at(clock_page::GENERATION))?;
    }
    memory.write_obj((sequence | 1).wrapping_add(1), at(clock_page::SEQUENCE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::MemorySlot;
    use std::sync::Arc;
    use vm_memory::GuestRegionMmap;

    const PAGE_AT: u64 = 0x3000;

    fn memory() -> Memory {
        let (_file, region) = sys::shared_of_memfd(0x10000).unwrap();
        let slot = GuestRegionMmap::with_arc(Arc::new(region), GuestAddress(0)).unwrap();
        let memory = Memory::from_regions(vec![slot]).unwrap();
        memory.write_obj(CLOCK_MAGIC, GuestAddress(PAGE_AT)).unwrap();
        memory.write_obj(HAS_GENERATION, GuestAddress(PAGE_AT + clock_page::FLAGS)).unwrap();
        memory
    }

    fn counters(memory: &Memory) -> (u64, u64, u32) {
        let read = |field: u64| memory.read_obj(GuestAddress(PAGE_AT + field)).unwrap();
        let sequence = memory.read_obj(GuestAddress(PAGE_AT + clock_page::SEQUENCE)).unwrap();
        (read(clock_page::DISRUPTION), read(clock_page::GENERATION), sequence)
    }

    #[test]
    fn a_disrupted_clock_page_has_new_counters_and_an_even_sequence() {
        let memory = memory();
        let mut fresh = Fresh::default();
        sys::fill_random(&mut fresh.counters).unwrap();
        disrupt(&memory, PAGE_AT, &fresh).unwrap();
        assert_eq!(counters(&memory), (fresh.counter(0), fresh.counter(1), 2));
    }

    #[test]
    fn what_is_no_clock_page_is_left_alone() {
        let memory = memory();
        memory.write_obj(0u32, GuestAddress(PAGE_AT)).unwrap();
        disrupt(&memory, PAGE_AT, &Fresh::default()).unwrap();
        assert_eq!(counters(&memory), (0, 0, 0));
    }

    #[test]
    fn an_id_outside_of_memory_or_on_no_line_is_refused() {
        let slots = vec![MemorySlot { at: 0, offset: 0, len: 0x10000 }];
        let shape = Shape { slots, vcpus: 1, windows: Vec::new(), uart_gsi: 4 };
        let check =
            |address, gsi| Renewed::check(Some(VmGenId { address, gsi }), None, &shape).map(drop);
        assert_eq!(check(0xfff0, 5), Ok(()));
        assert!(check(0xfff8, 5).unwrap_err().contains("no memory at 0xfff8"));
        assert!(check(0, 24).unwrap_err().contains("interrupt line 24"));
    }
}
