//! From a kernel and an image to a snapshot: boot, warm up, capture. The cold path.

mod clone;
mod command_line;
mod error;
mod kernel;
mod parameters;
mod progress;
mod runtime;
mod template;
mod warm;

pub use error::{Error, Result};
pub use progress::{Progress, Step};
pub use runtime::{Program, Runtime};
pub use template::{Plan, Template};
