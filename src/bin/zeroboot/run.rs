use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroboot::{
    ForkOptions, InstanceId, LoadOptions, Outcome, Pool, PoolOptions, RunOptions, RunResult,
    Snapshot, Stream,
};

use crate::measure::statistics::Samples;
use crate::{Result, paths};

/// How to use it, and the exit codes that are not the program's.
const MORE: &str = "\
Examples:
  zeroboot run 'print(6*7)'
  zeroboot run --timeout 5 --timing -f program.py
  echo 'print(6*7)' | zeroboot run
  zeroboot run -n 100 'print(6*7)'

Exit code: the program's own; 128 + N if signal N ended it (137 also when its memory was used up); \
124 after --timeout; 125 if zeroboot itself failed, the output limit was reached or the guest crashed.";

/// zeroboot itself failed.
pub const OWN_FAILURE: u8 = 125;
const TIMED_OUT: u8 = 124;

#[derive(clap::Args)]
#[command(after_help = MORE)]
pub struct Arguments {
    /// Template to fork: a name, or a directory (with a slash in it)
    #[arg(short, long, default_value = "python")]
    template: String,
    /// The program; read from standard input if neither this nor --file is given
    code: Option<String>,
    /// Read the program from a file (- for standard input)
    #[arg(short, long, conflicts_with = "code")]
    file: Option<PathBuf>,
    /// Stop the program after this many seconds; 0 for never
    #[arg(long, value_name = "SECONDS", default_value_t = RunOptions::TIMEOUT.as_secs_f64())]
    timeout: f64,
    /// Stop the program after this many bytes of output
    #[arg(long, value_name = "BYTES", default_value_t = RunOptions::MAX_OUTPUT)]
    max_output: u64,
    /// Print on standard error how long fork, execution and both took
    #[arg(long)]
    timing: bool,
    /// Run the program in this many forks, one after the other; print the first one's output and a
    /// summary of all. A fork's virtual machine is put back to the template's state, byte for byte,
    /// and used for a later one
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// With --repeat: a new virtual machine for each fork
    #[arg(long)]
    fresh: bool,
    /// Name of the fork, a UUID: what its guest has in /etc/machine-id. A random one by default
    #[arg(long, value_name = "UUID", conflicts_with = "repeat")]
    instance_id: Option<InstanceId>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let code = program(&arguments)?;
    let timeout = timeout(arguments.timeout)?;
    let dir = paths::existing_template(&arguments.template)?;
    let started = Instant::now();
    let snapshot = Arc::new(Snapshot::load(&dir, LoadOptions::default())?);
    let loaded = started.elapsed();
    let is_new = arguments.repeat == 1 || arguments.fresh;
    let options = if is_new { PoolOptions::NONE } else { PoolOptions::default() };
    let pool = Pool::new(snapshot, options);
    let forks = Forks {
        pool,
        code,
        timeout,
        max_output: arguments.max_output,
        instance_id: arguments.instance_id,
    };
    if arguments.repeat > 1 {
        return forks.many(arguments.repeat);
    }
    let (result, times) = forks.one(true)?;
    explain(&result);
    if arguments.timing {
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        err!(
            "load {:.3} ms, fork {:.3} ms, exec {:.3} ms, fork + exec {:.3} ms, free {:.3} ms",
            ms(loaded),
            ms(times.fork),
            ms(times.exec),
            ms(times.fork + times.exec),
            ms(times.free),
        );
    }
    Ok(ExitCode::from(exit_code(result.outcome)))
}

struct Forks {
    pool: Pool,
    code: Vec<u8>,
    timeout: Option<Duration>,
    max_output: u64,
    instance_id: Option<InstanceId>,
}

struct Times {
    fork: Duration,
    exec: Duration,
    free: Duration,
}

impl Forks {
    /// One fork; `print` passes its output on as it comes.
    fn one(&self, print: bool) -> Result<(RunResult, Times)> {
        let started = Instant::now();
        let options = ForkOptions { instance_id: self.instance_id, ..ForkOptions::default() };
        let mut sandbox = self.pool.fork(options)?;
        let forked = Instant::now();
        let mut pass_on = |stream: Stream, bytes: &[u8]| pass_on(stream, bytes);
        let options = RunOptions {
            timeout: self.timeout,
            max_output: self.max_output,
            on_output: if print { Some(&mut pass_on) } else { None },
            ..RunOptions::default()
        };
        let result = sandbox.run(&self.code, options)?;
        let ran = Instant::now();
        drop(sandbox);
        let times = Times { fork: forked - started, exec: ran - forked, free: ran.elapsed() };
        Ok((result, times))
    }

    /// Many forks and a summary, which says what machines they had.
    fn many(&self, n: u32) -> Result<ExitCode> {
        let [mut fork, mut exec, mut both, mut free] = <[Samples; 4]>::default();
        let mut first: Option<RunResult> = None;
        let mut different = 0;
        let mut failed = None;
        let started = Instant::now();
        for i in 0..n {
            let (result, times) = self.one(i == 0)?;
            fork.add(times.fork);
            exec.add(times.exec);
            both.add(times.fork + times.exec);
            free.add(times.free);
            if exit_code(result.outcome) != 0 && failed.is_none() {
                explain(&result);
                failed = Some(result.outcome);
            }
            let first = first.get_or_insert_with(|| result.clone());
            let same = (first.outcome, &first.output) == (result.outcome, &result.output);
            different += u32::from(!same);
        }
        let seconds = started.elapsed().as_secs_f64();
        let machines =
            if self.pool.recycles() { "recycled machines" } else { "a new machine each" };
        err!(
            "{n} forks ({machines}) in {seconds:.3} s, {different} with another result than the first"
        );
        for (name, samples) in
            [("fork", &fork), ("exec", &exec), ("fork + exec", &both), ("free", &free)]
        {
            err!("{name:12} {samples}");
        }
        Ok(ExitCode::from(failed.map_or(0, exit_code)))
    }
}

fn program(arguments: &Arguments) -> Result<Vec<u8>> {
    if let Some(code) = &arguments.code {
        return Ok(code.clone().into_bytes());
    }
    match &arguments.file {
        Some(path) if path.as_os_str() != "-" => {
            fs::read(path).map_err(|e| format!("{}: {e}", path.display()).into())
        }
        _ => {
            let mut input = io::stdin().lock();
            if input.is_terminal() {
                err!("zeroboot: reading the program from standard input");
            }
            let mut code = Vec::new();
            input.read_to_end(&mut code).map_err(|e| format!("standard input: {e}"))?;
            Ok(code)
        }
    }
}

fn timeout(seconds: f64) -> Result<Option<Duration>> {
    if seconds == 0.0 {
        return Ok(None);
    }
    let duration = Duration::try_from_secs_f64(seconds);
    duration.map(Some).map_err(|e| format!("--timeout {seconds}: {e}").into())
}

/// A reader that went away ends the run, as SIGPIPE would end a program here.
fn pass_on(stream: Stream, bytes: &[u8]) -> ControlFlow<()> {
    let written = match stream {
        Stream::Stdout => io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()),
        Stream::Stderr => io::stderr().write_all(bytes),
    };
    if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// Says what an exit code cannot.
fn explain(result: &RunResult) {
    match result.outcome {
        Outcome::Exited(_) | Outcome::ProcessExited(_) => {}
        Outcome::Signaled(signal) => err!("zeroboot: ended by signal {signal}"),
        Outcome::OutOfMemory => err!("zeroboot: killed: the sandbox is out of memory"),
        Outcome::TimedOut => {
            err!("zeroboot: timed out after {:.3} s", result.elapsed.as_secs_f64());
        }
        Outcome::Cancelled => err!("zeroboot: cancelled"),
        Outcome::OutputLimit => err!("zeroboot: stopped: the output limit is reached"),
        Outcome::MemoryLimit => err!("zeroboot: stopped: the memory limit is reached"),
        Outcome::Crashed(crash) => err!("zeroboot: the sandbox crashed: {crash}"),
    }
}

fn exit_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Exited(code) | Outcome::ProcessExited(code) => code as u8,
        Outcome::Signaled(signal) => 128u8.saturating_add(signal as u8),
        Outcome::OutOfMemory => 128 + 9,
        Outcome::TimedOut => TIMED_OUT,
        Outcome::Cancelled | Outcome::OutputLimit | Outcome::MemoryLimit | Outcome::Crashed(_) => {
            OWN_FAILURE
        }
    }
}
