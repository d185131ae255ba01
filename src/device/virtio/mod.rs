//! Virtio devices behind MMIO windows (virtio 1.2, 4.2), as a snapshot left them.
//!
//! Rings and buffers are the guest's: every address in them is checked against its memory, by
//! `virtio-queue` and `vm-memory`, and what a device does for one request is bounded.

mod block;
mod entropy;
#[cfg(test)]
mod tests;
mod vsock;
mod window;

use std::sync::Arc;

use virtio_queue::{Queue, QueueState};
use vm_memory::GuestMemoryMmap;
use vm_memory::bitmap::AtomicBitmap;

pub use block::Disk;
pub use window::Window;

/// Guest memory by guest-physical address.
pub type Memory = GuestMemoryMmap<AtomicBitmap>;

/// The feature bit of VIRTIO_F_RING_EVENT_IDX.
const EVENT_IDX: u64 = 1 << 29;

/// A window as a snapshot has it; forks begin with a copy of it.
#[derive(Clone, Debug)]
pub struct WindowState {
    /// The device's name, for people.
    pub id: String,
    /// What is behind it.
    pub model: Model,
    /// Guest-physical address.
    pub address: u64,
    /// Its interrupt line.
    pub gsi: u32,
    /// Features that it offers.
    pub offered: u64,
    /// Features that the driver has accepted.
    pub accepted: u64,
    /// `DeviceFeaturesSel`, `DriverFeaturesSel`, `QueueSel`.
    pub selected: Selected,
    /// `Status`.
    pub status: u32,
    /// `ConfigGeneration`.
    pub config_generation: u32,
    /// `InterruptStatus`.
    pub interrupt: u32,
    /// The queues.
    pub queues: Vec<QueueState>,
}

/// What a driver has selected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selected {
    /// Which half of the device's features.
    pub features: u32,
    /// Which half of the driver's features.
    pub driver_features: u32,
    /// Which queue.
    pub queue: u32,
}

/// What is behind a window.
#[derive(Clone, Debug)]
pub enum Model {
    /// A disk.
    Block(Arc<Disk>),
    /// A source of entropy.
    Entropy,
    /// Sockets to a host that answers none.
    Vsock {
        /// The guest's number.
        cid: u64,
    },
    /// A device of this type that is there and does nothing.
    Inert {
        /// Virtio 1.2, chapter 5.
        device_type: u32,
    },
}

impl Model {
    /// Virtio 1.2, chapter 5.
    fn device_type(&self) -> u32 {
        match self {
            Model::Block(_) => 2,
            Model::Entropy => 4,
            Model::Vsock { .. } => 19,
            Model::Inert { device_type } => *device_type,
        }
    }
}

/// What a device does when its driver says that there is work.
trait Device: Send + std::fmt::Debug {
    /// Serves a queue; whether anything was given back.
    fn serve(&mut self, queues: &mut [Queue], index: usize, memory: &Memory) -> Served;

    /// Bytes of its configuration space.
    fn config(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// Which queues have something for the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Served {
    queues: u64,
}

impl Served {
    const NOTHING: Served = Served { queues: 0 };

    fn one(index: usize) -> Self {
        Served { queues: 1 << (index & 63) }
    }
}

/// A device that never does anything.
#[derive(Debug)]
struct Inert;

impl Device for Inert {
    fn serve(&mut self, _: &mut [Queue], _: usize, _: &Memory) -> Served {
        Served::NOTHING
    }
}

fn device(model: &Model) -> Box<dyn Device> {
    match model {
        Model::Block(disk) => Box::new(block::Block::new(Arc::clone(disk))),
        Model::Entropy => Box::new(entropy::Entropy),
        Model::Vsock { cid } => Box::new(vsock::Vsock::new(*cid)),
        Model::Inert { .. } => Box::new(Inert),
    }
}
