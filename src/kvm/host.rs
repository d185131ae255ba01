//! What this host's KVM is and can do.

use std::fmt;
use std::path::Path;

use kvm_bindings::{KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE};
use kvm_ioctls::{Cap, Kvm, VmFd};
use once_cell::sync::OnceCell;
use serde::{Deserialize, Serialize};

use super::{Error, Result, probe};

/// An open /dev/kvm that has all that zeroboot needs.
#[derive(Debug)]
pub struct Host {
    kvm: Kvm,
    /// A VM that does nothing. While there is one, KVM stays switched on: otherwise the first VM of
    /// a process switches it on on every processor, and the last one off again, which costs each
    /// fork that is alone some 50 us, and its end as much.
    _keeps_kvm_on: VmFd,
}

/// Who executes a guest's ring 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ring0 {
    /// The processor: VT-x, AMD-V.
    Native,
    /// KVM's instruction emulator: a KVM without hardware virtualisation.
    Emulated,
}

/// Whether a guest's time stamp counter can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TscControl {
    /// Writes of IA32_TSC take effect.
    Settable,
    /// The guest reads the host's counter, whatever is written.
    Raw,
}

/// The KVM module behind /dev/kvm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Intel VT-x.
    Intel,
    /// AMD-V.
    Amd,
    /// A KVM that needs no hardware virtualisation.
    Software,
    /// None of the modules above is loaded.
    Unknown,
}

/// Capabilities without which no sandbox can be made, and what each is for.
pub(super) const REQUIRED: &[(Cap, &str)] = &[
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY (memslots)"),
    (Cap::SplitIrqchip, "KVM_CAP_SPLIT_IRQCHIP (an in-kernel LAPIC without a PIC)"),
    (Cap::TscDeadlineTimer, "KVM_CAP_TSC_DEADLINE_TIMER (the guest's timer)"),
    (Cap::ReadonlyMem, "KVM_CAP_READONLY_MEM (the shared root file system)"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT (completing an exit before a capture)"),
    (Cap::Xsave, "KVM_CAP_XSAVE (vector registers)"),
    (Cap::Xcrs, "KVM_CAP_XCRS (vector registers)"),
    (Cap::VcpuEvents, "KVM_CAP_VCPU_EVENTS (pending exceptions)"),
    (Cap::Debugregs, "KVM_CAP_DEBUGREGS (debug registers)"),
    (Cap::MpState, "KVM_CAP_MP_STATE (halted or running)"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID (what the guest's CPUID says)"),
];

/// What only trying tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Who executes ring 0.
    pub ring0: Ring0,
    /// Whether the TSC can be set.
    pub tsc: TscControl,
    /// The rate of the host's TSC.
    pub tsc_khz: u32,
}

static TRAITS: OnceCell<Traits> = OnceCell::new();

impl Host {
    /// Opens /dev/kvm and checks that it has what is needed.
    pub fn open() -> Result<Self> {
        let kvm = Kvm::new().map_err(Error::open)?;
        for (cap, name) in REQUIRED {
            if !kvm.check_extension(*cap) {
                return Err(Error::Missing(name));
            }
        }
        let _keeps_kvm_on = create_vm(&kvm)?;
        Ok(Host { kvm, _keeps_kvm_on })
    }

    pub(super) fn kvm(&self) -> &Kvm {
        &self.kvm
    }

    /// What this KVM turns out to be when tried: once a process, with a tiny machine.
    pub fn traits(&self) -> Result<Traits> {
        TRAITS.get_or_try_init(|| probe::traits(self)).copied()
    }

    /// Whether a vCPU can be given a TSC rate that is not the host's.
    pub fn can_scale_tsc(&self) -> bool {
        self.kvm.check_extension(Cap::TscControl)
    }

    /// Whether a VM's dirty log can be read without being reset (Linux 5.2).
    pub fn can_keep_dirty_logs(&self) -> bool {
        let wanted = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE as i32;
        let have = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2.into();
        self.kvm.check_extension_raw(have) & wanted == wanted
    }

    /// Which KVM it is.
    pub fn kind(&self) -> Kind {
        let loaded = |name: &str| Path::new("/sys/module").join(name).exists();
        match (loaded("kvm_intel"), loaded("kvm_amd")) {
            (true, _) if hardware_flag("vmx") => Kind::Intel,
            (_, true) if hardware_flag("svm") => Kind::Amd,
            _ if self.traits().is_ok_and(|t| t.ring0 == Ring0::Emulated) => Kind::Software,
            _ => Kind::Unknown,
        }
    }
}

/// KVM_CREATE_VM takes all of the process's mapping locks, and gives up when a signal comes: a host
/// program's own, such as the ones with which Go preempts its threads.
pub(super) fn create_vm(kvm: &Kvm) -> Result<VmFd> {
    loop {
        match kvm.create_vm() {
            Err(e) if e.errno() == libc::EINTR => {}
            other => return other.map_err(Error::ioctl("KVM_CREATE_VM")),
        }
    }
}

/// The processor's features as Linux lists them.
fn hardware_flag(flag: &str) -> bool {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| line.split_whitespace().any(|word| word == flag))
}

impl fmt::Display for Ring0 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ring0::Native => "native",
            Ring0::Emulated => "emulated",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Intel => "hardware, VT-x (kvm_intel)",
            Kind::Amd => "hardware, AMD-V (kvm_amd)",
            Kind::Software => "software: ring 3 native, ring 0 emulated",
            Kind::Unknown => "unknown",
        })
    }
}
