use std::io;
use std::marker::PhantomData;
use std::thread::{Builder, JoinHandle};

use super::kick::change_mask;
use super::{Error, Result};

/// Every signal but the two with which glibc makes setuid(2) and the like hold for all threads.
const ALL: u64 = !(0b11 << 31);

/// Starts a thread of the library's own, for work that nobody waits for.
///
/// It has all signals blocked: those of the host program are for threads that expect them. And when
/// it wakes it takes an idle processor, or its turn: who woke it is not interrupted (SCHED_BATCH).
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    // A thread inherits the mask, so that no signal can come in between.
    let previous = change_mask(libc::SIG_SETMASK, ALL)?;
    let thread = Builder::new().name(name.into()).spawn(move || {
        yield_to_others();
        body();
    });
    let restored = change_mask(libc::SIG_SETMASK, previous);
    let thread = thread.map_err(|e: io::Error| Error::new("start a thread", e))?;
    restored.map(|_| thread)
}

fn yield_to_others() {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: 0 is the calling thread, and the parameters are a live local. Where it is refused, the
    // thread is one like any other.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &parameters) };
}

unsafe extern "C" {
    /// pthread_setcancelstate(3), which the libc crate has not got.
    fn pthread_setcancelstate(state: libc::c_int, previous: *mut libc::c_int) -> libc::c_int;
}

/// PTHREAD_CANCEL_DISABLE of glibc and musl.
const CANCEL_DISABLE: libc::c_int = 1;

/// While it lives, pthread_cancel(3) of the calling thread has to wait.
///
/// Cancellation unwinds the stack, by way of frames that own virtual machines and hold locks, up to
/// a boundary of Rust and C that ends the process.
#[derive(Debug)]
pub struct Uncancellable {
    previous: libc::c_int,
    // The state belongs to the thread that the guard was made in.
    not_send: PhantomData<*const ()>,
}

impl Uncancellable {
    pub fn new() -> Self {
        let mut previous = 0;
        // SAFETY: the pointer is to a live local; the state is one that the function knows.
        unsafe { pthread_setcancelstate(CANCEL_DISABLE, &mut previous) };
        Uncancellable { previous, not_send: PhantomData }
    }
}

impl Drop for Uncancellable {
    fn drop(&mut self) {
        let mut ours = 0;
        // SAFETY: as above; the previous state came from the same function. It does not act on a
        // cancellation that is pending: the thread's next cancellation point does.
        unsafe { pthread_setcancelstate(self.previous, &mut ours) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_uncancellable_until_the_last_guard_goes() {
        let state = || {
            let guard = Uncancellable::new();
            guard.previous
        };
        let before = state();
        let outer = Uncancellable::new();
        assert_eq!(state(), CANCEL_DISABLE);
        drop(outer);
        assert_eq!(state(), before);
        assert_ne!(before, CANCEL_DISABLE);
    }

    #[test]
    fn a_thread_of_the_library_takes_no_signals() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let before = change_mask(libc::SIG_BLOCK, 0).unwrap();
        let thread = spawn("quiet", move || {
            sender.send(change_mask(libc::SIG_BLOCK, 0).unwrap()).unwrap();
        });
        thread.unwrap().join().unwrap();
        let ordinary = ALL & !(1 << (libc::SIGKILL - 1) | 1 << (libc::SIGSTOP - 1));
        assert_eq!(receiver.recv().unwrap(), ordinary);
        assert_eq!(change_mask(libc::SIG_BLOCK, 0).unwrap(), before);
    }
}
