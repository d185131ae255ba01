//! Talking with a guest on its console.

use std::ops::ControlFlow;
use std::time::Instant;

use zeroboot_proto::Stream;

use super::guest::{LOOK, expired_outcome};
use super::{Crash, Error, Guest, Outcome, Sink};
use crate::device::Dialogue;
use crate::machine::{self, Stop};
use crate::sys::{Armed, Gate, Limits};

/// What the guest is told, and how long it is listened to.
#[derive(Clone, Copy, Debug)]
pub struct TalkRequest<'a> {
    /// What it is told.
    pub input: &'a [u8],
    /// What it says last; nothing, and it is listened to until the deadline.
    pub until: &'a [u8],
    /// The most that it may say.
    pub output_max: usize,
    /// What ends it from outside.
    pub limits: &'a Limits,
    /// Whether the sink wants what is said at once.
    pub streams: bool,
    /// What a run has to pass before it begins.
    pub gate: Option<&'a Gate>,
}

impl Guest {
    /// Tells the guest something and listens until it has said `until`. `Outcome::Exited(0)` says that
    /// it has. After any outcome but a crash, there can be another talk.
    pub fn talk(
        &mut self,
        request: &TalkRequest<'_>,
        sink: &mut dyn Sink,
    ) -> Result<Outcome, Error> {
        let armed = request.limits.arm()?;
        let mut permit = match request.gate.map(|gate| gate.enter(&armed)).transpose() {
            Ok(permit) => permit,
            Err(expired) => return Ok(expired_outcome(expired)),
        };
        let dialogue =
            Dialogue::new(request.input.to_vec(), request.until.to_vec(), request.output_max);
        self.machine.console().ok_or(Error::NoConsole)?.begin(dialogue);
        let begun = Instant::now();
        let mut passed_on = 0;
        let ended = loop {
            let look = (request.streams || permit.is_some()).then_some(LOOK);
            let stop = match self.go_on(&armed, look) {
                Ok(stop) => stop,
                Err(error) => break Err(error),
            };
            if request.streams || begun.elapsed() >= LOOK {
                permit = None;
            }
            if let Some(outcome) = self.listen(stop, &mut passed_on, sink) {
                break Ok(outcome);
            }
        };
        self.machine.console().and_then(|console| console.end());
        ended
    }

    fn go_on(
        &mut self,
        armed: &Armed<'_>,
        look: Option<std::time::Duration>,
    ) -> Result<Stop, Error> {
        armed.alarm(look).map_err(machine::Error::from)?;
        Ok(self.machine.run(armed)?)
    }

    /// Passes on what was said up to a stop; how the talk ended, if it did.
    fn listen(
        &mut self,
        stop: Stop,
        passed_on: &mut usize,
        sink: &mut dyn Sink,
    ) -> Option<Outcome> {
        let dialogue = self.machine.console()?.heard()?;
        let flow = match dialogue.from(*passed_on) {
            [] => ControlFlow::Continue(()),
            new => sink.output(Stream::Stdout, new),
        };
        *passed_on = dialogue.len();
        if dialogue.is_found() {
            return Some(Outcome::Exited(0));
        }
        if flow.is_break() || dialogue.is_full() {
            return Some(Outcome::OutputLimit);
        }
        match stop {
            Stop::Heard | Stop::Poll | Stop::Stage(_) => None,
            Stop::Expired(expired) => Some(expired_outcome(expired)),
            Stop::Event(event) => Some(Outcome::Crashed(Crash::Event(event))),
            Stop::Fault(fault) => Some(Outcome::Crashed(Crash::Fault(fault))),
        }
    }
}
