//! Getting a thread out of `KVM_RUN` at a deadline or on request, without a signal handler.
//!
//! The kick signal is blocked in the calling thread; `KVM_SET_SIGNAL_MASK` unblocks it inside
//! `KVM_RUN` only. A pending kick makes `KVM_RUN` return EINTR at once, and since the thread never
//! runs with the signal unblocked, no disposition is ever consulted: the process keeps its own.
//! Whatever is pending in the end is consumed, and the thread's mask is put back.

use std::marker::PhantomData;
use std::mem::{MaybeUninit, zeroed};
use std::ptr;
use std::time::Duration;

use super::{Error, Result};

/// Bytes of the kernel's signal set, the `sigsetsize` of rt_sigprocmask(2).
const SIGSET_BYTES: usize = 8;

/// The signal that wakes a thread: a real-time signal, in the middle of the range that programs
/// seldom use. Only threads inside a run have it blocked.
fn kick_signal() -> i32 {
    libc::SIGRTMIN() + 13
}

fn kick_bit() -> u64 {
    1 << (kick_signal() - 1)
}

/// While it lives, the calling thread can be kicked out of `KVM_RUN`.
#[derive(Debug)]
pub struct KickGuard {
    previous: u64,
    // The mask belongs to the thread that the guard was made in.
    not_send: PhantomData<*const ()>,
}

impl KickGuard {
    /// Blocks the kick signal in the calling thread.
    pub fn block() -> Result<Self> {
        let previous = change_mask(libc::SIG_BLOCK, kick_bit())?;
        Ok(KickGuard { previous, not_send: PhantomData })
    }

    /// The signal mask for inside `KVM_RUN`: the thread's own without the kick signal.
    pub fn mask_in_guest(&self) -> u64 {
        self.previous & !kick_bit()
    }

    /// Forgets a kick that is pending.
    pub fn consume(&self) {
        consume_pending();
    }

    /// Sleeps until a kick, or a signal that the program handles.
    pub fn wait(&self) {
        let set = kick_set();
        // SAFETY: the set is live and initialised, no details are asked for.
        unsafe { libc::sigwaitinfo(&set, ptr::null_mut()) };
    }
}

impl Drop for KickGuard {
    fn drop(&mut self) {
        consume_pending();
        // Restoring a mask that the kernel gave us fails for no reason that sigprocmask(2) knows.
        let _ = change_mask(libc::SIG_SETMASK, self.previous);
    }
}

/// A timer that kicks the thread that made it, once each time it is set.
#[derive(Debug)]
pub struct Timer(libc::timer_t);

impl Timer {
    /// A timer that is not set.
    pub fn new() -> Result<Self> {
        // SAFETY: all-zero is a valid sigevent.
        let mut event: libc::sigevent = unsafe { zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = kick_signal();
        event.sigev_notify_thread_id = thread_id();
        let mut id: libc::timer_t = ptr::null_mut();
        // SAFETY: both pointers are to live locals.
        if unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut id) } != 0 {
            return Err(Error::last("timer_create"));
        }
        Ok(Timer(id))
    }

    /// Kicks the thread after `delay`, and not at the time that was set before.
    pub fn set(&self, delay: Duration) -> Result<()> {
        // A value of zero would disarm the timer.
        let delay = delay.max(Duration::from_nanos(1));
        let due = libc::timespec {
            tv_sec: delay.as_secs().min(i64::MAX as u64 / 2) as i64,
            tv_nsec: i64::from(delay.subsec_nanos()),
        };
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval: never, it_value: due };
        // SAFETY: the timer exists, the specification is a live local, no old value is wanted.
        if unsafe { libc::timer_settime(self.0, 0, &spec, ptr::null_mut()) } != 0 {
            return Err(Error::last("timer_settime"));
        }
        Ok(())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer was created by us and is deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

/// Kicks another thread of this process.
pub(super) fn kick(thread: libc::pid_t) {
    // SAFETY: getpid has no preconditions.
    let process = unsafe { libc::getpid() };
    // SAFETY: tgkill takes integers; a thread that is gone gives ESRCH, which is as good as kicked.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, kick_signal()) };
}

pub(super) fn thread_id() -> libc::pid_t {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }
}

pub(super) fn change_mask(how: i32, set: u64) -> Result<u64> {
    let mut previous = 0u64;
    // SAFETY: both sets are live locals of the size that is passed; the raw call is used since a
    // glibc sigset_t is 128 bytes of which the kernel knows 8.
    let done =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &set, &mut previous, SIGSET_BYTES) };
    if done == 0 { Ok(previous) } else { Err(Error::last("rt_sigprocmask")) }
}

fn consume_pending() {
    let set = kick_set();
    let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: set and timeout are live and initialised, no details are asked for.
    while unsafe { libc::sigtimedwait(&set, ptr::null_mut(), &none) } > 0 {}
}

fn kick_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the pointer is to a live local, which the call initialises.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set was initialised above.
    unsafe { libc::sigaddset(set.as_mut_ptr(), kick_signal()) };
    // SAFETY: as above.
    unsafe { set.assume_init() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kick_is_consumed_and_the_mask_is_put_back() {
        let before = change_mask(libc::SIG_BLOCK, 0).unwrap();
        {
            let guard = KickGuard::block().unwrap();
            assert_eq!(guard.mask_in_guest() & kick_bit(), 0);
            kick(thread_id());
            let timer = Timer::new().unwrap();
            timer.set(Duration::ZERO).unwrap();
            guard.wait();
            kick(thread_id());
        }
        // A kick that was left over would end the process here: its default action is to kill.
        assert_eq!(change_mask(libc::SIG_BLOCK, 0).unwrap(), before);
    }
}
