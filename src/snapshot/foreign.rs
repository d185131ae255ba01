//! A directory with what Firecracker made, loaded as it is.
//!
//! | file | what |
//! |---|---|
//! | `vmstate` | the state |
//! | `memory.img` or `mem` | the memory; forks map it copy-on-write |
//! | the last part of a disk's path | its image, for reading; what a fork writes is its own |
//!
//! No path in the state is followed out of the directory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use virtio_queue::QueueState;

use super::body::{Body, Pc};
use super::firecracker::{self, Device, Kind, MemoryRegion, Vmstate};
use super::load::{gate, open, rates_differ, read_at_most};
use super::renew::Renewed;
use super::{
    ClonePlaces, Error, FORMAT, LoadOptions, MANIFEST, MEMORY, Manifest, Origin, Result, Snapshot,
};
use crate::device::{Disk, Model, Selected, UartState, WindowState};
use crate::kvm::{Board, Clock, CpuFeatures, Host, Prepared, Ring0, Traits, TscControl, vet_msrs};
use crate::machine::{MemorySlot, Shape};
use crate::sys::{self, Moment};

/// The state's name.
pub const VMSTATE: &str = "vmstate";
/// What the memory may be called.
const MEMORIES: [&str; 2] = [MEMORY, "mem"];
/// COM1's line on every PC.
const UART_GSI: u32 = 4;
/// SDM volume 4: the time stamp counter.
const IA32_TSC: u32 = 0x10;
/// Virtio 1.2, 5.2.3: VIRTIO_BLK_F_RO.
const BLOCK_READ_ONLY: u64 = 1 << 5;
/// Virtio 1.2, 2.1: DRIVER_OK.
const DRIVER_OK: u32 = 4;
/// Virtio 1.2, 6: VIRTIO_F_EVENT_IDX.
const EVENT_IDX: u64 = 1 << 29;
/// A wall clock that is further off than this is worth a word.
const CLOCK_ERROR_MAX_NS: i128 = 250_000_000;
/// `KVM_CLOCK_REALTIME`: the host noted the wall clock.
const HAS_REALTIME: u32 = 1 << 2;

/// A UART as Linux's driver leaves it, for formats that do not say: received data and line status
/// interrupt, 8 bits, and the modem lines up.
const UART_IN_USE: UartState = [12, 0, 5, 1, 0x13, 0x60, 0x0b, 0xb0, 0];

/// Whether a directory has what Firecracker made, and nothing of ours.
pub(super) fn is_foreign(dir: &Path) -> bool {
    dir.join(VMSTATE).exists() && !dir.join(MANIFEST).exists()
}

/// Loads it.
pub(super) fn load(dir: &Path, options: LoadOptions) -> Result<Snapshot> {
    let path = dir.join(VMSTATE);
    let bytes = read_at_most(&path, firecracker::VMSTATE_MAX)?;
    let foreign = |source| Error::Foreign { path: path.clone(), source };
    let state = firecracker::decode(&bytes).map_err(foreign)?;
    let host = Host::open()?;
    let traits = host.traits()?;
    let mut warnings = Vec::new();
    let (memory, slots) = memory(dir, &path, &state.regions)?;
    let clock = clock(dir, &state, traits, options, &mut warnings)?;
    let windows = windows(dir, &path, &state.devices, &mut warnings)?;
    let vcpus = state.vcpus.len();
    let shape = Shape { slots, vcpus, windows, uart_gsi: UART_GSI }.check()?;
    let renewed = Renewed::check(state.generation, state.vmclock, &shape)
        .map_err(|what| Error::corrupt(&path, what))?;
    let ram_bytes = shape.slots.iter().map(|slot| slot.len).sum();
    let memory =
        if options.sealed_copy { sys::sealed_copy(&memory, length(&memory)?)? } else { memory };
    let manifest = manifest(&state, clock, traits, ram_bytes);
    let cpus = cpus(dir, &path, &host, &manifest, state.vcpus, &mut warnings)?;
    let serial = state.serial;
    let uart = serial.as_ref().map_or(UART_IN_USE, |serial| serial.registers);
    let board = Board { pit: state.pit, clock: state.clock, irqchips: state.irqchips };
    let input = serial.map_or(Vec::new(), |serial| serial.input);
    warnings.iter().for_each(|warning| log::warn!("{}: {warning}", dir.display()));
    Ok(Snapshot {
        host,
        body: Body::Pc(Box::new(Pc { shape, board, input, renewed })),
        cpus,
        uart,
        working_set: Vec::new(),
        clone_places: ClonePlaces::default(),
        memory: Arc::new(memory),
        manifest,
        gate: (traits.ring0 == Ring0::Emulated).then(gate),
        warnings,
    })
}

fn length(file: &File) -> Result<usize> {
    let len = file.metadata().map_err(Error::file(Path::new(MEMORY)))?.len();
    Ok(len as usize)
}

/// The memory file, which must have all regions, and what of it the guest has.
fn memory(dir: &Path, vmstate: &Path, regions: &[MemoryRegion]) -> Result<(File, Vec<MemorySlot>)> {
    let [first, _] = MEMORIES.map(|name| dir.join(name));
    let path = MEMORIES.map(|name| dir.join(name)).into_iter().find(|path| path.exists());
    let path = path.unwrap_or(first);
    let file = open(&path)?;
    let mut slots = Vec::new();
    let mut end = 0u64;
    for region in regions {
        let too_large = || Error::corrupt(vmstate, "more memory than there can be");
        slots.extend(plugged(vmstate, region, end)?);
        end = end.checked_add(region.size).ok_or_else(too_large)?;
    }
    let have = file.metadata().map_err(Error::file(&path))?.len();
    // A page behind the end of a mapped file raises SIGBUS.
    if have < end {
        return Err(Error::corrupt(&path, format!("need {end} bytes, file has {have}")));
    }
    Ok((file, slots))
}

/// The parts of a region that the guest has, those in a row as one.
fn plugged(vmstate: &Path, region: &MemoryRegion, offset: u64) -> Result<Vec<MemorySlot>> {
    let parts = region.plugged.len() as u64;
    if parts == 0 {
        return Ok(Vec::new());
    }
    if !region.size.is_multiple_of(parts) {
        let what = format!("{} bytes of memory in {parts} parts", region.size);
        return Err(Error::corrupt(vmstate, what));
    }
    let len = region.size / parts;
    let mut slots: Vec<MemorySlot> = Vec::new();
    for (part, _) in (0u64..).zip(&region.plugged).filter(|(_, plugged)| **plugged) {
        let at = region.base.saturating_add(part * len);
        match slots.last_mut() {
            Some(last) if last.at + last.len == at => last.len += len,
            _ => slots.push(MemorySlot { at, offset: offset.saturating_add(part * len), len }),
        }
    }
    Ok(slots)
}

/// When the snapshot was taken, on both clocks.
fn clock(
    dir: &Path,
    state: &Vmstate,
    traits: Traits,
    options: LoadOptions,
    warnings: &mut Vec<String>,
) -> Result<Clock> {
    let now = Moment::now();
    let first = state.vcpus.first();
    let tsc = first.and_then(|v| v.cpu.msrs.iter().rev().find(|msr| msr.index == IA32_TSC));
    let tsc = tsc.map_or(now.tsc, |msr| msr.data);
    let tsc_khz = first.and_then(|v| v.tsc_khz).filter(|khz| *khz > 0).unwrap_or(traits.tsc_khz);
    let noted = state.clock.flags & HAS_REALTIME != 0 && state.clock.realtime > 0;
    let realtime_ns = if noted { state.clock.realtime } else { now.realtime_ns };
    let clock = Clock { realtime_ns, tsc, tsc_khz };
    if !noted {
        warnings.push("it does not say when it was taken; its clocks go on from there".into());
    }
    let ns = |ticks: i128| ticks * 1_000_000 / i128::from(tsc_khz);
    let behind_ns = ns(i128::from(tsc) - i128::from(now.tsc));
    if traits.tsc == TscControl::Raw && behind_ns > 0 {
        if !options.any_clock {
            let path = dir.to_path_buf();
            return Err(Error::StandingClock { path, seconds: behind_ns / 1_000_000_000 + 1 });
        }
        warnings.push("time stands still: the host's counter is behind the snapshot's".into());
    }
    let slept_ns = i128::from(now.realtime_ns) - i128::from(realtime_ns);
    let error_ns = match traits.tsc {
        TscControl::Raw => -behind_ns - slept_ns,
        TscControl::Settable => (-slept_ns).max(0),
    };
    if error_ns.abs() > CLOCK_ERROR_MAX_NS {
        warnings.push(format!(
            "a guest that goes by its time stamp counter is {} s {}: the counter cannot be set here",
            error_ns.abs() / 1_000_000_000,
            if error_ns > 0 { "ahead" } else { "behind" }
        ));
    }
    Ok(clock)
}

fn manifest(state: &Vmstate, clock: Clock, traits: Traits, ram_bytes: u64) -> Manifest {
    let leaves = state.vcpus.first().map_or(&[][..], |vcpu| &vcpu.cpu.cpuid);
    let made_by = format!("Firecracker {}, format {}", state.version.maker(), state.version);
    Manifest {
        format: FORMAT,
        protocol: 0,
        runtime: "console".into(),
        ram_bytes,
        memory_sha256: String::new(),
        rootfs_bytes: 0,
        rootfs_sha256: String::new(),
        clock,
        ring0: traits.ring0,
        cpu: CpuFeatures::of_guest(leaves),
        origin: Origin { zeroboot: made_by, ..Origin::default() },
    }
}

fn cpus(
    dir: &Path,
    vmstate: &Path,
    host: &Host,
    manifest: &Manifest,
    vcpus: Vec<firecracker::VcpuState>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Prepared>> {
    let refuse = |why: String| Err(Error::Host { path: dir.to_path_buf(), why });
    if vcpus.is_empty() {
        return Err(Error::corrupt(vmstate, "no vCPU"));
    }
    // Another vendor's processor, or another layout of extended state, would harm the guest at once. A
    // feature that is missing may be one that it never uses.
    let own = CpuFeatures::of_host();
    let words = vec![0; own.words.len()];
    if let Some(lacking) = (CpuFeatures { words, ..manifest.cpu.clone() }).lacking_on(&own) {
        return refuse(format!("it needs {lacking}"));
    }
    if let Some(lacking) = manifest.cpu.lacking_on(&own) {
        warnings.push(format!("its guest was told of {lacking}, which this host has not got"));
    }
    let traits = host.traits()?;
    let scaled = rates_differ(manifest.clock.tsc_khz, traits.tsc_khz);
    if scaled && !(traits.tsc == TscControl::Settable && host.can_scale_tsc()) {
        return refuse(format!(
            "its time stamp counter runs at {} kHz, this host's at {} kHz and cannot be scaled",
            manifest.clock.tsc_khz, traits.tsc_khz
        ));
    }
    let mut cpus = Vec::new();
    for vcpu in vcpus {
        if vcpu.xsave_extra.iter().any(|word| *word != 0) {
            return refuse("it has state of AMX, which forks have not got".into());
        }
        let mut cpu = vcpu.cpu;
        cpu.msrs = vet_msrs(host, &cpu.cpuid, &cpu.msrs)?;
        let prepared = Prepared::new(cpu, manifest.clock, traits)?;
        cpus.push(if scaled { prepared.scale_tsc() } else { prepared });
    }
    Ok(cpus)
}

fn windows(
    dir: &Path,
    vmstate: &Path,
    devices: &[Device],
    warnings: &mut Vec<String>,
) -> Result<Vec<WindowState>> {
    let mut windows = Vec::new();
    for device in devices {
        let model = model(dir, device)?;
        if let Model::Inert { .. } = model {
            let what = name(&device.kind);
            warnings.push(format!("device {} ({what}) is there and does nothing", device.id));
        }
        let gsi = device.gsi.ok_or_else(|| {
            Error::corrupt(vmstate, format!("device {} has no interrupt line", device.id))
        })?;
        windows.push(window(device, model, gsi));
    }
    Ok(windows)
}

fn window(device: &Device, model: Model, gsi: u32) -> WindowState {
    let transport = &device.transport;
    let event_idx_enabled = device.accepted & EVENT_IDX != 0;
    let queue = |q: &firecracker::Queue| QueueState {
        max_size: q.max_size,
        next_avail: q.next_available,
        next_used: q.next_used,
        event_idx_enabled,
        size: q.size,
        ready: q.ready,
        desc_table: q.descriptors,
        avail_ring: q.available,
        used_ring: q.used,
    };
    WindowState {
        id: device.id.clone(),
        model,
        address: device.address,
        gsi,
        offered: device.offered,
        accepted: device.accepted,
        selected: Selected {
            features: transport.features_select,
            driver_features: transport.driver_features_select,
            queue: transport.queue_select,
        },
        // A device that was never set up has no rings to look at, whatever its status says.
        status: if device.activated { transport.status } else { transport.status & !DRIVER_OK },
        config_generation: transport.config_generation,
        interrupt: transport.interrupt,
        queues: device.queues.iter().map(queue).collect(),
    }
}

fn model(dir: &Path, device: &Device) -> Result<Model> {
    Ok(match &device.kind {
        Kind::Block { path } => {
            let image = image(dir, &device.id, path)?;
            let read_only = device.offered & BLOCK_READ_ONLY != 0;
            let disk = Disk::new(open(&image)?, &device.id, read_only);
            Model::Block(Arc::new(disk.map_err(Error::file(&image))?))
        }
        Kind::Vsock { cid } => Model::Vsock { cid: *cid },
        Kind::Entropy => Model::Entropy,
        Kind::VhostUserBlock => Model::Inert { device_type: 2 },
        Kind::Net => Model::Inert { device_type: 1 },
        Kind::Balloon => Model::Inert { device_type: 5 },
        Kind::HotplugMemory => Model::Inert { device_type: 24 },
        Kind::Pmem => Model::Inert { device_type: 27 },
    })
}

/// The image of a disk: in the directory, by the last part of the path that the state has.
fn image(dir: &Path, id: &str, path: &str) -> Result<PathBuf> {
    let name = Path::new(path).file_name();
    let name = name.ok_or_else(|| {
        Error::corrupt(&dir.join(VMSTATE), format!("disk {id} has no file's name: {path:?}"))
    })?;
    Ok(dir.join(name))
}

fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Block { .. } => "virtio-block",
        Kind::VhostUserBlock => "vhost-user block",
        Kind::Net => "virtio-net",
        Kind::Vsock { .. } => "virtio-vsock",
        Kind::Balloon => "virtio-balloon",
        Kind::Entropy => "virtio-rng",
        Kind::Pmem => "virtio-pmem",
        Kind::HotplugMemory => "virtio-mem",
    }
}
