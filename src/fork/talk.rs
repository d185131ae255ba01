use std::time::Duration;

use super::sandbox::Bounds;
use super::{Error, OnOutput, RunOptions, RunResult, Sandbox};
use crate::agent::{Outcome, TalkRequest};
use crate::sys::Cancel;

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
        let TalkOptions { until, timeout, cancel, max_output, on_output } = options;
        let bounds = Bounds { timeout, cancel, max_output, on_output };
        let ends = |outcome| matches!(outcome, Outcome::Crashed(_));
        self.exchange(bounds, ends, |guest, around, sink| {
            let request = TalkRequest {
                input,
                until,
                output_max: usize::try_from(max_output).unwrap_or(usize::MAX),
                limits: around.limits,
                streams: around.streams,
                gate: around.gate,
            };
            guest.talk(&request, sink)
        })
    }
}
