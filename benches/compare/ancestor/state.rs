//! The vCPU's state out of a snapshot's `state.bin`, whose form `src/snapshot/format.rs` describes.

use kvm_bindings::{
    kvm_cpuid_entry2, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_sregs, kvm_xcrs,
    kvm_xsave,
};
use zerocopy::FromBytes;

use crate::measure::way::Result;

/// The parts that the ancestor sets.
pub struct State {
    pub cpuid: Vec<kvm_cpuid_entry2>,
    pub regs: kvm_regs,
    pub sregs: kvm_sregs,
    pub xcrs: kvm_xcrs,
    pub xsave: Box<kvm_xsave>,
    pub lapic: kvm_lapic_state,
    pub msrs: Vec<kvm_msr_entry>,
    pub mp_state: kvm_mp_state,
}

/// Ids of sections.
const CPUID: u32 = 1;
const REGS: u32 = 2;
const SREGS: u32 = 3;
const XCRS: u32 = 4;
const XSAVE: u32 = 5;
const LAPIC: u32 = 6;
const MSRS: u32 = 7;
const MP_STATE: u32 = 10;
const HEADER: usize = 20;
const ENTRY: usize = 12;

impl State {
    /// Parses a file of which `Snapshot::load` has just checked that it is whole.
    pub fn parse(file: &[u8]) -> Result<Self> {
        let section = |id| section(file, id).ok_or(format!("state.bin has no section {id}"));
        Ok(State {
            cpuid: all(section(CPUID)?)?,
            regs: one(section(REGS)?)?,
            sregs: one(section(SREGS)?)?,
            xcrs: one(section(XCRS)?)?,
            xsave: Box::new(one(section(XSAVE)?)?),
            lapic: one(section(LAPIC)?)?,
            msrs: all(section(MSRS)?)?,
            mp_state: one(section(MP_STATE)?)?,
        })
    }
}

fn section(file: &[u8], wanted: u32) -> Option<&[u8]> {
    let count = word(file, 12)? as usize;
    let mut at = HEADER + count * ENTRY + 4;
    for entry in (0..count).map(|i| HEADER + i * ENTRY) {
        let len = word(file, entry + 4)? as usize;
        if word(file, entry)? == wanted {
            return file.get(at..at + len);
        }
        at += len;
    }
    None
}

fn word(file: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?))
}

fn one<T: FromBytes>(bytes: &[u8]) -> Result<T> {
    T::read_from_bytes(bytes).map_err(|_| format!("state.bin: {} bytes", bytes.len()).into())
}

fn all<T: FromBytes>(bytes: &[u8]) -> Result<Vec<T>> {
    bytes.chunks(size_of::<T>()).map(one).collect()
}
