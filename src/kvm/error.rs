use std::io;

use crate::sys;

/// Result of this layer.
pub type Result<T> = std::result::Result<T, Error>;

/// What KVM refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no usable /dev/kvm.
    #[error("cannot open /dev/kvm: {source}{hint}")]
    Open {
        /// What open(2) said.
        source: io::Error,
        /// What to do about it.
        hint: &'static str,
    },
    /// The host's KVM lacks something that zeroboot cannot do without.
    #[error("this host's KVM lacks {0}; run `zeroboot doctor` for the whole picture")]
    Missing(&'static str),
    /// An ioctl failed.
    #[error("{name}: {source}{hint}")]
    Ioctl {
        /// The ioctl.
        name: &'static str,
        /// What the kernel said.
        source: io::Error,
        /// Which limit that means, where it means one.
        hint: &'static str,
    },
    /// KVM did not take a model-specific register.
    #[error("KVM_SET_MSRS: MSR {index:#x} = {value:#x} was not accepted")]
    MsrRejected {
        /// Its number.
        index: u32,
        /// The value it should have got.
        value: u64,
    },
    /// A snapshot sets a model-specific register that is not its guest's.
    #[error("MSR {index:#x} is none that a snapshot may set")]
    MsrNotAdmitted {
        /// Its number.
        index: u32,
    },
    /// A snapshot has its vCPU in a state that no capture finds.
    #[error("the vCPU is in a state that no capture finds: {what}")]
    NotAdmitted {
        /// Which.
        what: &'static str,
    },
    /// KVM did not give a model-specific register.
    #[error("KVM_GET_MSRS: MSR {index:#x} cannot be read")]
    MsrUnreadable {
        /// Its number.
        index: u32,
    },
    /// More CPUID leaves or MSRs than KVM takes.
    #[error("{what}: {have} entries are more than KVM takes")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        have: usize,
    },
    /// The layer below.
    #[error(transparent)]
    Sys(#[from] sys::Error),
}

impl Error {
    pub(crate) fn ioctl(name: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Error {
        move |errno| {
            let source = io::Error::from_raw_os_error(errno.errno());
            let hint = sys::hint(&source);
            Error::Ioctl { name, source, hint }
        }
    }

    pub(super) fn io(name: &'static str, source: io::Error) -> Error {
        let hint = sys::hint(&source);
        Error::Ioctl { name, source, hint }
    }

    pub(crate) fn open(errno: kvm_ioctls::Error) -> Error {
        let hint = match errno.errno() {
            libc::ENOENT => {
                ": the kvm module is not loaded, or virtualisation is off; try `modprobe kvm_intel` \
                 or `modprobe kvm_amd`, and in a container pass --device /dev/kvm"
            }
            libc::EACCES | libc::EPERM => {
                ": you may not use it; join the group that owns it (usually `usermod -aG kvm $USER`)"
            }
            _ => "",
        };
        Error::Open { source: io::Error::from_raw_os_error(errno.errno()), hint }
    }

    /// The errno behind it, 0 if there is none.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Open { source, .. } | Error::Ioctl { source, .. } => {
                source.raw_os_error().unwrap_or(0)
            }
            Error::Sys(e) => e.errno(),
            _ => 0,
        }
    }
}
