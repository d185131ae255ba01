//! Lives one at a time: latency.

use std::path::Path;
use std::time::{Duration, Instant};

use zeroboot::{LoadOptions, Snapshot};

use super::statistics::Samples;
use super::way::{Result, Session, Way, Worker};

/// How many lives of a way follow each other before it is the next one's turn. All ways take their
/// turns through the whole measurement, so that whatever else the machine does hits all alike.
pub const BATCH: usize = 20;
/// Lives of each way before the clock counts.
pub const WARM_UP: usize = 20;
/// Between two batches, so that what the kernel puts off in one way's teardown is not the next's.
pub const PAUSE: Duration = Duration::from_millis(20);
/// A way whose lives take longer than this lives a tenth of them.
pub const LONG: Duration = Duration::from_millis(50);

/// The times of many lives.
#[derive(Debug, Default)]
pub struct Lives {
    /// Of those ways that have one.
    pub spawn: Samples,
    /// Of all.
    pub first_result: Samples,
    /// Of those ways that have one.
    pub teardown: Samples,
}

impl Lives {
    /// Lives one more; says how long all of it took.
    pub fn live(&mut self, worker: &mut dyn Worker) -> Result<Duration> {
        let life = worker.life()?;
        life.spawn.into_iter().for_each(|t| self.spawn.add(t));
        self.first_result.add(life.first_result);
        life.teardown.into_iter().for_each(|t| self.teardown.add(t));
        Ok(life.whole())
    }
}

struct Turn<'a> {
    worker: Box<dyn Worker + 'a>,
    lives: Lives,
    runs: usize,
}

/// Lives `runs` lives of each way, in turns.
pub fn measure(ways: &[&dyn Way], runs: usize) -> Result<Vec<Lives>> {
    let sessions = ways.iter().map(|way| way.open()).collect::<Result<Vec<_>>>()?;
    let mut turns =
        sessions.iter().map(|session| warmed(&**session, runs)).collect::<Result<Vec<_>>>()?;
    for round in 0..runs.div_ceil(BATCH) {
        // There and back: no way always follows the same other.
        let order: Box<dyn Iterator<Item = &mut Turn<'_>>> = match round % 2 {
            0 => Box::new(turns.iter_mut()),
            _ => Box::new(turns.iter_mut().rev()),
        };
        for turn in order {
            let left = turn.runs - turn.lives.first_result.len();
            for _ in 0..left.min(BATCH) {
                turn.lives.live(&mut *turn.worker)?;
            }
            std::thread::sleep(PAUSE);
        }
    }
    Ok(turns.into_iter().map(|turn| turn.lives).collect())
}

fn warmed(session: &dyn Session, runs: usize) -> Result<Turn<'_>> {
    let mut worker = session.worker()?;
    let (mut discarded, mut whole) = (Lives::default(), Samples::default());
    for _ in 0..WARM_UP {
        whole.add(discarded.live(&mut *worker)?);
    }
    let long = whole.percentile(0.5) > LONG;
    Ok(Turn { worker, lives: Lives::default(), runs: if long { runs.div_ceil(10) } else { runs } })
}

/// Loads a template this often; the clock is that of `Snapshot::load`.
pub fn load(dir: &Path, runs: usize) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..runs {
        let started = Instant::now();
        let snapshot = Snapshot::load(dir, LoadOptions::default())?;
        samples.add(started.elapsed());
        drop(snapshot);
    }
    Ok(samples)
}
