use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::kick;

/// Stops runs from another thread. Sticky: a run that begins later stops at once, too.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<State>);

#[derive(Debug, Default)]
struct State {
    cancelled: AtomicBool,
    /// Threads that are inside a run under this token.
    running: Mutex<Vec<libc::pid_t>>,
}

impl Cancel {
    /// A token that nobody has cancelled yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stops all runs under this token, now and in future.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        // Held while kicking: a thread leaves the list before it gives up its kick guard.
        for thread in self.running().iter() {
            kick::kick(*thread);
        }
    }

    /// Whether somebody has cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Has the calling thread kicked by [`Cancel::cancel`]; it must hold a kick guard that
    /// outlives the registration.
    pub fn register(&self) -> Registration {
        let thread = kick::thread_id();
        self.running().push(thread);
        Registration { token: self.clone(), thread }
    }

    fn running(&self) -> MutexGuard<'_, Vec<libc::pid_t>> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread's entry in a token's list, until dropped.
#[derive(Debug)]
pub struct Registration {
    token: Cancel,
    thread: libc::pid_t,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut running = self.token.running();
        if let Some(at) = running.iter().position(|t| *t == self.thread) {
            running.swap_remove(at);
        }
    }
}
