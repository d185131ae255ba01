//! Snapshots that say something else and whose checksums are right all the same.

use std::fs;
use std::ops::Range;
use std::path::Path;

use super::damaged_copy;

/// The layout at the head of src/snapshot/format.rs.
const HEADER: usize = 20;
const ENTRY: usize = 12;

/// Places of the sections in a state file.
pub const CLONE_FIELDS: usize = 13;

/// A copy of the template whose manifest has one text in place of another.
pub fn forged(from: &str, to: &str) -> tempfile::TempDir {
    let dir = damaged_copy();
    change_manifest(dir.path(), from, to);
    seal(dir.path());
    dir
}

/// Replaces a text that is once in the manifest.
pub fn change_manifest(dir: &Path, from: &str, to: &str) {
    let path = dir.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from} is not once in {text}");
    fs::write(&path, text.replace(from, to)).unwrap();
}

/// Makes all checksums of the two small files right.
pub fn seal(dir: &Path) {
    let path = dir.join("state.bin");
    let mut bytes = fs::read(&path).unwrap();
    let manifest = crc32fast::hash(&fs::read(dir.join("manifest.json")).unwrap());
    bytes[16..HEADER].copy_from_slice(&manifest.to_le_bytes());
    for i in 0..count(&bytes) {
        let crc = crc32fast::hash(&bytes[section(&bytes, i)]);
        let at = HEADER + ENTRY * i + 8;
        bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    }
    let end = HEADER + ENTRY * count(&bytes);
    let crc = crc32fast::hash(&bytes[..end]);
    bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    rewrite(&path, &bytes);
}

/// Changes a section's bytes, not their number, and seals the snapshot.
pub fn change_section(dir: &Path, number: usize, change: impl FnOnce(&mut [u8])) {
    let path = dir.join("state.bin");
    let mut bytes = fs::read(&path).unwrap();
    let range = section(&bytes, number);
    change(&mut bytes[range]);
    rewrite(&path, &bytes);
    seal(dir);
}

/// A section's bytes.
pub fn read_section(dir: &Path, number: usize) -> Vec<u8> {
    let bytes = fs::read(dir.join("state.bin")).unwrap();
    bytes[section(&bytes, number)].to_vec()
}

/// A snapshot's files are read-only.
fn rewrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn count(bytes: &[u8]) -> usize {
    word(bytes, 12)
}

fn section(bytes: &[u8], number: usize) -> Range<usize> {
    let len = |i: usize| word(bytes, HEADER + ENTRY * i + 4);
    let start = HEADER + ENTRY * count(bytes) + 4 + (0..number).map(len).sum::<usize>();
    start..start + len(number)
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}
