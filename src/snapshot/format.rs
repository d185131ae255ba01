//! `state.bin`: a pure function from bytes to a state and back.
//!
//! ```text
//! 0   magic "ZBSTATE\0"
//! 8   u32 format version        u32 number of sections
//! 16  u32 CRC-32 of the manifest's bytes
//! 20  for each section: u32 id, u32 length, u32 CRC-32 of its bytes
//! ..  u32 CRC-32 of all of the above
//! ..  the sections' bytes, one behind the other, to the end of the file
//! ```
//!
//! All integers are little-endian. The sections are KVM's own structures (Linux's
//! `arch/x86/include/uapi/asm/kvm.h`, a stable ABI), each exactly once, in the order of [`Section`].

use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, KVM_MAX_MSR_ENTRIES, kvm_cpuid_entry2, kvm_debugregs, kvm_lapic_state,
    kvm_mp_state, kvm_msr_entry, kvm_regs, kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use zeroboot_proto::{CLONE_FIELDS_MAX, CloneField};

use super::FORMAT;
use crate::device::{UART_STATE_BYTES, UartState};
use crate::kvm::CpuState;

const MAGIC: &[u8; 8] = b"ZBSTATE\0";
/// A GiB that the smallest program writes to is no working set.
const WORKING_SET_MAX: usize = 1 << 18;
const HEADER: usize = 20;
const ENTRY: usize = 12;

/// What `state.bin` holds.
#[derive(Debug)]
pub struct State {
    /// The vCPU.
    pub cpu: CpuState,
    /// The UART's registers.
    pub uart: UartState,
    /// Numbers of the pages of memory that the smallest program writes to, in ascending order.
    pub working_set: Vec<u32>,
    /// What forks must not share, as the guest's kernel says; not checked.
    pub clone_fields: Vec<CloneField>,
}

/// Why bytes are no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Fewer bytes than something takes.
    #[error("{what}: need {need} bytes, file has {have}")]
    TooShort {
        /// What is cut off.
        what: &'static str,
        /// Where it would end.
        need: usize,
        /// The file's length.
        have: usize,
    },
    /// More bytes than the sections take.
    #[error("{0} bytes behind the last section")]
    TooLong(usize),
    /// Not a state file.
    #[error("not a zeroboot state file")]
    Magic,
    /// Another version.
    #[error("format version {0}, this library reads version {FORMAT}")]
    Version(u32),
    /// A checksum does not match.
    #[error("{0}: checksum mismatch")]
    Checksum(&'static str),
    /// A section that is not where it belongs.
    #[error("section {at}: id {id} is not {expected}")]
    Order {
        /// The section's number.
        at: usize,
        /// The id found there.
        id: u32,
        /// The one that belongs there.
        expected: u32,
    },
    /// A section whose length is none that it can have.
    #[error("{section}: {have} bytes, not {expect}")]
    Length {
        /// Its name.
        section: &'static str,
        /// Its length.
        have: usize,
        /// What it should be.
        expect: &'static str,
    },
}

type Result<T> = std::result::Result<T, FormatError>;

const SECTIONS: [&str; 14] = [
    "cpuid section",
    "regs section",
    "sregs section",
    "xcrs section",
    "xsave section",
    "lapic section",
    "msrs section",
    "events section",
    "debugregs section",
    "mp_state section",
    "deadline section",
    "uart section",
    "working set section",
    "clone fields section",
];

/// The bytes of `state.bin`.
pub fn encode(state: &State, manifest: &[u8]) -> Vec<u8> {
    let cpu = &state.cpu;
    let deadline = cpu.tsc_deadline.to_le_bytes();
    let fields: Vec<[u8; 16]> = state.clone_fields.iter().map(field_bytes).collect();
    let sections: [&[u8]; SECTIONS.len()] = [
        cpu.cpuid.as_bytes(),
        cpu.regs.as_bytes(),
        cpu.sregs.as_bytes(),
        cpu.xcrs.as_bytes(),
        cpu.xsave.as_bytes(),
        cpu.lapic.as_bytes(),
        cpu.msrs.as_bytes(),
        cpu.events.as_bytes(),
        cpu.debugregs.as_bytes(),
        cpu.mp_state.as_bytes(),
        &deadline,
        &state.uart,
        state.working_set.as_bytes(),
        fields.as_bytes(),
    ];
    let mut out = MAGIC.to_vec();
    out.extend(FORMAT.to_le_bytes());
    out.extend((SECTIONS.len() as u32).to_le_bytes());
    out.extend(crc32fast::hash(manifest).to_le_bytes());
    for (i, bytes) in sections.iter().enumerate() {
        out.extend((i as u32 + 1).to_le_bytes());
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend(crc32fast::hash(bytes).to_le_bytes());
    }
    out.extend(crc32fast::hash(&out).to_le_bytes());
    sections.iter().for_each(|bytes| out.extend_from_slice(bytes));
    out
}

/// The state in the bytes of `state.bin`, if they are whole, ours and go with this manifest.
pub fn decode(file: &[u8], manifest: &[u8]) -> Result<State> {
    let s = split(file, manifest)?;
    let cpu = CpuState {
        cpuid: list::<kvm_cpuid_entry2>(s[0], 0, KVM_MAX_CPUID_ENTRIES)?,
        regs: one::<kvm_regs>(s[1], 1)?,
        sregs: one::<kvm_sregs>(s[2], 2)?,
        xcrs: one::<kvm_xcrs>(s[3], 3)?,
        xsave: Box::new(one::<kvm_xsave>(s[4], 4)?),
        lapic: one::<kvm_lapic_state>(s[5], 5)?,
        msrs: list::<kvm_msr_entry>(s[6], 6, KVM_MAX_MSR_ENTRIES)?,
        events: one::<kvm_vcpu_events>(s[7], 7)?,
        debugregs: one::<kvm_debugregs>(s[8], 8)?,
        mp_state: one::<kvm_mp_state>(s[9], 9)?,
        tsc_deadline: u64::from_le_bytes(one(s[10], 10)?),
    };
    Ok(State {
        cpu,
        uart: one::<[u8; UART_STATE_BYTES]>(s[11], 11)?,
        working_set: list::<u32>(s[12], 12, WORKING_SET_MAX)?,
        clone_fields: list::<[u8; 16]>(s[13], 13, CLONE_FIELDS_MAX as usize)?
            .iter()
            .map(field)
            .collect(),
    })
}

/// u64 address, u32 length, u32 kind.
fn field_bytes(field: &CloneField) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&field.address.to_le_bytes());
    bytes[8..12].copy_from_slice(&field.len.to_le_bytes());
    bytes[12..].copy_from_slice(&field.kind.to_le_bytes());
    bytes
}

fn field(bytes: &[u8; 16]) -> CloneField {
    let address = u64::from(word(bytes, 0)) | u64::from(word(bytes, 4)) << 32;
    CloneField { address, len: word(bytes, 8), kind: word(bytes, 12) }
}

/// Checks everything but the sections' contents.
fn split<'a>(file: &'a [u8], manifest: &[u8]) -> Result<[&'a [u8]; SECTIONS.len()]> {
    let need = |what, need: usize| {
        if file.len() < need {
            Err(FormatError::TooShort { what, need, have: file.len() })
        } else {
            Ok(())
        }
    };
    need("header", HEADER)?;
    if !file.starts_with(MAGIC) {
        return Err(FormatError::Magic);
    }
    if word(file, 8) != FORMAT {
        return Err(FormatError::Version(word(file, 8)));
    }
    let table_end = HEADER + ENTRY * SECTIONS.len();
    need("section table", table_end + 4)?;
    if crc32fast::hash(&file[..table_end]) != word(file, table_end)
        || word(file, 12) as usize != SECTIONS.len()
    {
        return Err(FormatError::Checksum("header"));
    }
    if crc32fast::hash(manifest) != word(file, 16) {
        return Err(FormatError::Checksum("manifest"));
    }
    let mut at = table_end + 4;
    let mut sections = [&file[..0]; SECTIONS.len()];
    for (i, section) in sections.iter_mut().enumerate() {
        let entry = HEADER + ENTRY * i;
        let (id, len) = (word(file, entry), word(file, entry + 4) as usize);
        let expected = i as u32 + 1;
        if id != expected {
            return Err(FormatError::Order { at: i, id, expected });
        }
        // Lengths are 32-bit and few: their sum cannot overflow.
        need(SECTIONS[i], at + len)?;
        *section = &file[at..at + len];
        if crc32fast::hash(section) != word(file, entry + 8) {
            return Err(FormatError::Checksum(SECTIONS[i]));
        }
        at += len;
    }
    if at == file.len() { Ok(sections) } else { Err(FormatError::TooLong(file.len() - at)) }
}

fn word(file: &[u8], at: usize) -> u32 {
    let mut bytes = [0u8; 4];
    bytes.copy_from_slice(&file[at..at + 4]);
    u32::from_le_bytes(bytes)
}

fn one<T: FromBytes>(bytes: &[u8], section: usize) -> Result<T> {
    T::read_from_bytes(bytes).map_err(|_| FormatError::Length {
        section: SECTIONS[section],
        have: bytes.len(),
        expect: "the size of KVM's structure",
    })
}

fn list<T: FromBytes + Immutable>(bytes: &[u8], section: usize, max: usize) -> Result<Vec<T>> {
    let size = size_of::<T>();
    if !bytes.len().is_multiple_of(size) || bytes.len() / size > max {
        return Err(FormatError::Length {
            section: SECTIONS[section],
            have: bytes.len(),
            expect: "a list of as many as there can be",
        });
    }
    bytes.chunks_exact(size).map(|chunk| one(chunk, section)).collect()
}

// Tripwires: on disk these sizes are part of the format.
const _: () = {
    assert!(size_of::<kvm_cpuid_entry2>() == 40);
    assert!(size_of::<kvm_regs>() == 144);
    assert!(size_of::<kvm_sregs>() == 312);
    assert!(size_of::<kvm_xcrs>() == 392);
    assert!(size_of::<kvm_xsave>() == 4096);
    assert!(size_of::<kvm_lapic_state>() == 1024);
    assert!(size_of::<kvm_msr_entry>() == 16);
    assert!(size_of::<kvm_vcpu_events>() == 64);
    assert!(size_of::<kvm_debugregs>() == 128);
    assert!(size_of::<kvm_mp_state>() == 4);
};

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: CloneField = CloneField { address: 0x1_0000_0008, len: 8, kind: 6 };

    fn sample() -> State {
        let cpu = CpuState {
            cpuid: vec![kvm_cpuid_entry2 { function: 7, eax: 3, ..Default::default() }],
            regs: kvm_regs { rip: 0x1234, ..Default::default() },
            sregs: kvm_sregs::default(),
            xcrs: kvm_xcrs::default(),
            xsave: Box::new(kvm_xsave::default()),
            lapic: kvm_lapic_state::default(),
            msrs: vec![kvm_msr_entry { index: 0x10, data: 9, ..Default::default() }],
            events: kvm_vcpu_events::default(),
            debugregs: kvm_debugregs::default(),
            mp_state: kvm_mp_state::default(),
            tsc_deadline: 77,
        };
        State {
            cpu,
            uart: [1, 2, 3, 4, 5, 6, 7, 8, 9],
            working_set: vec![3, 4, 70],
            clone_fields: vec![FIELD],
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let file = encode(&sample(), b"{}");
        let state = decode(&file, b"{}").unwrap();
        assert_eq!(state.cpu.regs.rip, 0x1234);
        assert_eq!(state.cpu.cpuid, sample().cpu.cpuid);
        assert_eq!(state.cpu.msrs, sample().cpu.msrs);
        assert_eq!((state.cpu.tsc_deadline, state.uart), (77, sample().uart));
        assert_eq!(state.working_set, [3, 4, 70]);
        assert_eq!(state.clone_fields, [FIELD]);
        assert_eq!(encode(&state, b"{}"), file);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let file = encode(&sample(), b"{}");
        for byte in 0..file.len() {
            for bit in 0..8 {
                let mut bad = file.clone();
                bad[byte] ^= 1 << bit;
                assert!(decode(&bad, b"{}").is_err(), "byte {byte} bit {bit}");
            }
        }
    }

    #[test]
    fn every_truncation_and_any_addition_is_refused() {
        let file = encode(&sample(), b"{}");
        for len in 0..file.len() {
            assert!(decode(&file[..len], b"{}").is_err(), "{len} bytes");
        }
        let longer = [file.as_slice(), &[0]].concat();
        assert_eq!(decode(&longer, b"{}").unwrap_err(), FormatError::TooLong(1));
    }

    #[test]
    fn another_manifest_is_refused() {
        let file = encode(&sample(), b"{}");
        assert_eq!(decode(&file, b"{ }").unwrap_err(), FormatError::Checksum("manifest"));
    }

    #[test]
    fn another_version_is_named() {
        let mut file = encode(&sample(), b"{}");
        file[8] = 9;
        assert_eq!(decode(&file, b"{}").unwrap_err(), FormatError::Version(9));
    }
}
