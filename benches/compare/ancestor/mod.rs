//! The way of zeroboot's ancestor, rebuilt from its description to be measured beside ours: a full
//! interrupt controller and a timer chip, memory copy-on-write from a memory file, all state set
//! for each fork, nothing used twice. It forks the same snapshot, so the guest is the same.
//!
//! Where the description leaves a choice, it is made in the ancestor's favour:
//! - The image of the root file system, which the ancestor's guest did not have, takes a second
//!   memslot. It is set before the interrupt controller, where it costs a tenth of a millisecond;
//!   behind it, it would cost as much as the other, several milliseconds.
//! - The LAPIC's timer is put ahead as ours is, though the description does not say so: the deadline
//!   in the snapshot has passed, and its tick would come before the first instruction.
//! - Another VM of the process keeps KVM switched on.
//! - The process has few mappings; the KVM_RUN loop has no deadline and sets no signal mask.

mod machine;
mod state;

use std::path::Path;

use zeroboot::Snapshot;

use crate::measure::way::{About, Fork, Forks, Result, Session, Way};
use machine::{Machine, Template};

const ABOUT: About = About {
    id: "ancestor",
    name: "the ancestor's way",
    spawn: Some("from before KVM_CREATE_VM to after the last KVM_SET_*, before the first KVM_RUN"),
    first_result: "from before KVM_CREATE_VM to the output read from the mailbox",
    teardown: Some("closing vCPU and VM, unmapping the memory"),
    mapping: Some(machine::MEMFD),
};

/// The ancestor's way.
pub struct Ancestor(Template);

impl Ancestor {
    /// With the snapshot in this directory.
    pub fn new(dir: &Path, snapshot: &Snapshot) -> Result<Self> {
        Ok(Ancestor(Template::load(dir, snapshot)?))
    }
}

impl Way for Ancestor {
    fn about(&self) -> &About {
        &ABOUT
    }

    fn open(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(&self.0))
    }
}

impl Forks for &Template {
    fn fork(&self) -> Result<Box<dyn Fork>> {
        Ok(Box::new(Machine::fork(self)?))
    }
}

impl Fork for Machine {
    fn answer(&mut self, program: &str) -> Result<String> {
        self.run(program)
    }
}
