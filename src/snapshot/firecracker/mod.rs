//! Firecracker's snapshots: a pure function from the bytes of a `vmstate` file to what was in it.
//!
//! | file | what |
//! |---|---|
//! | `container` | recognising a file: magic, checksum, format version, who writes that version |
//! | `fixed` | the encoding up to format 8: fixed-width integers, one behind the other |
//! | `bounded` | lists, KVM's structures and trees with a bound on each |
//! | `schema`, `devices` | what the formats have in common, field by field |
//! | `formats` | in what they differ |
//! | `settle` | from any format to the same state |
//! | `vmstate` | the state, whatever the format |
//!
//! From format 9 on the encoding is bitcode's, columns of packed integers; the crate is pinned to the
//! version that Firecracker writes with, since bitcode's format changes with its major version.
//!
//! The formats are not self-describing. So a file is taken only if a format's fields use up its last
//! byte and each of KVM's structures has KVM's size.

#![forbid(unsafe_code)]

mod bounded;
mod container;
mod devices;
mod fixed;
mod formats;
mod schema;
mod settle;
#[cfg(test)]
mod tests;
mod vmstate;

pub use container::{Error, Version};
pub use vmstate::{
    Device, Kind, MemoryRegion, Queue, Serial, Transport, VcpuState, VmClock, VmGenId, Vmstate,
};

/// The longest file that is looked at: Firecracker's own limit.
pub const VMSTATE_MAX: u64 = 10_000_000;

/// The state in the bytes of a `vmstate` file.
pub fn decode(file: &[u8]) -> Result<Vmstate, Error> {
    let container = container::open(file)?;
    formats::decode(&container)
}
