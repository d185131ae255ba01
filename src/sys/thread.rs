use std::io;
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

#[cfg(test)]
mod tests {
    use super::*;

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
