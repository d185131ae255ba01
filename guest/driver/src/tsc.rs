/// The time stamp counter, as the host's command line counts it.
pub fn read_tsc() -> u64 {
    // SAFETY: RDTSC exists on every x86-64 processor, and Linux leaves it enabled for user space.
    unsafe { core::arch::x86_64::_rdtsc() }
}
