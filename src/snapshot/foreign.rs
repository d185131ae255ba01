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
use std::path::Path;
use std::sync::Arc;

use super::attached::windows;
use super::body::{Body, Pc};
use super::firecracker::{self, MemoryRegion, Vmstate};
use super::load::{gate, open, rates_differ, read_at_most};
use super::renew::Renewed;
use super::{
    ClonePlaces, Error, FORMAT, LoadOptions, MANIFEST, MEMORY, Manifest, Origin, Result, Snapshot,
};
use crate::device::UartState;
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
    let (memory, length, slots) = memory(dir, &path, &state.regions)?;
    let clock = clock(dir, &state, traits, options, &mut warnings)?;
    let windows = windows(dir, &path, &state.devices, &mut warnings)?;
    let vcpus = state.vcpus.len();
    if vcpus == 0 {
        return Err(Error::corrupt(&path, "no vCPU"));
    }
    let shape = Shape { slots, vcpus, windows, uart_gsi: UART_GSI }.check()?;
    let renewed = Renewed::check(state.generation, state.vmclock, &shape)
        .map_err(|what| Error::corrupt(&path, what))?;
    let ram_bytes = shape.slots.iter().map(|slot| slot.len).sum();
    let memory = if options.sealed_copy { sys::sealed_copy(&memory, length)? } else { memory };
    let manifest = manifest(&state, clock, traits, ram_bytes);
    check_host(dir, &host, &manifest, &mut warnings)?;
    let cpus = cpus(dir, &host, &manifest, state.vcpus)?;
    let board = Board { pit: state.pit, clock: state.clock, irqchips: state.irqchips };
    let (uart, input) = state.serial.map_or((UART_IN_USE, Vec::new()), |s| (s.registers, s.input));
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

/// The memory file, how much of it the regions take, and what of that the guest has.
fn memory(
    dir: &Path,
    vmstate: &Path,
    regions: &[MemoryRegion],
) -> Result<(File, usize, Vec<MemorySlot>)> {
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
    Ok((file, end as usize, slots))
}

/// The parts of a region that the guest has, those in a row as one.
fn plugged(vmstate: &Path, region: &MemoryRegion, offset: u64) -> Result<Vec<MemorySlot>> {
    let parts = region.plugged.len() as u64;
    if parts == 0 {
        return Ok(Vec::new());
    }
    if !region.size.is_multiple_of(parts) || region.base.checked_add(region.size).is_none() {
        let what = format!("{} bytes at {:#x} in {parts} parts", region.size, region.base);
        return Err(Error::corrupt(vmstate, format!("memory that cannot be: {what}")));
    }
    let len = region.size / parts;
    let mut slots: Vec<MemorySlot> = Vec::new();
    for (part, _) in (0u64..).zip(&region.plugged).filter(|(_, plugged)| **plugged) {
        let at = region.base + part * len;
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
    check_clock(dir, clock, now, traits, options, warnings)?;
    Ok(clock)
}

/// Refuses a clock that would stand still, and warns of one that will be wrong.
fn check_clock(
    dir: &Path,
    clock: Clock,
    now: Moment,
    traits: Traits,
    options: LoadOptions,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let ticks_behind = i128::from(clock.tsc) - i128::from(now.tsc);
    let behind_ns = ticks_behind * 1_000_000 / i128::from(clock.tsc_khz);
    if traits.tsc == TscControl::Raw && behind_ns > 0 {
        if !options.any_clock {
            let path = dir.to_path_buf();
            return Err(Error::StandingClock { path, seconds: behind_ns / 1_000_000_000 + 1 });
        }
        warnings.push("time stands still: the host's counter is behind the snapshot's".into());
    }
    let slept_ns = i128::from(now.realtime_ns) - i128::from(clock.realtime_ns);
    let error_ns = match traits.tsc {
        TscControl::Raw => -behind_ns - slept_ns,
        TscControl::Settable => (-slept_ns).max(0),
    };
    if error_ns.abs() > CLOCK_ERROR_MAX_NS {
        warnings.push(format!(
            "a guest that goes by its time stamp counter is {} s {}: the counter cannot be set so",
            error_ns.abs() / 1_000_000_000,
            if error_ns > 0 { "ahead" } else { "behind" }
        ));
    }
    Ok(())
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
    host: &Host,
    manifest: &Manifest,
    vcpus: Vec<firecracker::VcpuState>,
) -> Result<Vec<Prepared>> {
    let traits = host.traits()?;
    let scaled = rates_differ(manifest.clock.tsc_khz, traits.tsc_khz);
    let mut cpus = Vec::new();
    for vcpu in vcpus {
        if vcpu.xsave_extra.iter().any(|word| *word != 0) {
            return refuse(dir, "it has state of AMX, which forks have not got".into());
        }
        let mut cpu = vcpu.cpu;
        cpu.msrs = vet_msrs(host, &cpu.cpuid, &cpu.msrs)?;
        let prepared = Prepared::new(cpu, manifest.clock, traits)?;
        cpus.push(if scaled { prepared.scale_tsc() } else { prepared });
    }
    Ok(cpus)
}

fn refuse<T>(dir: &Path, why: String) -> Result<T> {
    Err(Error::Host { path: dir.to_path_buf(), why })
}

fn check_host(
    dir: &Path,
    host: &Host,
    manifest: &Manifest,
    warnings: &mut Vec<String>,
) -> Result<()> {
    // Another vendor's processor, or another layout of extended state, would harm the guest at
    // once. A feature that is missing may be one that it never uses.
    let own = CpuFeatures::of_host();
    let words = vec![0; own.words.len()];
    if let Some(lacking) = (CpuFeatures { words, ..manifest.cpu.clone() }).lacking_on(&own) {
        return refuse(dir, format!("it needs {lacking}"));
    }
    if let Some(lacking) = manifest.cpu.lacking_on(&own) {
        warnings.push(format!("its guest was told of {lacking}, which this host has not got"));
    }
    let (theirs, ours) = (manifest.clock.tsc_khz, host.traits()?);
    let can_scale = ours.tsc == TscControl::Settable && host.can_scale_tsc();
    if rates_differ(theirs, ours.tsc_khz) && !can_scale {
        return refuse(
            dir,
            format!(
                "its time stamp counter runs at {theirs} kHz, this host's at {} kHz and cannot be \
                 scaled",
                ours.tsc_khz
            ),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn slots(base: u64, size: u64, plugged_parts: &[bool]) -> Result<Vec<(u64, u64, u64)>> {
        let region = MemoryRegion { base, size, plugged: plugged_parts.to_vec() };
        let slots = plugged(Path::new("vmstate"), &region, 64 * MIB)?;
        Ok(slots.into_iter().map(|slot| (slot.at, slot.offset, slot.len)).collect())
    }

    #[test]
    fn parts_that_are_not_plugged_take_room_in_the_file_and_none_in_the_guest() {
        let base = 512 << 30;
        assert_eq!(slots(base, 8 * MIB, &[true]).unwrap(), [(base, 64 * MIB, 8 * MIB)]);
        assert_eq!(
            slots(base, 8 * MIB, &[false, true, true, false]).unwrap(),
            [(base + 2 * MIB, 66 * MIB, 4 * MIB)]
        );
        assert_eq!(
            slots(base, 8 * MIB, &[true, false, false, true]).unwrap(),
            [(base, 64 * MIB, 2 * MIB), (base + 6 * MIB, 70 * MIB, 2 * MIB)]
        );
        assert_eq!(slots(base, 8 * MIB, &[]).unwrap(), []);
    }

    #[test]
    fn memory_that_cannot_be_is_refused() {
        for (base, size) in [(0, 8 * MIB + 1), (u64::MAX - MIB, 2 * MIB)] {
            let error = slots(base, size, &[true, false]).unwrap_err().to_string();
            assert!(error.contains("memory that cannot be"), "{error}");
        }
    }

    #[test]
    fn memory_around_the_hole_is_found_in_the_file_in_the_order_of_the_list() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("mem")).unwrap();
        let region = |base, size| MemoryRegion { base, size, plugged: vec![true] };
        let regions = [region(0, 3 * MIB), region(4 << 30, 2 * MIB)];
        file.set_len(5 * MIB - 1).unwrap();
        let vmstate = dir.path().join(VMSTATE);
        let short = memory(dir.path(), &vmstate, &regions).unwrap_err().to_string();
        assert!(short.contains("need 5242880 bytes, file has 5242879"), "{short}");
        file.set_len(5 * MIB).unwrap();
        let (_, length, slots) = memory(dir.path(), &vmstate, &regions).unwrap();
        assert_eq!(length as u64, 5 * MIB);
        let upper = MemorySlot { at: 4 << 30, offset: 3 * MIB, len: 2 * MIB };
        assert_eq!(slots[1], upper);
    }
}
