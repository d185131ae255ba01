use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use kvm_bindings::{
    KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_CAP_SPLIT_IRQCHIP, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE,
    KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, kvm_enable_cap, kvm_userspace_memory_region,
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

/// A virtual machine: memslots, and a LAPIC and nothing else, unless it gets a PC's board.
#[derive(Debug)]
pub struct Vm {
    // The VM goes before the memory that it maps.
    fd: VmFd,
    regions: Vec<Arc<Region>>,
}

impl Vm {
    /// A machine without memory.
    pub fn create(host: &Host) -> Result<Self> {
        let vm = Vm::bare(host)?;
        // In-kernel LAPIC, no PIC, no IOAPIC, no PIT. With those, KVM also sets up interrupt
        // routing, and from then on each memslot and the VM's end wait for RCU grace periods.
        let mut split = kvm_enable_cap { cap: KVM_CAP_SPLIT_IRQCHIP, ..Default::default() };
        // The number of IOAPIC pins for which userspace may ask to see EOIs; one that KVM accepts
        // although we have none.
        split.args[0] = 24;
        vm.fd.enable_cap(&split).map_err(Error::ioctl("KVM_CAP_SPLIT_IRQCHIP"))?;
        Ok(vm)
    }

    /// A machine without memory and without any interrupt controller; see [`Vm::add_board`].
    pub fn bare(host: &Host) -> Result<Self> {
        Ok(Vm { fd: create_vm(host.kvm())?, regions: Vec::with_capacity(2) })
    }

    pub(super) fn fd(&self) -> &VmFd {
        &self.fd
    }

    /// Has dirty logs remember: [`Vcpu::read_dirty_log`] then only reads them. A page that is in the
    /// log stays writable, so that a guest faults on it once and never again.
    pub fn keep_dirty_logs(&self) -> Result<()> {
        let mut keep =
            kvm_enable_cap { cap: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, ..Default::default() };
        keep.args[0] = u64::from(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
        self.fd.enable_cap(&keep).map_err(Error::ioctl("KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2"))
    }

    /// Maps a region at a guest-physical address. The machine keeps the region alive.
    pub fn map(&mut self, slot: Slot, at: u64, region: &Arc<Region>, access: Access) -> Result<()> {
        self.set_region(slot, at, region, access)?;
        self.regions.push(Arc::clone(region));
        Ok(())
    }

    /// Adds the one vCPU.
    pub fn into_vcpu(self) -> Result<Vcpu> {
        Vcpu::create(&Arc::new(self), 0)
    }

    /// Adds this many vCPUs: the first, and the others.
    pub fn into_vcpus(self, count: usize) -> Result<(Vcpu, Vec<Vcpu>)> {
        let vm = Arc::new(self);
        let first = Vcpu::create(&vm, 0)?;
        let others = (1..count as u64).map(|id| Vcpu::create(&vm, id)).collect::<Result<_>>()?;
        Ok((first, others))
    }

    /// Changes what the guest may do with a slot that maps `region` already.
    pub(super) fn set_region(
        &self,
        slot: Slot,
        at: u64,
        region: &Region,
        access: Access,
    ) -> Result<()> {
        self.set_memory(kvm_userspace_memory_region {
            slot: slot.0,
            flags: access.flags(),
            guest_phys_addr: at,
            memory_size: region.size() as u64,
            userspace_addr: region.as_ptr() as u64,
        })
    }

    /// Takes a slot away. What KVM made of its memory goes with it: shadow page tables, its log.
    pub(super) fn remove_region(&self, slot: Slot) -> Result<()> {
        self.set_memory(kvm_userspace_memory_region { slot: slot.0, ..Default::default() })
    }

    fn set_memory(&self, memory: kvm_userspace_memory_region) -> Result<()> {
        // SAFETY: the memory is none, or a region mapped with this length; `map` keeps it for as
        // long as the VM and its vCPU are open, since both are fields before it.
        unsafe { self.fd.set_user_memory_region(memory) }
            .map_err(Error::ioctl("KVM_SET_USER_MEMORY_REGION"))
    }

    pub(super) fn raw(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The pages written since the last call, a bit a page, and forgets them.
    pub(super) fn take_dirty(&self, slot: Slot, len: usize) -> Result<Vec<u64>> {
        self.fd.get_dirty_log(slot.0, len).map_err(Error::ioctl("KVM_GET_DIRTY_LOG"))
    }

    /// The pages written since the slot was made, a bit a page, for a VM that keeps its logs.
    /// `log` must have a bit for each page of the slot.
    pub(super) fn read_dirty_log(&self, slot: Slot, log: &mut [u64]) -> Result<()> {
        let pages: usize =
            self.regions.iter().map(|region| region.size() / 4096).max().unwrap_or(0);
        assert!(log.len() * 64 >= pages, "a log of {} pages for a slot of {pages}", log.len() * 64);
        let argument = DirtyLog { slot: slot.0, padding: 0, bitmap: log.as_mut_ptr() };
        // SAFETY: KVM writes a bit for each page of the slot, in whole words; the largest region
        // that is mapped has no more pages than the bitmap, as was just checked.
        let done = unsafe { libc::ioctl(self.fd.as_raw_fd(), KVM_GET_DIRTY_LOG, &argument) };
        if done == 0 {
            return Ok(());
        }
        let errno = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        Err(Error::ioctl("KVM_GET_DIRTY_LOG")(kvm_ioctls::Error::new(errno)))
    }
}

/// `struct kvm_dirty_log`.
#[repr(C)]
struct DirtyLog {
    slot: u32,
    padding: u32,
    bitmap: *mut u64,
}

/// `_IOW(KVMIO, 0x42, struct kvm_dirty_log)`. kvm-ioctls has it with an allocation a call.
const KVM_GET_DIRTY_LOG: libc::c_ulong = 0x4010_ae42;
