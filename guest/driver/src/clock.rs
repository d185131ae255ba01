use std::io;
use std::mem::MaybeUninit;

const NS: i64 = 1_000_000_000;

/// Moves the wall clock by so many nanoseconds, whatever it reads when the kernel gets to it.
pub fn move_wall_clock(ns: i64) -> io::Result<()> {
    // SAFETY: the structure consists of integers, for which zeros are values.
    let mut change = unsafe { MaybeUninit::<libc::timex>::zeroed().assume_init() };
    change.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    change.time.tv_sec = ns.div_euclid(NS);
    // With ADJ_NANO the field holds nanoseconds, which must not be negative: adjtimex(2).
    change.time.tv_usec = ns.rem_euclid(NS);
    // SAFETY: the pointer is to a live local.
    match unsafe { libc::clock_adjtime(libc::CLOCK_REALTIME, &mut change) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
