//! All that can be seen of a machine from outside, and what of it two machines do not share.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, Msrs, Xsave, kvm_msr_entry};
use kvm_ioctls::{Cap, Kvm, KvmNestedStateBuffer, VcpuFd};
use vm_memory::MmapRegion;
use vm_memory::bitmap::AtomicBitmap;
use zeroboot::Sandbox;
use zerocopy::IntoBytes;

/// Where model-specific registers are: the architecture's, those that hypervisors offer, AMD's.
const MSR_RANGES: &[RangeInclusive<u32>] = &[
    0..=0x1fff,
    0x4000_0000..=0x4000_01ff,
    0x4b56_4d00..=0x4b56_4dff,
    0xc000_0000..=0xc000_1fff,
    0xc001_0000..=0xc001_3fff,
];

/// MSRs that are the time itself, or count what the host's processor does.
const TIME: &[(u32, &str)] = &[
    (0x10, "IA32_TSC"),
    (0x6e0, "IA32_TSC_DEADLINE: set a while behind the fork"),
    (0xe7, "IA32_MPERF"),
    (0xe8, "IA32_APERF"),
    (0x4000_0010, "HV_X64_MSR_VP_RUNTIME"),
    (0x4000_0020, "HV_X64_MSR_TIME_REF_COUNT"),
];

/// The LAPIC timer's current count runs.
const APIC_TMCCT: usize = 0x390;

pub const PAGE: usize = 4096;

/// Everything, by name.
pub struct Examination {
    groups: BTreeMap<&'static str, Vec<u8>>,
    msrs: BTreeMap<u32, u64>,
    pub memory: Vec<u8>,
}

/// Reads all there is of a machine that stands at its doorbell.
pub fn examine(sandbox: &mut Sandbox) -> Examination {
    let inside = sandbox.inside();
    complete_exit(inside.vcpu);
    let mut groups = registers(inside.vcpu);
    groups.insert("uart", inside.uart().to_vec());
    let mut memory = memory_of(inside.memory);
    for own in inside.made_distinct() {
        memory[own].fill(0);
    }
    Examination { groups, msrs: msrs(inside.vcpu), memory }
}

/// By way of the kernel: a copy that no compiler may optimise takes seconds for so much.
pub fn memory_of(region: &MmapRegion<AtomicBitmap>) -> Vec<u8> {
    let mut bytes = vec![0; region.size()];
    let process = File::open("/proc/self/mem").unwrap();
    process.read_exact_at(&mut bytes, region.as_ptr() as u64).unwrap();
    bytes
}

/// A store to the doorbell counts as executed only when KVM_RUN is entered again.
fn complete_exit(vcpu: &mut VcpuFd) {
    vcpu.set_kvm_immediate_exit(1);
    let result = vcpu.run().map(|exit| format!("{exit:?}"));
    vcpu.set_kvm_immediate_exit(0);
    assert_eq!(result.map_err(|e| e.errno()), Err(libc::EINTR));
}

/// Not KVM_GET_FPU: what it shows of a component that is in its initial state is what was there
/// before, which no guest sees. KVM_GET_XSAVE has the same registers, and knows.
fn registers(vcpu: &VcpuFd) -> BTreeMap<&'static str, Vec<u8>> {
    let mut lapic = vcpu.get_lapic().unwrap();
    lapic.regs[APIC_TMCCT..APIC_TMCCT + 4].fill(0);
    let cpuid: CpuId = vcpu.get_cpuid2(KVM_MAX_CPUID_ENTRIES).unwrap();
    let mut groups = BTreeMap::from([
        ("regs", vcpu.get_regs().unwrap().as_bytes().to_vec()),
        ("sregs", vcpu.get_sregs().unwrap().as_bytes().to_vec()),
        ("xcrs", vcpu.get_xcrs().unwrap().as_bytes().to_vec()),
        ("xsave", xsave(vcpu)),
        ("lapic", lapic.as_bytes().to_vec()),
        ("events", vcpu.get_vcpu_events().unwrap().as_bytes().to_vec()),
        ("debugregs", vcpu.get_debug_regs().unwrap().as_bytes().to_vec()),
        ("mp_state", vcpu.get_mp_state().unwrap().as_bytes().to_vec()),
        ("tsc_khz", vcpu.get_tsc_khz().unwrap().as_bytes().to_vec()),
        ("cpuid", cpuid.as_slice().iter().flat_map(|leaf| leaf.as_bytes().to_vec()).collect()),
    ]);
    if Kvm::new().unwrap().check_extension(Cap::NestedState) {
        let mut nested = KvmNestedStateBuffer::empty();
        let len = vcpu.nested_state(&mut nested).unwrap();
        let header = [nested.flags as usize, nested.format as usize, len.map_or(0, usize::from)];
        groups.insert("nested", header.as_bytes().to_vec());
    }
    groups
}

/// All components, however large.
#[allow(unsafe_code, reason = "the buffer is as large as KVM says")]
fn xsave(vcpu: &VcpuFd) -> Vec<u8> {
    let len = Kvm::new().unwrap().check_extension_int(Cap::Xsave2);
    if len < PAGE as i32 {
        return vcpu.get_xsave().unwrap().as_bytes().to_vec();
    }
    let mut area = Xsave::new((len as usize - PAGE).div_ceil(4)).unwrap();
    // SAFETY: the area has the length that KVM_CAP_XSAVE2 gives.
    unsafe { vcpu.get_xsave2(&mut area) }.unwrap();
    let fixed = area.as_fam_struct_ref().xsave.as_bytes();
    fixed.iter().copied().chain(area.as_slice().as_bytes().iter().copied()).collect()
}

/// Every MSR that can be read, but for the time.
fn msrs(vcpu: &VcpuFd) -> BTreeMap<u32, u64> {
    // Which those are depends on the host and CPUID; to try them all takes a while.
    static READABLE: OnceLock<Vec<u32>> = OnceLock::new();
    let readable = READABLE.get_or_init(|| {
        let timeless = |index: &u32| TIME.iter().all(|(time, _)| time != index);
        let all: Vec<u32> = MSR_RANGES.iter().cloned().flatten().filter(timeless).collect();
        read_msrs(vcpu, &all).into_keys().collect()
    });
    read_msrs(vcpu, readable)
}

fn read_msrs(vcpu: &VcpuFd, indices: &[u32]) -> BTreeMap<u32, u64> {
    let mut values = BTreeMap::new();
    let mut rest = indices;
    while !rest.is_empty() {
        let entry = |index: &u32| kvm_msr_entry { index: *index, ..Default::default() };
        let wanted: Vec<_> = rest.iter().take(200).map(entry).collect();
        let mut found = Msrs::from_entries(&wanted).unwrap();
        // It stops at the first that cannot be read.
        let read = vcpu.get_msrs(&mut found).unwrap();
        values.extend(found.as_slice()[..read].iter().map(|msr| (msr.index, msr.data)));
        let skipped = usize::from(read < wanted.len());
        rest = &rest[read + skipped..];
    }
    values
}

impl Examination {
    /// The registers that were read.
    pub fn msrs(&self) -> &BTreeMap<u32, u64> {
        &self.msrs
    }

    /// What is not the same in the two, a line a group.
    pub fn differences(&self, other: &Examination) -> Vec<String> {
        let mut found = Vec::new();
        assert_eq!(self.groups.keys().collect::<Vec<_>>(), other.groups.keys().collect::<Vec<_>>());
        for (name, bytes) in &self.groups {
            let theirs = &other.groups[name];
            if bytes != theirs {
                let at = bytes.iter().zip(theirs).position(|(a, b)| a != b);
                found.push(format!("{name} at {at:x?}"));
            }
        }
        for index in
            self.msrs.keys().chain(other.msrs.keys().filter(|i| !self.msrs.contains_key(i)))
        {
            let (ours, theirs) = (self.msrs.get(index), other.msrs.get(index));
            if ours != theirs {
                found.push(format!("msr {index:#x}: {ours:x?} and {theirs:x?}"));
            }
        }
        assert_eq!(self.memory.len(), other.memory.len());
        let pages = self.memory.chunks(PAGE).zip(other.memory.chunks(PAGE)).enumerate();
        let changed: Vec<_> = pages.filter(|(_, (a, b))| a != b).map(|(page, _)| page).collect();
        if !changed.is_empty() {
            found.push(format!(
                "memory: {} pages, {:x?}",
                changed.len(),
                &changed[..changed.len().min(8)]
            ));
        }
        found
    }
}
