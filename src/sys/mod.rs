//! The operating system, safely: owned mappings, memory files, the clock, waking a thread.
//!
//! The lowest layer. It knows nothing of KVM.

mod cancel;
mod clock;
mod error;
mod exchange;
mod gate;
mod kick;
mod limits;
mod memory;
mod pagemap;
mod random;
mod thread;

pub use cancel::{Cancel, Registration};
pub use clock::{Moment, cpuid};
pub use error::Error;
pub(crate) use error::hint;
pub use exchange::exchange;
pub use gate::Gate;
pub use kick::{KickGuard, Timer};
pub use limits::{Armed, Expired, Kicker, Limits};
pub use memory::{
    Region, Slice, forget_cached, forget_private, make_private, private_of_file,
    private_of_file_at, read_only_of_file, sealed_copy, shared_of_memfd,
};
pub use pagemap::{Residence, residences};
pub use random::fill_random;
pub use thread::{Uncancellable, spawn};

/// Result of this layer.
pub type Result<T> = std::result::Result<T, Error>;
