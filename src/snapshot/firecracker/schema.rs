//! The fields of all formats, in their order. What only some formats have is a parameter of the type,
//! and `()`, which takes no bytes, in the others.
//!
//! Only the order and the types of fields count, not their names.

#![allow(dead_code, reason = "every field must be read, and not every field is needed")]

use std::fmt::Debug;

use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, kvm_clock_data, kvm_cpuid_entry2, kvm_debugregs, kvm_irqchip,
    kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_pit_state2, kvm_regs, kvm_sregs,
    kvm_vcpu_events, kvm_xcrs,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::bounded::{Counted, Kvm, List, Tree};

/// Firecracker's own limit.
pub(super) const VCPUS_MAX: usize = 32;
/// Firecracker writes them in pieces of KVM's limit.
const MSR_CHUNKS_MAX: usize = 16;
const MSRS_A_CHUNK_MAX: usize = 256;
const REGIONS_MAX: usize = 64;
/// A block of hotplug memory has 2 MiB at least.
pub(super) const BLOCKS_MAX: usize = 1 << 16;
const IDS_MAX: usize = 1024;
/// AMX's tiles are 8 KiB.
const XSAVE_EXTRA_MAX: usize = 4096;
const INPUT_MAX: usize = 64;
const CAPABILITIES_MAX: usize = 64;

/// A piece of a format.
pub(super) trait Piece: DeserializeOwned + Debug {}
impl<T: DeserializeOwned + Debug> Piece for T {}

#[derive(Debug, Deserialize)]
pub(super) struct Header {
    magic: u64,
    version: String,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "V: Piece, D: Piece")]
pub(super) struct Root<V, D> {
    header: Header,
    pub(super) info: Info,
    kvm_capabilities: List<String, CAPABILITIES_MAX>,
    pub(super) vm: V,
    pub(super) vcpus: List<Vcpu, VCPUS_MAX>,
    pub(super) devices: D,
}

#[derive(Debug, Deserialize)]
pub(super) struct Info {
    pub(super) memory_mib: u64,
    smt: bool,
    cpu_template: CpuTemplate,
    boot: Boot,
    huge_pages: HugePages,
}

#[derive(Debug, Deserialize)]
enum CpuTemplate {
    C3,
    T2,
    T2S,
    None,
    T2CL,
    T2A,
}

#[derive(Debug, Deserialize)]
struct Boot {
    kernel: String,
    initrd: Option<String>,
    arguments: Option<String>,
}

/// `Transparent` came in between with format 11, so that the number alone says little.
#[derive(Debug, Deserialize)]
enum HugePages {
    None,
    TransparentOr2M,
    TwoM,
}

// The machine.

#[derive(Debug, Deserialize)]
#[serde(bound = "R: Piece, A: Piece")]
pub(super) struct Vm<R, A> {
    pub(super) regions: List<R, REGIONS_MAX>,
    allocator: A,
    pub(super) pit: Kvm<kvm_pit_state2>,
    pub(super) clock: Kvm<kvm_clock_data>,
    pub(super) pic_master: Kvm<kvm_irqchip>,
    pub(super) pic_slave: Kvm<kvm_irqchip>,
    pub(super) ioapic: Kvm<kvm_irqchip>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PlainRegion {
    pub(super) base: u64,
    pub(super) size: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Region {
    pub(super) base: u64,
    pub(super) size: u64,
    pub(super) kind: RegionKind,
    pub(super) plugged: List<bool, BLOCKS_MAX>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum RegionKind {
    Dram,
    Hotpluggable,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ids {
    base: u32,
    next: Option<u32>,
    end: u32,
    freed: List<u32, IDS_MAX>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Addresses {
    start: u64,
    end: u64,
    tree: Tree,
}

// vCPUs.

#[derive(Debug, Deserialize)]
pub(super) struct Vcpu {
    pub(super) cpuid: Counted<kvm_cpuid_entry2, KVM_MAX_CPUID_ENTRIES>,
    pub(super) msrs: List<Counted<kvm_msr_entry, MSRS_A_CHUNK_MAX>, MSR_CHUNKS_MAX>,
    pub(super) debugregs: Kvm<kvm_debugregs>,
    pub(super) lapic: Kvm<kvm_lapic_state>,
    pub(super) mp_state: Kvm<kvm_mp_state>,
    pub(super) regs: Kvm<kvm_regs>,
    pub(super) sregs: Kvm<kvm_sregs>,
    pub(super) events: Kvm<kvm_vcpu_events>,
    pub(super) xcrs: Kvm<kvm_xcrs>,
    pub(super) xsave: Xsave,
    pub(super) tsc_khz: Option<u32>,
}

/// How many words more than 4096 bytes there are, and the 4096 bytes; then those words.
#[derive(Debug, Deserialize)]
pub(super) struct Xsave(pub(super) Kvm<[u8; 4104]>, pub(super) List<u32, XSAVE_EXTRA_MAX>);

// ACPI's devices and the serial port.

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Generation {
    pub(super) gsi: u32,
    pub(super) address: u64,
}

/// `struct vmclock_abi` of Linux (include/uapi/linux/vmclock-abi.h). `G` is its last field, the
/// generation counter, which came with format 9, as the interrupt did.
#[derive(Debug, Deserialize)]
#[serde(bound = "I: Piece, G: Piece")]
pub(super) struct Clock<I, G> {
    pub(super) address: u64,
    pub(super) gsi: I,
    page: ClockPage<G>,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "G: Piece")]
struct ClockPage<G> {
    magic: u32,
    size: u32,
    version: u16,
    counter_id: u8,
    time_type: u8,
    sequence: u32,
    disruption_marker: u64,
    flags: u64,
    padding: [u8; 2],
    clock_status: u8,
    leap_second_smearing: u8,
    tai_offset: u16,
    leap_indicator: u8,
    counter_period_shift: u8,
    counter_value: u64,
    counter_period: [u64; 3],
    time: [u64; 4],
    generation: G,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "I: Piece, G: Piece")]
pub(super) struct Acpi<I, G> {
    pub(super) generation: Generation,
    pub(super) clock: Clock<I, G>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Serial {
    pub(super) registers: [u8; 9],
    pub(super) input: List<u8, INPUT_MAX>,
}
