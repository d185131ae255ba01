use std::io;
use std::path::{Path, PathBuf};

use super::firecracker;
use crate::{kvm, machine, sys};

/// Result of this layer.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a snapshot cannot be read, written or used here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file's contents are none that this library wrote.
    #[error("{}: {what}", path.display())]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// What is wrong, and by how much.
        what: String,
    },
    /// A Firecracker snapshot that cannot be used.
    #[error("{}: {source}", path.display())]
    Foreign {
        /// Its vmstate file.
        path: PathBuf,
        /// Why.
        source: firecracker::Error,
    },
    /// Another version of the format, or of the guest protocol.
    #[error(
        "{}: {what} version {have}, this library reads version {want}; build the template again",
        path.display()
    )]
    Version {
        /// Which file.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// The file's.
        have: u64,
        /// Ours.
        want: u32,
    },
    /// The snapshot was made on a host that differs in something that matters.
    #[error("{}: cannot run on this host: {why}; build the template again here", path.display())]
    Host {
        /// Which snapshot.
        path: PathBuf,
        /// What differs.
        why: String,
    },
    /// A fork's wall clock would be wrong.
    #[error(
        "{}: a fork's clock would be {ms} ms ahead: the host's clock stands before the moment at \
         which the template was made; set the host's clock, or build the template again",
        path.display()
    )]
    Clock {
        /// Which snapshot.
        path: PathBuf,
        /// How far ahead the guest would be.
        ms: i128,
    },
    /// Time would stand still in a fork.
    #[error(
        "{}: time would stand still in a fork for {seconds} s: this host's time stamp counter, which \
         cannot be set, has not got as far as it was when the snapshot was taken",
        path.display()
    )]
    StandingClock {
        /// Which snapshot.
        path: PathBuf,
        /// Until the counter has got there.
        seconds: i128,
    },
    /// KVM refused something.
    #[error(transparent)]
    Kvm(#[from] kvm::Error),
    /// The machine cannot be made.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// The operating system refused something.
    #[error(transparent)]
    Sys(#[from] sys::Error),
}

impl Error {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::File { path, source }
    }

    pub(super) fn corrupt(path: &Path, what: impl Into<String>) -> Error {
        Error::Corrupt { path: path.to_path_buf(), what: what.into() }
    }
}
