use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Armed, Expired, kick};

/// Lets a number of runs through at a time, in the order in which they came.
#[derive(Debug)]
pub struct Gate {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    /// Threads in their order.
    waiting: VecDeque<libc::pid_t>,
    /// Threads that were let in and have not noticed yet.
    let_in: Vec<libc::pid_t>,
}

/// The right to be inside, until dropped.
#[derive(Debug)]
pub struct Permit<'a>(&'a Gate);

impl Gate {
    /// A gate that lets `capacity` runs through at a time.
    pub fn new(capacity: usize) -> Self {
        Gate { capacity, state: Mutex::default() }
    }

    /// Waits for a permit, or for the limits.
    pub fn enter(&self, armed: &Armed<'_>) -> Result<Permit<'_>, Expired> {
        let thread = kick::thread_id();
        {
            let mut state = self.state();
            if state.inside < self.capacity && state.waiting.is_empty() {
                state.inside += 1;
                return Ok(Permit(self));
            }
            state.waiting.push_back(thread);
        }
        loop {
            armed.wait_for_kick();
            let mut state = self.state();
            if let Some(at) = state.let_in.iter().position(|t| *t == thread) {
                state.let_in.swap_remove(at);
                return Ok(Permit(self));
            }
            if let Some(expired) = armed.expired() {
                state.waiting.retain(|t| *t != thread);
                return Err(expired);
            }
        }
    }

    fn leave(&self) {
        let mut state = self.state();
        match state.waiting.pop_front() {
            Some(next) => {
                state.let_in.push(next);
                // Held: the thread has not left the queue, so it still waits for a kick.
                kick::kick(next);
            }
            None => state.inside -= 1,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Cancel, Limits};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn no_more_than_the_capacity_are_inside_and_all_get_in() {
        let gate = Gate::new(3);
        let (inside, most, through) =
            (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let limits = Limits::default();
                    let armed = limits.arm().unwrap();
                    for _ in 0..200 {
                        let permit = gate.enter(&armed).unwrap();
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        through.fetch_add(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(through.load(Ordering::SeqCst), 16 * 200);
        assert!(most.load(Ordering::SeqCst) <= 3);
    }

    #[test]
    fn who_waits_can_be_cancelled_and_leaves_no_trace() {
        let gate = Gate::new(1);
        let token = Cancel::new();
        let outer = Limits::default();
        let armed = outer.arm().unwrap();
        let permit = gate.enter(&armed).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let limits = Limits { cancel: [Some(token.clone()), None], ..Limits::default() };
                let armed = limits.arm().unwrap();
                gate.enter(&armed).map(drop)
            });
            while gate.state().waiting.is_empty() {
                std::thread::yield_now();
            }
            token.cancel();
            assert_eq!(waiter.join().unwrap(), Err(Expired::Cancelled));
        });
        drop(permit);
        assert_eq!(gate.state().inside, 0);
        assert!(gate.state().waiting.is_empty() && gate.state().let_in.is_empty());
        drop(gate.enter(&armed).unwrap());
    }
}
