//! Where the machines of a pool are while nobody has them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use once_cell::sync::OnceCell;

use super::budget::Budget;
use super::shell::Shell;
use super::{Error, PoolOptions, keeper};
use crate::kvm::Baseline;
use crate::machine::{Access, Error as MachineError, Original, PutBack};
use crate::snapshot::Snapshot;

/// Machines that wait for their end; a burst beyond that pays for it itself.
const SPENT_MAX: usize = 64;

/// The lists of a pool. The pool, its keeper and its sandboxes have a share in it.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) budget: Arc<Budget>,
    pub(super) options: PoolOptions,
    /// Made when the first machine comes back.
    means: OnceCell<Means>,
    lists: Mutex<Lists>,
    work: Condvar,
    /// The keeper has nothing to do.
    rest: Condvar,
    /// How long after the last fork idle machines are given up.
    pub(super) idle: Duration,
}

/// What a reset needs.
#[derive(Debug)]
struct Means {
    original: Original,
    baseline: Baseline,
}

#[derive(Debug)]
pub(super) struct Lists {
    /// Put back, ready for anybody. The last one in is the warmest, and the first out.
    pub(super) ready: Vec<Shell>,
    /// To be put back.
    pub(super) used: Vec<Shell>,
    /// How many the keeper is putting back, or making to be spare.
    pub(super) in_hand: usize,
    /// No program ever ran in them.
    pub(super) fresh: Vec<Shell>,
    /// To be ended.
    pub(super) spent: Vec<Shell>,
    /// How many of the fresh ones there should be.
    pub(super) fresh_wanted: usize,
    /// A fork had to put a machine back itself: with one more in circulation, there is time to do it
    /// behind the caller's back.
    pub(super) spare_wanted: bool,
    pub(super) last_fork: Instant,
    pub(super) is_closed: bool,
    keeper: Option<JoinHandle<()>>,
    keeper_waits: bool,
}

impl Lists {
    fn new(fresh_wanted: usize) -> Self {
        Lists {
            ready: Vec::new(),
            used: Vec::new(),
            in_hand: 0,
            fresh: Vec::new(),
            spent: Vec::new(),
            fresh_wanted,
            spare_wanted: false,
            last_fork: Instant::now(),
            is_closed: false,
            keeper: None,
            keeper_waits: false,
        }
    }

    fn has_no_work(&self) -> bool {
        self.used.is_empty()
            && self.spent.is_empty()
            && self.fresh.len() >= self.fresh_wanted
            && !self.spare_wanted
    }
}

impl Home {
    pub(super) fn new(snapshot: Arc<Snapshot>, options: PoolOptions, idle: Duration) -> Self {
        let lists = Lists::new(options.prewarm);
        Home {
            snapshot,
            budget: Arc::new(Budget::new(options.memory_max)),
            options,
            means: OnceCell::new(),
            lists: Mutex::new(lists),
            work: Condvar::new(),
            rest: Condvar::new(),
            idle,
        }
    }

    pub(super) fn lists(&self) -> MutexGuard<'_, Lists> {
        // What is done with the lock held leaves the lists whole at every step.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A machine in which no program ever ran.
    pub(super) fn take_fresh(self: &Arc<Self>) -> Result<Shell, Error> {
        let taken = {
            let mut lists = self.lists();
            lists.last_fork = Instant::now();
            let taken = lists.fresh.pop();
            self.order_fresh(&mut lists, taken.is_none());
            taken
        };
        taken.map_or_else(|| self.new_shell(), Ok)
    }

    /// Any machine.
    pub(super) fn take_any(self: &Arc<Self>) -> Result<Shell, Error> {
        let used = {
            let mut lists = self.lists();
            lists.last_fork = Instant::now();
            if let Some(shell) = lists.ready.pop() {
                return Ok(shell);
            }
            let used = lists.used.pop();
            if used.is_some() {
                self.order_spare(&mut lists);
            }
            used
        };
        // The keeper has not come to it yet: it is here, and warm, and a new one takes longer.
        match used.map(|shell| self.put_back(shell)) {
            Some(Ok(shell)) => Ok(shell),
            _ => self.take_fresh(),
        }
    }

    /// Unless there would be too many when the one that was just taken comes back.
    fn order_spare(self: &Arc<Self>, lists: &mut Lists) {
        let kept = lists.ready.len() + lists.used.len() + lists.in_hand;
        if kept + 2 <= self.options.recycle_max {
            lists.spare_wanted = true;
            self.call_keeper(lists);
        }
    }

    fn order_fresh(self: &Arc<Self>, lists: &mut Lists, had_none: bool) {
        if self.options.prewarm == 0 {
            return;
        }
        if had_none {
            lists.fresh_wanted = (lists.fresh_wanted * 2).clamp(1, self.options.prewarm);
        }
        self.call_keeper(lists);
    }

    /// A machine whose sandbox is freed. One that is alive can be used again.
    pub(super) fn take_back(self: &Arc<Self>, shell: Shell, is_alive: bool) {
        let mut lists = self.lists();
        if lists.is_closed || !self.options.keeps_machines() {
            drop(lists);
            return drop(shell);
        }
        let kept = lists.ready.len() + lists.used.len() + lists.in_hand;
        if is_alive && kept < self.options.recycle_max {
            lists.used.push(shell);
        } else if lists.spent.len() < SPENT_MAX {
            lists.spent.push(shell);
        } else {
            drop(lists);
            return drop(shell);
        }
        self.call_keeper(&mut lists);
    }

    pub(super) fn call_keeper(self: &Arc<Self>, lists: &mut Lists) {
        if lists.keeper_waits {
            self.work.notify_one();
        } else if lists.keeper.is_none() {
            // Without a thread, forks find what is to be done and do it themselves.
            lists.keeper = keeper::start(self).ok();
        }
    }

    /// For the keeper: waits for work, or for `limit`.
    pub(super) fn wait<'a>(
        &self,
        mut lists: MutexGuard<'a, Lists>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, Lists> {
        lists.keeper_waits = true;
        self.rest.notify_all();
        let mut lists = match limit {
            None => self.work.wait(lists).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                let woken = self.work.wait_timeout(lists, limit);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        lists.keeper_waits = false;
        lists
    }

    /// Until the keeper has nothing to do.
    pub(super) fn settle(&self) {
        let mut lists = self.lists();
        while lists.keeper.is_some() && !(lists.keeper_waits && lists.has_no_work()) {
            lists = self.rest.wait(lists).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes nothing back any more, and ends what is here, the keeper first.
    pub(super) fn close(&self) {
        let keeper = {
            let mut lists = self.lists();
            lists.is_closed = true;
            self.work.notify_all();
            lists.keeper.take()
        };
        if let Some(keeper) = keeper {
            // A keeper that panicked has ended, too.
            let _ = keeper.join();
        }
        let mut nothing = Lists::new(0);
        nothing.is_closed = true;
        drop(std::mem::replace(&mut *self.lists(), nothing));
    }

    /// A machine such as this pool makes.
    pub(super) fn new_shell(&self) -> Result<Shell, Error> {
        let access = if self.logs_writes() { Access::Logged } else { Access::Full };
        Shell::new(&self.snapshot, access, None)
    }

    /// Whether it is known what guests write to: where their machines are put back.
    pub(super) fn logs_writes(&self) -> bool {
        self.options.recycle_max > 0
    }

    /// A machine that can be limited, for a pool that does not reuse machines.
    pub(super) fn new_logged_shell(&self) -> Result<Shell, Error> {
        if !self.snapshot.host().can_keep_dirty_logs() {
            return Err(Error::NoMemoryLimit);
        }
        Shell::new(&self.snapshot, Access::Logged, None)
    }

    /// Puts a used machine back. An error ends the machine, and nothing else.
    pub(super) fn put_back(&self, mut shell: Shell) -> Result<Shell, Error> {
        let means = self.means.get_or_try_init(|| self.means())?;
        let machine = shell.guest.machine();
        let how = machine.reset(&means.original, self.snapshot.cpu(), &means.baseline)?;
        shell.guest.put_back();
        shell.timer_set = Instant::now();
        shell.is_warm &= how != PutBack::Dropped;
        shell.put_back = Some(how);
        self.warmed(shell)
    }

    pub(super) fn warmed(&self, mut shell: Shell) -> Result<Shell, Error> {
        shell.warm(&self.snapshot)?;
        Ok(shell)
    }

    fn means(&self) -> Result<Means, Error> {
        let snapshot = &self.snapshot;
        let cpu = snapshot.cpu();
        let bytes = snapshot.layout().map_or(0, |layout| layout.memory_len());
        let pages = (bytes / 4096) as usize;
        let cr3 = cpu.state().sregs.cr3;
        let usual = snapshot.working_set();
        let original = Original::new(snapshot.memory(), pages, cr3, usual);
        Ok(Means {
            original: original.map_err(MachineError::Original)?,
            baseline: Baseline::new(snapshot.host(), cpu)?,
        })
    }
}
