use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use linux_loader::cmdline::Cmdline;
use sha2::{Digest, Sha256};
use zeroboot_proto as proto;
use zeroboot_proto::{CloneField, Event, Stage};

use super::warm::Warmth;
use super::{
    Error, Program, Progress, Result, Step, clone, command_line, kernel, parameters, warm,
};
use crate::agent::Guest;
use crate::device::{Console, LineSink};
use crate::kvm::{
    Clock, CpuFeatures, Host, Traits, enter_long_mode, guest_clock, guest_cpuid, save,
};
use crate::machine::{Access, Layout, Machine, Stop};
use crate::snapshot::{
    self, Capture, FORMAT, Manifest, Origin, State, sha256_of_file, sha256_of_image,
};
use crate::sys::{self, Expired, Limits};

/// What a template is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// An uncompressed kernel (vmlinux).
    pub kernel: PathBuf,
    /// An image that guest/rootfs/build.sh made.
    pub rootfs: PathBuf,
    /// The runtime in the image.
    pub runtime: String,
    /// RAM.
    pub ram_bytes: u64,
    /// Programs to warm up with.
    pub warm: Vec<Program>,
    /// How long the guest may take to get to its doorbell.
    pub boot_timeout: Duration,
}

/// A plan with its inputs hashed: what it would make, and whether that is there already.
#[derive(Debug)]
pub struct Template {
    plan: Plan,
    host: Host,
    traits: Traits,
    layout: Layout,
    command_line: Cmdline,
    kernel_sha256: String,
    rootfs_sha256: String,
}

/// Lines of console that an error shows.
const TAIL: usize = 40;

impl Template {
    /// Looks at everything that goes in.
    pub fn plan(plan: Plan, progress: &dyn Progress) -> Result<Self> {
        progress.step(Step::Inputs);
        let host = Host::open()?;
        let traits = host.traits()?;
        let rootfs_bytes =
            std::fs::metadata(&plan.rootfs).map_err(Error::file(&plan.rootfs))?.len();
        let layout = Layout::new(plan.ram_bytes, rootfs_bytes)?;
        let extra = [format!("ZB_RUNTIME={}", plan.runtime)];
        Ok(Template {
            command_line: command_line::build(traits, layout, &extra)?,
            kernel_sha256: sha256_of_file(&plan.kernel)?,
            rootfs_sha256: sha256_of_image(&plan.rootfs)?,
            plan,
            host,
            traits,
            layout,
        })
    }

    /// Equal keys give equal templates.
    pub fn key(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(env!("CARGO_PKG_VERSION").as_bytes());
        add(&FORMAT.to_le_bytes());
        add(&proto::VERSION.to_le_bytes());
        add(self.kernel_sha256.as_bytes());
        add(self.rootfs_sha256.as_bytes());
        add(self.line().as_bytes());
        add(&self.plan.ram_bytes.to_le_bytes());
        for program in &self.plan.warm {
            add(program.name.as_bytes());
            add(&program.code);
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Boots, warms up, captures, and writes the snapshot to `dir`.
    pub fn build(&self, dir: &Path, progress: &Arc<dyn Progress>) -> Result<Manifest> {
        let mut timings = Timings::start();
        let tail = Arc::new(ConsoleTail::new(Arc::clone(progress)));
        progress.step(Step::Kernel);
        let (mut machine, clock) = self.machine(tail.sink())?;
        self.boot(&mut machine, &**progress, &mut timings).map_err(|why| tail.explain(why))?;
        let clone_fields = clone::fields(&mut machine, self.layout, self.traits.tsc_khz)?;
        progress.step(Step::WarmUp);
        let mut guest = Guest::at_doorbell(machine);
        let warmth = warm::up(&mut guest, &self.plan.warm, &**progress)?;
        timings.mark("warm-up");
        progress.step(Step::Capture);
        let found = Found { warmth, clone_fields, clock };
        self.capture(guest.machine(), dir, found, timings)
    }

    /// A machine that stands before the kernel's first instruction, and the clock that its guest
    /// will go by.
    fn machine(&self, console: LineSink) -> Result<(Machine, Clock)> {
        let rootfs =
            Arc::new(File::open(&self.plan.rootfs).map_err(Error::file(&self.plan.rootfs))?);
        let rootfs = sys::read_only_of_file(&rootfs, self.layout.rootfs_bytes() as usize)?;
        let (_file, ram) = sys::shared_of_memfd(self.layout.memory_len() as usize)?;
        let console = Console::new(Some(console));
        let mut machine =
            Machine::new(&self.host, self.layout, ram, Access::Full, &Arc::new(rootfs), console)?;
        machine.mailbox().inspect(|mailbox| mailbox.format());
        let cpuid = guest_cpuid(&self.host, self.traits.ring0, self.traits.tsc_khz)?;
        machine.vcpu().set_cpuid(&cpuid)?;
        let memory = kernel::memory(machine.ram())?;
        let entry = kernel::load(&memory, &self.plan.kernel)?;
        let mut seed = [0; parameters::SEED_BYTES];
        sys::fill_random(&mut seed)?;
        let clock = guest_clock(machine.vcpu(), self.traits.tsc_khz)?;
        parameters::write(&memory, self.layout, &self.line_at(&clock)?, &seed)?;
        let ram = Arc::clone(machine.ram());
        enter_long_mode(machine.vcpu(), &ram, entry, parameters::ZERO_PAGE_AT)?;
        Ok((machine, clock))
    }

    /// The command line with the wall clock at a point on the guest's TSC, from which PID 1 sets
    /// the time: the CMOS clock tells whole seconds only.
    fn line_at(&self, clock: &Clock) -> Result<Cmdline> {
        let Clock { realtime_ns, tsc, tsc_khz } = clock;
        let mut line = self.command_line.clone();
        line.insert_str(format!("ZB_CLOCK={realtime_ns}@{tsc}/{tsc_khz}"))
            .map_err(|e| Error::Kernel { path: "command line".into(), why: e.to_string() })?;
        Ok(line)
    }

    /// Runs the guest up to READY.
    fn boot(
        &self,
        machine: &mut Machine,
        progress: &dyn Progress,
        timings: &mut Timings,
    ) -> std::result::Result<(), Failure> {
        let limits = Limits::within(self.plan.boot_timeout);
        let armed = limits.arm().map_err(|e| Failure::Host(e.into()))?;
        loop {
            match machine.run(&armed).map_err(|e| Failure::Host(e.into()))? {
                Stop::Event(Event::Ready) => {
                    timings.mark("runtime");
                    return Ok(());
                }
                Stop::Stage(stage) => {
                    let (past, step) = match stage {
                        Stage::Init => ("kernel", Step::Mounts),
                        Stage::Mounted => ("mounts", Step::Runtime),
                        Stage::Runtime => ("runtime start", Step::Runtime),
                    };
                    timings.mark(past);
                    progress.step(step);
                }
                Stop::Event(Event::Dead) => {
                    return Err(Failure::Guest("the runtime died before it was ready".into()));
                }
                Stop::Poll | Stop::Heard => {}
                Stop::Event(event) => {
                    return Err(Failure::Guest(format!("{event:?} before the runtime was ready")));
                }
                Stop::Expired(Expired::Deadline) => {
                    let seconds = self.plan.boot_timeout.as_secs_f64();
                    return Err(Failure::Guest(format!("not ready after {seconds} s")));
                }
                Stop::Expired(Expired::Cancelled) => {
                    return Err(Failure::Guest("cancelled".into()));
                }
                Stop::Fault(fault) => return Err(Failure::Guest(fault.to_string())),
            }
        }
    }

    fn capture(
        &self,
        machine: &mut Machine,
        dir: &Path,
        found: Found,
        mut timings: Timings,
    ) -> Result<Manifest> {
        machine.mailbox().inspect(|mailbox| mailbox.tidy());
        let cpuid = guest_cpuid(&self.host, self.traits.ring0, self.traits.tsc_khz)?;
        let Found { warmth, clone_fields, clock } = found;
        let (cpu, clock) = save(&self.host, machine.vcpu(), &cpuid, &clock)?;
        timings.mark("capture");
        let capture = Capture {
            memory: machine.ram(),
            state: State {
                cpu,
                uart: machine.uart(),
                working_set: warmth.working_set,
                clone_fields,
            },
            manifest: self.manifest(clock, warmth.runs, timings),
            rootfs: &self.plan.rootfs,
        };
        Ok(snapshot::write(dir, capture)?)
    }

    fn manifest(&self, clock: Clock, warm_runs: u32, timings: Timings) -> Manifest {
        Manifest {
            format: FORMAT,
            protocol: proto::VERSION,
            runtime: self.plan.runtime.clone(),
            ram_bytes: self.plan.ram_bytes,
            memory_sha256: String::new(),
            rootfs_bytes: self.layout.rootfs_bytes(),
            rootfs_sha256: self.rootfs_sha256.clone(),
            clock,
            ring0: self.traits.ring0,
            cpu: CpuFeatures::of_host(),
            origin: Origin {
                zeroboot: env!("CARGO_PKG_VERSION").into(),
                kernel_sha256: self.kernel_sha256.clone(),
                command_line: self.line(),
                key: self.key(),
                warmed_with: self.plan.warm.iter().map(|p| p.name.clone()).collect(),
                warm_runs,
                timings_ms: timings.marks,
            },
        }
    }

    fn line(&self) -> String {
        let line = self.command_line.as_cstring();
        line.map(|line| line.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// What was found out on the way to a warm guest.
struct Found {
    warmth: Warmth,
    clone_fields: Vec<CloneField>,
    clock: Clock,
}

/// Why a guest did not get to its doorbell.
enum Failure {
    Guest(String),
    Host(Error),
}

/// Passes a guest's console on and remembers its end.
struct ConsoleTail {
    progress: Arc<dyn Progress>,
    lines: Mutex<VecDeque<String>>,
}

impl ConsoleTail {
    fn new(progress: Arc<dyn Progress>) -> Self {
        ConsoleTail { progress, lines: Mutex::default() }
    }

    fn sink(self: &Arc<Self>) -> LineSink {
        let tail = Arc::clone(self);
        Arc::new(move |line| {
            let line = String::from_utf8_lossy(line).into_owned();
            tail.progress.console(&line);
            let mut lines = tail.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push_back(line);
            if lines.len() > TAIL {
                lines.pop_front();
            }
        })
    }

    fn explain(&self, failure: Failure) -> Error {
        match failure {
            Failure::Host(error) => error,
            Failure::Guest(why) => {
                let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                Error::Boot { why, console: lines.iter().cloned().collect() }
            }
        }
    }
}

struct Timings {
    last: Instant,
    marks: Vec<(String, u64)>,
}

impl Timings {
    fn start() -> Self {
        Timings { last: Instant::now(), marks: Vec::new() }
    }

    /// A step has ended.
    fn mark(&mut self, step: &str) {
        let now = Instant::now();
        self.marks.push((step.into(), now.duration_since(self.last).as_millis() as u64));
        self.last = now;
    }
}
