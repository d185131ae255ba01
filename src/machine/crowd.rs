//! A machine with several vCPUs: each beyond the first has a thread of its own, which lives as long as
//! the run does.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope};

use super::peripherals::Peripherals;
use super::run::{run_vcpu, settle};
use super::{Machine, Result, Stop};
use crate::device::Memory;
use crate::kvm::Vcpu;
use crate::sys::{self, Armed, Cancel, Kicker, Limits};

/// What the threads of a run share.
struct Run<'a> {
    memory: &'a Memory,
    devices: Mutex<&'a mut Peripherals>,
    /// Ends the others; theirs alone.
    end: Cancel,
    /// What an other vCPU stopped at, the first of them.
    stopped: Mutex<Option<Result<Stop>>>,
    /// Gets the first vCPU's thread out of the guest.
    first: Kicker<'a>,
}

impl Machine {
    /// Runs all vCPUs until something happens on one of them.
    pub(super) fn run_crowd(&mut self, armed: &Armed<'_>) -> Result<Stop> {
        let run = Run {
            memory: &self.memory,
            devices: Mutex::new(&mut self.devices),
            end: Cancel::new(),
            stopped: Mutex::new(None),
            first: armed.kicker(),
        };
        let first = &mut self.vcpu;
        let own = std::thread::scope(|scope| {
            let _end = EndOthers(&run.end);
            self.others.iter_mut().try_for_each(|vcpu| start(scope, &run, vcpu))?;
            run_vcpu(first, run.memory, armed, |exit| settle(&mut lock(&run.devices), exit))
        })?;
        let stopped = run.stopped.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (own, stopped) {
            // It was got out because of this, or would have been.
            (Stop::Poll, Some(stopped)) => stopped,
            (_, Some(Err(error))) => Err(error),
            (own, _) => Ok(own),
        }
    }
}

/// Ends the other threads, also when this one panics: the scope waits for them.
struct EndOthers<'a>(&'a Cancel);

impl Drop for EndOthers<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Gets the first thread out of the guest when another panics.
struct KickFirst<'a>(Kicker<'a>);

impl Drop for KickFirst<'_> {
    fn drop(&mut self) {
        // Not at the end of each run: a kick that nobody waits for ends the next run at once.
        if std::thread::panicking() {
            self.0.kick();
        }
    }
}

fn start<'scope, 'a: 'scope>(
    scope: &'scope Scope<'scope, '_>,
    run: &'scope Run<'a>,
    vcpu: &'scope mut Vcpu,
) -> Result<()> {
    let body = move || {
        let _panic = KickFirst(run.first);
        if let Some(stopped) = run_other(run, vcpu).transpose() {
            lock(&run.stopped).get_or_insert(stopped);
            run.first.kick();
        }
    };
    let thread = Builder::new().name("zeroboot-vcpu".into()).spawn_scoped(scope, body);
    thread.map(drop).map_err(|e| sys::Error::new("start a vCPU's thread", e).into())
}

/// What the vCPU stopped at, if it was not the end of the run.
fn run_other(run: &Run<'_>, vcpu: &mut Vcpu) -> Result<Option<Stop>> {
    let limits = Limits { deadline: None, cancel: [Some(run.end.clone()), None] };
    let armed = limits.arm()?;
    loop {
        let stop =
            run_vcpu(vcpu, run.memory, &armed, |exit| settle(&mut lock(&run.devices), exit))?;
        match stop {
            Stop::Poll => {}
            Stop::Expired(_) => return Ok(None),
            stop => return Ok(Some(stop)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
