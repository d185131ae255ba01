//! Reading option structures: the rule of Linux's `copy_struct_from_user`.
//!
//! The structure begins with the size that it had when the program was compiled. A shorter one
//! comes from an older program: what it lacks is zero, which is each field's default. A longer one
//! comes from a newer program: what this library does not know must be zero, so that no wish is
//! passed over.

use std::mem::MaybeUninit;

use super::failure::{Failure, Result};

/// A size beyond this is no size but what was in memory before.
const SIZE_MAX: usize = 4096;

/// An option structure.
///
/// # Safety
///
/// The type must be `repr(C)`, begin with a `usize` that is its size, have no padding, and be valid
/// when all its bytes are zero and when a C program has filled them as the header says.
pub unsafe trait Options: Copy {
    /// For messages.
    const NAME: &'static str;
}

/// A private copy of the program's structure; the defaults for NULL.
///
/// # Safety
///
/// `from` must be NULL or point to as many readable bytes as its first field says.
pub unsafe fn read<T: Options>(from: *const T) -> Result<T> {
    let mut copy = MaybeUninit::<T>::zeroed();
    if !from.is_null() {
        // SAFETY: the structure begins with its size; it need not be aligned.
        let size = unsafe { from.cast::<usize>().read_unaligned() };
        check_size::<T>(size)?;
        // SAFETY: so many bytes are readable, and byte slices need no alignment.
        let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), size) };
        let known = size.min(size_of::<T>());
        check_tail::<T>(&bytes[known..])?;
        let to = copy.as_mut_ptr().cast::<u8>();
        // SAFETY: known is at most the length of both; the copy is ours, so they do not overlap.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), known) };
    }
    // SAFETY: zeroed, then filled from the front by the program: valid by the trait's contract.
    Ok(unsafe { copy.assume_init() })
}

/// Refuses flags that are not among the known ones.
pub fn check_flags<T: Options>(flags: u64, known: u64) -> Result<()> {
    match flags & !known {
        0 => Ok(()),
        unknown => Err(Failure::unsupported(format!(
            "{}: flags {unknown:#x} are not known to this version of zeroboot",
            T::NAME
        ))),
    }
}

fn check_size<T: Options>(size: usize) -> Result<()> {
    // Every structure begins with a usize, so a compiler makes its size a multiple of that: another
    // one would cut a field in half, perhaps a pointer.
    let is_whole = size.is_multiple_of(size_of::<usize>());
    if is_whole && (size_of::<usize>()..=SIZE_MAX).contains(&size) {
        return Ok(());
    }
    Err(Failure::invalid(format!("{}: a size of {size} bytes; use ZB_INIT to set it", T::NAME)))
}

fn check_tail<T: Options>(tail: &[u8]) -> Result<()> {
    match tail.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(at) => Err(Failure::unsupported(format!(
            "{}: an option at offset {}; this version of zeroboot knows {} bytes",
            T::NAME,
            size_of::<T>() + at,
            size_of::<T>()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::status::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Known {
        size: usize,
        flags: u64,
    }

    // SAFETY: repr(C), size first, two words without padding, any bytes are valid.
    unsafe impl Options for Known {
        const NAME: &'static str = "known";
    }

    fn read_words(words: &[u64]) -> Result<Known> {
        // SAFETY: every test passes as many words as its size says.
        unsafe { read(words.as_ptr().cast()) }
    }

    #[test]
    fn null_and_an_older_structure_mean_defaults() {
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { read::<Known>(std::ptr::null()) }.unwrap().flags, 0);
        assert_eq!(read_words(&[8]).unwrap(), Known { size: 8, flags: 0 });
        assert_eq!(read_words(&[16, 7]).unwrap().flags, 7);
    }

    #[test]
    fn a_newer_structure_is_taken_if_it_asks_for_nothing_new() {
        assert_eq!(read_words(&[24, 7, 0]).unwrap().flags, 7);
        let failure = read_words(&[32, 7, 0, 1 << 8]).unwrap_err();
        assert_eq!(failure.status, ZB_ERR_UNSUPPORTED);
        assert!(failure.message.contains("offset 25"), "{}", failure.message);
    }

    #[test]
    fn a_size_that_nobody_set_is_refused() {
        for size in [0, 7, 9, 15, 1 << 40] {
            let failure = read_words(&[size, 0]).unwrap_err();
            assert_eq!(failure.status, ZB_ERR_INVALID_ARGUMENT);
            assert!(failure.message.contains(&size.to_string()), "{}", failure.message);
        }
    }

    #[test]
    fn unknown_flags_are_refused_and_named() {
        assert!(check_flags::<Known>(3, 3).is_ok());
        let failure = check_flags::<Known>(7, 3).unwrap_err();
        assert_eq!(failure.status, ZB_ERR_UNSUPPORTED);
        assert!(failure.message.contains("0x4"), "{}", failure.message);
    }
}
