use kvm_bindings::{
    kvm_cpuid_entry2, kvm_debugregs, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs,
    kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave,
};
use serde::{Deserialize, Serialize};

use crate::sys::Moment;

const NS_PER_SECOND: u64 = 1_000_000_000;
const NS_PER_MS: u128 = 1_000_000;

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
    /// The guest's wall clock at the capture: nanoseconds since 1970, UTC. It was right when the
    /// guest booted, and has gone by the TSC since.
    pub realtime_ns: u64,
    /// The guest's TSC at the capture.
    pub tsc: u64,
    /// Its rate.
    pub tsc_khz: u32,
}

/// What a guest's clocks have to be moved on by, for a guest that sleeps from the capture on. The
/// guest reads its TSC; whole seconds are added to the time at which it last did, and the reading
/// is moved to where the TSC gives the rest. So the TSC may be anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    /// For a reading of the TSC; wraps around for one that has to go back.
    pub cycles: u64,
    /// For the time that goes with it.
    pub seconds: u64,
    /// How far the TSC itself has gone on since the capture; wraps around likewise.
    pub tsc_moved: u64,
}

impl Clock {
    /// The same clock when the TSC reads `tsc`, which is later.
    pub fn when(&self, tsc: u64) -> Clock {
        let cycles = u128::from(tsc.saturating_sub(self.tsc));
        let ns = cycles * NS_PER_MS / u128::from(self.tsc_khz.max(1));
        Clock { realtime_ns: self.realtime_ns.saturating_add(ns as u64), tsc, ..*self }
    }

    /// What has passed for a guest that begins at `now`, when its TSC reads `tsc`.
    pub fn passed(&self, now: Moment, tsc: u64) -> Passed {
        let ns = self.elapsed_ns(now).clamp(0, i128::from(u64::MAX)) as u64;
        let rest_ns = u128::from(ns % NS_PER_SECOND);
        let rest = (rest_ns * u128::from(self.tsc_khz) / NS_PER_MS) as u64;
        let tsc_moved = tsc.wrapping_sub(self.tsc);
        let cycles = tsc_moved.wrapping_sub(rest);
        Passed { cycles, seconds: ns / NS_PER_SECOND, tsc_moved }
    }

    /// What the guest's TSC ought to read at a later moment: as if it had slept since the capture.
    /// Never less than at the capture: a kernel whose counter goes back stands still until it has
    /// caught up.
    pub fn tsc_at(&self, now: Moment) -> u64 {
        self.expected_tsc(now).clamp(i128::from(self.tsc), i128::from(u64::MAX)) as u64
    }

    /// By how many nanoseconds the guest's wall clock would be ahead if a fork ran now: a guest
    /// cannot sleep until before the capture.
    pub fn error_ns(&self, now: Moment) -> i128 {
        (-self.elapsed_ns(now)).max(0)
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
    fn a_host_whose_clock_stands_before_the_capture_cannot_be_put_right() {
        let now = Moment { realtime_ns: 400_000_000, tsc: 5_000 };
        assert_eq!(CLOCK.error_ns(now), 600_000_000);
        assert_eq!(CLOCK.tsc_at(now), CLOCK.tsc);
        assert_eq!(CLOCK.passed(now, CLOCK.tsc), Passed { cycles: 0, seconds: 0, tsc_moved: 0 });
        let later = Moment { realtime_ns: 2_000_000_000, tsc: 5_000 };
        assert_eq!(CLOCK.error_ns(later), 0);
    }

    /// What a guest's clock reads that goes on from (CLOCK.tsc, CLOCK.realtime_ns).
    fn reads(passed: Passed, tsc: u64) -> u64 {
        let cycles = tsc.wrapping_sub(CLOCK.tsc.wrapping_add(passed.cycles));
        let ns = u128::from(cycles) * 1_000_000 / u128::from(CLOCK.tsc_khz);
        CLOCK.realtime_ns + passed.seconds * NS_PER_SECOND + ns as u64
    }

    #[test]
    fn a_clock_is_right_whatever_the_tsc_is_and_however_long_the_guest_slept() {
        const DAY_NS: u64 = 86_400 * NS_PER_SECOND;
        for slept_ns in
            [0, 1_000, NS_PER_SECOND - 1, NS_PER_SECOND, 90 * DAY_NS + 7, 9_999 * DAY_NS]
        {
            let now = Moment { realtime_ns: CLOCK.realtime_ns + slept_ns, tsc: 0 };
            for tsc in [0, 1, CLOCK.tsc, CLOCK.tsc + 1, CLOCK.tsc_at(now), 1 << 55] {
                let passed = CLOCK.passed(now, tsc);
                let error = reads(passed, tsc).abs_diff(now.realtime_ns);
                assert!(error <= 1, "{slept_ns} ns, TSC {tsc}: {error} ns off");
                // And no more than a second is left for the guest to add up.
                let left = tsc.wrapping_sub(CLOCK.tsc.wrapping_add(passed.cycles));
                assert!(left <= u64::from(CLOCK.tsc_khz) * 1000);
            }
        }
    }
}
