use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use kvm_bindings::CpuId;
use kvm_ioctls::VcpuFd;

use super::{Access, Error, Result, Slot, Vm, statistics};
use crate::sys::Region;

pub use kvm_ioctls::VcpuExit as Exit;

/// A vCPU and the VM that it belongs to.
#[derive(Debug)]
pub struct Vcpu {
    // The vCPU goes first: it holds the VM, and the VM maps the memory.
    fd: VcpuFd,
    vm: Arc<Vm>,
    id: u64,
    /// The signal mask that KVM_RUN was last told to use.
    mask: Option<u64>,
}

impl Vcpu {
    pub(super) fn create(vm: &Arc<Vm>, id: u64) -> Result<Self> {
        let fd = vm.fd().create_vcpu(id).map_err(Error::ioctl("KVM_CREATE_VCPU"))?;
        Ok(Vcpu { fd, vm: Arc::clone(vm), id, mask: None })
    }

    /// Whether it is the one that a machine begins with. The others wait to be called.
    pub(super) fn is_first(&self) -> bool {
        self.id == 0
    }

    /// The VM that it belongs to.
    pub fn vm(&self) -> &Arc<Vm> {
        &self.vm
    }

    pub(super) fn fd(&self) -> &VcpuFd {
        &self.fd
    }

    /// The raw vCPU, for layers that read or change registers.
    pub fn registers(&mut self) -> &mut VcpuFd {
        &mut self.fd
    }

    /// Runs the guest until it exits. `mask` is the signals that stay blocked meanwhile.
    pub fn run(&mut self, mask: u64) -> io::Result<Exit<'_>> {
        if self.mask != Some(mask) {
            set_signal_mask(&self.fd, mask)?;
            self.mask = Some(mask);
        }
        self.fd.run().map_err(|e| io::Error::from_raw_os_error(e.errno()))
    }

    /// Finishes the exit that the guest stands in, without running it any further: an MMIO store
    /// counts as executed only when KVM_RUN is entered again (KVM API, 5. "The kvm_run structure").
    pub fn complete_exit(&mut self) -> Result<()> {
        self.fd.set_kvm_immediate_exit(1);
        let result = self.fd.run().map(|_| ());
        self.fd.set_kvm_immediate_exit(0);
        match result {
            Err(e) if e.errno() == libc::EINTR => Ok(()),
            Err(e) => Err(Error::ioctl("KVM_RUN (immediate exit)")(e)),
            // An exit before the first instruction: there is nothing to complete.
            Ok(()) => Ok(()),
        }
    }

    /// Says what CPUID says in the guest.
    pub fn set_cpuid(&self, cpuid: &CpuId) -> Result<()> {
        self.fd.set_cpuid2(cpuid).map_err(Error::ioctl("KVM_SET_CPUID2"))
    }

    /// Changes what the guest may do with a memslot.
    pub fn set_access(&self, slot: Slot, at: u64, region: &Region, access: Access) -> Result<()> {
        self.vm.set_region(slot, at, region, access)
    }

    /// Makes a slot anew, so that KVM forgets all that it derived from its memory.
    pub fn renew(&self, slot: Slot, at: u64, region: &Region, access: Access) -> Result<()> {
        self.vm.remove_region(slot)?;
        self.vm.set_region(slot, at, region, access)
    }

    /// The pages written since the slot was made, for a VM with [`Vm::keep_dirty_logs`].
    pub fn read_dirty_log(&self, slot: Slot, log: &mut [u64]) -> Result<()> {
        self.vm.read_dirty_log(slot, log)
    }

    /// The pages of a slot written since the last call, a bit a page, and forgets them.
    pub fn take_dirty(&self, slot: Slot, len: usize) -> Result<Vec<u64>> {
        self.vm.take_dirty(slot, len)
    }

    /// What KVM has counted of the VM and of this vCPU.
    pub fn statistics(&self) -> Result<BTreeMap<String, u64>> {
        statistics::of(self, self.vm.raw())
    }
}

/// `struct kvm_signal_mask` with the kernel's 8-byte signal set.
#[repr(C)]
struct SignalMask {
    len: u32,
    set: [u8; 8],
}

/// `_IOW(KVMIO, 0x8b, struct kvm_signal_mask)`; the struct's flexible array counts nothing.
const KVM_SET_SIGNAL_MASK: libc::c_ulong = 0x4004_ae8b;

fn set_signal_mask(fd: &VcpuFd, mask: u64) -> io::Result<()> {
    let argument = SignalMask { len: 8, set: mask.to_le_bytes() };
    // SAFETY: the argument is a live local whose `len` is the length of the set that follows it.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), KVM_SET_SIGNAL_MASK, &argument) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
