//! Finding out what a host's KVM does by trying it.

use std::sync::Arc;
use std::time::Duration;

use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_ioctls::Cap;
use vm_memory::{Bytes, VolatileMemory};

use super::host::REQUIRED;
use super::restore::{IA32_TSC, entry, set_msrs};
use super::save::entries;
use super::{
    Access, Error, Exit, Host, Result, Ring0, Slot, Traits, TscControl, Vcpu, Vm, enter_long_mode,
};
use crate::sys::{self, Limits, Region};

const PROBE_RAM: usize = 0x10000;
const CODE_AT: u64 = 0x1000;
const PROBE_TIME: Duration = Duration::from_secs(5);

/// `popcnt eax, eax` and an `out` that exits. KVM's emulator does not know popcnt.
const POPCNT_THEN_OUT: [u8; 6] = [0xf3, 0x0f, 0xb8, 0xc0, 0xe6, 0x80];

/// What `zeroboot doctor` tells of a capability.
#[derive(Clone, Debug)]
pub struct Report {
    /// The capability and what it is for.
    pub name: &'static str,
    /// Whether zeroboot works without it.
    pub required: bool,
    /// Whether this host has it.
    pub present: bool,
}

/// Capabilities that make things better where they are.
const USEFUL: &[(Cap, &str)] = &[
    (Cap::TscControl, "KVM_CAP_TSC_CONTROL (snapshots from machines with another TSC rate)"),
    (Cap::GetTscKhz, "KVM_CAP_GET_TSC_KHZ (the TSC's rate)"),
    (Cap::SyncRegs, "KVM_CAP_SYNC_REGS (registers without ioctls)"),
    (Cap::DirtyLogRing, "KVM_CAP_DIRTY_LOG_RING (finding changed pages)"),
];

/// All that zeroboot asks of KVM, and whether this host has it.
pub fn report(host: &Host) -> Vec<Report> {
    let line = |required: bool| {
        move |(cap, name): &(Cap, &'static str)| Report {
            name,
            required,
            present: host.kvm().check_extension(*cap),
        }
    };
    REQUIRED.iter().map(line(true)).chain(USEFUL.iter().map(line(false))).collect()
}

/// Tries a tiny machine.
pub(super) fn traits(host: &Host) -> Result<Traits> {
    let (_file, region) = sys::shared_of_memfd(PROBE_RAM)?;
    let region = Arc::new(region);
    let mut vcpu = probe_machine(host, &region)?;
    Ok(Traits {
        ring0: ring0(&mut vcpu)?,
        tsc: tsc_control(&vcpu)?,
        tsc_khz: vcpu.fd().get_tsc_khz().map_err(Error::ioctl("KVM_GET_TSC_KHZ"))?,
    })
}

/// Writes IA32_TSC and looks whether it took.
fn tsc_control(vcpu: &Vcpu) -> Result<TscControl> {
    // Far from any real counter: about 28 years at 5 GHz.
    const FAR: u64 = 1 << 62;
    set_msrs(vcpu.fd(), &[entry(IA32_TSC, FAR)])?;
    let mut msrs = entries(std::iter::once(IA32_TSC))?;
    let read = vcpu.fd().get_msrs(&mut msrs).map_err(Error::ioctl("KVM_GET_MSRS"))?;
    match msrs.as_slice()[..read].first() {
        Some(entry) if entry.data >= FAR => Ok(TscControl::Settable),
        Some(_) => Ok(TscControl::Raw),
        None => Err(Error::MsrUnreadable { index: IA32_TSC }),
    }
}

/// Runs an instruction in ring 0 that every processor has and KVM's emulator has not.
fn ring0(vcpu: &mut Vcpu) -> Result<Ring0> {
    let limits = Limits::within(PROBE_TIME);
    let armed = limits.arm()?;
    while armed.expired().is_none() {
        match vcpu.run(armed.mask_in_guest()) {
            Ok(Exit::IoOut(..)) => return Ok(Ring0::Native),
            Ok(Exit::InternalError) => return Ok(Ring0::Emulated),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => {}
            Ok(_) => return Err(Error::Missing("64-bit guests")),
            Err(e) => {
                let errno = kvm_ioctls::Error::new(e.raw_os_error().unwrap_or(0));
                return Err(Error::ioctl("KVM_RUN")(errno));
            }
        }
    }
    Err(Error::Missing("a guest that gets anywhere: two instructions took more than 5 s"))
}

fn probe_machine(host: &Host, region: &Arc<Region>) -> Result<Vcpu> {
    let mut vm = Vm::create(host)?;
    vm.map(Slot(0), 0, region, Access::Full)?;
    let vcpu = vm.into_vcpu()?;
    let cpuid = host
        .kvm()
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(Error::ioctl("KVM_GET_SUPPORTED_CPUID"))?;
    vcpu.fd().set_cpuid2(&cpuid).map_err(Error::ioctl("KVM_SET_CPUID2"))?;
    region
        .as_volatile_slice()
        .write_slice(&POPCNT_THEN_OUT, CODE_AT as usize)
        .expect("the probe's code lies inside its region");
    enter_long_mode(&vcpu, region, CODE_AT, 0)?;
    Ok(vcpu)
}
