use std::sync::Arc;
use std::time::Duration;

use super::home::Home;
use super::keeper::IDLE;
use super::{Error, InstanceId, Sandbox};
use crate::device::LineSink;
use crate::snapshot::Snapshot;

/// How many machines a pool keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Most machines that are kept when their sandboxes are freed, put back to the snapshot's state
    /// byte for byte, and given to later forks. 0 for none.
    pub recycle_max: usize,
    /// Most new machines that are made ahead. As long as forks keep coming there are as many; an
    /// idle pool has one.
    pub prewarm: usize,
    /// Most bytes of memory that its sandboxes may have together: each counts with its own limit,
    /// one without a limit with all of its guest's memory. `None` for no limit.
    pub memory_max: Option<u64>,
}

/// How to fork.
#[derive(Clone, Default)]
pub struct ForkOptions {
    /// A machine in which no program ever ran.
    pub fresh: bool,
    /// Most bytes of memory that the guest may write to, beyond what the machine held before. A
    /// sandbox that does so all the same ends with [`Outcome::MemoryLimit`](crate::agent::Outcome).
    pub memory_max: Option<u64>,
    /// Gets the lines that the guest's kernel prints.
    pub console: Option<LineSink>,
    /// The fork's name; a random one if there is none. Names are the owner's business: two forks
    /// may have the same.
    pub instance_id: Option<InstanceId>,
}

/// Makes sandboxes of a snapshot, and reuses their machines.
///
/// A background thread does what no fork has to wait for; it ends with the pool. Sandboxes live on
/// after that.
#[derive(Debug)]
pub struct Pool {
    home: Arc<Home>,
}

impl Default for PoolOptions {
    /// Recycles, for as many threads as there are processors, and makes none ahead.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        PoolOptions { recycle_max: (4 * processors).max(8), ..PoolOptions::NONE }
    }
}

impl PoolOptions {
    /// Every fork is a new machine that ends with its sandbox.
    pub const NONE: PoolOptions = PoolOptions { recycle_max: 0, prewarm: 0, memory_max: None };
}

impl PoolOptions {
    /// Whether there is anything for a background thread to do.
    pub(super) fn keeps_machines(&self) -> bool {
        self.recycle_max > 0 || self.prewarm > 0
    }
}

impl Pool {
    /// A pool of its own; machines are not shared between pools.
    pub fn new(snapshot: Arc<Snapshot>, options: PoolOptions) -> Self {
        Pool::with_idle(snapshot, options, IDLE)
    }

    /// A pool that gives up idle machines so long after the last fork.
    #[doc(hidden)]
    pub fn with_idle(snapshot: Arc<Snapshot>, mut options: PoolOptions, idle: Duration) -> Self {
        // Only machines of our own are put back.
        if !snapshot.host().can_keep_dirty_logs() || snapshot.layout().is_none() {
            options.recycle_max = 0;
        }
        let home = Arc::new(Home::new(snapshot, options, idle));
        if options.prewarm > 0 {
            home.call_keeper(&mut home.lists());
        }
        Pool { home }
    }

    /// What it makes sandboxes of.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.home.snapshot
    }

    /// Whether machines are put back and forked again, which not every KVM allows.
    pub fn recycles(&self) -> bool {
        self.home.options.recycle_max > 0
    }

    /// Waits until the background thread has nothing to do.
    #[doc(hidden)]
    pub fn settle(&self) {
        self.home.settle();
    }

    /// How many machines are ready, and how many of those made ahead.
    #[doc(hidden)]
    pub fn kept(&self) -> (usize, usize) {
        let lists = self.home.lists();
        (lists.ready.len(), lists.fresh.len())
    }

    /// A sandbox.
    ///
    /// Budget: 10 us if a machine is ready, 100 us if one is to be put back first.
    pub fn fork(&self, options: ForkOptions) -> Result<Sandbox, Error> {
        let home = &self.home;
        let all = match home.snapshot.layout() {
            Some(layout) => layout.memory_len(),
            None if options.memory_max.is_some() => return Err(Error::NoMemoryLimit),
            None => home.snapshot.manifest().ram_bytes,
        };
        // A limit that cannot be reached is none.
        let limit = options.memory_max.filter(|max| *max < all);
        let share = home.budget.give(limit.unwrap_or(all))?;
        let mut shell = match limit {
            Some(_) if !home.logs_writes() => home.new_logged_shell(),
            _ if options.fresh => home.take_fresh(),
            _ => home.take_any(),
        }?;
        shell.connect(&home.snapshot, options.console);
        let held = limit.map(|_| shell.guest.machine().count_written()).transpose()?;
        let home = Some(Arc::clone(home));
        let mut sandbox = Sandbox::of(shell, self.snapshot(), home, options.instance_id)?;
        sandbox.share = Some(share);
        sandbox.pages_max = limit.zip(held).map(|(limit, held)| held + pages(limit));
        Ok(sandbox)
    }
}

/// Whole pages; a limit is less than a machine's memory.
fn pages(bytes: u64) -> u32 {
    (bytes / 4096) as u32
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.home.close();
    }
}
