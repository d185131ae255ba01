//! Bounds-checked access to memory that a guest kernel and a host also write to.

use std::mem::offset_of;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use zeroboot_proto::{Header, MAILBOX_SIZE};

/// What leaves the guest. The host answers before [`Bell::ring`] returns.
pub trait Bell {
    /// Announces `value`, one of `zeroboot_proto`'s doorbell values.
    fn ring(&mut self, value: u32);
}

/// A word of the mailbox's header, by its offset.
#[derive(Clone, Copy)]
pub(crate) struct Field(usize);

impl Field {
    pub const REQUEST: Field = Field(offset_of!(Header, request));
    pub const PAYLOAD_LEN: Field = Field(offset_of!(Header, payload_len));
    pub const OUTPUT_START: Field = Field(offset_of!(Header, output_start));
    pub const OUTPUT_USED: Field = Field(offset_of!(Header, output_used));
    pub const EXIT_CODE: Field = Field(offset_of!(Header, exit_code));
    pub const SEQUENCE: Field = Field(offset_of!(Header, sequence));
    pub const DEATH: Field = Field(offset_of!(Header, death));
    pub const DEATH_DETAIL: Field = Field(offset_of!(Header, death_detail));
    pub const SEED: Field = Field(offset_of!(Header, seed));
}

/// The mailbox's memory. It is shared with others, so no reference into it is ever made.
pub struct Mailbox {
    base: NonNull<u8>,
}

// SAFETY: the memory is valid for the whole process (`Mailbox::new`), not for one thread.
unsafe impl Send for Mailbox {}
// SAFETY: `&Mailbox` gives atomic words, and copies of bytes that this process writes only through
// a `Channel`'s `&mut self`.
unsafe impl Sync for Mailbox {}

impl Mailbox {
    /// # Safety
    ///
    /// `base` is aligned to 8, and [`MAILBOX_SIZE`] bytes from it stay readable and writable for
    /// as long as the result lives, with no reference into them.
    pub unsafe fn new(base: NonNull<u8>) -> Self {
        Mailbox { base }
    }

    pub(crate) fn load(&self, field: Field) -> u32 {
        self.word(field).load(Ordering::Acquire)
    }

    pub(crate) fn store(&self, field: Field, value: u32) {
        // Release: what a length or a count announces is in place before it.
        self.word(field).store(value, Ordering::Release);
    }

    pub(crate) fn fetch_add(&self, field: Field, value: u32) -> u32 {
        self.word(field).fetch_add(value, Ordering::Relaxed)
    }

    /// Copies bytes at `offset` out of the mailbox.
    pub(crate) fn read(&self, offset: u32, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: `at` has checked the range; `into` cannot overlap it, for no reference does.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
    }

    /// Copies `bytes` to `offset` in the mailbox.
    pub(crate) fn write(&mut self, offset: u32, bytes: &[u8]) {
        let to = self.at(offset, bytes.len());
        // SAFETY: `at` has checked the range; `bytes` cannot overlap it, for no reference does.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    fn word(&self, field: Field) -> &AtomicU32 {
        let at = self.at(field.0 as u32, size_of::<u32>()).cast::<u32>();
        // SAFETY: in bounds, and aligned because the base and every field are; the other writers
        // of the header use single 32-bit accesses, as atomics need.
        unsafe { AtomicU32::from_ptr(at) }
    }

    fn at(&self, offset: u32, len: usize) -> *mut u8 {
        let fits =
            (offset as usize).checked_add(len).is_some_and(|end| end <= MAILBOX_SIZE as usize);
        assert!(fits, "mailbox access: {len} bytes at {offset:#x} of {MAILBOX_SIZE:#x}");
        // SAFETY: offset <= MAILBOX_SIZE, the size of the memory at base.
        unsafe { self.base.as_ptr().add(offset as usize) }
    }
}
