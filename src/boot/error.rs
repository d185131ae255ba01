use std::io;
use std::path::PathBuf;

use crate::{agent, kvm, machine, snapshot, sys};

/// Result of this layer.
pub type Result<T> = std::result::Result<T, Error>;

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that goes in cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel is none that can be booted.
    #[error("{}: not a kernel that can be booted: {why}", path.display())]
    Kernel {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The guest did not get to its doorbell.
    #[error("boot failed: {why}; the end of the guest's console:\n{}", console.join("\n"))]
    Boot {
        /// What happened instead.
        why: String,
        /// The last lines that it printed.
        console: Vec<String>,
    },
    /// A program for warming up failed.
    #[error("warming up with {program}: {why}")]
    Warm {
        /// Its name.
        program: String,
        /// How it ended, and what it printed.
        why: String,
    },
    /// Layers below.
    #[error(transparent)]
    Agent(#[from] agent::Error),
    /// Layers below.
    #[error(transparent)]
    Kvm(#[from] kvm::Error),
    /// Layers below.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// Layers below.
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    /// Layers below.
    #[error(transparent)]
    Sys(#[from] sys::Error),
}

impl Error {
    pub(super) fn file(path: &std::path::Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::File { path, source }
    }
}
