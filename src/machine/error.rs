use crate::{kvm, sys};

/// Result of this layer.
pub type Result<T> = std::result::Result<T, Error>;

/// What kept a machine from being made or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The memory's size is none that a machine can have.
    #[error("guest memory of {bytes} bytes: must be a multiple of 2 MiB from 32 MiB to 3 GiB")]
    MemorySize {
        /// What was asked for.
        bytes: u64,
    },
    /// The root file system's size is none that a machine can have.
    #[error("root file system image of {bytes} bytes: must be a multiple of 2 MiB up to 64 GiB")]
    RootfsSize {
        /// What the image has.
        bytes: u64,
    },
    /// A mapping is not as long as the layout says.
    #[error("guest memory: {want} bytes wanted, {have} mapped")]
    Memory {
        /// The layout's length.
        want: u64,
        /// The mapping's.
        have: u64,
    },
    /// A piece of memory that no machine can have.
    #[error(
        "guest memory of {len} bytes at {at:#x}: outside of what a guest can address, over another \
         piece, or not whole pages"
    )]
    Slot {
        /// Guest-physical address.
        at: u64,
        /// Bytes.
        len: u64,
    },
    /// Too many pieces of memory.
    #[error("guest memory in {have} pieces: the most is 512")]
    Slots {
        /// How many.
        have: usize,
    },
    /// A device's window that no machine can have.
    #[error(
        "device {id} at {at:#x}: its window lies in memory, its interrupt line is none, or its \
         queues are none"
    )]
    Window {
        /// The device.
        id: String,
        /// Guest-physical address.
        at: u64,
    },
    /// An interrupt line that there is not.
    #[error("interrupt line {gsi}: there is no such line")]
    Line {
        /// Its number.
        gsi: u32,
    },
    /// KVM refused something.
    #[error(transparent)]
    Kvm(#[from] kvm::Error),
    /// KVM_RUN failed in a way that no guest causes.
    #[error("KVM_RUN: {0}")]
    Run(std::io::Error),
    /// The snapshot's memory file cannot be read.
    #[error("the snapshot's memory file: {0}")]
    Original(std::io::Error),
    /// A machine whose writes nobody followed.
    #[error("nobody follows what the machine's guest writes to: it cannot be reset, or limited")]
    NotResettable,
    /// The operating system refused something.
    #[error(transparent)]
    Sys(#[from] sys::Error),
}
