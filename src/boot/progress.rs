use std::fmt;

/// The steps of a build, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Hashing what goes in.
    Inputs,
    /// The kernel runs, up to PID 1.
    Kernel,
    /// PID 1 mounts file systems.
    Mounts,
    /// The runtime starts and loads what it keeps warm.
    Runtime,
    /// Representative programs run.
    WarmUp,
    /// Memory and state are written down.
    Capture,
}

impl Step {
    /// All of them.
    pub const ALL: [Step; 6] =
        [Step::Inputs, Step::Kernel, Step::Mounts, Step::Runtime, Step::WarmUp, Step::Capture];
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Inputs => "hashing kernel and image",
            Step::Kernel => "booting the kernel",
            Step::Mounts => "mounting file systems",
            Step::Runtime => "starting the runtime",
            Step::WarmUp => "warming up",
            Step::Capture => "writing the snapshot",
        })
    }
}

/// Watches a build. Called from the building thread.
pub trait Progress: Send + Sync {
    /// A step begins.
    fn step(&self, step: Step);
    /// Something happens within the step.
    fn detail(&self, text: &str);
    /// The guest printed a line on its console.
    fn console(&self, line: &str);
}

/// Nobody watches.
impl Progress for () {
    fn step(&self, _: Step) {}
    fn detail(&self, _: &str) {}
    fn console(&self, _: &str) {}
}
