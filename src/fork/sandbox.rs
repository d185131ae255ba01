use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroboot_proto::{Request, Stream};

use super::budget::Share;
use super::home::Home;
use super::identity::make_distinct;
use super::shell::Shell;
use super::{ForkOptions, InstanceId};
use crate::agent::{self, Collected, Guest, Outcome, RunRequest, Sink};
use crate::device::LineSink;
use crate::kvm::{self, postpone_timer};
use crate::machine::{self, Access, Machine};
use crate::snapshot::{self, Snapshot};
use crate::sys::{self, Cancel, Gate, Limits, Moment};

/// Why a fork or a run could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An earlier run was the sandbox's last.
    #[error("the sandbox is dead: an earlier run ended with {0}; fork a new one")]
    Dead(&'static str),
    /// The pool's limit of memory.
    #[error(
        "the snapshot's sandboxes may have {max} bytes of memory together (its memory_max): {given} \
         are given away, and this one may come to {wanted}"
    )]
    MemoryTotal {
        /// The limit.
        max: u64,
        /// What those that are alive may have.
        given: u64,
        /// What another wants.
        wanted: u64,
    },
    /// A sandbox's limit of memory cannot be kept here.
    #[error(
        "nobody would know what the guest writes to, so its memory cannot be limited: the snapshot is \
         not one of zeroboot's own, or this host's KVM lacks KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 \
         (Linux 5.2)"
    )]
    NoMemoryLimit,
    /// The guest protocol.
    #[error(transparent)]
    Agent(#[from] agent::Error),
    /// What the snapshot says of it.
    #[error("cannot make a machine: {0}")]
    Snapshot(#[from] snapshot::Error),
    /// The machine.
    #[error("cannot make a machine: {0}")]
    Machine(#[from] machine::Error),
    /// KVM.
    #[error("cannot make a machine: {0}")]
    Kvm(#[from] kvm::Error),
    /// The operating system.
    #[error("cannot make a machine: {0}")]
    Sys(#[from] sys::Error),
}

/// How to run a program.
pub struct RunOptions<'a> {
    /// Wall-clock limit; `None` for none.
    pub timeout: Option<Duration>,
    /// Who may stop it.
    pub cancel: Option<Cancel>,
    /// Most bytes of stdout and stderr together.
    pub max_output: u64,
    /// Gets output as it comes, before it is collected; `Break` cancels the run, and that piece is
    /// not collected.
    pub on_output: Option<&'a mut OnOutput<'a>>,
}

/// A caller's own sink.
pub type OnOutput<'a> = dyn FnMut(Stream, &[u8]) -> ControlFlow<()> + 'a;

impl RunOptions<'_> {
    /// Default wall-clock limit.
    pub const TIMEOUT: Duration = Duration::from_secs(60);
    /// Default limit of output.
    pub const MAX_OUTPUT: u64 = 64 << 20;
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        RunOptions {
            timeout: Some(Self::TIMEOUT),
            cancel: None,
            max_output: Self::MAX_OUTPUT,
            on_output: None,
        }
    }
}

/// What a run gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// How it ended.
    pub outcome: Outcome,
    /// What it printed.
    pub output: Collected,
    /// How long it took, from the request to the answer.
    pub elapsed: Duration,
}

/// A virtual machine forked from a snapshot.
#[derive(Debug)]
pub struct Sandbox {
    /// There until the drop.
    shell: Option<Shell>,
    instance_id: InstanceId,
    pub(super) has_run: bool,
    /// Ends every run, whatever token the run itself has.
    pub(super) stop: Cancel,
    /// How the last run ended, once there can be no other.
    pub(super) dead: Option<&'static str>,
    /// Who may want the machine back.
    home: Option<Arc<Home>>,
    /// What it may have of the pool's memory.
    pub(super) share: Option<Share>,
    /// Most pages that the guest may have written to.
    pub(super) pages_max: Option<u32>,
    // The machine maps its rootfs and needs its /dev/kvm no longer than it lives.
    pub(super) snapshot: Arc<Snapshot>,
}

impl Sandbox {
    /// A new machine that stands where the snapshot was taken, its memory mapped copy-on-write. It
    /// ends with the sandbox; a [`Pool`](super::Pool) reuses machines.
    ///
    /// Budget: 0.6 ms p50 on a host that emulates ring 0. No allocation a page.
    pub fn fork(snapshot: &Arc<Snapshot>, console: Option<LineSink>) -> Result<Self, Error> {
        Self::fork_with(snapshot, ForkOptions { console, ..ForkOptions::default() })
    }

    /// The same with all options. The machine is fresh, whether they ask for it or not.
    pub fn fork_with(snapshot: &Arc<Snapshot>, options: ForkOptions) -> Result<Self, Error> {
        let shell = Shell::new(snapshot, Access::Full, options.console)?;
        Sandbox::of(shell, snapshot, None, options.instance_id)
    }

    /// Makes a shell somebody's: from here on it differs from all others. After an error it ends.
    pub(super) fn of(
        mut shell: Shell,
        snapshot: &Arc<Snapshot>,
        home: Option<Arc<Home>>,
        id: Option<InstanceId>,
    ) -> Result<Self, Error> {
        let instance_id = make_distinct(shell.guest.machine(), snapshot, id, Moment::now())?;
        Ok(Sandbox {
            shell: Some(shell),
            instance_id,
            has_run: false,
            stop: Cancel::new(),
            dead: None,
            home,
            share: None,
            pages_max: None,
            snapshot: Arc::clone(snapshot),
        })
    }

    /// Its name.
    pub fn instance_id(&self) -> InstanceId {
        self.instance_id
    }

    /// The snapshot that it was forked from.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Whether another run is possible.
    pub fn is_alive(&self) -> bool {
        self.dead.is_none()
    }

    /// A token that stops the run that is under way and all that follow: for whoever wants to end
    /// the sandbox while another thread is inside [`Sandbox::run`].
    pub fn stop_token(&self) -> &Cancel {
        &self.stop
    }

    /// Nobody may use the sandbox any more, because its host side failed in the middle of a call.
    pub fn condemn(&mut self) {
        self.dead.get_or_insert("a failure of the host's side");
    }

    /// Runs a program. What the program does is in the result; an error is ours.
    pub fn run(&mut self, code: &[u8], options: RunOptions<'_>) -> Result<RunResult, Error> {
        let RunOptions { timeout, cancel, max_output, on_output } = options;
        let bounds = Bounds { timeout, cancel, max_output, on_output };
        let pages_max = self.pages_max;
        let ends = |outcome: Outcome| !outcome.is_ready_for_more();
        self.exchange(bounds, ends, |guest, around, sink| {
            let request = RunRequest {
                kind: Request::Run,
                payload: code,
                limits: around.limits,
                streams: around.streams,
                gate: around.gate,
                pages_max,
            };
            guest.run(&request, sink)
        })
    }

    /// What a run and a talk have in common. `ends` says after which outcome there is no other.
    pub(super) fn exchange(
        &mut self,
        bounds: Bounds<'_>,
        ends: impl FnOnce(Outcome) -> bool,
        body: impl FnOnce(&mut Guest, Around<'_>, &mut dyn Sink) -> Result<Outcome, agent::Error>,
    ) -> Result<RunResult, Error> {
        if let Some(how) = self.dead {
            return Err(Error::Dead(how));
        }
        let started = Instant::now();
        if !self.has_run {
            self.prepare_first_run(started)?;
        }
        let limits = Limits {
            deadline: bounds.timeout.and_then(|t| started.checked_add(t)),
            cancel: [bounds.cancel, Some(self.stop.clone())],
        };
        let streams = bounds.on_output.is_some();
        let around = Around { limits: &limits, streams, gate: self.snapshot.gate() };
        let mut sink = Tee {
            collected: Collected::default(),
            max: bounds.max_output,
            on_output: bounds.on_output,
            refused: false,
        };
        let outcome = body(&mut self.shell().guest, around, &mut sink).inspect_err(|error| {
            // The other errors come before the guest runs: it still stands where it stood.
            if matches!(error, agent::Error::Machine(_)) {
                self.condemn();
            }
        })?;
        let outcome = if sink.refused { Outcome::Cancelled } else { outcome };
        if ends(outcome) {
            self.dead = Some(name(outcome));
        }
        Ok(RunResult { outcome, output: sink.collected, elapsed: started.elapsed() })
    }

    pub(super) fn parts(&mut self) -> (&mut Shell, &Snapshot) {
        (self.shell.as_mut().expect("only drop takes it"), &self.snapshot)
    }

    pub(super) fn shell(&mut self) -> &mut Shell {
        self.shell.as_mut().expect("only drop takes it")
    }

    pub(super) fn machine(&mut self) -> &mut Machine {
        self.shell().guest.machine()
    }

    fn prepare_first_run(&mut self, now: Instant) -> Result<(), Error> {
        let snapshot = Arc::clone(&self.snapshot);
        let shell = self.shell();
        shell.warm(&snapshot)?;
        if now.duration_since(shell.timer_set) > LONG_WAIT {
            postpone_timer(shell.guest.machine().vcpu(), snapshot.cpu(), Moment::now())?;
        }
        self.has_run = true;
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let (Some(shell), Some(home)) = (self.shell.take(), &self.home) {
            home.take_back(shell, self.dead.is_none());
        }
    }
}

/// A fork that has waited this long owes ticks by the time it runs.
const LONG_WAIT: Duration = Duration::from_millis(50);

/// What the caller bounds an exchange by.
pub(super) struct Bounds<'a> {
    pub(super) timeout: Option<Duration>,
    pub(super) cancel: Option<Cancel>,
    pub(super) max_output: u64,
    pub(super) on_output: Option<&'a mut OnOutput<'a>>,
}

/// What surrounds an exchange.
pub(super) struct Around<'a> {
    pub(super) limits: &'a Limits,
    pub(super) streams: bool,
    pub(super) gate: Option<&'a Gate>,
}

struct Tee<'a> {
    collected: Collected,
    max: u64,
    on_output: Option<&'a mut OnOutput<'a>>,
    /// `on_output` wanted no more.
    refused: bool,
}

impl Sink for Tee<'_> {
    fn output(&mut self, stream: Stream, bytes: &[u8]) -> ControlFlow<()> {
        let kept = &bytes[..bytes.len().min(self.collected.room(self.max))];
        if let Some(on_output) = &mut self.on_output {
            self.refused = !kept.is_empty() && on_output(stream, kept).is_break();
        }
        if self.refused {
            return ControlFlow::Break(());
        }
        self.collected.add(stream, kept)?;
        if kept.len() == bytes.len() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// An outcome in two or three words.
fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Exited(_) => "an exit",
        Outcome::ProcessExited(_) => "_exit",
        Outcome::Signaled(_) => "a signal",
        Outcome::OutOfMemory => "an out-of-memory kill",
        Outcome::TimedOut => "a timeout",
        Outcome::Cancelled => "a cancellation",
        Outcome::OutputLimit => "the output limit",
        Outcome::MemoryLimit => "the memory limit",
        Outcome::Crashed(_) => "a crash of the guest",
    }
}
