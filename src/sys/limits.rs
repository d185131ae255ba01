use std::time::{Duration, Instant};

use super::{Cancel, KickGuard, Registration, Result, Timer};

/// What ends a run from outside.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// When to stop; never, if absent.
    pub deadline: Option<Instant>,
    /// Who may stop it: for a run the caller, and whoever ends the sandbox.
    pub cancel: [Option<Cancel>; 2],
    /// How often to come out of the guest for a look around; never, if absent.
    pub poll: Option<Duration>,
}

/// Limits in force for the calling thread, until dropped.
#[derive(Debug)]
pub struct Armed<'a> {
    limits: &'a Limits,
    // Dropped in this order: nobody kicks the thread any more when the guard gives up the signal.
    _registrations: [Option<Registration>; 2],
    _timers: [Option<Timer>; 2],
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
        let delay = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        Ok(Armed {
            limits: self,
            _timers: [
                delay.map(Timer::once).transpose()?,
                self.poll.map(Timer::every).transpose()?,
            ],
            _registrations: self.cancel.each_ref().map(|c| c.as_ref().map(Cancel::register)),
            guard,
        })
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

    /// Takes note of a kick: whether it may have been one to look around. It then does not count
    /// any more; whether it was a limit's, [`Armed::expired`] knows.
    pub fn take_poll(&self) -> bool {
        if self.limits.poll.is_some() {
            self.guard.consume();
        }
        self.limits.poll.is_some()
    }

    /// The signal mask for inside `KVM_RUN`.
    pub fn mask_in_guest(&self) -> u64 {
        self.guard.mask_in_guest()
    }
}
