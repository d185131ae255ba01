use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use zeroboot_proto as proto;
use zeroboot_proto::{Death, Event, Request};

use super::{OutputReader, Sink, Violation};
use crate::device::Mailbox;
use crate::machine::{self, Fault, Machine, Stop};
use crate::sys::{self, Expired, Gate, Limits};

/// What keeps a request from being carried out at all. What the guest does is an [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The payload does not fit into the mailbox.
    #[error("a program of {0} bytes; the most is {max}", max = proto::PAYLOAD_MAX)]
    PayloadTooLong(usize),
    /// The guest has not got our software.
    #[error(
        "this snapshot's guest has no runtime of zeroboot's; it is reached by its console \
         (console mode of a run)"
    )]
    NoRuntime,
    /// The guest's console takes no input.
    #[error("this snapshot's guest takes no input on its console; it runs programs")]
    NoConsole,
    /// The machine failed, not the guest.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// The operating system refused something.
    #[error(transparent)]
    Sys(#[from] sys::Error),
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The program ended; the runtime is ready for another.
    Exited(i32),
    /// The program ended the runtime's process with `_exit`.
    ProcessExited(i32),
    /// A signal ended the runtime's process.
    Signaled(i32),
    /// The guest kernel killed the process: the guest's memory was used up.
    OutOfMemory,
    /// The deadline passed.
    TimedOut,
    /// Somebody cancelled.
    Cancelled,
    /// The sink wanted no more: the output's limit, or a callback that said so.
    OutputLimit,
    /// The guest wrote to more pages than it may have.
    MemoryLimit,
    /// The machine itself came to an end.
    Crashed(Crash),
}

/// How a machine came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The processor or KVM says so.
    Fault(Fault),
    /// The mailbox makes no sense.
    Protocol(Violation),
    /// The guest rang when it had no reason to.
    Event(Event),
    /// PID 1 says that the runtime died, and not how.
    Death(u32),
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Crash::Fault(fault) => fault.fmt(f),
            Crash::Protocol(violation) => write!(f, "the guest wrote {violation}"),
            Crash::Event(event) => write!(f, "the guest rang {event:?} in the middle of a run"),
            Crash::Death(how) => write!(f, "the guest's runtime died in a way unknown ({how})"),
        }
    }
}

impl Outcome {
    /// Whether the guest stands at its doorbell again and can be given another request.
    pub fn is_ready_for_more(self) -> bool {
        matches!(self, Outcome::Exited(_))
    }
}

/// What to run, and how far.
#[derive(Clone, Copy, Debug)]
pub struct RunRequest<'a> {
    /// What is asked for.
    pub kind: Request,
    /// The program.
    pub payload: &'a [u8],
    /// What ends it from outside.
    pub limits: &'a Limits,
    /// Whether the sink wants what a program prints before the program goes on computing.
    pub streams: bool,
    /// What a run has to pass before it begins.
    pub gate: Option<&'a Gate>,
    /// Most pages that the guest may have written to, for a machine whose writes are logged.
    pub pages_max: Option<u32>,
}

/// How often a running guest's mailbox is looked at for a sink that wants its output as it comes,
/// and how long a run keeps the permit that it began with: a short one to its end, a long one
/// until it is clear that it is long. Each look costs the guest an exit.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// The least time that a guest needs to write to a page that it has not written to: a fault, and a
/// copy of 4 KiB. One that may write to a hundred more is looked at when it can have done so.
const WRITE_TO_A_PAGE: Duration = Duration::from_nanos(250);

/// How soon a guest close to its limit of memory is looked at again. It can go over by what it
/// writes in this time: 4000 pages if it were that quick, in practice a tenth of it.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// A machine whose runtime stands at its doorbell.
#[derive(Debug)]
pub struct Guest {
    pub(super) machine: Machine,
    output: OutputReader,
}

impl Guest {
    /// The machine's guest; it is the caller's word that it is ready.
    pub fn at_doorbell(machine: Machine) -> Self {
        Guest { machine, output: OutputReader::default() }
    }

    /// The machine.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// The machine was put back to where it stood at its doorbell; so is the host's side.
    pub fn put_back(&mut self) {
        self.output = OutputReader::default();
    }

    /// Carries out one request. After an outcome that is not ready for more, there can be no other.
    pub fn run(&mut self, request: &RunRequest<'_>, sink: &mut dyn Sink) -> Result<Outcome, Error> {
        let mailbox = self.machine.mailbox().ok_or(Error::NoRuntime)?;
        let posted = mailbox.post(request.kind, request.payload);
        let start = posted.ok_or(Error::PayloadTooLong(request.payload.len()))?;
        self.output.begin(start);
        let armed = request.limits.arm()?;
        let mut permit = match request.gate.map(|gate| gate.enter(&armed)).transpose() {
            Ok(permit) => permit,
            Err(expired) => return Ok(expired_outcome(expired)),
        };
        let begun = Instant::now();
        let mut pages_left = self.pages_left(request)?;
        loop {
            let look = (request.streams || permit.is_some()).then_some(LOOK);
            let look = look.into_iter().chain(pages_left.map(until_look)).min();
            // From here on the guest may stand anywhere, so a failure is the machine's.
            armed.alarm(look).map_err(machine::Error::from)?;
            let stop = self.machine.run(&armed)?;
            // A sink that gets output as it comes may run other sandboxes, and those want permits:
            // with all of them held by runs that wait for such a sink, nobody would go on.
            if request.streams || begun.elapsed() >= LOOK {
                permit = None;
            }
            let outcome = self.settle(stop, sink);
            pages_left = self.pages_left(request)?;
            if let Some(outcome) = limited(outcome, pages_left) {
                return Ok(outcome);
            }
        }
    }

    /// How many pages more the guest may write to, if there is a limit; negative beyond it.
    fn pages_left(&mut self, request: &RunRequest<'_>) -> Result<Option<i64>, machine::Error> {
        let Some(max) = request.pages_max else { return Ok(None) };
        Ok(Some(i64::from(max) - i64::from(self.machine.count_written()?)))
    }

    /// Passes on what was printed up to a stop; how the run ended, if it did.
    fn settle(&mut self, stop: Stop, sink: &mut dyn Sink) -> Option<Outcome> {
        let event = match stop {
            Stop::Event(event) => Some(event),
            _ => None,
        };
        let mailbox = self.machine.mailbox()?;
        match self.output.drain(mailbox, event, sink) {
            Ok(ControlFlow::Continue(())) => outcome(mailbox, stop),
            Ok(ControlFlow::Break(())) => Some(Outcome::OutputLimit),
            Err(violation) => Some(Outcome::Crashed(Crash::Protocol(violation))),
        }
    }
}

/// A run that went over its limit of memory has that outcome, also if it came to its end before
/// anybody looked: whether a program goes over must not depend on when that was.
fn limited(outcome: Option<Outcome>, pages_left: Option<i64>) -> Option<Outcome> {
    let is_over = pages_left.is_some_and(|left| left < 0);
    match outcome {
        None | Some(Outcome::Exited(_)) if is_over => Some(Outcome::MemoryLimit),
        other => other,
    }
}

/// How long a guest cannot get to its limit of memory.
fn until_look(pages_left: i64) -> Duration {
    let pages = u32::try_from(pages_left.max(0)).unwrap_or(u32::MAX);
    (WRITE_TO_A_PAGE * pages).clamp(LOOK_MIN, LOOK)
}

fn outcome(mailbox: &Mailbox, stop: Stop) -> Option<Outcome> {
    let header = || mailbox.header();
    Some(match stop {
        Stop::Event(Event::Output | Event::Console) | Stop::Stage(_) | Stop::Poll | Stop::Heard => {
            return None;
        }
        Stop::Event(Event::Done) => Outcome::Exited((header().exit_code & 0xff) as i32),
        Stop::Event(Event::Dead) => died(header()),
        Stop::Event(event @ (Event::Ready | Event::Stage)) => Outcome::Crashed(Crash::Event(event)),
        Stop::Expired(expired) => expired_outcome(expired),
        Stop::Fault(fault) => Outcome::Crashed(Crash::Fault(fault)),
    })
}

pub(super) fn expired_outcome(expired: Expired) -> Outcome {
    match expired {
        Expired::Deadline => Outcome::TimedOut,
        Expired::Cancelled => Outcome::Cancelled,
    }
}

/// What PID 1 says, checked: exit codes and signals have 8 and 7 bits.
fn died(header: proto::Header) -> Outcome {
    let detail = (header.death_detail & 0xff) as i32;
    match Death::from_u32(header.death) {
        Some(Death::Exited) => Outcome::ProcessExited(detail),
        Some(Death::Signaled) => Outcome::Signaled(detail & 0x7f),
        Some(Death::OutOfMemory) => Outcome::OutOfMemory,
        None => Outcome::Crashed(Crash::Death(header.death)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_looked_at_before_it_can_have_got_far_beyond_its_limit() {
        assert_eq!(until_look(1_000_000), LOOK);
        assert_eq!(until_look(40_000), Duration::from_millis(10));
        assert_eq!(until_look(3), LOOK_MIN);
        assert_eq!(until_look(-3), LOOK_MIN);
    }

    #[test]
    fn a_program_over_its_limit_of_memory_has_that_outcome_unless_it_has_a_worse_one() {
        let exited = Some(Outcome::Exited(0));
        assert_eq!(limited(exited, None), exited);
        assert_eq!(limited(exited, Some(0)), exited);
        assert_eq!(limited(None, Some(0)), None);
        assert_eq!(limited(None, Some(-1)), Some(Outcome::MemoryLimit));
        assert_eq!(limited(exited, Some(-1)), Some(Outcome::MemoryLimit));
        assert_eq!(limited(Some(Outcome::TimedOut), Some(-1)), Some(Outcome::TimedOut));
    }
}
