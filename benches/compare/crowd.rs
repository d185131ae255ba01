//! What a life costs beside thousands of others.

use crate::measure::lives::Lives;
use crate::measure::results::{Crowd, Summary};
use crate::measure::way::{Fork, Result, Way};

/// Lives at each level.
const LIVES: usize = 30;

/// Makes forks until there are as many as each level says, and lives some lives there. Says why if
/// it could not get to the last level.
pub fn measure(way: &dyn Way, levels: &[usize]) -> Result<(Vec<Crowd>, Option<String>)> {
    let session = way.open()?;
    let forks = session.forks().ok_or("a way without forks")?;
    let mut worker = session.worker()?;
    let mut live: Vec<Box<dyn Fork>> = Vec::new();
    let mut crowd = Vec::new();
    for &level in levels {
        while live.len() < level {
            match forks.fork() {
                Ok(fork) => live.push(fork),
                // Most often a limit, of which the error says which.
                Err(e) => {
                    let why = format!("with {} forks alive there came no other: {e}", live.len());
                    return Ok((crowd, Some(why)));
                }
            }
        }
        let mut lives = Lives::default();
        for _ in 0..LIVES {
            lives.live(&mut *worker)?;
        }
        crowd.push(Crowd {
            live: level,
            spawn: Summary::of(&lives.spawn),
            first_result: Summary::of(&lives.first_result),
            teardown: Summary::of(&lives.teardown),
        });
    }
    Ok((crowd, None))
}
