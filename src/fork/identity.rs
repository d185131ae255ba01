//! Making a fork differ from its siblings in all in which they must differ.
//!
//! A machine that has the snapshot's memory, fresh or put back, has the snapshot's random state, its
//! clocks and its names. The host writes others over them before the guest runs: no instruction of
//! the guest is spent on it, and no program can come before.

use std::fmt;
use std::str::FromStr;

use vm_memory::{Bytes, VolatileMemory};
use zeroboot_proto::{CloneKind, SEED_BYTES, Seed};

use super::Error;
use crate::kvm::Passed;
use crate::machine::{self, Machine};
use crate::snapshot::{HOST_NAME_BYTES, ID_BYTES, SECRET_BYTES, SECRETS_MAX, Snapshot};
use crate::sys::{self, Moment, Slice};

/// A fork's name: what its owner gave it, or a random one. The guest finds it in /etc/machine-id
/// and in its host's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InstanceId(pub [u8; ID_BYTES]);

impl fmt::Display for InstanceId {
    /// 32 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is no instance id: 32 hexadecimal digits, with or without the dashes of a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an instance id has 32 hexadecimal digits, with or without dashes")]
pub struct NoInstanceId;

impl FromStr for InstanceId {
    type Err = NoInstanceId;

    fn from_str(text: &str) -> Result<Self, NoInstanceId> {
        let mut id = [0; ID_BYTES];
        let mut digits = text.chars().filter(|c| *c != '-').map(|c| c.to_digit(16));
        let mut digit = || digits.next().flatten().ok_or(NoInstanceId);
        for byte in &mut id {
            *byte = (digit()? << 4 | digit()?) as u8;
        }
        if digits.next().is_none() { Ok(InstanceId(id)) } else { Err(NoInstanceId) }
    }
}

/// Gives a machine that stands where the snapshot was taken, and has its memory, a life of its own.
/// Returns its name.
///
/// Call it for each fork, after its memory is the snapshot's and before it runs. It writes to the
/// pages of [`Snapshot::clone_places`] and to the mailbox's first, and to no others; the memory's
/// bitmap has them, so that a reset puts them back. After an error the machine must not run.
///
/// Budget: 5 us. One system call, no allocation.
pub fn make_distinct(
    machine: &Machine,
    snapshot: &Snapshot,
    id: Option<InstanceId>,
    now: Moment,
) -> Result<InstanceId, Error> {
    let mut entropy = Entropy::fetch()?;
    let id = match id {
        Some(id) => id,
        None => InstanceId(uuid(entropy.take())),
    };
    let passed = snapshot.cpu().passed(now);
    let ram = Ram(machine.ram().as_volatile_slice());
    for place in snapshot.clone_places().places() {
        let at = place.at;
        match place.kind {
            CloneKind::Secret => ram.write(at, &entropy.take::<SECRET_BYTES>()),
            CloneKind::Generation => ram.add(at, 1),
            CloneKind::BootId => ram.write(at, &uuid(entropy.take())),
            CloneKind::InstanceId => ram.write(at, &id.0),
            CloneKind::HostName => ram.write(at, &host_name(id)),
            CloneKind::Tsc => ram.add(at, passed.cycles),
            CloneKind::Seconds => ram.add(at, passed.seconds),
            CloneKind::Nanoseconds => ram.add(at, passed.seconds.wrapping_mul(1_000_000_000)),
            CloneKind::Cyc2Ns => ram.hold_back(at, passed),
        }?;
    }
    if let Some(mailbox) = machine.mailbox() {
        mailbox.leave_seed(Seed::Fork, &entropy.take());
    }
    Ok(id)
}

/// The guest's memory. The places were checked when the snapshot was loaded, so an error means that
/// the machine is not of this snapshot.
struct Ram<'a>(Slice<'a>);

impl Ram<'_> {
    fn write(&self, at: usize, bytes: &[u8]) -> Result<(), machine::Error> {
        self.0.write_slice(bytes, at).map_err(|_| self.outside(at, bytes.len()))
    }

    fn read(&self, at: usize) -> Result<u64, machine::Error> {
        let bytes: [u8; 8] = self.0.read_obj(at).map_err(|_| self.outside(at, 8))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn add(&self, at: usize, value: u64) -> Result<(), machine::Error> {
        self.write(at, &self.read(at)?.wrapping_add(value).to_le_bytes())
    }

    /// Takes out of a clock what the TSC has gone on since the snapshot: multiplier and shift,
    /// then the offset that is to be changed.
    fn hold_back(&self, at: usize, passed: Passed) -> Result<(), machine::Error> {
        let scale = self.read(at)?;
        let (multiplier, shift) = (scale as u32, (scale >> 32) as u32 % 64);
        let ns = (i128::from(passed.tsc_moved as i64) * i128::from(multiplier)) >> shift;
        self.add(at + 8, (ns as u64).wrapping_neg())
    }

    fn outside(&self, at: usize, len: usize) -> machine::Error {
        machine::Error::Memory { want: (at + len) as u64, have: self.0.len() as u64 }
    }
}

const ENTROPY_BYTES: usize = SECRETS_MAX * SECRET_BYTES + 2 * ID_BYTES + SEED_BYTES as usize;

/// The host's randomness for one fork; each byte is used once.
struct Entropy {
    bytes: [u8; ENTROPY_BYTES],
    used: usize,
}

impl Entropy {
    fn fetch() -> Result<Self, sys::Error> {
        let mut bytes = [0; ENTROPY_BYTES];
        sys::fill_random(&mut bytes)?;
        Ok(Entropy { bytes, used: 0 })
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        // In bounds: a snapshot has no more than SECRETS_MAX secrets and one id of each kind.
        taken.copy_from_slice(&self.bytes[self.used..self.used + N]);
        self.used += N;
        taken
    }
}

/// Random bytes as a UUID of version 4 (RFC 9562, 5.4), which is also what machine-id(5) asks for.
fn uuid(mut bytes: [u8; ID_BYTES]) -> [u8; ID_BYTES] {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}

/// "zeroboot-" and the whole id, for an owner's ids may differ in any part; the rest is zeros.
fn host_name(id: InstanceId) -> [u8; HOST_NAME_BYTES] {
    const PREFIX: &[u8] = b"zeroboot-";
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut name = [0; HOST_NAME_BYTES];
    name[..PREFIX.len()].copy_from_slice(PREFIX);
    for (pair, byte) in name[PREFIX.len()..].chunks_exact_mut(2).zip(id.0) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_holds_the_whole_instance_id() {
        let id = InstanceId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xfe, 0xff]);
        let name = host_name(id);
        let expected = b"zeroboot-000102030405060708090a0b0c0dfeff\0";
        assert_eq!(&name[..expected.len()], expected);
        assert!(name[expected.len()..].iter().all(|byte| *byte == 0));
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0dfeff");
    }

    #[test]
    fn an_instance_id_is_read_with_and_without_dashes() {
        let id =
            InstanceId([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 9, 8, 7, 6, 5, 4, 3, 2]);
        for text in ["0123456789abcdef0908070605040302", "01234567-89AB-cdef-0908-070605040302"] {
            assert_eq!(text.parse(), Ok(id), "{text}");
        }
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in
            ["", "0123456789abcdef090807060504030", "0123456789abcdef09080706050403021", "g"]
        {
            assert_eq!(text.parse::<InstanceId>(), Err(NoInstanceId), "{text}");
        }
    }

    #[test]
    fn a_random_id_is_a_uuid_of_version_4() {
        let id = uuid([0xff; ID_BYTES]);
        assert_eq!((id[6], id[8]), (0x4f, 0xbf));
        assert_eq!((uuid([0; ID_BYTES])[6], uuid([0; ID_BYTES])[8]), (0x40, 0x80));
    }

    #[test]
    fn a_clock_that_is_held_back_reads_as_at_the_snapshot() {
        // As arch/x86/kernel/tsc.c computes it: offset + (tsc * multiplier >> shift).
        let ns = |memory: &[u8; 16], tsc: u64| {
            let word = |at: usize| u64::from_le_bytes(memory[at..at + 8].try_into().unwrap());
            let product = u128::from(tsc) * u128::from(word(0) as u32);
            word(8).wrapping_add((product >> (word(0) >> 32)) as u64)
        };
        let multiplier: u64 = 403_880_120;
        for tsc in [10_000_000_000u64, 5, u64::MAX >> 2] {
            let captured_tsc = 7_000_000_000_000u64;
            let mut memory = [0u8; 16];
            memory[..8].copy_from_slice(&(multiplier | 30 << 32).to_le_bytes());
            memory[8..].copy_from_slice(&123_456u64.wrapping_neg().to_le_bytes());
            let before = ns(&memory, captured_tsc);
            let (_file, region) = sys::shared_of_memfd(4096).unwrap();
            let ram = Ram(region.as_volatile_slice());
            ram.write(16, &memory).unwrap();
            let tsc_moved = tsc.wrapping_sub(captured_tsc);
            let passed = Passed { cycles: 0, seconds: 0, tsc_moved };
            ram.hold_back(16, passed).unwrap();
            ram.0.read_slice(&mut memory, 16).unwrap();
            assert!(before.abs_diff(ns(&memory, tsc)) <= 1, "{tsc}");
        }
    }
}
