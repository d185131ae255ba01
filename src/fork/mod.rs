//! The hot path: a snapshot becomes a sandbox, code runs in it, it goes.
//!
//! Nothing here parses, logs, or allocates by the page.

mod sandbox;

pub use sandbox::{Error, OnOutput, RunOptions, RunResult, Sandbox};
