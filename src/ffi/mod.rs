//! The C API: `include/zeroboot.h`.
//!
//! One file a section of the header, in the order of `SECTIONS` in `build.rs`, and three that the
//! header does not show:
//!
//! | file | what |
//! |---|---|
//! | `guard` | what every export goes through: outs cleared, panics caught, results stored |
//! | `failure` | the errors of the layers below as a status, an errno and a message |
//! | `turn` | one call at a time on a sandbox, and its end in the middle of one |
//!
//! An export checks, converts, calls and stores. Its comment is the documentation of the header,
//! so it speaks of C.

// The names are C's, so that header and source can be searched for the same words.
#![allow(non_camel_case_types)]

mod failure;
mod guard;
mod options;
mod turn;

mod cancel;
mod error;
mod host;
mod instance;
mod log;
mod result;
mod run;
mod sandbox;
mod snapshot;
mod status;
mod version;
