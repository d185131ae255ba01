use kvm_bindings::{
    kvm_cpuid_entry2, kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs,
    kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use serde::{Deserialize, Serialize};

use super::TscControl;
use crate::sys::Moment;

/// All that a vCPU is, as plain data in KVM's own layout.
#[derive(Debug)]
pub struct CpuState {
    /// What CPUID says in the guest.
    pub cpuid: Vec<kvm_cpuid_entry2>,
    /// General registers, RIP, RFLAGS.
    pub regs: kvm_regs,
    /// Segments, control registers, EFER, APIC base.
    pub sregs: kvm_sregs,
    /// XCR0.
    pub xcrs: kvm_xcrs,
    /// x87, SSE, AVX, AVX-512, PKRU: standard format of the SDM, volume 1, 13.4.
    pub xsave: Box<kvm_xsave>,
    /// The local APIC's page.
    pub lapic: kvm_lapic_state,
    /// The MSRs that differ from a new vCPU's, but for the two time ones.
    pub msrs: Vec<kvm_msr_entry>,
    /// Pending and injected exceptions, interrupts, NMIs.
    pub events: kvm_vcpu_events,
    /// DR0 to DR7.
    pub debugregs: kvm_debugregs,
    /// Running or halted.
    pub mp_state: kvm_mp_state,
    /// IA32_TSC_DEADLINE; 0 if the timer is not armed.
    pub tsc_deadline: u64,
}

/// A moment on the guest's TSC, and what that counter's rate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Wall clock at the capture: nanoseconds since 1970, UTC.
    pub realtime_ns: u64,
    /// The guest's TSC at the capture.
    pub tsc: u64,
    /// Its rate.
    pub tsc_khz: u32,
}

impl Clock {
    /// What the guest's TSC ought to read at a later moment: as if it had slept since the capture.
    /// Never less than at the capture: a kernel whose counter goes back stands still until it has
    /// caught up.
    pub fn tsc_at(&self, now: Moment) -> u64 {
        self.expected_tsc(now).clamp(i128::from(self.tsc), i128::from(u64::MAX)) as u64
    }

    /// By how many nanoseconds the guest's wall clock would be ahead (or, negative, behind) if a
    /// fork ran now.
    pub fn error_ns(&self, now: Moment, control: TscControl) -> i128 {
        match control {
            // The counter can be set, but not to before the capture.
            TscControl::Settable => (-self.elapsed_ns(now)).max(0),
            TscControl::Raw => {
                let ahead = i128::from(now.tsc) - self.expected_tsc(now);
                ahead * 1_000_000 / i128::from(self.tsc_khz.max(1))
            }
        }
    }

    fn elapsed_ns(&self, now: Moment) -> i128 {
        i128::from(now.realtime_ns) - i128::from(self.realtime_ns)
    }

    fn expected_tsc(&self, now: Moment) -> i128 {
        i128::from(self.tsc) + self.elapsed_ns(now) * i128::from(self.tsc_khz) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock { realtime_ns: 1_000_000_000, tsc: 5_000, tsc_khz: 2_000_000 };

    #[test]
    fn the_tsc_advances_with_the_wall_clock() {
        let now = Moment { realtime_ns: 1_000_000_500, tsc: 0 };
        assert_eq!(CLOCK.tsc_at(now), 6_000);
    }

    #[test]
    fn a_raw_tsc_that_is_behind_shows_as_an_error() {
        let now = Moment { realtime_ns: 2_000_000_000, tsc: 5_000 };
        assert_eq!(CLOCK.error_ns(now, TscControl::Raw), -1_000_000_000);
        assert_eq!(CLOCK.error_ns(now, TscControl::Settable), 0);
    }

    #[test]
    fn a_host_whose_clock_stands_before_the_capture_cannot_be_put_right() {
        let now = Moment { realtime_ns: 400_000_000, tsc: 5_000 };
        assert_eq!(CLOCK.error_ns(now, TscControl::Settable), 600_000_000);
        assert_eq!(CLOCK.error_ns(now, TscControl::Raw), 600_000_000);
        assert_eq!(CLOCK.tsc_at(now), CLOCK.tsc);
    }
}
