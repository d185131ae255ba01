//! Running a runtime until running it changes nothing new.

use std::time::{Duration, Instant};

use zeroboot_proto::{Request, SEED_BYTES, Seed};

use super::{Error, Program, Progress, Result};
use crate::agent::{Collected, Guest, Outcome, RunRequest, Sink};
use crate::sys::{self, Limits};

/// A program that takes longer is run once: what it needs is loaded then, and repeating it would
/// cost seconds on a host that emulates ring 0.
const QUICK: Duration = Duration::from_millis(100);

/// Rounds of the quick programs after which it is good enough: a runtime that dirties a new page
/// now and then for ever is not broken.
const ROUNDS_MAX: u32 = 24;

/// The runtime keeps some things from one run to the next, and the first runs in a heap that has just
/// been put in order find their places.
const RUNS_AFTER_SETTLING: u32 = 4;

/// For one program.
const TIMEOUT: Duration = Duration::from_secs(120);

const OUTPUT_MAX: u64 = 1 << 20;

/// What warming up has found.
pub(super) struct Warmth {
    /// How many runs it took.
    pub(super) runs: u32,
    /// Numbers of the pages that the first program writes to.
    pub(super) working_set: Vec<u32>,
}

/// Warms up and settles.
pub(super) fn up(
    guest: &mut Guest,
    programs: &[Program],
    progress: &dyn Progress,
) -> Result<Warmth> {
    let mut runs = 0;
    let mut quick = Vec::new();
    for program in programs {
        progress.detail(&program.name);
        let took = run(guest, Request::Run, program)?;
        runs += 1;
        if took <= QUICK {
            quick.push(program);
        }
    }
    progress.detail("collecting garbage");
    settle(guest)?;
    guest.machine().log_dirty_pages()?;
    let mut known = guest.machine().take_dirty_pages()?;
    for round in 1..=ROUNDS_MAX {
        for program in &quick {
            run(guest, Request::Run, program)?;
            runs += 1;
        }
        let new = merge(&mut known, &guest.machine().take_dirty_pages()?);
        progress.detail(&format!("round {round}: {new} pages that no run has written before"));
        if new == 0 {
            break;
        }
    }
    // What the rounds have left free lies scattered; what a fork allocates should not.
    settle(guest)?;
    if let Some(first) = programs.first() {
        for _ in 0..RUNS_AFTER_SETTLING {
            run(guest, Request::Run, first)?;
        }
    }
    Ok(Warmth { runs, working_set: working_set(guest, programs)? })
}

/// Has the runtime put its heap in order.
fn settle(guest: &mut Guest) -> Result<()> {
    run(guest, Request::Settle, &Program { name: "settling".into(), code: Vec::new() })?;
    Ok(())
}

/// The pages that the first program, the smallest, writes to when it runs alone.
fn working_set(guest: &mut Guest, programs: &[Program]) -> Result<Vec<u32>> {
    let Some(first) = programs.first() else { return Ok(Vec::new()) };
    run(guest, Request::Run, first)?;
    guest.machine().take_dirty_pages()?;
    run(guest, Request::Run, first)?;
    // The host's own writes to the mailbox are not in KVM's log.
    let mut dirty = guest.machine().take_dirty_pages()?;
    let mailbox = guest.machine().mailbox_page();
    if let Some(word) = dirty.get_mut(mailbox / 64) {
        *word |= 1 << (mailbox % 64);
    }
    let is_dirty = |page: &u32| dirty[*page as usize / 64] >> (page % 64) & 1 == 1;
    Ok((0..dirty.len() as u32 * 64).filter(is_dirty).collect())
}

/// Runs one program, which must end well; how long it took.
fn run(guest: &mut Guest, kind: Request, program: &Program) -> Result<Duration> {
    // As in a fork, so that reseeding is warm, too, and what the runs before have seeded is renewed.
    let mut seed = [0; SEED_BYTES as usize];
    sys::fill_random(&mut seed)?;
    guest.machine().mailbox().inspect(|mailbox| mailbox.leave_seed(Seed::Rehearsal, &seed));
    let limits = Limits::within(TIMEOUT);
    let request = RunRequest {
        kind,
        payload: &program.code,
        limits: &limits,
        streams: false,
        gate: None,
        pages_max: None,
    };
    let mut output = Tail::default();
    let started = Instant::now();
    let outcome = guest.run(&request, &mut output)?;
    if outcome == Outcome::Exited(0) {
        return Ok(started.elapsed());
    }
    let printed = String::from_utf8_lossy(&output.0.stderr).into_owned();
    Err(Error::Warm { program: program.name.clone(), why: format!("{outcome:?}\n{printed}") })
}

/// Adds a bitmap to another; how many bits were new.
fn merge(known: &mut [u64], more: &[u64]) -> u32 {
    let mut new = 0;
    for (known, more) in known.iter_mut().zip(more) {
        new += (more & !*known).count_ones();
        *known |= more;
    }
    new
}

/// Keeps the first part of what a program prints, and lets it print on.
#[derive(Default)]
struct Tail(Collected);

impl Sink for Tail {
    fn output(
        &mut self,
        stream: zeroboot_proto::Stream,
        bytes: &[u8],
    ) -> std::ops::ControlFlow<()> {
        let kept = bytes.len().min(self.0.room(OUTPUT_MAX));
        self.0.add(stream, &bytes[..kept])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bits_that_were_not_known_count_as_new() {
        let mut known = vec![0b0110, 0];
        assert_eq!(merge(&mut known, &[0b1100, 1]), 2);
        assert_eq!(known, [0b1110, 1]);
        assert_eq!(merge(&mut known, &[0b1110, 1]), 0);
    }
}
