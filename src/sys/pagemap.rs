//! Which pages of a mapping are there, and whose they are (Documentation/admin-guide/mm/pagemap.rst).

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Error, Region, Result};

const PRESENT: u64 = 1 << 63;
const SWAPPED: u64 = 1 << 62;
const OF_FILE: u64 = 1 << 61;
const PAGE: usize = 4096;

/// A page of a copy-on-write mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// Nobody has touched it here.
    Absent,
    /// The file's page is mapped.
    Shared,
    /// A copy.
    Private,
}

/// Of each page of a mapping. It costs a read of 8 bytes a page: for diagnostics.
pub fn residences(region: &Region) -> Result<Vec<Residence>> {
    let path = "/proc/self/pagemap";
    let pages = region.size() / PAGE;
    let mut words = vec![0; pages * 8];
    let first = region.as_ptr() as usize / PAGE;
    File::open(path)
        .and_then(|file| file.read_exact_at(&mut words, first as u64 * 8))
        .map_err(|e| Error::new("read /proc/self/pagemap", e))?;
    let residence = |word: &[u8; 8]| match u64::from_le_bytes(*word) {
        word if word & (PRESENT | SWAPPED) == 0 => Residence::Absent,
        word if word & OF_FILE != 0 => Residence::Shared,
        _ => Residence::Private,
    };
    Ok(words.as_chunks().0.iter().map(residence).collect())
}
