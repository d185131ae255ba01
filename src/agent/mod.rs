//! The host's side of the guest protocol: a request goes into the mailbox, the guest runs, its
//! output and its answer come out.

mod guest;
mod output;
mod terminal;

pub use guest::{Crash, Error, Guest, Outcome, RunRequest};
pub use output::{Collected, OutputReader, Sink, Violation};
pub use terminal::TalkRequest;
