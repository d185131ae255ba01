//! The hot path: a snapshot becomes a sandbox, code runs in it, it goes.
//!
//! Nothing here parses, logs, or allocates by the page.
//!
//! ```text
//! Pool::fork: ready | used + reset | fresh | new --Shell--> Sandbox --drop--> used --reset--> ready
//! ```

mod budget;
mod examine;
mod home;
mod identity;
mod keeper;
mod observe;
mod pool;
mod sandbox;
mod shell;
mod talk;

pub use examine::Inside;
pub use identity::{InstanceId, NoInstanceId};
pub use observe::Observation;
pub use pool::{ForkOptions, Pool, PoolOptions};
pub use sandbox::{Error, OnOutput, RunOptions, RunResult, Sandbox};
pub use talk::TalkOptions;
