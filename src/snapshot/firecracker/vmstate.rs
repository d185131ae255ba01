use kvm_bindings::{kvm_clock_data, kvm_irqchip, kvm_pit_state2};

use super::Version;
use crate::kvm::CpuState;

/// What a machine was, whatever the format that it was saved in.
#[derive(Debug)]
pub struct Vmstate {
    /// The format.
    pub version: Version,
    /// Its memory, in the order in which the memory file has it.
    pub regions: Vec<MemoryRegion>,
    /// Its processors.
    pub vcpus: Vec<VcpuState>,
    /// Interrupt timer.
    pub pit: kvm_pit_state2,
    /// KVM's clock.
    pub clock: kvm_clock_data,
    /// Both PICs and the IOAPIC, in KVM's numbering.
    pub irqchips: [kvm_irqchip; 3],
    /// Its virtio-mmio devices.
    pub devices: Vec<Device>,
    /// Where the generation id is.
    pub generation: Option<VmGenId>,
    /// Where the clock page is.
    pub vmclock: Option<VmClock>,
    /// The serial port; before format 10 it was not saved.
    pub serial: Option<Serial>,
}

/// A piece of guest-physical memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryRegion {
    /// Guest-physical address.
    pub base: u64,
    /// Bytes, in the memory file, too.
    pub size: u64,
    /// Which of its equally large parts the guest has; all of memory that is not hotplugged.
    pub plugged: Vec<bool>,
}

/// A processor.
#[derive(Debug)]
pub struct VcpuState {
    /// Its state; the MSRs of all chunks, in their order, but for the deadline.
    pub cpu: CpuState,
    /// Extended state beyond 4096 bytes: AMX.
    pub xsave_extra: Vec<u32>,
    /// The rate of its time stamp counter, where the host could tell.
    pub tsc_khz: Option<u32>,
}

/// A virtio device in its window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name in Firecracker's configuration.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// Guest-physical address of the window.
    pub address: u64,
    /// Its length.
    pub len: u64,
    /// Its interrupt line.
    pub gsi: Option<u32>,
    /// The window's registers.
    pub transport: Transport,
    /// Features that it offers.
    pub offered: u64,
    /// Features that the driver has accepted.
    pub accepted: u64,
    /// Its queues.
    pub queues: Vec<Queue>,
    /// Whether the driver has set it up.
    pub activated: bool,
}

/// What a device is, and what of it the guest could see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A disk.
    Block {
        /// Where its image was.
        path: String,
    },
    /// A disk that another process served.
    VhostUserBlock,
    /// A network card.
    Net,
    /// Sockets to the host.
    Vsock {
        /// The guest's number.
        cid: u64,
    },
    /// A balloon.
    Balloon,
    /// A source of entropy.
    Entropy,
    /// Persistent memory.
    Pmem,
    /// Memory that can be plugged in.
    HotplugMemory,
}

/// A window's registers (virtio 1.2, 4.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// `DeviceFeaturesSel`.
    pub features_select: u32,
    /// `DriverFeaturesSel`.
    pub driver_features_select: u32,
    /// `QueueSel`.
    pub queue_select: u32,
    /// `Status`.
    pub status: u32,
    /// `ConfigGeneration`.
    pub config_generation: u32,
    /// `InterruptStatus`.
    pub interrupt: u32,
}

/// A queue and how far it is (virtio 1.2, 2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// The most entries that it may have.
    pub max_size: u16,
    /// How many it has.
    pub size: u16,
    /// Whether the driver has set it up.
    pub ready: bool,
    /// Guest-physical address of the descriptors.
    pub descriptors: u64,
    /// Of the ring of available ones.
    pub available: u64,
    /// Of the ring of used ones.
    pub used: u64,
    /// The next that the device takes.
    pub next_available: u16,
    /// The next that it gives back.
    pub next_used: u16,
    /// How many it gave back without telling the driver.
    pub added: u16,
}

/// Where the guest finds its generation id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmGenId {
    /// Guest-physical address of the 16 bytes.
    pub address: u64,
    /// The line that tells of a change.
    pub gsi: u32,
}

/// Where the guest finds its clock page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmClock {
    /// Guest-physical address of the page.
    pub address: u64,
    /// The line that tells of a change, from format 9 on.
    pub gsi: Option<u32>,
}

/// The serial port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serial {
    /// DLL, DLH, IER, IIR, LCR, LSR, MCR, MSR, SCR.
    pub registers: [u8; 9],
    /// What the guest has not read yet.
    pub input: Vec<u8>,
}
