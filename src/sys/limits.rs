use std::time::{Duration, Instant};

use super::{Cancel, KickGuard, Registration, Result, Timer};

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
    _timer: Option<Timer>,
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
            _timer: delay.map(Timer::arm).transpose()?,
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

    /// The signal mask for inside `KVM_RUN`.
    pub fn mask_in_guest(&self) -> u64 {
        self.guard.mask_in_guest()
    }
}
