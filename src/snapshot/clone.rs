//! What a fork's kernel must not share with its siblings', and where that lies in memory.
//!
//! The guest's kernel says so while it boots, and a snapshot carries it. Both are hostile: a wrong
//! address may break the guest that it belongs to, and nothing else. What is checked here once is
//! used unchecked by each fork.

use zeroboot_proto::{CLONE_FIELDS_MAX, CloneField, CloneKind};

use crate::machine::Layout;

const PAGE: u64 = 4096;

/// Bytes of a secret: a key of ChaCha20, a state of BLAKE2s.
pub const SECRET_BYTES: usize = 32;
/// Secrets that a kernel may have.
pub const SECRETS_MAX: usize = 8;
/// Bytes of an instance id and of a boot id.
pub const ID_BYTES: usize = 16;
/// Linux's __NEW_UTS_LEN and a NUL.
pub const HOST_NAME_BYTES: usize = 65;

/// Why a list of fields is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloneFieldError {
    /// The guest's kernel has not said anything.
    #[error("the guest's kernel does not say what clones must not share; use guest/kernel's")]
    None,
    /// Too many of them.
    #[error("{0} fields in which clones differ; the most is {CLONE_FIELDS_MAX}")]
    TooMany(u64),
    /// A kind that this version does not know.
    #[error("clone field {at}: kind {kind} is not known")]
    Kind {
        /// Its number in the list.
        at: usize,
        /// What it says.
        kind: u32,
    },
    /// A length that this kind cannot have.
    #[error("clone field {at} ({kind:?}): {have} bytes, not {want}")]
    Length {
        /// Its number in the list.
        at: usize,
        /// Its kind.
        kind: CloneKind,
        /// Its length.
        have: u32,
        /// What it should be.
        want: usize,
    },
    /// It lies outside of RAM, or astride of an 8-byte word that must be whole.
    #[error(
        "clone field {at} ({kind:?}): {address:#x} is no place for it in {ram:#x} bytes of RAM"
    )]
    Place {
        /// Its number in the list.
        at: usize,
        /// Its kind.
        kind: CloneKind,
        /// Where it should be.
        address: u64,
        /// What there is.
        ram: u64,
    },
    /// Two lie in one place.
    #[error("clone fields overlap at {0:#x}")]
    Overlap(u64),
    /// A kind of which there are too few or too many.
    #[error("{have} clone fields of kind {kind:?}; there must be {want}")]
    Count {
        /// The kind.
        kind: CloneKind,
        /// How many there are.
        have: usize,
        /// How many there should be.
        want: &'static str,
    },
}

/// A field that lies in RAM and is as long as its kind says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What goes there.
    pub kind: CloneKind,
    /// Offset in the guest's memory.
    pub at: usize,
}

impl Place {
    /// Where its bytes are.
    pub fn bytes(&self) -> std::ops::Range<usize> {
        self.at..self.at + len(self.kind)
    }
}

/// All of a kernel's fields, checked; none of a kernel that is not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClonePlaces {
    places: Vec<Place>,
    pages: Vec<u32>,
}

impl ClonePlaces {
    /// Checks a list that a guest or a file has given.
    pub fn check(fields: &[CloneField], layout: Layout) -> Result<Self, CloneFieldError> {
        if fields.is_empty() {
            return Err(CloneFieldError::None);
        }
        if fields.len() > CLONE_FIELDS_MAX as usize {
            return Err(CloneFieldError::TooMany(fields.len() as u64));
        }
        let places = fields
            .iter()
            .enumerate()
            .map(|(at, field)| place(at, field, layout.ram_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        check_counts(&places)?;
        check_overlaps(&places)?;
        let mut pages: Vec<u32> = places.iter().flat_map(pages_of).collect();
        pages.sort_unstable();
        pages.dedup();
        Ok(ClonePlaces { places, pages })
    }

    /// The fields, in the kernel's order.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Numbers of the pages that a fork's host writes to before the fork runs, in ascending order:
    /// they differ from the snapshot's, and KVM's log of dirty pages does not know of it.
    pub fn pages(&self) -> &[u32] {
        &self.pages
    }
}

fn place(at: usize, field: &CloneField, ram: u64) -> Result<Place, CloneFieldError> {
    let kind =
        CloneKind::from_u32(field.kind).ok_or(CloneFieldError::Kind { at, kind: field.kind })?;
    let want = len(kind);
    if field.len as usize != want {
        return Err(CloneFieldError::Length { at, kind, have: field.len, want });
    }
    let address = field.address;
    let inside = address.checked_add(want as u64).is_some_and(|end| end <= ram);
    if !inside || !address.is_multiple_of(align(kind)) {
        return Err(CloneFieldError::Place { at, kind, address, ram });
    }
    Ok(Place { kind, at: address as usize })
}

/// Bytes of a field.
fn len(kind: CloneKind) -> usize {
    match kind {
        CloneKind::Secret => SECRET_BYTES,
        CloneKind::BootId | CloneKind::InstanceId | CloneKind::Cyc2Ns => ID_BYTES,
        CloneKind::HostName => HOST_NAME_BYTES,
        CloneKind::Generation | CloneKind::Tsc | CloneKind::Seconds | CloneKind::Nanoseconds => 8,
    }
}

fn align(kind: CloneKind) -> u64 {
    match kind {
        CloneKind::Secret | CloneKind::BootId | CloneKind::InstanceId | CloneKind::HostName => 1,
        CloneKind::Generation
        | CloneKind::Tsc
        | CloneKind::Seconds
        | CloneKind::Nanoseconds
        | CloneKind::Cyc2Ns => 8,
    }
}

fn check_counts(places: &[Place]) -> Result<(), CloneFieldError> {
    use CloneKind::*;
    let count = |kind| places.iter().filter(|place| place.kind == kind).count();
    for kind in [BootId, InstanceId, HostName] {
        if count(kind) != 1 {
            return Err(CloneFieldError::Count { kind, have: count(kind), want: "one" });
        }
    }
    for kind in [Generation, Tsc, Seconds, Nanoseconds, Cyc2Ns] {
        if count(kind) == 0 {
            return Err(CloneFieldError::Count { kind, have: 0, want: "at least one" });
        }
    }
    // The key that output comes from, and the pool that the next key comes from.
    if !(2..=SECRETS_MAX).contains(&count(Secret)) {
        return Err(CloneFieldError::Count { kind: Secret, have: count(Secret), want: "2 to 8" });
    }
    Ok(())
}

fn check_overlaps(places: &[Place]) -> Result<(), CloneFieldError> {
    let mut sorted: Vec<_> = places.iter().map(|p| (p.at, p.at + len(p.kind))).collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => Err(CloneFieldError::Overlap(pair[1].0 as u64)),
        None => Ok(()),
    }
}

/// RAM has less than 2^20 pages.
fn pages_of(place: &Place) -> impl Iterator<Item = u32> + use<> {
    let last = place.at + len(place.kind) - 1;
    (place.at as u64 / PAGE) as u32..=(last as u64 / PAGE) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAM: u64 = 128 << 20;

    fn layout() -> Layout {
        Layout::new(RAM, 2 << 20).unwrap()
    }

    fn fields() -> Vec<CloneField> {
        let kinds = [
            CloneKind::Secret,
            CloneKind::Secret,
            CloneKind::Generation,
            CloneKind::BootId,
            CloneKind::InstanceId,
            CloneKind::HostName,
            CloneKind::Tsc,
            CloneKind::Seconds,
            CloneKind::Nanoseconds,
            CloneKind::Cyc2Ns,
        ];
        kinds
            .iter()
            .enumerate()
            .map(|(i, kind)| CloneField {
                address: 0x0fe0 + i as u64 * 0x80,
                len: len(*kind) as u32,
                kind: *kind as u32,
            })
            .collect()
    }

    fn refused(change: impl FnOnce(&mut Vec<CloneField>)) -> String {
        let mut fields = fields();
        change(&mut fields);
        ClonePlaces::check(&fields, layout()).unwrap_err().to_string()
    }

    #[test]
    fn fields_inside_ram_are_taken_with_the_pages_that_they_touch() {
        let places = ClonePlaces::check(&fields(), layout()).unwrap();
        assert_eq!(places.places().len(), 10);
        assert_eq!(places.pages(), [0, 1]);
    }

    #[test]
    fn an_address_outside_of_ram_is_refused() {
        for address in [RAM, RAM - 31, u64::MAX, u64::MAX - 31, 1 << 32] {
            let why = refused(|fields| fields[0].address = address);
            assert!(why.contains("field 0") && why.contains("RAM"), "{why}");
        }
        assert!(refused(|fields| fields[2].address += 1).contains("field 2"));
    }

    #[test]
    fn odd_lengths_and_kinds_are_refused() {
        assert!(refused(|fields| fields[0].len = 31).contains("31 bytes, not 32"));
        assert!(refused(|fields| fields[5].len = 66).contains("66 bytes, not 65"));
        assert!(refused(|fields| fields[0].kind = 99).contains("kind 99"));
    }

    #[test]
    fn a_kernel_without_one_of_the_fields_is_refused() {
        for i in 0..fields().len() {
            let why = refused(|fields| {
                fields.remove(i);
            });
            assert!(why.contains("there must be"), "{why}");
        }
        assert!(refused(Vec::clear).contains("guest/kernel"));
    }

    #[test]
    fn fields_that_overlap_or_are_too_many_are_refused() {
        assert!(refused(|fields| fields[1].address = fields[0].address + 31).contains("overlap"));
        let one_more = CloneField { address: 0x8000, len: 8, kind: CloneKind::Tsc as u32 };
        let why = refused(|fields| fields.extend([one_more; CLONE_FIELDS_MAX as usize]));
        assert!(why.contains("74 fields"), "{why}");
    }
}
