//! XSAVE and XRSTOR, standard format (SDM volume 1, 13.4, 13.7 and 13.8).

use kvm_bindings::kvm_xsave;
use kvm_ioctls::VcpuFd;
use once_cell::sync::OnceCell;
use zerocopy::IntoBytes;

use super::Trap;
use super::memory::{Access, Memory};
use crate::kvm::{Error, Result, set_xsave};
use crate::sys;

/// The legacy region's parts (SDM volume 1, table 13-1).
const X87_CONTROL: std::ops::Range<usize> = 0..24;
const MXCSR: std::ops::Range<usize> = 24..32;
const X87_STACK: std::ops::Range<usize> = 32..160;
const XMM: std::ops::Range<usize> = 160..416;
/// The header's parts.
const XSTATE_BV: std::ops::Range<usize> = 512..520;
const HEADER_REST: std::ops::Range<usize> = 520..576;
const AREA_MIN: usize = 576;

const X87: u64 = 1 << 0;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;

/// MXCSR after reset, and the bits that a processor with DAZ knows.
const MXCSR_INIT: u32 = 0x1f80;
const MXCSR_KNOWN: u32 = 0xffff;

/// Bytes of KVM's buffer.
const KVM_AREA: usize = 4096;

/// Where a component beyond the legacy ones lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Component {
    bit: u64,
    at: usize,
    len: usize,
}

type Trapped = std::result::Result<(), Trap>;

/// XCR0.
pub(super) fn xcr0(fd: &VcpuFd) -> Result<u64> {
    let xcrs = fd.get_xcrs().map_err(Error::ioctl("KVM_GET_XCRS"))?;
    let count = (xcrs.nr_xcrs as usize).min(xcrs.xcrs.len());
    Ok(xcrs.xcrs[..count].iter().find(|x| x.xcr == 0).map_or(X87, |x| x.value))
}

/// Stores the requested components of the vCPU's state.
pub(super) fn save(fd: &VcpuFd, memory: &Memory<'_>, at: u64, mask: u64) -> Result<Trapped> {
    let wanted = mask & xcr0(fd)?;
    let state = get(fd)?;
    Ok(store(memory, at, wanted, state.as_bytes()))
}

/// Loads the requested components into the vCPU.
pub(super) fn restore(fd: &VcpuFd, memory: &Memory<'_>, at: u64, mask: u64) -> Result<Trapped> {
    let xcr0 = xcr0(fd)?;
    let mut state = get(fd)?;
    match load(memory, at, mask & xcr0, xcr0, state.as_mut_bytes()) {
        Ok(()) => set_xsave(fd, &state).map(Ok),
        Err(trap) => Ok(Err(trap)),
    }
}

fn get(fd: &VcpuFd) -> Result<kvm_xsave> {
    fd.get_xsave().map_err(Error::ioctl("KVM_GET_XSAVE"))
}

fn store(memory: &Memory<'_>, at: u64, wanted: u64, state: &[u8]) -> Trapped {
    check_operand(memory, at, wanted, Access::Write)?;
    for range in parts(wanted) {
        memory.write(at + range.start as u64, &state[range])?;
    }
    let mut header = [0u8; 8];
    memory.read(at + XSTATE_BV.start as u64, &mut header)?;
    let in_use = word(state, XSTATE_BV);
    let merged = u64::from_le_bytes(header) & !wanted | in_use & wanted;
    memory.write(at + XSTATE_BV.start as u64, &merged.to_le_bytes())
}

fn load(memory: &Memory<'_>, at: u64, wanted: u64, xcr0: u64, state: &mut [u8]) -> Trapped {
    check_operand(memory, at, wanted, Access::Read)?;
    // One copy, checked and used.
    let mut area = vec![0u8; area_len(wanted)];
    memory.read(at, &mut area)?;
    let present = word(&area, XSTATE_BV);
    let reserved_set = area[HEADER_REST].iter().any(|byte| *byte != 0);
    if present & !xcr0 != 0 || reserved_set {
        return Err(Trap::GeneralProtection);
    }
    let mxcsr = u32::from_le_bytes([area[24], area[25], area[26], area[27]]);
    let loads_mxcsr = wanted & (SSE | AVX) != 0;
    if loads_mxcsr && mxcsr & !MXCSR_KNOWN != 0 {
        return Err(Trap::GeneralProtection);
    }
    for range in parts(wanted & present) {
        state[range.clone()].copy_from_slice(&area[range]);
    }
    let mut in_use = word(state, XSTATE_BV) & !wanted | present & wanted;
    if loads_mxcsr {
        state[MXCSR].copy_from_slice(&area[MXCSR]);
        // KVM takes MXCSR only along with the SSE component, and one that is not as after reset
        // makes that component one in use; its registers are zero if the area had none.
        if wanted & SSE != 0 && present & SSE == 0 && mxcsr != MXCSR_INIT {
            state[XMM].fill(0);
            in_use |= SSE;
        } else if wanted & SSE == 0 {
            in_use |= SSE;
        }
    }
    state[XSTATE_BV].copy_from_slice(&in_use.to_le_bytes());
    Ok(())
}

fn check_operand(memory: &Memory<'_>, at: u64, wanted: u64, access: Access) -> Trapped {
    if !at.is_multiple_of(64) {
        return Err(Trap::GeneralProtection);
    }
    memory.check(at, area_len(wanted), access)
}

/// The ranges of an area that hold the wanted components.
fn parts(wanted: u64) -> impl Iterator<Item = std::ops::Range<usize>> {
    let legacy = [(X87, X87_CONTROL), (SSE | AVX, MXCSR), (X87, X87_STACK), (SSE, XMM)];
    let extended = components().iter().map(|c| (c.bit, c.at..c.at + c.len));
    legacy.into_iter().chain(extended).filter(move |(bit, _)| wanted & bit != 0).map(|(_, r)| r)
}

fn area_len(wanted: u64) -> usize {
    parts(wanted).map(|range| range.end).fold(AREA_MIN, usize::max)
}

/// CPUID leaf 0xd: where this processor, and so KVM's buffer, keeps each component.
fn components() -> &'static [Component] {
    static COMPONENTS: OnceCell<Vec<Component>> = OnceCell::new();
    COMPONENTS.get_or_init(|| {
        (2..32)
            .map(|index| {
                let leaf = sys::cpuid(0xd, index);
                Component { bit: 1 << index, at: leaf.ebx as usize, len: leaf.eax as usize }
            })
            .filter(|c| c.len > 0 && c.at >= AREA_MIN && c.at + c.len <= KVM_AREA)
            .collect()
    })
}

fn word(bytes: &[u8], range: std::ops::Range<usize>) -> u64 {
    let mut word = [0u8; 8];
    word.copy_from_slice(&bytes[range]);
    u64::from_le_bytes(word)
}
