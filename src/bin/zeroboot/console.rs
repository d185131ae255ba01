use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use zeroboot::{LoadOptions, Outcome, Sandbox, Snapshot, Stream, TalkOptions};

use crate::{Result, paths};

const MORE: &str = "\
Examples:
  zeroboot console -t shell --until '$ ' 'uname -a' 'exit'
  zeroboot console -t ./dir --until 'DONE' 'count'

Each line is written to the console of one fork, with a newline behind it, and what the guest says is \
printed until it has said --until.

Exit code: 0 if it has said so each time; 124 after --timeout; 125 if zeroboot itself failed or the \
guest crashed.";

const TIMED_OUT: u8 = 124;

#[derive(clap::Args)]
#[command(after_help = MORE)]
pub struct Arguments {
    /// Snapshot to fork: a name (`zeroboot snapshot import`), or a directory (with a slash in it)
    #[arg(short, long, value_name = "SNAPSHOT")]
    template: String,
    /// What the guest says last; a newline if not given
    #[arg(long, value_name = "TEXT", default_value = "\n")]
    until: String,
    /// Wait no longer than this many seconds for each line's answer
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    timeout: f64,
    /// Fork even if time would stand still in the guest
    #[arg(long)]
    any_clock: bool,
    /// Lines to write, one after the other
    #[arg(required = true)]
    lines: Vec<String>,
}

pub fn console(arguments: Arguments) -> Result<ExitCode> {
    let timeout = Duration::try_from_secs_f64(arguments.timeout)
        .map_err(|e| format!("--timeout {}: {e}", arguments.timeout))?;
    let dir = paths::existing_snapshot(&arguments.template)?;
    let options = LoadOptions { any_clock: arguments.any_clock, ..LoadOptions::default() };
    let snapshot = Arc::new(Snapshot::load(&dir, options)?);
    for warning in snapshot.warnings() {
        err!("zeroboot: warning: {warning}");
    }
    let mut sandbox = Sandbox::fork(&snapshot, None)?;
    for line in &arguments.lines {
        let mut print = |_: Stream, bytes: &[u8]| pass_on(bytes);
        let options = TalkOptions {
            until: arguments.until.as_bytes(),
            timeout: Some(timeout),
            on_output: Some(&mut print),
            ..TalkOptions::default()
        };
        let result = sandbox.talk(format!("{line}\n").as_bytes(), options)?;
        let code = match result.outcome {
            Outcome::Exited(_) => continue,
            Outcome::TimedOut => {
                err!("zeroboot: no {:?} within {} s", arguments.until, arguments.timeout);
                TIMED_OUT
            }
            Outcome::Crashed(crash) => {
                err!("zeroboot: the sandbox crashed: {crash}");
                crate::run::OWN_FAILURE
            }
            other => {
                err!("zeroboot: {other:?}");
                crate::run::OWN_FAILURE
            }
        };
        return Ok(ExitCode::from(code));
    }
    Ok(ExitCode::SUCCESS)
}

/// A reader that went away ends the talk.
fn pass_on(bytes: &[u8]) -> ControlFlow<()> {
    let mut out = io::stdout();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}
