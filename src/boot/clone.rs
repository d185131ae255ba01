use vm_memory::{Bytes, VolatileMemory};
use zeroboot_proto::{CloneField, CloneKind};

use super::{Error, Result};
use crate::kvm::guest_tsc;
use crate::machine::{Layout, Machine};
use crate::snapshot::{ClonePlaces, Place};

/// What PID 1 has named the machine.
const NAME: &[u8] = b"zeroboot\0";

/// A guest that has just booted has looked at its clock since then.
const CLOCK_IDLE_MAX_MS: u64 = 60_000;

/// What the kernel of a guest that has booted says its clones must not share: places in memory that
/// hold what the kernel says. A snapshot without them could not be forked, so there is none.
pub(super) fn fields(
    machine: &mut Machine,
    layout: Layout,
    tsc_khz: u32,
) -> Result<Vec<CloneField>> {
    let fields = machine.mailbox().map_or(Vec::new(), |mailbox| mailbox.clone_fields());
    let refuse = |why: String| Error::Kernel { path: "clone fields".into(), why };
    let places = ClonePlaces::check(&fields, layout).map_err(|e| refuse(e.to_string()))?;
    let tsc = guest_tsc(machine.vcpu())?;
    for place in places.places() {
        let bytes = read(machine, place).map_err(|e| refuse(e.to_string()))?;
        if !is_plausible(place.kind, bytes, tsc, tsc_khz) {
            let Place { kind, at } = place;
            return Err(refuse(format!("no {kind:?} at {at:#x}: {bytes:02x?}")));
        }
    }
    Ok(fields)
}

/// The first 16 bytes.
fn read(machine: &Machine, place: &Place) -> std::result::Result<[u8; 16], impl std::fmt::Display> {
    machine.ram().as_volatile_slice().read_obj::<[u8; 16]>(place.at)
}

/// Whether a field's first bytes can be what its kind says.
fn is_plausible(kind: CloneKind, bytes: [u8; 16], tsc: u64, khz: u32) -> bool {
    let [first, second] = [0, 8].map(|at| {
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(word)
    });
    match kind {
        CloneKind::Secret => first != 0 && second != 0,
        // Linux counts reseeds in it; both ends of the range mean "none yet".
        CloneKind::Generation => (1..u64::from(u32::MAX)).contains(&first),
        // Nobody has asked for one, and nobody can have set the other.
        CloneKind::BootId | CloneKind::InstanceId => first == 0 && second == 0,
        CloneKind::HostName => bytes.starts_with(NAME),
        CloneKind::Tsc => {
            tsc.checked_sub(first).is_some_and(|idle| idle / u64::from(khz) < CLOCK_IDLE_MAX_MS)
        }
        CloneKind::Seconds | CloneKind::Nanoseconds => first != 0,
        CloneKind::Cyc2Ns => first as u32 != 0 && first >> 32 < 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(value: u64) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&value.to_le_bytes());
        bytes
    }

    #[test]
    fn a_reading_of_the_tsc_is_not_from_the_future_and_not_long_ago() {
        let plausible = |reading| is_plausible(CloneKind::Tsc, word(reading), 9_000_000_000, 1000);
        assert!(plausible(9_000_000_000) && plausible(8_999_000_000));
        assert!(!plausible(9_000_000_001) && !plausible(0) && !plausible(u64::MAX));
    }

    #[test]
    fn zeros_are_no_secret_and_another_name_is_not_ours() {
        assert!(!is_plausible(CloneKind::Secret, [0; 16], 1, 1));
        assert!(!is_plausible(CloneKind::HostName, *b"(none)\0\0\0\0\0\0\0\0\0\0", 1, 1));
        assert!(is_plausible(CloneKind::HostName, *b"zeroboot\0\0\0\0\0\0\0\0", 1, 1));
        assert!(!is_plausible(CloneKind::Generation, word(u64::MAX), 1, 1));
    }
}
