use std::time::{Duration, Instant};

use std::marker::PhantomData;

use super::{Cancel, KickGuard, Registration, Result, Timer, kick};

/// What ends a run from outside.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// When to stop; never, if absent.
    pub deadline: Option<Instant>,
    /// Who may stop it: for a run the caller, and whoever ends the sandbox.
    pub cancel: [Option<Cancel>; 2],
}

/// Limits in force for the calling thread, until dropped.
#[derive(Debug)]
pub struct Armed<'a> {
    limits: &'a Limits,
    // Dropped in this order: nobody kicks the thread any more when the guard gives up the signal.
    _registrations: [Option<Registration>; 2],
    timer: Timer,
    guard: KickGuard,
}

/// Why a run has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// The deadline has passed.
    Deadline,
    /// Somebody cancelled.
    Cancelled,
}

impl Limits {
    /// No more than `timeout` from now.
    pub fn within(timeout: Duration) -> Self {
        Limits { deadline: Instant::now().checked_add(timeout), ..Self::default() }
    }

    /// Puts the limits in force.
    pub fn arm(&self) -> Result<Armed<'_>> {
        let guard = KickGuard::block()?;
        let armed = Armed {
            limits: self,
            timer: Timer::new()?,
            _registrations: self.cancel.each_ref().map(|c| c.as_ref().map(Cancel::register)),
            guard,
        };
        armed.alarm(None)?;
        Ok(armed)
    }
}

impl Armed<'_> {
    /// Whether it is time to stop. Asked after each exit, it bounds a guest that exits in a loop.
    pub fn expired(&self) -> Option<Expired> {
        if self.limits.cancel.iter().flatten().any(Cancel::is_cancelled) {
            return Some(Expired::Cancelled);
        }
        let deadline = self.limits.deadline?;
        (Instant::now() >= deadline).then_some(Expired::Deadline)
    }

    /// Has the thread kicked at the deadline, or after `look` if that is earlier.
    pub fn alarm(&self, look: Option<Duration>) -> Result<()> {
        let left = self.limits.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match [left, look].into_iter().flatten().min() {
            Some(delay) => self.timer.set(delay),
            None => Ok(()),
        }
    }

    /// Forgets a kick that has arrived. Whether it was a limit's, [`Armed::expired`] knows.
    pub fn consume_kick(&self) {
        self.guard.consume();
    }

    /// Sleeps until the next kick.
    pub fn wait_for_kick(&self) {
        self.guard.wait();
    }

    /// What kicks this thread from another one.
    pub fn kicker(&self) -> Kicker<'_> {
        Kicker { thread: kick::thread_id(), armed: PhantomData }
    }

    /// The signal mask for inside `KVM_RUN`.
    pub fn mask_in_guest(&self) -> u64 {
        self.guard.mask_in_guest()
    }
}

/// Kicks the thread whose limits these are; no longer than they are in force.
#[derive(Clone, Copy, Debug)]
pub struct Kicker<'a> {
    thread: libc::pid_t,
    armed: PhantomData<&'a ()>,
}

impl Kicker<'_> {
    /// Gets the thread out of `KVM_RUN`.
    pub fn kick(&self) {
        kick::kick(self.thread);
    }
}
