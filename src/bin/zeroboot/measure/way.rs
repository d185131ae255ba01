//! What is measured: ways from nothing to the first result of a program.

use std::error::Error;
use std::time::{Duration, Instant};

/// Ways are measured in several threads.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The program that every way runs, each time.
pub const PROGRAM: &str = "print(6*7)";
/// What it prints. A way that answers anything else ends the measurement.
pub const ANSWER: &str = "42\n";

/// What a way is, and what starts and stops its clocks.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// A short name for files.
    pub id: &'static str,
    /// A name for people.
    pub name: &'static str,
    /// What is spawned, if that can be timed alone.
    pub spawn: Option<&'static str>,
    /// What the time to the first result is.
    pub first_result: &'static str,
    /// What the teardown is, if it can be timed.
    pub teardown: Option<&'static str>,
    /// How /proc/self/smaps names the mapping of a fork's memory, if many forks can be kept alive.
    pub mapping: Option<&'static str>,
}

/// The times of one life.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Until there is something that the program could be given to.
    pub spawn: Option<Duration>,
    /// From nothing to the program's output; the spawn is part of it.
    pub first_result: Duration,
    /// From the output until what ran the program is gone.
    pub teardown: Option<Duration>,
}

impl Life {
    /// All of it.
    pub fn whole(&self) -> Duration {
        self.first_result + self.teardown.unwrap_or_default()
    }
}

/// One way.
pub trait Way: Sync {
    /// What it is.
    fn about(&self) -> &About;

    /// Gets it ready for one measurement, outside of all clocks. What the measurement leaves behind
    /// ends with the drop.
    fn open(&self) -> Result<Box<dyn Session + '_>>;
}

/// A way that is ready.
pub trait Session: Sync {
    /// What one thread needs to live lives.
    fn worker(&self) -> Result<Box<dyn Worker + '_>>;

    /// Its forks, if many of them can be kept alive.
    fn forks(&self) -> Option<&dyn Forks> {
        None
    }
}

/// What has forks can live their lives.
impl<F: Forks> Session for F {
    fn worker(&self) -> Result<Box<dyn Worker + '_>> {
        Ok(Box::new(ForkWorker(self)))
    }

    fn forks(&self) -> Option<&dyn Forks> {
        Some(self)
    }
}

/// Lives one life after the other.
pub trait Worker {
    /// One life, timed, its output checked.
    fn life(&mut self) -> Result<Life>;
}

/// Makes forks.
pub trait Forks: Sync {
    /// A new one.
    fn fork(&self) -> Result<Box<dyn Fork>>;
}

/// A fork. Its end is its drop.
pub trait Fork: Send {
    /// Runs a program and gives what it printed.
    fn answer(&mut self, program: &str) -> Result<String>;
}

/// Lives the lives of a way that has forks.
pub struct ForkWorker<'a>(pub &'a dyn Forks);

impl Worker for ForkWorker<'_> {
    fn life(&mut self) -> Result<Life> {
        let started = Instant::now();
        let mut fork = self.0.fork()?;
        let forked = Instant::now();
        let answer = fork.answer(PROGRAM)?;
        let answered = Instant::now();
        drop(fork);
        let gone = Instant::now();
        check(&answer, ANSWER)?;
        Ok(Life {
            spawn: Some(forked - started),
            first_result: answered - started,
            teardown: Some(gone - answered),
        })
    }
}

/// No figure counts without the right answer.
pub fn check(have: &str, want: &str) -> Result<()> {
    if have == want { Ok(()) } else { Err(format!("the answer is {have:?}, not {want:?}").into()) }
}
