//! The wall clock. The kernel has read it from the CMOS clock, which tells whole seconds; the
//! host's command line tells what time it was at a point of the time stamp counter.

use std::env;

use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use zeroboot_driver::{move_wall_clock, read_tsc};

use crate::Result;

/// Nanoseconds since 1970, the counter then, and its rate in kHz: `NS@TSC/KHZ`.
const VARIABLE: &str = "ZB_CLOCK";

const NS: u128 = 1_000_000_000;

/// Sets the wall clock.
pub fn set() -> Result<()> {
    let told = env::var(VARIABLE).map_err(|_| format!("the command line has no {VARIABLE}"))?;
    let (ns, tsc, khz) = parse(&told).ok_or_else(|| format!("{VARIABLE}={told}: no clock"))?;
    let right_at =
        |now: u64| ns + u128::from(now.saturating_sub(tsc)) * 1_000_000 / u128::from(khz);
    let now = right_at(read_tsc());
    let time = Timespec { tv_sec: (now / NS) as i64, tv_nsec: (now % NS) as i64 };
    clock_settime(ClockId::Realtime, time).map_err(|e| format!("set the clock: {e}"))?;
    // The kernel has taken some milliseconds to get there, where ring 0 is emulated. A host relies
    // on this clock when it sets those of the forks.
    move_wall_clock(error(right_at)).map_err(|e| format!("correct the clock: {e}"))
}

/// What the wall clock lacks, in nanoseconds. The quickest of a few readings counts, because a fault
/// may come between the two clocks.
fn error(right_at: impl Fn(u64) -> u128) -> i64 {
    let reading = || {
        let before = read_tsc();
        let wall = clock_gettime(ClockId::Realtime);
        let width = read_tsc().saturating_sub(before);
        let wall = wall.tv_sec as i128 * NS as i128 + i128::from(wall.tv_nsec);
        (width, right_at(before + width / 2) as i128 - wall)
    };
    let quickest = (0..8).map(|_| reading()).min_by_key(|(width, _)| *width);
    quickest.map_or(0, |(_, error)| error as i64)
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
