use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sandbox::{Tee, name};
use super::{Error, OnOutput, RunOptions, RunResult, Sandbox};
use crate::agent::{self, Collected, Outcome, TalkRequest};
use crate::sys::{Cancel, Limits};

/// How to talk with a guest on its console.
pub struct TalkOptions<'a> {
    /// The end of what the guest says; without one it is listened to until the timeout.
    pub until: &'a [u8],
    /// Wall-clock limit; `None` for none.
    pub timeout: Option<Duration>,
    /// Who may stop it.
    pub cancel: Option<Cancel>,
    /// Most bytes that the guest may say.
    pub max_output: u64,
    /// Gets what the guest says as it comes; `Break` ends the talk.
    pub on_output: Option<&'a mut OnOutput<'a>>,
}

impl Default for TalkOptions<'_> {
    fn default() -> Self {
        TalkOptions {
            until: b"",
            timeout: Some(RunOptions::TIMEOUT),
            cancel: None,
            max_output: RunOptions::MAX_OUTPUT,
            on_output: None,
        }
    }
}

impl Sandbox {
    /// Writes `input` to the guest's console and reads until the guest has said `until`: the way to
    /// reach a guest that is not ours. `Outcome::Exited(0)` is the one that was waited for; what was
    /// said is in the result's stdout.
    ///
    /// The guest runs only meanwhile. After any outcome but a crash there can be another talk: a
    /// guest that was too slow goes on where it was.
    pub fn talk(&mut self, input: &[u8], options: TalkOptions<'_>) -> Result<RunResult, Error> {
        if let Some(how) = self.dead {
            return Err(Error::Dead(how));
        }
        let started = Instant::now();
        if !self.has_run {
            self.prepare_first_run(started)?;
        }
        let limits = Limits {
            deadline: options.timeout.and_then(|t| started.checked_add(t)),
            cancel: [options.cancel, Some(self.stop.clone())],
        };
        let snapshot = Arc::clone(&self.snapshot);
        let request = TalkRequest {
            input,
            until: options.until,
            output_max: usize::try_from(options.max_output).unwrap_or(usize::MAX),
            limits: &limits,
            streams: options.on_output.is_some(),
            gate: snapshot.gate(),
        };
        let mut sink = Tee {
            collected: Collected::default(),
            max: options.max_output,
            on_output: options.on_output,
            refused: false,
        };
        let outcome = self.shell().guest.talk(&request, &mut sink).inspect_err(|error| {
            if matches!(error, agent::Error::Machine(_)) {
                self.condemn();
            }
        })?;
        let outcome = if sink.refused { Outcome::Cancelled } else { outcome };
        if matches!(outcome, Outcome::Crashed(_)) {
            self.dead = Some(name(outcome));
        }
        Ok(RunResult { outcome, output: sink.collected, elapsed: started.elapsed() })
    }
}
