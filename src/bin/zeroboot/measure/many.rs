//! Many forks alive at once.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::memory::Scales;
use super::results::Many;
use super::way::{Fork, Forks, Result, Way, check};

/// Spawns `count` forks in `threads` threads, has each of them answer a question of its own, weighs
/// them, has each keep a number and tell it when all have theirs, and frees them.
///
/// `None` for a way that has no forks to be kept.
pub fn measure(way: &dyn Way, count: usize, threads: usize) -> Result<Option<Many>> {
    let Some(mapping) = way.about().mapping else { return Ok(None) };
    let scales = Scales::at_zero(mapping);
    let session = way.open()?;
    let forks = session.forks().ok_or("a way without forks")?;
    let started = Instant::now();
    let live = together(threads, |thread| spawn(forks, thread, count, threads))?;
    let spawned = started.elapsed();
    let live = each(live, |fork, number| {
        check(&fork.answer(&format!("print({number}*7)"))?, &format!("{}\n", number * 7))
    })?;
    let answered = started.elapsed();
    let weight = scales.weigh();

    // What is kept in a module outlives the program.
    let live = each(live, |fork, number| {
        check(&fork.answer(&format!("import json; json.kept = {number}"))?, "")
    })?;
    let live = each(live, |fork, number| {
        check(&fork.answer("import json; print(json.kept)")?, &format!("{number}\n"))
    })?;
    let freed = free(live);
    Ok(Some(Many {
        count,
        threads,
        spawned_ns: spawned.as_nanos() as u64,
        answered_ns: answered.as_nanos() as u64,
        freed_ns: freed.as_nanos() as u64,
        private_kib: weight.private_kib / count as u64,
        kernel_group_kib: weight.group_kib.map(|kib| kib / count as u64),
        kernel_host_kib: weight.host_kib / count as u64,
    }))
}

/// A thread's forks and their numbers.
type Part = Vec<(Box<dyn Fork>, usize)>;

fn spawn(forks: &dyn Forks, thread: usize, count: usize, threads: usize) -> Result<Part> {
    (thread..count)
        .step_by(threads)
        .map(|number| {
            let fork = forks.fork().map_err(|e| format!("fork {number} of {count}: {e}"))?;
            Ok((fork, number))
        })
        .collect()
}

fn each(
    live: Vec<Part>,
    ask: impl Fn(&mut dyn Fork, usize) -> Result<()> + Sync,
) -> Result<Vec<Part>> {
    let ask = &ask;
    let parts = live.into_iter().map(|mut part| {
        move || -> Result<Part> {
            for (fork, number) in &mut part {
                ask(&mut **fork, *number).map_err(|e| format!("live fork {number}: {e}"))?;
            }
            Ok(part)
        }
    });
    join(parts.collect())
}

fn together<'a, T: Send>(
    threads: usize,
    work: impl Fn(usize) -> Result<T> + Sync + Send + Copy + 'a,
) -> Result<Vec<T>> {
    join((0..threads).map(|thread| move || work(thread)).collect())
}

fn join<T: Send>(work: Vec<impl FnOnce() -> Result<T> + Send>) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let threads: Vec<_> = work.into_iter().map(|work| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect()
    })
}

fn free(live: Vec<Part>) -> Duration {
    let start = Barrier::new(live.len() + 1);
    let started = thread::scope(|scope| {
        for part in live {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                drop(part);
            });
        }
        start.wait();
        Instant::now()
    });
    started.elapsed()
}
