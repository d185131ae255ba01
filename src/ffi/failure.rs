//! Errors of the layers below, as the C API tells them.
//!
//! Each `match` lists every variant: a new one does not compile until somebody has decided what it
//! is to a C program.

use std::borrow::Cow;
use std::io;

use super::status::*;
use crate::snapshot::firecracker;
use crate::{agent, fork, kvm, machine, snapshot, sys};

/// What will be a `zb_error`.
#[derive(Debug)]
pub struct Failure {
    pub status: zb_status,
    /// 0 if there is none.
    pub errno: i32,
    pub message: Cow<'static, str>,
}

pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn new(status: zb_status, message: impl Into<Cow<'static, str>>) -> Self {
        Failure { status, errno: 0, message: message.into() }
    }

    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Failure::new(ZB_ERR_INVALID_ARGUMENT, message)
    }

    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Failure::new(ZB_ERR_UNSUPPORTED, message)
    }

    pub fn no_memory() -> Self {
        Failure { status: ZB_ERR_NO_MEMORY, errno: libc::ENOMEM, message: "out of memory".into() }
    }
}

/// What an error is to a C program.
trait Classify {
    fn status(&self) -> zb_status;
    fn errno(&self) -> i32;
}

fn failure(error: &(impl Classify + ToString)) -> Failure {
    Failure { status: error.status(), errno: error.errno(), message: error.to_string().into() }
}

impl From<kvm::Error> for Failure {
    fn from(error: kvm::Error) -> Self {
        failure(&error)
    }
}

impl From<snapshot::Error> for Failure {
    fn from(error: snapshot::Error) -> Self {
        failure(&error)
    }
}

impl From<fork::Error> for Failure {
    fn from(error: fork::Error) -> Self {
        failure(&error)
    }
}

impl Classify for snapshot::Error {
    fn status(&self) -> zb_status {
        match self {
            Self::File { source, .. } => match source.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => ZB_ERR_NOT_FOUND,
                _ => limit_or(ZB_ERR_IO, source),
            },
            Self::Corrupt { .. } => ZB_ERR_CORRUPT,
            Self::Foreign { source: firecracker::Error::Version { .. }, .. } => ZB_ERR_VERSION,
            Self::Foreign { .. } => ZB_ERR_CORRUPT,
            Self::Version { .. } => ZB_ERR_VERSION,
            Self::Host { .. } => ZB_ERR_HOST,
            Self::Clock { .. } | Self::StandingClock { .. } => ZB_ERR_CLOCK,
            Self::Kvm(e) => e.status(),
            Self::Machine(e) => e.status(),
            Self::Sys(e) => e.status(),
        }
    }

    fn errno(&self) -> i32 {
        match self {
            Self::File { source, .. } => source.raw_os_error().unwrap_or(0),
            Self::Kvm(e) => e.errno(),
            Self::Machine(e) => Classify::errno(e),
            Self::Sys(e) => e.errno(),
            Self::Corrupt { .. }
            | Self::Foreign { .. }
            | Self::StandingClock { .. }
            | Self::Version { .. }
            | Self::Host { .. }
            | Self::Clock { .. } => 0,
        }
    }
}

impl Classify for fork::Error {
    fn status(&self) -> zb_status {
        match self {
            Self::Dead(_) => ZB_ERR_DEAD,
            Self::MemoryTotal { .. } => ZB_ERR_LIMIT,
            Self::NoMemoryLimit => ZB_ERR_KVM,
            Self::Agent(e) => e.status(),
            Self::Snapshot(e) => e.status(),
            Self::Machine(e) => e.status(),
            Self::Kvm(e) => e.status(),
            Self::Sys(e) => e.status(),
        }
    }

    fn errno(&self) -> i32 {
        match self {
            Self::Dead(_) | Self::MemoryTotal { .. } | Self::NoMemoryLimit => 0,
            Self::Agent(e) => Classify::errno(e),
            Self::Snapshot(e) => Classify::errno(e),
            Self::Machine(e) => Classify::errno(e),
            Self::Kvm(e) => e.errno(),
            Self::Sys(e) => e.errno(),
        }
    }
}

impl Classify for agent::Error {
    fn status(&self) -> zb_status {
        match self {
            Self::PayloadTooLong(_) => ZB_ERR_INVALID_ARGUMENT,
            Self::NoRuntime | Self::NoConsole => ZB_ERR_UNSUPPORTED,
            Self::Machine(e) => e.status(),
            Self::Sys(e) => e.status(),
        }
    }

    fn errno(&self) -> i32 {
        match self {
            Self::PayloadTooLong(_) | Self::NoRuntime | Self::NoConsole => 0,
            Self::Machine(e) => Classify::errno(e),
            Self::Sys(e) => e.errno(),
        }
    }
}

impl Classify for machine::Error {
    fn status(&self) -> zb_status {
        match self {
            // The sizes come from a manifest.
            Self::MemorySize { .. }
            | Self::RootfsSize { .. }
            | Self::Slot { .. }
            | Self::Slots { .. }
            | Self::Window { .. }
            | Self::Line { .. } => ZB_ERR_CORRUPT,
            Self::Memory { .. } | Self::NotResettable => ZB_ERR_INTERNAL,
            Self::Kvm(e) => e.status(),
            Self::Run(source) => limit_or(ZB_ERR_KVM, source),
            Self::Original(source) => limit_or(ZB_ERR_IO, source),
            Self::Sys(e) => e.status(),
        }
    }

    fn errno(&self) -> i32 {
        match self {
            Self::Kvm(e) => e.errno(),
            Self::Run(source) | Self::Original(source) => source.raw_os_error().unwrap_or(0),
            Self::Sys(e) => e.errno(),
            Self::Slot { .. }
            | Self::Slots { .. }
            | Self::Window { .. }
            | Self::Line { .. }
            | Self::MemorySize { .. }
            | Self::RootfsSize { .. }
            | Self::Memory { .. }
            | Self::NotResettable => 0,
        }
    }
}

impl Classify for kvm::Error {
    fn status(&self) -> zb_status {
        match self {
            Self::Open { source, .. } | Self::Ioctl { source, .. } => limit_or(ZB_ERR_KVM, source),
            Self::Missing(_)
            | Self::MsrRejected { .. }
            | Self::MsrUnreadable { .. }
            | Self::TooMany { .. } => ZB_ERR_KVM,
            Self::MsrNotAdmitted { .. } | Self::NotAdmitted { .. } => ZB_ERR_CORRUPT,
            Self::Sys(e) => e.status(),
        }
    }

    fn errno(&self) -> i32 {
        kvm::Error::errno(self)
    }
}

impl Classify for sys::Error {
    fn status(&self) -> zb_status {
        limit_or(ZB_ERR_IO, &self.source)
    }

    fn errno(&self) -> i32 {
        sys::Error::errno(self)
    }
}

/// `ZB_ERR_LIMIT` for what a process with many sandboxes meets: files, mappings or memory used up,
/// and timers (RLIMIT_SIGPENDING says EAGAIN).
fn limit_or(otherwise: zb_status, error: &io::Error) -> zb_status {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN) => ZB_ERR_LIMIT,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn file_error(errno: i32) -> Failure {
        let source = io::Error::from_raw_os_error(errno);
        snapshot::Error::File { path: PathBuf::from("/there/manifest.json"), source }.into()
    }

    #[test]
    fn a_file_that_is_missing_unreadable_or_one_too_many_gives_three_statuses() {
        for (errno, status) in [
            (libc::ENOENT, ZB_ERR_NOT_FOUND),
            (libc::EACCES, ZB_ERR_IO),
            (libc::EMFILE, ZB_ERR_LIMIT),
        ] {
            let failure = file_error(errno);
            assert_eq!((failure.status, failure.errno), (status, errno));
            assert!(failure.message.contains("/there/manifest.json"), "{}", failure.message);
        }
    }

    #[test]
    fn an_errno_comes_through_all_layers() {
        let error = kvm::Error::Ioctl {
            name: "KVM_CREATE_VM",
            source: io::Error::from_raw_os_error(libc::EMFILE),
            hint: "",
        };
        let failure = Failure::from(fork::Error::Machine(machine::Error::Kvm(error)));
        assert_eq!((failure.status, failure.errno), (ZB_ERR_LIMIT, libc::EMFILE));
        assert!(failure.message.contains("KVM_CREATE_VM"));
    }

    #[test]
    fn a_dead_sandbox_says_what_it_died_of() {
        let failure = Failure::from(fork::Error::Dead("a timeout"));
        assert_eq!(failure.status, ZB_ERR_DEAD);
        assert!(failure.message.contains("a timeout"));
    }
}
