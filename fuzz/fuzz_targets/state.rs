//! `state.bin`: any bytes; and any bytes behind checksums that are right.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zeroboot::internals::{FORMAT, FormatError, decode, encode};

/// The layout at the head of src/snapshot/format.rs.
const HEADER: usize = 20;
const ENTRY: usize = 12;
const SECTIONS: usize = 14;
const TABLE_END: usize = HEADER + ENTRY * SECTIONS;

fn put(file: &mut [u8], at: usize, word: u32) {
    file[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

/// Makes a header for bytes that had none. The words in the places of the sections' lengths are
/// kept, cut to what there is.
fn fix_checksums(file: &mut Vec<u8>, manifest: &[u8]) {
    file.resize(file.len().max(TABLE_END + 4), 0);
    file[..8].copy_from_slice(b"ZBSTATE\0");
    put(file, 8, FORMAT);
    put(file, 12, SECTIONS as u32);
    put(file, 16, crc32fast::hash(manifest));
    let mut from = TABLE_END + 4;
    for index in 0..SECTIONS {
        let entry = HEADER + ENTRY * index;
        let left = file.len() - from;
        let wanted = u32::from_le_bytes(file[entry + 4..entry + 8].try_into().unwrap()) as usize;
        let len = if index + 1 == SECTIONS { left } else { wanted.min(left) };
        let sum = crc32fast::hash(&file[from..from + len]);
        put(file, entry, index as u32 + 1);
        put(file, entry + 4, len as u32);
        put(file, entry + 8, sum);
        from += len;
    }
    let sum = crc32fast::hash(&file[..TABLE_END]);
    put(file, TABLE_END, sum);
}

fuzz_target!(|data: &[u8]| {
    const MANIFEST: &[u8] = b"{}";
    let check = |file: &[u8]| {
        decode(file, MANIFEST).map(|state| assert_eq!(encode(&state, MANIFEST), file))
    };
    let _ = check(data);
    let mut file = data.to_vec();
    fix_checksums(&mut file, MANIFEST);
    // Anything else would mean that the layout above is not the format's any more.
    assert!(matches!(check(&file), Ok(()) | Err(FormatError::Length { .. })));
});
