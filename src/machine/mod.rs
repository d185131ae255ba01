//! A machine: memory, a vCPU and devices that know each other, and running it until something
//! happens that somebody above must know.

mod assist;
mod crowd;
mod error;
mod layout;
mod original;
mod pc;
mod peripherals;
mod reset;
mod run;
mod shape;
mod tables;

use std::sync::Arc;

use zeroboot_proto::MAILBOX_SIZE;

use crate::device::{Console, Mailbox, Memory, Ports, UartState};
use crate::kvm::{Host, Line, Slot, Vcpu, Vm};
use crate::sys::{self, Region};
use peripherals::Peripherals;
use reset::Written;

pub use crate::kvm::Access;
pub use error::{Error, Result};
pub use layout::Layout;
pub use original::Original;
pub use reset::PutBack;
pub use run::{Fault, Stop};
pub use shape::{MemorySlot, Shape};
pub use tables::{Mapping, Tables};

const PAGE: usize = 4096;
const RAM: Slot = Slot(0);
const ROOTFS: Slot = Slot(1);

/// A virtual machine with everything in it. Its parts go in the order of the fields: the vCPU and
/// its VM before the memory that they map.
#[derive(Debug)]
pub struct Machine {
    vcpu: Vcpu,
    /// Those beyond the first.
    others: Vec<Vcpu>,
    devices: Peripherals,
    /// The UART's, on a PC's board.
    uart_line: Option<Line>,
    /// Of a guest with our software.
    mailbox: Option<Mailbox>,
    memory: Memory,
    ram: Arc<Region>,
    /// For a machine that can be reset.
    written: Option<Written>,
}

impl Machine {
    /// A machine with its memory in place and nothing in its vCPU. It can be reset if writes to RAM
    /// are logged.
    pub fn new(
        host: &Host,
        layout: Layout,
        ram: Region,
        access: Access,
        rootfs: &Arc<Region>,
        console: Console,
    ) -> Result<Self> {
        let ram = Arc::new(ram);
        layout.check(&ram, rootfs)?;
        let mailbox = Mailbox::new(&ram, layout.mailbox_at() as usize)
            .ok_or(Error::Memory { want: layout.memory_len(), have: ram.size() as u64 })?;
        let mut vm = Vm::create(host)?;
        let resettable = access == Access::Logged;
        if resettable {
            vm.keep_dirty_logs()?;
        }
        vm.map(RAM, 0, &ram, access)?;
        vm.map(ROOTFS, Layout::ROOTFS_AT, rootfs, Access::ReadOnly)?;
        let vcpu = vm.into_vcpu()?;
        let written = resettable.then(|| Written::new(ram.size()));
        let memory = shape::memory([(0, Arc::clone(&ram))].into_iter())?;
        Ok(Machine {
            vcpu,
            others: Vec::new(),
            devices: Peripherals {
                ports: Ports::new(console),
                windows: Vec::new(),
                has_doorbell: true,
            },
            uart_line: None,
            mailbox: Some(mailbox),
            memory,
            ram,
            written,
        })
    }

    /// Puts new devices behind the ports: as after a capture, with another console.
    pub fn replace_ports(&mut self, console: Console) {
        self.devices.ports = match &self.uart_line {
            Some(line) => pc::pc_ports(console, Some(line)),
            None => Ports::new(console),
        };
    }

    /// The pages shared with the guest's software, where it is ours.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        self.mailbox.as_ref()
    }

    /// The guest's console, to talk with it; where it can be interrupted by its UART.
    pub fn console(&mut self) -> Option<&mut Console> {
        self.uart_line.as_ref()?;
        Some(self.devices.ports.console_mut())
    }

    /// Guest memory by address.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Number of the mailbox's first page.
    pub fn mailbox_page(&self) -> usize {
        (self.ram.size() - MAILBOX_SIZE as usize) / PAGE
    }

    /// What a guest can change, all at once.
    pub fn parts(&mut self) -> (&mut Vcpu, &Arc<Region>, &mut Ports) {
        (&mut self.vcpu, &self.ram, &mut self.devices.ports)
    }

    /// The vCPU.
    pub fn vcpu(&mut self) -> &mut Vcpu {
        &mut self.vcpu
    }

    /// RAM and, behind it, the mailbox.
    pub fn ram(&self) -> &Arc<Region> {
        &self.ram
    }

    /// The UART's registers.
    pub fn uart(&self) -> UartState {
        self.devices.ports.console().state()
    }

    /// Makes pages private that the guest will write to, before it does: one fault of ours each
    /// instead of a fault of the guest's that reads the page and another that copies it.
    pub fn make_private(&self, pages: &[u32]) -> Result<()> {
        Ok(sys::make_private(&self.ram, pages)?)
    }

    /// Has KVM note which pages of RAM the guest writes.
    pub fn log_dirty_pages(&mut self) -> Result<()> {
        Ok(self.vcpu.set_access(RAM, 0, &self.ram, Access::Logged)?)
    }

    /// The pages of RAM written since the last call, a bit a page, and forgets them.
    pub fn take_dirty_pages(&mut self) -> Result<Vec<u64>> {
        Ok(self.vcpu.take_dirty(RAM, self.ram.size())?)
    }
}
