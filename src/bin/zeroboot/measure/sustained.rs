//! Lives without a pause in several threads: throughput.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use super::results::{Summary, Sustained};
use super::statistics::Samples;
use super::way::{Result, Session, Way};

/// Lives lives in each of `threads` threads for this long, whole ones, teardown included.
pub fn measure(way: &dyn Way, threads: usize, time: Duration) -> Result<Sustained> {
    let session = way.open()?;
    let session = &*session;
    let start = Barrier::new(threads);
    let done: Vec<Result<(Samples, Duration)>> = thread::scope(|scope| {
        let running: Vec<_> =
            (0..threads).map(|_| scope.spawn(|| work(session, &start, time))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect()
    });
    let mut samples = Samples::default();
    let mut longest = Duration::ZERO;
    for thread in done {
        let (lives, took) = thread?;
        samples.append(lives);
        longest = longest.max(took);
    }
    Ok(Sustained {
        threads,
        seconds: longest.as_secs_f64(),
        lives_a_second: samples.len() as f64 / longest.as_secs_f64(),
        first_result: Summary::of(&samples),
    })
}

fn work(session: &dyn Session, start: &Barrier, time: Duration) -> Result<(Samples, Duration)> {
    // Whatever happens, the other threads wait for this one.
    let warm = session.worker().and_then(|mut worker| worker.life().map(|_| worker));
    start.wait();
    let mut worker = warm?;
    let mut samples = Samples::default();
    let started = Instant::now();
    while started.elapsed() < time {
        samples.add(worker.life()?.first_result);
    }
    Ok((samples, started.elapsed()))
}
