//! In what the formats differ, and how each becomes the same [`Vmstate`].

use serde::Deserialize;

use super::container::{Container, Encoding};
use super::devices::{
    Attached, Devices, HotplugMemory, Limiter, NoPmem, OnPci, Pci, PciDevices, PmemList, Wire,
};
use super::schema::{
    Acpi, Addresses, Generation, Ids, Piece, PlainRegion, Region, Root, Serial, Vm,
};
use super::settle::Settle;
use super::{Error, Vmstate, fixed};

type Result<T> = std::result::Result<T, String>;

/// Firecracker 1.12.
#[derive(Debug)]
pub(super) struct V6;
/// Firecracker 1.13.
#[derive(Debug)]
pub(super) struct V8First;
/// Firecracker 1.14.
#[derive(Debug)]
pub(super) struct V8Second;
/// Firecracker 1.15.
#[derive(Debug)]
pub(super) struct V9;
/// Firecracker 1.16.
#[derive(Debug)]
pub(super) struct V10;
/// Firecracker 1.17.
#[derive(Debug)]
pub(super) struct V11;

#[derive(Debug, Deserialize)]
pub(super) enum MmdsVersion {
    V1,
    V2,
}

/// The version, and whether it answers as IMDS does.
pub(super) type Mmds = Option<(MmdsVersion, bool)>;

#[derive(Debug, Deserialize)]
pub(super) enum Backend {
    Uds {
        #[allow(dead_code)]
        path: String,
    },
}

/// The path of the socket, and the last port that the host's side used.
type BackendWithPort = (String, u32);

/// A virtio device's type as an ordinal.
#[derive(Debug, Deserialize)]
pub(super) enum Ordinal {
    Net,
    Block,
    Rng,
    Balloon,
    Vsock,
    Mem,
    Pmem,
}

type Statistics<const N: usize> = [Option<u64>; N];
type Hinting = (u32, u32, Option<u32>, bool);
type Memory<W> = Option<Attached<HotplugMemory<W>, W>>;

impl Wire for V6 {
    type Kind = u32;
    type EarlyInterrupt = u32;
    type Interrupt = ();
    type Mmds = Option<MmdsVersion>;
    type Backend = Backend;
    type PendingReset = ();
    type NetMtu = ();
    type NetBuffers = (u16, u16, u32);
    type BalloonStatistics = Statistics<10>;
    type BalloonHinting = ();
    type Pmem = ();
    type HotplugMemory = ();
}

impl Wire for V8First {
    type Kind = u32;
    type EarlyInterrupt = ();
    type Interrupt = u32;
    type Mmds = Mmds;
    type Backend = Backend;
    type PendingReset = ();
    type NetMtu = ();
    type NetBuffers = ();
    type BalloonStatistics = Statistics<10>;
    type BalloonHinting = ();
    type Pmem = ();
    type HotplugMemory = ();
}

impl Wire for V8Second {
    type Kind = u32;
    type EarlyInterrupt = ();
    type Interrupt = u32;
    type Mmds = Mmds;
    type Backend = Backend;
    type PendingReset = ();
    type NetMtu = ();
    type NetBuffers = ();
    type BalloonStatistics = Statistics<16>;
    type BalloonHinting = Hinting;
    type Pmem = PmemList<Self, ()>;
    type HotplugMemory = Memory<Self>;
}

impl Wire for V9 {
    type Kind = Ordinal;
    type EarlyInterrupt = ();
    type Interrupt = u32;
    type Mmds = Mmds;
    type Backend = BackendWithPort;
    type PendingReset = ();
    type NetMtu = ();
    type NetBuffers = ();
    type BalloonStatistics = Statistics<16>;
    type BalloonHinting = Hinting;
    type Pmem = PmemList<Self, ()>;
    type HotplugMemory = Memory<Self>;
}

impl Wire for V10 {
    type Kind = Ordinal;
    type EarlyInterrupt = ();
    type Interrupt = u32;
    type Mmds = Mmds;
    type Backend = BackendWithPort;
    type PendingReset = ();
    type NetMtu = Option<u16>;
    type NetBuffers = ();
    type BalloonStatistics = Statistics<16>;
    type BalloonHinting = Hinting;
    type Pmem = PmemList<Self, Limiter>;
    type HotplugMemory = Memory<Self>;
}

impl Wire for V11 {
    type Kind = Ordinal;
    type EarlyInterrupt = ();
    type Interrupt = u32;
    type Mmds = Mmds;
    type Backend = BackendWithPort;
    type PendingReset = bool;
    type NetMtu = Option<u16>;
    type NetBuffers = ();
    type BalloonStatistics = Statistics<16>;
    type BalloonHinting = Hinting;
    type Pmem = PmemList<Self, Limiter>;
    type HotplugMemory = Memory<Self>;
}

type Ranges<const N: usize> = [Addresses; N];

#[derive(Debug, Deserialize)]
pub(super) struct Devices6 {
    pub(super) mmio: Devices<V6>,
    pub(super) generation: Option<Generation>,
}

/// 1.13 has no clock page.
#[derive(Debug, Deserialize)]
pub(super) struct Devices8First {
    pub(super) mmio: Devices<V8First>,
    pub(super) generation: Option<Generation>,
    pub(super) pci: Pci<Mmds, (), ()>,
}

pub(super) type WholePci = Pci<Mmds, NoPmem, Option<OnPci>>;

#[derive(Debug, Deserialize)]
pub(super) struct Devices8Second {
    pub(super) mmio: Devices<V8Second>,
    pub(super) acpi: Acpi<(), ()>,
    pub(super) pci: WholePci,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "W: Wire, S: Piece")]
pub(super) struct Devices9<W: Wire, S> {
    pub(super) mmio: Devices<W>,
    pub(super) acpi: Acpi<u32, u64>,
    pub(super) pci: WholePci,
    pub(super) serial: S,
}

#[derive(Debug, Deserialize)]
pub(super) enum Bus {
    Mmio(Box<Devices<V11>>),
    Pci(#[allow(dead_code)] PciDevices<Mmds, NoPmem, Option<OnPci>>),
}

#[derive(Debug, Deserialize)]
pub(super) struct Devices11 {
    pub(super) bus: Bus,
    #[allow(dead_code)]
    platform: (),
    pub(super) acpi: Acpi<u32, u64>,
    pub(super) serial: Option<Serial>,
}

type Root6 = Root<Vm<PlainRegion, ()>, Devices6>;
type Root8First = Root<Vm<PlainRegion, ([Ids; 2], Ranges<3>)>, Devices8First>;
type Root8Second = Root<Vm<Region, ([Ids; 2], Ranges<4>)>, Devices8Second>;
type Root9 = Root<Vm<Region, ([Ids; 2], Ranges<4>)>, Devices9<V9, ()>>;
type Root10 = Root<Vm<Region, ([Ids; 2], Ranges<4>)>, Devices9<V10, Option<Serial>>>;
type Root11 = Root<Vm<Region, Ranges<4>>, Devices11>;

/// The state in a container.
pub(super) fn decode(container: &Container<'_>) -> std::result::Result<Vmstate, Error> {
    let version = container.version;
    let state = match version.major {
        6 => read::<Root6>(container).and_then(|root| root.settle(version)),
        8 => either_layout(container),
        9 => read::<Root9>(container).and_then(|root| root.settle(version)),
        10 => read::<Root10>(container).and_then(|root| root.settle(version)),
        _ => read::<Root11>(container).and_then(|root| root.settle(version)),
    };
    state.map_err(|what| Error::Contents { version, what })
}

/// Two releases wrote two layouts under one number. Only one of them uses up the last byte.
fn either_layout(container: &Container<'_>) -> Result<Vmstate> {
    let version = container.version;
    let second = read::<Root8Second>(container).and_then(|root| root.settle(version));
    second.or_else(|second| {
        let first = read::<Root8First>(container).and_then(|root| root.settle(version));
        first.map_err(|first| format!("as of Firecracker 1.14: {second}; as of 1.13: {first}"))
    })
}

/// Every field of a file, unchecked.
pub(super) fn read<T: Piece>(container: &Container<'_>) -> Result<T> {
    match container.encoding {
        Encoding::Fixed => fixed::from_bytes(container.state).map_err(|e| e.to_string()),
        Encoding::Columns => bitcode::deserialize(container.state).map_err(|e| e.to_string()),
    }
}

/// A whole file, for tests that look at every field.
#[cfg(test)]
pub(super) fn text(container: &Container<'_>) -> Result<String> {
    Ok(match container.version.major {
        6 => format!("{:#?}", read::<Root6>(container)?),
        8 => format!("{:#?}", read::<Root8Second>(container)?),
        9 => format!("{:#?}", read::<Root9>(container)?),
        10 => format!("{:#?}", read::<Root10>(container)?),
        _ => format!("{:#?}", read::<Root11>(container)?),
    })
}
