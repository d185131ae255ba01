use std::fmt;

use virtio_queue::{Queue, QueueT};

use super::{Device, EVENT_IDX, Memory, Selected, Served, WindowState, device};
use crate::kvm::Line;

/// Virtio 1.2, table 4.1.
mod register {
    pub const MAGIC: u64 = 0x000;
    pub const VERSION: u64 = 0x004;
    pub const DEVICE_ID: u64 = 0x008;
    pub const VENDOR_ID: u64 = 0x00c;
    pub const DEVICE_FEATURES: u64 = 0x010;
    pub const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub const QUEUE_SEL: u64 = 0x030;
    pub const QUEUE_NUM_MAX: u64 = 0x034;
    pub const QUEUE_NUM: u64 = 0x038;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESC_LOW: u64 = 0x080;
    pub const QUEUE_DESC_HIGH: u64 = 0x084;
    pub const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub const QUEUE_DRIVER_HIGH: u64 = 0x094;
    pub const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
    pub const CONFIG_GENERATION: u64 = 0x0fc;
    pub const CONFIG: u64 = 0x100;
}

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const VERSION: u32 = 2;
/// Status bit: the driver is ready.
const DRIVER_OK: u32 = 4;
/// Interrupt status bit: a buffer was used.
const USED_BUFFER: u32 = 1;
const LEN: u64 = 0x1000;
/// How often a queue is looked at for one notification: a driver that adds as fast as the device takes
/// must not keep the host here.
const ROUNDS_MAX: usize = 4;

/// A device in its window.
pub struct Window {
    state: WindowState,
    queues: Vec<Queue>,
    device: Box<dyn Device>,
    memory: Memory,
    line: Line,
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("device", &self.device).finish_non_exhaustive()
    }
}

impl Window {
    /// A window as it was; `None` if a queue is none that there can be.
    pub fn new(state: &WindowState, memory: &Memory, line: Line) -> Option<Self> {
        let queues: Result<Vec<Queue>, _> =
            state.queues.iter().map(|queue| Queue::try_from(*queue)).collect();
        Some(Window {
            device: device(&state.model),
            state: state.clone(),
            queues: queues.ok()?,
            memory: memory.clone(),
            line,
        })
    }

    /// The offset of an address in the window.
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        address.checked_sub(self.state.address).filter(|offset| *offset < LEN)
    }

    /// Tells the driver again of what it was told of and had not seen. One interrupt too many does
    /// no harm, one too few stops it for good.
    pub fn resume(&mut self) {
        if self.state.status & DRIVER_OK == 0 {
            return;
        }
        // Buffers that the driver made available in the snapshot's last moment.
        (0..self.queues.len()).for_each(|index| self.serve(index));
        if self.state.interrupt != 0 {
            self.interrupt(0);
        }
    }

    /// A load.
    pub fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if offset >= register::CONFIG {
            let config = self.device.config();
            let from = (offset - register::CONFIG) as usize;
            for (to, byte) in data.iter_mut().zip(config.iter().skip(from)) {
                *to = *byte;
            }
        } else if let Ok(word) = <&mut [u8; 4]>::try_from(data) {
            *word = self.register(offset).to_le_bytes();
        }
    }

    /// A store.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        if let Ok(word) = <[u8; 4]>::try_from(data) {
            self.set_register(offset, u32::from_le_bytes(word));
        }
    }

    fn register(&self, offset: u64) -> u32 {
        let queue = self.queues.get(self.state.selected.queue as usize);
        match offset {
            register::MAGIC => MAGIC,
            register::VERSION => VERSION,
            register::DEVICE_ID => self.state.model.device_type(),
            register::VENDOR_ID => 0,
            register::DEVICE_FEATURES => half(self.state.offered, self.state.selected.features),
            register::QUEUE_NUM_MAX => queue.map_or(0, |queue| u32::from(queue.max_size())),
            register::QUEUE_READY => queue.map_or(0, |queue| u32::from(queue.ready())),
            register::INTERRUPT_STATUS => self.state.interrupt,
            register::STATUS => self.state.status,
            register::CONFIG_GENERATION => self.state.config_generation,
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u64, value: u32) {
        match offset {
            register::DEVICE_FEATURES_SEL => self.state.selected.features = value,
            register::DRIVER_FEATURES_SEL => self.state.selected.driver_features = value,
            register::DRIVER_FEATURES => self.accept(value),
            register::QUEUE_SEL => self.state.selected.queue = value,
            register::QUEUE_NOTIFY if self.state.status & DRIVER_OK != 0 => {
                self.serve(value as usize);
            }
            register::INTERRUPT_ACK => self.state.interrupt &= !value,
            register::STATUS if value == 0 => self.reset(),
            register::STATUS => self.state.status = value,
            _ => self.set_up_queue(offset, value),
        }
    }

    /// A driver sets queues up before it is ready, and never again but for a reset.
    fn set_up_queue(&mut self, offset: u64, value: u32) {
        let Some(queue) = self.queues.get_mut(self.state.selected.queue as usize) else { return };
        if self.state.status & DRIVER_OK != 0 {
            return;
        }
        match offset {
            register::QUEUE_NUM => queue.set_size(value.min(u32::from(u16::MAX)) as u16),
            register::QUEUE_READY => {
                queue.set_event_idx(self.state.accepted & EVENT_IDX != 0);
                queue.set_ready(value == 1);
            }
            register::QUEUE_DESC_LOW => queue.set_desc_table_address(Some(value), None),
            register::QUEUE_DESC_HIGH => queue.set_desc_table_address(None, Some(value)),
            register::QUEUE_DRIVER_LOW => queue.set_avail_ring_address(Some(value), None),
            register::QUEUE_DRIVER_HIGH => queue.set_avail_ring_address(None, Some(value)),
            register::QUEUE_DEVICE_LOW => queue.set_used_ring_address(Some(value), None),
            register::QUEUE_DEVICE_HIGH => queue.set_used_ring_address(None, Some(value)),
            _ => {}
        }
    }

    fn accept(&mut self, value: u32) {
        let shift = match self.state.selected.driver_features {
            0 => 0,
            1 => 32,
            _ => return,
        };
        let accepted = self.state.accepted & !(0xffff_ffff << shift) | u64::from(value) << shift;
        self.state.accepted = accepted & self.state.offered;
    }

    fn reset(&mut self) {
        self.state.status = 0;
        self.state.interrupt = 0;
        self.state.accepted = 0;
        self.state.selected = Selected::default();
        self.queues.iter_mut().for_each(QueueT::reset);
        self.device = device(&self.state.model);
    }

    fn serve(&mut self, index: usize) {
        if !self.queues.get(index).is_some_and(|q| q.ready() && q.is_valid(&self.memory)) {
            return;
        }
        let mut served = Served::NOTHING;
        for _ in 0..ROUNDS_MAX {
            served.queues |= self.device.serve(&mut self.queues, index, &self.memory).queues;
            // From here on the driver says when there is more. What it added before it saw that
            // is for the next round.
            match self.queues[index].enable_notification(&self.memory) {
                Ok(true) => {}
                _ => break,
            }
        }
        let mut tell = false;
        for (i, queue) in self.queues.iter_mut().enumerate() {
            // A ring that cannot be read any more is the guest's own loss.
            tell |= served.queues >> (i & 63) & 1 != 0
                && queue.needs_notification(&self.memory).unwrap_or(true);
        }
        if tell {
            self.interrupt(USED_BUFFER);
        }
    }

    fn interrupt(&mut self, why: u32) {
        self.state.interrupt |= why;
        if let Err(error) = self.line.pulse() {
            log::error!("device {}: its interrupt was lost: {error}", self.state.id);
        }
    }
}

fn half(features: u64, select: u32) -> u32 {
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}
