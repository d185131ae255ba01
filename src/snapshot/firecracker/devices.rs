//! The fields of devices, in their order. What only some formats have is a type of [`Wire`], and `()` in
//! the others.

#![allow(dead_code, reason = "every field must be read, and not every field is needed")]

use std::fmt::Debug;

use serde::Deserialize;
use serde::de::Error as _;

use super::bounded::List;
use super::schema::{BLOCKS_MAX, Piece};
use super::settle::{InterruptStatus, IntoDevices};

/// There is an interrupt line for each.
const DEVICES_MAX: usize = 64;
const QUEUES_MAX: usize = 32;
const CONFIG_MAX: usize = 4096;

/// What differs between formats in the devices.
pub(super) trait Wire: Debug {
    /// A virtio device's type.
    type Kind: Piece;
    /// A device's interrupt status, where it stands in format 6.
    type EarlyInterrupt: Piece + InterruptStatus;
    /// And where it stands since.
    type Interrupt: Piece + InterruptStatus;
    /// The metadata service.
    type Mmds: Piece;
    /// Where a vsock ends on the host.
    type Backend: Piece;
    /// Whether the guest has still to be told that a vsock was reset.
    type PendingReset: Piece;
    type NetMtu: Piece;
    /// Counters of a network device's buffers.
    type NetBuffers: Piece;
    type BalloonStatistics: Piece;
    type BalloonHinting: Piece;
    type Pmem: Piece + IntoDevices;
    type HotplugMemory: Piece + IntoDevices;
}

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire")]
pub(super) struct Devices<W: Wire> {
    pub(super) blocks: List<Attached<Block<W>, W>, DEVICES_MAX>,
    pub(super) nets: List<Attached<Net<W>, W>, DEVICES_MAX>,
    pub(super) vsock: Option<Attached<Vsock<W>, W>>,
    pub(super) balloon: Option<Attached<Balloon<W>, W>>,
    pub(super) mmds: W::Mmds,
    pub(super) entropy: Option<Attached<Entropy<W>, W>>,
    pub(super) pmem: W::Pmem,
    pub(super) hotplug_memory: W::HotplugMemory,
}

/// A device in its window.
#[derive(Debug, Deserialize)]
#[serde(bound = "D: Piece, W: Wire")]
pub(super) struct Attached<D, W: Wire> {
    pub(super) id: String,
    pub(super) device: D,
    pub(super) transport: Transport<W>,
    pub(super) address: u64,
    pub(super) len: u64,
    pub(super) gsi: Option<u32>,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire")]
pub(super) struct Transport<W: Wire> {
    pub(super) features_select: u32,
    pub(super) driver_features_select: u32,
    pub(super) queue_select: u32,
    pub(super) status: u32,
    pub(super) config_generation: u32,
    pub(super) interrupt: W::Interrupt,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire")]
pub(super) struct Virtio<W: Wire> {
    kind: W::Kind,
    pub(super) offered: u64,
    pub(super) accepted: u64,
    pub(super) queues: List<Queue, QUEUES_MAX>,
    pub(super) interrupt: W::EarlyInterrupt,
    pub(super) activated: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Queue {
    pub(super) max_size: u16,
    pub(super) size: u16,
    pub(super) ready: bool,
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
    pub(super) next_available: u16,
    pub(super) next_used: u16,
    /// Used entries that the guest was not yet told of.
    pub(super) added: u16,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire")]
pub(super) enum Block<W: Wire> {
    Virtio {
        id: String,
        partition: Option<String>,
        cache: Cache,
        root: bool,
        path: String,
        virtio: Virtio<W>,
        limiter: Limiter,
        engine: Engine,
    },
    VhostUser {
        id: String,
        partition: Option<String>,
        cache: Cache,
        root: bool,
        socket: String,
        vu_features: u64,
        config: List<u8, CONFIG_MAX>,
        virtio: Virtio<W>,
    },
}

#[derive(Debug, Deserialize)]
pub(super) enum Cache {
    Unsafe,
    Writeback,
}

#[derive(Debug, Deserialize)]
pub(super) enum Engine {
    Sync,
    Async,
}

#[derive(Debug, Deserialize)]
pub(super) struct Limiter {
    operations: Option<Bucket>,
    bandwidth: Option<Bucket>,
}

#[derive(Debug, Deserialize)]
struct Bucket([u64; 5]);

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire")]
pub(super) struct Net<W: Wire> {
    id: String,
    tap: String,
    receive: Limiter,
    transmit: Limiter,
    mmds: Option<NetMmds>,
    mac: Option<String>,
    mtu: W::NetMtu,
    pub(super) virtio: Virtio<W>,
    buffers: W::NetBuffers,
}

#[derive(Debug, Deserialize)]
struct NetMmds {
    mac: [u8; 6],
    ip: u32,
    port: u16,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire")]
pub(super) struct Vsock<W: Wire> {
    backend: W::Backend,
    pub(super) front: VsockFront<W>,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire")]
pub(super) struct VsockFront<W: Wire> {
    pub(super) cid: u64,
    pub(super) virtio: Virtio<W>,
    pending_reset: W::PendingReset,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire")]
pub(super) struct Balloon<W: Wire> {
    interval: u16,
    statistics_descriptor: Option<u16>,
    statistics: W::BalloonStatistics,
    pages: u32,
    actual: u32,
    hinting: W::BalloonHinting,
    pub(super) virtio: Virtio<W>,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire")]
pub(super) struct Entropy<W: Wire> {
    pub(super) virtio: Virtio<W>,
    limiter: Limiter,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire, L: Piece")]
pub(super) struct Pmem<W: Wire, L> {
    pub(super) virtio: Virtio<W>,
    start: u64,
    size: u64,
    config: PmemConfig<L>,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "L: Piece")]
struct PmemConfig<L> {
    id: String,
    path: String,
    root: bool,
    read_only: bool,
    limiter: L,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire")]
pub(super) struct HotplugMemory<W: Wire> {
    pub(super) virtio: Virtio<W>,
    config: [u64; 5],
    slot_size: u64,
    plugged: List<bool, BLOCKS_MAX>,
}

pub(super) type PmemList<W, L> = List<Attached<Pmem<W, L>, W>, DEVICES_MAX>;

/// The lists again, for devices on a PCI bus, of which there must be none.
#[derive(Debug, Deserialize)]
#[serde(bound = "M: Piece, P: Piece, H: Piece")]
pub(super) struct PciDevices<M, P, H> {
    blocks: List<OnPci, 0>,
    nets: List<OnPci, 0>,
    vsock: Option<OnPci>,
    balloon: Option<OnPci>,
    mmds: M,
    entropy: Option<OnPci>,
    pmem: P,
    hotplug_memory: H,
}

pub(super) type NoPmem = List<OnPci, 0>;

#[derive(Debug, Deserialize)]
#[serde(bound = "M: Piece, P: Piece, H: Piece")]
pub(super) struct Pci<M, P, H> {
    pub(super) enabled: bool,
    devices: PciDevices<M, P, H>,
}

/// Nothing that can be read.
#[derive(Debug)]
pub(super) enum OnPci {}

/// What a snapshot of a machine with a PCI bus is told.
pub(super) const PCI_REFUSED: &str = "its devices are on a PCI bus; only snapshots of machines with virtio-mmio devices can be forked";

impl<'de> Deserialize<'de> for OnPci {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(PCI_REFUSED))
    }
}
