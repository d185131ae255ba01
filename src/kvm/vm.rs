use std::sync::Arc;

use kvm_bindings::{
    KVM_CAP_SPLIT_IRQCHIP, KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, kvm_enable_cap,
    kvm_userspace_memory_region,
};
use kvm_ioctls::VmFd;

use super::host::create_vm;
use super::{Error, Host, Result, Vcpu};
use crate::sys::Region;

/// A memslot's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub u32);

/// What a guest may do with a memslot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write.
    Full,
    /// Read and write, and KVM notes which pages were written.
    Logged,
    /// Read; a write exits to the host.
    ReadOnly,
}

impl Access {
    fn flags(self) -> u32 {
        match self {
            Access::Full => 0,
            Access::Logged => KVM_MEM_LOG_DIRTY_PAGES,
            Access::ReadOnly => KVM_MEM_READONLY,
        }
    }
}

/// A virtual machine: a LAPIC, memslots, and nothing else.
#[derive(Debug)]
pub struct Vm {
    // The VM goes before the memory that it maps.
    fd: VmFd,
    regions: Vec<Arc<Region>>,
}

impl Vm {
    /// A machine without memory.
    pub fn create(host: &Host) -> Result<Self> {
        let fd = create_vm(host.kvm())?;
        // In-kernel LAPIC, no PIC, no IOAPIC, no PIT. With those, KVM also sets up interrupt
        // routing, and from then on each memslot and the VM's end wait for RCU grace periods.
        let mut split = kvm_enable_cap { cap: KVM_CAP_SPLIT_IRQCHIP, ..Default::default() };
        // The number of IOAPIC pins for which userspace may ask to see EOIs; one that KVM accepts
        // although we have none.
        split.args[0] = 24;
        fd.enable_cap(&split).map_err(Error::ioctl("KVM_CAP_SPLIT_IRQCHIP"))?;
        Ok(Vm { fd, regions: Vec::with_capacity(2) })
    }

    /// Maps a region at a guest-physical address. The machine keeps the region alive.
    pub fn map(&mut self, slot: Slot, at: u64, region: &Arc<Region>, access: Access) -> Result<()> {
        self.set_region(slot, at, region, access)?;
        self.regions.push(Arc::clone(region));
        Ok(())
    }

    /// Adds the one vCPU.
    pub fn into_vcpu(self) -> Result<Vcpu> {
        let fd = self.fd.create_vcpu(0).map_err(Error::ioctl("KVM_CREATE_VCPU"))?;
        Ok(Vcpu::new(fd, self))
    }

    /// Changes what the guest may do with a slot that maps `region` already.
    pub(super) fn set_region(
        &self,
        slot: Slot,
        at: u64,
        region: &Region,
        access: Access,
    ) -> Result<()> {
        let memory = kvm_userspace_memory_region {
            slot: slot.0,
            flags: access.flags(),
            guest_phys_addr: at,
            memory_size: region.size() as u64,
            userspace_addr: region.as_ptr() as u64,
        };
        // SAFETY: the region is mapped with this length; `map` keeps it for as long as the VM and
        // its vCPU are open, since both are fields before it.
        unsafe { self.fd.set_user_memory_region(memory) }
            .map_err(Error::ioctl("KVM_SET_USER_MEMORY_REGION"))
    }

    /// The pages written since the last call, a bit a page, and forgets them.
    pub(super) fn take_dirty(&self, slot: Slot, len: usize) -> Result<Vec<u64>> {
        self.fd.get_dirty_log(slot.0, len).map_err(Error::ioctl("KVM_GET_DIRTY_LOG"))
    }
}
