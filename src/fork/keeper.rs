//! The thread that does a pool's work off its callers' path: puts machines back, makes new ones,
//! ends old ones.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::home::{Home, Lists};
use super::shell::Shell;
use crate::sys;

/// How long after the last fork idle machines are given up.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// How many machines an idle pool keeps, so that the next fork is as quick as those before.
const IDLE_KEPT: usize = 1;

/// What there is to do, the most urgent first.
enum Job {
    PutBack(Box<Shell>),
    MakeFresh,
    MakeSpare,
    End(Vec<Shell>),
}

pub(super) fn start(home: &Arc<Home>) -> sys::Result<JoinHandle<()>> {
    let home = Arc::clone(home);
    sys::spawn("zeroboot-keeper", move || keep(&home))
}

fn keep(home: &Home) {
    let mut lists = home.lists();
    while !lists.is_closed {
        lists = match next_job(home, &mut lists) {
            Some(job) => {
                drop(lists);
                carry_out(home, job);
                home.lists()
            }
            None => {
                let limit = has_idle(&lists).then(|| idle_in(home, &lists));
                home.wait(lists, limit)
            }
        };
    }
}

fn next_job(home: &Home, lists: &mut Lists) -> Option<Job> {
    if let Some(shell) = lists.used.pop() {
        lists.in_hand += 1;
        return Some(Job::PutBack(Box::new(shell)));
    }
    if has_idle(lists) && idle_in(home, lists).is_zero() {
        give_up_idle(lists);
    }
    if lists.fresh.len() < lists.fresh_wanted {
        return Some(Job::MakeFresh);
    }
    if std::mem::take(&mut lists.spare_wanted) {
        lists.in_hand += 1;
        return Some(Job::MakeSpare);
    }
    let spent = std::mem::take(&mut lists.spent);
    (!spent.is_empty()).then_some(Job::End(spent))
}

fn carry_out(home: &Home, job: Job) {
    match job {
        // One that cannot be put back ends here.
        Job::PutBack(shell) => {
            let shell = home.put_back(*shell).ok();
            let mut lists = home.lists();
            lists.in_hand -= 1;
            lists.ready.extend(shell);
        }
        Job::MakeFresh => match home.new_shell().and_then(|shell| home.warmed(shell)) {
            Ok(shell) => home.lists().fresh.push(shell),
            // Whoever forks will meet the same error and be told. Until then nothing is tried.
            Err(_) => home.lists().fresh_wanted = 0,
        },
        // Not needed by anybody in particular: without it, forks put machines back themselves.
        Job::MakeSpare => {
            let spare = home.new_shell().and_then(|shell| home.warmed(shell));
            let mut lists = home.lists();
            lists.in_hand -= 1;
            lists.ready.extend(spare);
        }
        Job::End(shells) => drop(shells),
    }
}

fn has_idle(lists: &Lists) -> bool {
    lists.ready.len() + lists.fresh.len() > IDLE_KEPT
}

/// How long until what is idle is given up, if nobody forks.
fn idle_in(home: &Home, lists: &Lists) -> Duration {
    home.idle.saturating_sub(lists.last_fork.elapsed())
}

fn give_up_idle(lists: &mut Lists) {
    lists.fresh_wanted = lists.fresh_wanted.min(IDLE_KEPT);
    let fresh_kept = lists.fresh.len().min(IDLE_KEPT);
    lists.spent.extend(lists.fresh.drain(fresh_kept..));
    let ready_kept = lists.ready.len().min(IDLE_KEPT - fresh_kept);
    lists.spent.extend(lists.ready.drain(ready_kept..));
}
