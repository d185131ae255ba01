//! Measuring ways to run a program apart from the rest: what `zeroboot bench` does with ours and
//! `make bench` with ours and others'.
//!
//! A [`Way`](way::Way) is one of them. Its lives are timed one at a time ([`lives`]), under
//! sustained load ([`sustained`]) and, where forks can be kept, with many alive at once ([`many`]).

#![allow(dead_code, reason = "the command and the benchmark each use their own part")]

pub mod document;
pub mod host;
pub mod lives;
pub mod many;
pub mod memory;
pub mod ours;
pub mod results;
pub mod statistics;
pub mod sustained;
pub mod table;
pub mod way;
