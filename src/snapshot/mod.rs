//! A captured machine: its form on disk, and in memory ready to be forked.
//!
//! A snapshot is a directory:
//!
//! | file | what |
//! |---|---|
//! | `manifest.json` | what it is, in words: format, sizes, hashes, clock, processor, origin |
//! | `state.bin` | vCPU, UART, and what forks must not share: sections with checksums, and the manifest's checksum |
//! | `memory.img` | RAM and mailbox, sparse; forks map it copy-on-write |
//! | `rootfs.img` | the root file system's image; all machines of a host share its pages |
//!
//! or one that Firecracker made, with its own files (see [`firecracker`] and `foreign`).
//!
//! Ours is written under another name and renamed, so it is whole or not there.

mod attached;
mod body;
mod clone;
mod error;
pub mod firecracker;
mod foreign;
mod format;
mod load;
mod manifest;
mod renew;
mod save;
mod verify;

pub use clone::{ClonePlaces, HOST_NAME_BYTES, ID_BYTES, Place, SECRET_BYTES, SECRETS_MAX};
pub use error::{Error, Result};
pub use format::{FormatError, State, decode, encode};
pub use load::{LoadOptions, Snapshot, parse_manifest};
pub use manifest::{Manifest, Origin};
pub use save::{Capture, write};
pub use verify::{sha256_of_file, sha256_of_image, verify};

/// Version of the directory's format; readers take this one only.
pub const FORMAT: u32 = 2;

/// Names in the directory.
pub const MANIFEST: &str = "manifest.json";
/// The vCPU's and the UART's state.
pub const STATE: &str = "state.bin";
/// RAM and mailbox.
pub const MEMORY: &str = "memory.img";
/// The root file system's image.
pub const ROOTFS: &str = "rootfs.img";
