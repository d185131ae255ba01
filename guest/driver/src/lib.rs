//! The guest side of the contract in `zeroboot-proto`: a process that opens a [`Channel`] can wait
//! for requests, answer them and report what it does, without a system call.
//!
//! A program that runs inside the process can reach the same mapping and write anything into it.
//! The host knows that: nothing here protects the host. What this crate does guarantee is its own
//! memory safety, whatever numbers it finds in the mailbox.

// Mapped devices and memory that others write to: the one guest crate that needs it.
#![allow(unsafe_code)]

mod channel;
mod clock;
mod device;
mod mailbox;
mod tsc;

pub use channel::{Channel, SeedBytes, UnknownRequest};
pub use clock::move_wall_clock;
pub use device::{Device, capture_output};
pub use mailbox::{Bell, Mailbox};
pub use tsc::read_tsc;
pub use zeroboot_proto::{Death, Event, Request, Seed, Stage, Stream};
