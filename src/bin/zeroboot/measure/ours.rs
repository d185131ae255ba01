//! Our own ways to have a sandbox.

use std::sync::Arc;

use zeroboot::{ForkOptions, Outcome, Pool, PoolOptions, RunOptions, Sandbox, Snapshot};

use super::way::{About, Fork, Forks, Result, Session, Way};

/// Guest memory is a mapping of this file of the template.
const MAPPING: Option<&str> = Some("memory.img");

const FRESH: About = About {
    id: "fresh",
    name: "zeroboot, fresh",
    spawn: Some("the call of Sandbox::fork"),
    first_result: "from the call of Sandbox::fork to the return of the first Sandbox::run",
    teardown: Some("the drop of a sandbox that has run"),
    mapping: MAPPING,
};

const PREWARMED: About = About {
    id: "prewarmed",
    name: "zeroboot, prewarmed",
    spawn: Some("the call of Pool::fork"),
    first_result: "from the call of Pool::fork to the return of the first Sandbox::run",
    teardown: Some("the drop of a sandbox that has run; a background thread ends the machine"),
    mapping: MAPPING,
};

const RECYCLED: About = About {
    id: "recycled",
    name: "zeroboot, recycled",
    teardown: Some(
        "the drop of a sandbox that has run; a background thread puts its machine back, or the \
         next fork does, if that comes first",
    ),
    ..PREWARMED
};

/// One of our ways.
pub struct Ours {
    about: About,
    snapshot: Arc<Snapshot>,
    /// Of the pool, if there is one.
    pool: Option<PoolOptions>,
}

/// How many machines a pool holds ready here.
const POOLED: usize = 8;

/// All of them.
pub fn ways(snapshot: &Arc<Snapshot>) -> Vec<Ours> {
    let way = |about, pool| Ours { about, snapshot: Arc::clone(snapshot), pool };
    vec![
        way(RECYCLED, Some(PoolOptions { recycle_max: POOLED, ..PoolOptions::NONE })),
        way(PREWARMED, Some(PoolOptions { prewarm: POOLED, ..PoolOptions::NONE })),
        way(FRESH, None),
    ]
}

impl Way for Ours {
    fn about(&self) -> &About {
        &self.about
    }

    fn open(&self) -> Result<Box<dyn Session + '_>> {
        Ok(match self.pool {
            Some(options) => Box::new(Pool::new(Arc::clone(&self.snapshot), options)),
            None => Box::new(&self.snapshot),
        })
    }
}

impl Forks for Pool {
    fn fork(&self) -> Result<Box<dyn Fork>> {
        Ok(Box::new(self.fork(ForkOptions::default())?))
    }
}

impl Forks for &Arc<Snapshot> {
    fn fork(&self) -> Result<Box<dyn Fork>> {
        Ok(Box::new(Sandbox::fork(self, None)?))
    }
}

impl Fork for Sandbox {
    fn answer(&mut self, program: &str) -> Result<String> {
        let result = self.run(program.as_bytes(), RunOptions::default())?;
        if result.outcome != Outcome::Exited(0) {
            return Err(format!("{program:?} ended with {:?}", result.outcome).into());
        }
        Ok(String::from_utf8(result.output.stdout)?)
    }
}
