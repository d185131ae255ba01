use std::mem::MaybeUninit;

/// The host's time stamp counter.
fn read_tsc() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 processor; Linux leaves it enabled for user space.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// What the processor's CPUID instruction says.
pub fn cpuid(leaf: u32, index: u32) -> core::arch::x86_64::CpuidResult {
    core::arch::x86_64::__cpuid_count(leaf, index)
}

/// One moment on the two clocks that a snapshot compares: wall clock and TSC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since 1970, UTC.
    pub realtime_ns: u64,
    /// The host's TSC.
    pub tsc: u64,
}

impl Moment {
    /// This moment. The closest of a few readings is taken, so that a preemption between the two
    /// clocks does not count.
    pub fn now() -> Self {
        let mut best = (u64::MAX, Moment { realtime_ns: 0, tsc: 0 });
        for _ in 0..4 {
            let before = read_tsc();
            let realtime_ns = realtime_ns();
            let width = read_tsc().saturating_sub(before);
            if width < best.0 {
                best = (width, Moment { realtime_ns, tsc: before + width / 2 });
            }
        }
        best.1
    }
}

fn realtime_ns() -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to a live local; CLOCK_REALTIME always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, now.as_mut_ptr()) };
    // SAFETY: zeroed at first, then filled by the call.
    let now = unsafe { now.assume_init() };
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}
