//! From the fields of any format to one [`Vmstate`].

use kvm_bindings::{kvm_msr_entry, kvm_xsave};

use super::bounded::{Counted, List};
use super::devices::{
    self, Attached, Balloon, Block, Devices, Entropy, HotplugMemory, Net, PCI_REFUSED, Pmem,
    Virtio, Vsock, Wire,
};
use super::formats::{Bus, Devices6, Devices8First, Devices8Second, Devices9, Devices11};
use super::schema::{self, Acpi, Piece, PlainRegion, Region, RegionKind, Root, Vcpu, Vm};
use super::{
    Device, Kind, MemoryRegion, Queue, Serial, Transport, VcpuState, Version, VmClock, VmGenId,
    Vmstate,
};
use crate::kvm::CpuState;

/// SDM volume 4: the LAPIC timer's deadline.
const IA32_TSC_DEADLINE: u32 = 0x6e0;

type Result<T> = std::result::Result<T, String>;

/// Makes a state of what was read.
pub(super) trait Settle {
    fn settle(self, version: Version) -> Result<Vmstate>;
}

/// What a format says behind the vCPUs.
pub(super) struct Rest {
    devices: Vec<Device>,
    generation: Option<schema::Generation>,
    vmclock: Option<VmClock>,
    serial: Option<schema::Serial>,
}

impl<R, A, D> Settle for Root<Vm<R, A>, D>
where
    R: Piece + Into<MemoryRegion>,
    A: Piece,
    D: Piece + TryInto<Rest, Error = String>,
{
    fn settle(self, version: Version) -> Result<Vmstate> {
        let rest: Rest = self.devices.try_into()?;
        Ok(Vmstate {
            version,
            regions: self.vm.regions.0.into_iter().map(Into::into).collect(),
            vcpus: self.vcpus.0.into_iter().map(vcpu).collect::<Result<_>>()?,
            pit: self.vm.pit.0,
            clock: self.vm.clock.0,
            irqchips: [self.vm.pic_master.0, self.vm.pic_slave.0, self.vm.ioapic.0],
            devices: rest.devices,
            generation: rest.generation.map(|g| VmGenId { address: g.address, gsi: g.gsi }),
            vmclock: rest.vmclock,
            serial: rest.serial.map(|s| Serial { registers: s.registers, input: s.input.0 }),
        })
    }
}

impl From<PlainRegion> for MemoryRegion {
    fn from(region: PlainRegion) -> Self {
        MemoryRegion { base: region.base, size: region.size, plugged: vec![true] }
    }
}

impl From<Region> for MemoryRegion {
    fn from(region: Region) -> Self {
        let plugged = match region.kind {
            RegionKind::Dram => vec![true],
            RegionKind::Hotpluggable => region.plugged.0,
        };
        MemoryRegion { base: region.base, size: region.size, plugged }
    }
}

fn vcpu(vcpu: Vcpu) -> Result<VcpuState> {
    let (tsc_deadline, msrs) = split_deadline(vcpu.msrs.0);
    let (area, extra) = (vcpu.xsave.0.0, vcpu.xsave.1.0);
    let counted = u64::from_le_bytes(std::array::from_fn(|i| area[i]));
    if counted != extra.len() as u64 {
        return Err(format!("extended state counts {counted} words and has {}", extra.len()));
    }
    let cpu = CpuState {
        cpuid: vcpu.cpuid.0,
        regs: vcpu.regs.0,
        sregs: vcpu.sregs.0,
        xcrs: vcpu.xcrs.0,
        xsave: Box::new(xsave_area(&area[8..])),
        lapic: vcpu.lapic.0,
        msrs,
        events: vcpu.events.0,
        debugregs: vcpu.debugregs.0,
        mp_state: vcpu.mp_state.0,
        tsc_deadline,
    };
    Ok(VcpuState { cpu, xsave_extra: extra, tsc_khz: vcpu.tsc_khz })
}

fn xsave_area(bytes: &[u8]) -> kvm_xsave {
    let mut area = kvm_xsave::default();
    for (word, bytes) in area.region.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    area
}

/// The deadline has a chunk of its own at the end, so that it is set last.
fn split_deadline<const N: usize>(
    chunks: Vec<Counted<kvm_msr_entry, N>>,
) -> (u64, Vec<kvm_msr_entry>) {
    let all = chunks.into_iter().flat_map(|chunk| chunk.0);
    let (deadlines, msrs): (Vec<_>, Vec<_>) = all.partition(|msr| msr.index == IA32_TSC_DEADLINE);
    (deadlines.last().map_or(0, |msr| msr.data), msrs)
}

impl TryFrom<Devices6> for Rest {
    type Error = String;
    fn try_from(from: Devices6) -> Result<Self> {
        let generation = from.generation;
        Ok(Rest { devices: list(from.mmio), generation, vmclock: None, serial: None })
    }
}

impl TryFrom<Devices8First> for Rest {
    type Error = String;
    fn try_from(from: Devices8First) -> Result<Self> {
        no_pci(from.pci.enabled)?;
        let generation = from.generation;
        Ok(Rest { devices: list(from.mmio), generation, vmclock: None, serial: None })
    }
}

impl TryFrom<Devices8Second> for Rest {
    type Error = String;
    fn try_from(from: Devices8Second) -> Result<Self> {
        no_pci(from.pci.enabled)?;
        let vmclock = VmClock { address: from.acpi.clock.address, gsi: None };
        Ok(Rest {
            devices: list(from.mmio),
            generation: Some(from.acpi.generation),
            vmclock: Some(vmclock),
            serial: None,
        })
    }
}

impl<W: Wire, S: Piece + Into<SavedSerial>> TryFrom<Devices9<W, S>> for Rest {
    type Error = String;
    fn try_from(from: Devices9<W, S>) -> Result<Self> {
        no_pci(from.pci.enabled)?;
        Ok(with_acpi(list(from.mmio), from.acpi, from.serial.into().0))
    }
}

impl TryFrom<Devices11> for Rest {
    type Error = String;
    fn try_from(from: Devices11) -> Result<Self> {
        match from.bus {
            Bus::Mmio(devices) => Ok(with_acpi(list(*devices), from.acpi, from.serial)),
            Bus::Pci(_) => Err(PCI_REFUSED.into()),
        }
    }
}

fn with_acpi(devices: Vec<Device>, acpi: Acpi<u32, u64>, serial: Option<schema::Serial>) -> Rest {
    let vmclock = VmClock { address: acpi.clock.address, gsi: Some(acpi.clock.gsi) };
    Rest { devices, generation: Some(acpi.generation), vmclock: Some(vmclock), serial }
}

fn no_pci(enabled: bool) -> Result<()> {
    if enabled { Err(PCI_REFUSED.into()) } else { Ok(()) }
}

/// A serial port's state, where the format has it.
pub(super) struct SavedSerial(Option<schema::Serial>);

impl From<()> for SavedSerial {
    fn from((): ()) -> Self {
        SavedSerial(None)
    }
}

impl From<Option<schema::Serial>> for SavedSerial {
    fn from(serial: Option<schema::Serial>) -> Self {
        SavedSerial(serial)
    }
}

/// A device's interrupt status, which stands in one of two places.
pub(super) trait InterruptStatus {
    fn bits(&self) -> u32;
}

impl InterruptStatus for () {
    fn bits(&self) -> u32 {
        0
    }
}

impl InterruptStatus for u32 {
    fn bits(&self) -> u32 {
        *self
    }
}

// Devices.

/// Devices of one type.
pub(super) trait IntoDevices {
    fn into_devices(self) -> Vec<Device>;
}

impl IntoDevices for () {
    fn into_devices(self) -> Vec<Device> {
        Vec::new()
    }
}

impl<D: Describe<W>, W: Wire, const MAX: usize> IntoDevices for List<Attached<D, W>, MAX> {
    fn into_devices(self) -> Vec<Device> {
        self.0.into_iter().map(device).collect()
    }
}

impl<D: Describe<W>, W: Wire> IntoDevices for Option<Attached<D, W>> {
    fn into_devices(self) -> Vec<Device> {
        self.into_iter().map(device).collect()
    }
}

fn list<W: Wire>(devices: Devices<W>) -> Vec<Device> {
    [
        devices.blocks.into_devices(),
        devices.nets.into_devices(),
        devices.vsock.into_devices(),
        devices.balloon.into_devices(),
        devices.entropy.into_devices(),
        devices.pmem.into_devices(),
        devices.hotplug_memory.into_devices(),
    ]
    .concat()
}

/// What a device is.
pub(super) trait Describe<W: Wire> {
    fn describe(self) -> (Kind, Virtio<W>);
}

impl<W: Wire> Describe<W> for Block<W> {
    fn describe(self) -> (Kind, Virtio<W>) {
        match self {
            Block::Virtio { path, virtio, .. } => (Kind::Block { path }, virtio),
            Block::VhostUser { virtio, .. } => (Kind::VhostUserBlock, virtio),
        }
    }
}

impl<W: Wire> Describe<W> for Net<W> {
    fn describe(self) -> (Kind, Virtio<W>) {
        (Kind::Net, self.virtio)
    }
}

impl<W: Wire> Describe<W> for Vsock<W> {
    fn describe(self) -> (Kind, Virtio<W>) {
        (Kind::Vsock { cid: self.front.cid }, self.front.virtio)
    }
}

impl<W: Wire> Describe<W> for Balloon<W> {
    fn describe(self) -> (Kind, Virtio<W>) {
        (Kind::Balloon, self.virtio)
    }
}

impl<W: Wire> Describe<W> for Entropy<W> {
    fn describe(self) -> (Kind, Virtio<W>) {
        (Kind::Entropy, self.virtio)
    }
}

impl<W: Wire, L: Piece> Describe<W> for Pmem<W, L> {
    fn describe(self) -> (Kind, Virtio<W>) {
        (Kind::Pmem, self.virtio)
    }
}

impl<W: Wire> Describe<W> for HotplugMemory<W> {
    fn describe(self) -> (Kind, Virtio<W>) {
        (Kind::HotplugMemory, self.virtio)
    }
}

fn device<D: Describe<W>, W: Wire>(attached: Attached<D, W>) -> Device {
    let (kind, virtio) = attached.device.describe();
    let transport = &attached.transport;
    Device {
        id: attached.id,
        kind,
        address: attached.address,
        len: attached.len,
        gsi: attached.gsi,
        transport: Transport {
            features_select: transport.features_select,
            driver_features_select: transport.driver_features_select,
            queue_select: transport.queue_select,
            status: transport.status,
            config_generation: transport.config_generation,
            interrupt: transport.interrupt.bits() | virtio.interrupt.bits(),
        },
        offered: virtio.offered,
        accepted: virtio.accepted,
        queues: virtio.queues.0.into_iter().map(queue).collect(),
        activated: virtio.activated,
    }
}

fn queue(queue: devices::Queue) -> Queue {
    Queue {
        max_size: queue.max_size,
        size: queue.size,
        ready: queue.ready,
        descriptors: queue.descriptors,
        available: queue.available,
        used: queue.used,
        next_available: queue.next_available,
        next_used: queue.next_used,
        added: queue.added,
    }
}
