use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use zeroboot_proto as proto;
use zeroboot_proto::{Death, Event, Request};

use super::{OutputReader, Sink, Violation};
use crate::machine::{self, Fault, Machine, Stop};
use crate::sys::{self, Expired, Gate, Limits};

/// What keeps a request from being carried out at all. What the guest does is an [`Outcome`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The payload does not fit into the mailbox.
    #[error("a program of {0} bytes; the most is {max}", max = proto::PAYLOAD_MAX)]
    PayloadTooLong(usize),
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
}

/// How often a running guest's mailbox is looked at for a sink that wants its output as it comes,
/// and how long a run keeps the permit that it began with: a short one to its end, a long one
/// until it is clear that it is long. Each look costs the guest an exit.
const LOOK: Duration = Duration::from_millis(20);

/// A machine whose runtime stands at its doorbell.
#[derive(Debug)]
pub struct Guest {
    machine: Machine,
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
        let posted = self.machine.mailbox().post(request.kind, request.payload);
        let start = posted.ok_or(Error::PayloadTooLong(request.payload.len()))?;
        self.output.begin(start);
        let armed = request.limits.arm()?;
        let mut permit = match request.gate.map(|gate| gate.enter(&armed)).transpose() {
            Ok(permit) => permit,
            Err(expired) => return Ok(expired_outcome(expired)),
        };
        let begun = Instant::now();
        loop {
            let look = (request.streams || permit.is_some()).then_some(LOOK);
            // From here on the guest may stand anywhere, so a failure is the machine's.
            armed.alarm(look).map_err(machine::Error::from)?;
            let stop = self.machine.run(&armed)?;
            // A sink that gets output as it comes may run other sandboxes, and those want permits:
            // with all of them held by runs that wait for such a sink, nobody would go on.
            if request.streams || begun.elapsed() >= LOOK {
                permit = None;
            }
            if let Some(outcome) = self.settle(stop, sink) {
                return Ok(outcome);
            }
        }
    }

    /// Passes on what was printed up to a stop; how the run ended, if it did.
    fn settle(&mut self, stop: Stop, sink: &mut dyn Sink) -> Option<Outcome> {
        let event = match stop {
            Stop::Event(event) => Some(event),
            _ => None,
        };
        match self.output.drain(self.machine.mailbox(), event, sink) {
            Ok(ControlFlow::Continue(())) => self.outcome(stop),
            Ok(ControlFlow::Break(())) => Some(Outcome::OutputLimit),
            Err(violation) => Some(Outcome::Crashed(Crash::Protocol(violation))),
        }
    }

    fn outcome(&self, stop: Stop) -> Option<Outcome> {
        let header = || self.machine.mailbox().header();
        Some(match stop {
            Stop::Event(Event::Output | Event::Console) | Stop::Stage(_) | Stop::Poll => {
                return None;
            }
            Stop::Event(Event::Done) => Outcome::Exited((header().exit_code & 0xff) as i32),
            Stop::Event(Event::Dead) => died(header()),
            Stop::Event(event @ (Event::Ready | Event::Stage)) => {
                Outcome::Crashed(Crash::Event(event))
            }
            Stop::Expired(expired) => expired_outcome(expired),
            Stop::Fault(fault) => Outcome::Crashed(Crash::Fault(fault)),
        })
    }
}

fn expired_outcome(expired: Expired) -> Outcome {
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
