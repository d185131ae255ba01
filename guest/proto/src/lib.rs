//! The contract between a zeroboot host and the software in its guests.
//!
//! A guest and its host share two things: a *doorbell*, one page of guest-physical address space
//! that no memslot backs, and a *mailbox*, [`MAILBOX_SIZE`] bytes of guest memory behind the RAM
//! that the guest kernel knows of. A 4-byte store to the doorbell leaves the guest and tells the
//! host what happened; everything else is data in the mailbox.
//!
//! ```text
//! 0x00000  header                    struct Header
//! 0x00040  seed of a new fork        host -> runtime
//! 0x00100  request payload           host -> runtime
//!   ...    runtime output records    runtime -> host, from Header::output_start to CONSOLE_START
//! 0xc0000  console output records    guest kernel -> host (fd 1 and 2 of every process)
//! 0xff000  clone fields              guest kernel -> host, while it boots
//! 0x100000 end
//! ```
//!
//! A short request and a short answer share the header's page, so that a run dirties one page here.
//!
//! Who may write what: the host writes the request fields while the runtime stands at its
//! doorbell, and a seed before a fork's first run; `output_used` belongs to the runtime and `console_used` to the guest kernel. A writer
//! announces its full area with a store to the doorbell, in which the host empties it by setting
//! the field to 0, and sets it to 0 itself as it goes on. At all other times the host only reads
//! the fields, so a writer that was preempted in the middle of a record loses nothing.
//!
//! Everything the guest writes is hostile to the host: it copies, checks the copy, uses the copy.
//!
//! `guest/kernel` has the same numbers in C; `tests/protocol.rs` compares the two.

#![no_std]
#![forbid(unsafe_code)]

use core::mem::{align_of, offset_of, size_of};

/// First word of a mailbox: "ZBMB" in memory order.
pub const MAGIC: u32 = u32::from_le_bytes(*b"ZBMB");

/// Version of everything in this file. A snapshot and a host must agree on it exactly.
pub const VERSION: u32 = 2;

/// Guest-physical address of the doorbell page: in the PCI hole below 4 GiB, where no RAM lies.
pub const DOORBELL_GPA: u64 = 0xd000_0000;

/// Bytes of the doorbell: one page.
pub const DOORBELL_SIZE: u64 = 0x1000;

/// Bytes of the mailbox.
pub const MAILBOX_SIZE: u32 = 0x10_0000;

/// Offset of the request's payload.
pub const PAYLOAD_START: u32 = 0x100;

/// Offset at which the runtime's output area ends and the console's begins.
pub const CONSOLE_START: u32 = 0xc_0000;

/// Offset at which the console's area ends: a page in which the guest's kernel says, while it boots,
/// what its clones must not share. A count in eight bytes, then as many [`CloneField`]s.
pub const CLONE_FIELDS_START: u32 = 0xf_f000;

/// Most clone fields that there can be.
pub const CLONE_FIELDS_MAX: u32 = 64;

/// Offset of a seed for the runtime's own random number generators; see [`Header::seed`].
pub const SEED_START: u32 = 0x40;

/// Bytes of a seed.
pub const SEED_BYTES: u32 = 32;

/// Room for output that a request must leave below [`CONSOLE_START`].
pub const OUTPUT_MIN: u32 = 0x1_0000;

/// Longest payload of a request.
pub const PAYLOAD_MAX: u32 = CONSOLE_START - PAYLOAD_START - OUTPUT_MIN;

/// Output records start at multiples of this.
pub const RECORD_ALIGN: u32 = 8;

/// The beginning of the mailbox. All fields are little-endian 32-bit words.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// [`MAGIC`], written by the host before boot.
    pub magic: u32,
    /// [`VERSION`], written by the host before boot.
    pub version: u32,
    /// A [`Request`], written by the host.
    pub request: u32,
    /// Bytes of payload at [`PAYLOAD_START`], written by the host.
    pub payload_len: u32,
    /// Offset of the runtime's first output record, written by the host: behind the payload.
    pub output_start: u32,
    /// Bytes of records from `output_start` on. Owned by the runtime while it runs; the host
    /// sets it to 0 with each request.
    pub output_used: u32,
    /// Exit status of the program, 0 to 255, written by the runtime before [`Event::Done`].
    pub exit_code: u32,
    /// Bytes of records from [`CONSOLE_START`] on. Owned by the guest kernel.
    pub console_used: u32,
    /// Number of the next output record, advanced atomically by both of its writers; it gives the
    /// records of the two areas one order.
    pub sequence: u32,
    /// A [`Death`], written by PID 1 before [`Event::Dead`].
    pub death: u32,
    /// Exit code or signal number that goes with `death`.
    pub death_detail: u32,
    /// A [`Seed`] if the runtime has to reseed what it has loaded before it does anything else; 0
    /// if not. Written by the host with the [`SEED_BYTES`] at [`SEED_START`]; the runtime erases
    /// both when it takes them.
    pub seed: u32,
}

/// A variable of the guest's kernel in which clones of a running guest must differ. The host writes
/// it in each fork, before anything runs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneField {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub len: u32,
    /// A [`CloneKind`].
    pub kind: u32,
}

/// What the host writes into a [`CloneField`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloneKind {
    /// Random bytes: keys and states of the kernel's random number generator.
    Secret = 1,
    /// A 64-bit number, one more than before: what was derived from older secrets is stale.
    Generation = 2,
    /// A random UUID of the machine's own.
    BootId = 3,
    /// 16 bytes: the name that the fork's owner gave it.
    InstanceId = 4,
    /// The host's name, ending with a NUL: made of the instance id.
    HostName = 5,
    /// A 64-bit reading of the TSC from which a clock goes on: moved on.
    Tsc = 6,
    /// 64-bit seconds that go with such a reading: moved on.
    Seconds = 7,
    /// The same in nanoseconds.
    Nanoseconds = 8,
    /// 32-bit multiplier, 32-bit shift, 64-bit nanoseconds to add: the scheduler's clock. It stands
    /// still while a machine sleeps, so the last is moved back.
    Cyc2Ns = 9,
}

/// What precedes the bytes of an output record; the next record follows at [`RECORD_ALIGN`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// From [`Header::sequence`].
    pub sequence: u32,
    /// Stream in the top 8 bits, length in bytes in the lower 24.
    pub stream_and_len: u32,
}

/// Longest text of one record.
pub const RECORD_LEN_MAX: u32 = 0xff_ffff;

/// Where an output record was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Stream {
    /// File descriptor 1.
    Stdout = 1,
    /// File descriptor 2.
    Stderr = 2,
}

/// Meaning of a store to the doorbell: the low 8 bits. The upper 24 are [`Event::Stage`]'s number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Event {
    /// The runtime is warm and waits for its first request.
    Ready = 1,
    /// The request is done; the answer is in the mailbox and the runtime waits for the next.
    Done = 2,
    /// The runtime's output area is full; it continues with an empty one.
    Output = 3,
    /// The console's output area is full; it continues with an empty one.
    Console = 4,
    /// The runtime's process is gone; PID 1 says how in [`Header::death`].
    Dead = 5,
    /// Boot has reached a [`Stage`].
    Stage = 6,
}

/// Steps of a template's boot, for people who wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Stage {
    /// The kernel has started PID 1.
    Init = 1,
    /// File systems are mounted.
    Mounted = 2,
    /// The runtime's own code is running.
    Runtime = 3,
}

/// What the host asks of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Request {
    /// Run the program in the payload.
    Run = 1,
    /// Get ready to be captured: collect garbage, freeze what is left.
    Settle = 2,
}

/// Why the host has left a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Seed {
    /// The machine has just been forked.
    Fork = 1,
    /// It will be: the template is warmed up. All is done as in a fork; in addition the runtime
    /// drops, behind each program, what a fork can take anew when it needs it.
    Rehearsal = 2,
}

/// How a runtime's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Death {
    /// It called `_exit`; the detail is the exit code.
    Exited = 1,
    /// A signal ended it; the detail is the signal's number.
    Signaled = 2,
    /// The guest kernel killed it because the guest's memory was used up.
    OutOfMemory = 3,
}

/// The doorbell value for an event.
pub const fn ring(event: Event) -> u32 {
    event as u32
}

/// The doorbell value that announces a boot stage.
pub const fn ring_stage(stage: Stage) -> u32 {
    Event::Stage as u32 | (stage as u32) << 8
}

/// The bytes that a record with `len` bytes of text occupies.
pub const fn record_size(len: u32) -> u32 {
    (size_of::<Record>() as u32 + len).next_multiple_of(RECORD_ALIGN)
}

/// The first offset behind a payload where a record may start.
pub const fn output_start(payload_len: u32) -> u32 {
    (PAYLOAD_START + payload_len).next_multiple_of(RECORD_ALIGN)
}

impl Record {
    /// The head of a record with `len` bytes of text; `len` is at most [`RECORD_LEN_MAX`].
    pub const fn new(sequence: u32, stream: Stream, len: u32) -> Self {
        Record { sequence, stream_and_len: (stream as u32) << 24 | (len & RECORD_LEN_MAX) }
    }

    /// The bytes of text that follow.
    pub const fn len(self) -> u32 {
        self.stream_and_len & RECORD_LEN_MAX
    }

    /// Whether no text follows.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The stream, if the guest named one that exists.
    pub const fn stream(self) -> Option<Stream> {
        match self.stream_and_len >> 24 {
            1 => Some(Stream::Stdout),
            2 => Some(Stream::Stderr),
            _ => None,
        }
    }
}

macro_rules! from_u32 {
    ($name:ident { $($variant:ident),+ $(,)? }) => {
        impl $name {
            /// The variant with this number, if there is one.
            pub const fn from_u32(value: u32) -> Option<Self> {
                $(if value == $name::$variant as u32 { return Some($name::$variant); })+
                None
            }
        }
    };
}

from_u32!(Event { Ready, Done, Output, Console, Dead, Stage });
from_u32!(Stage { Init, Mounted, Runtime });
from_u32!(Request { Run, Settle });
from_u32!(Death { Exited, Signaled, OutOfMemory });
from_u32!(Seed { Fork, Rehearsal });
from_u32!(CloneKind {
    Secret,
    Generation,
    BootId,
    InstanceId,
    HostName,
    Tsc,
    Seconds,
    Nanoseconds,
    Cyc2Ns,
});

// Tripwires: a change of any of these is a new VERSION.
const _: () = {
    assert!(size_of::<Header>() == 48 && align_of::<Header>() == 4);
    assert!(offset_of!(Header, output_used) == 20);
    assert!(offset_of!(Header, console_used) == 28);
    assert!(offset_of!(Header, sequence) == 32);
    assert!(offset_of!(Header, death) == 36);
    assert!(offset_of!(Header, seed) == 44);
    assert!(size_of::<Header>() <= SEED_START as usize);
    assert!(SEED_START + SEED_BYTES <= PAYLOAD_START);
    assert!(size_of::<CloneField>() == 16);
    assert!(
        CLONE_FIELDS_START + 8 + CLONE_FIELDS_MAX * size_of::<CloneField>() as u32 <= MAILBOX_SIZE
    );
    assert!(size_of::<Record>() == 8);
    assert!(MAILBOX_SIZE.is_multiple_of(4096) && CONSOLE_START.is_multiple_of(4096));
    assert!(CONSOLE_START < CLONE_FIELDS_START && CLONE_FIELDS_START.is_multiple_of(4096));
    assert!(output_start(PAYLOAD_MAX) + OUTPUT_MIN <= CONSOLE_START + RECORD_ALIGN);
};
