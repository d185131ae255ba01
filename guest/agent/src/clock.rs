//! The wall clock. The kernel has read it from the CMOS clock, which tells whole seconds; the
//! host's command line tells what time it was at a point of the time stamp counter.

use std::env;

use rustix::time::{ClockId, Timespec, clock_settime};
use zeroboot_driver::read_tsc;

use crate::Result;

/// Nanoseconds since 1970, the counter then, and its rate in kHz: `NS@TSC/KHZ`.
const VARIABLE: &str = "ZB_CLOCK";

const NS: u128 = 1_000_000_000;

/// Sets the wall clock.
pub fn set() -> Result<()> {
    let told = env::var(VARIABLE).map_err(|_| format!("the command line has no {VARIABLE}"))?;
    let (ns, tsc, khz) = parse(&told).ok_or_else(|| format!("{VARIABLE}={told}: no clock"))?;
    let now = ns + u128::from(read_tsc().saturating_sub(tsc)) * 1_000_000 / u128::from(khz);
    let time = Timespec { tv_sec: (now / NS) as i64, tv_nsec: (now % NS) as i64 };
    clock_settime(ClockId::Realtime, time).map_err(|e| format!("set the clock: {e}"))
}

fn parse(told: &str) -> Option<(u128, u64, u32)> {
    let (ns, rest) = told.split_once('@')?;
    let (tsc, khz) = rest.split_once('/')?;
    let khz = khz.parse().ok().filter(|khz| *khz > 0)?;
    Some((ns.parse().ok()?, tsc.parse().ok()?, khz))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_three_numbers() {
        assert_eq!(
            parse("1700000000000000001@42/2596146"),
            Some((1_700_000_000_000_000_001, 42, 2_596_146))
        );
        for odd in ["", "1@2", "1/2", "x@1/2", "1@2/0", "1@2/-3"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
