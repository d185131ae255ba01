//! What a sandbox's runs leave behind in its memory, for `zeroboot bench faults`.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use vm_memory::{Bytes, VolatileMemory};

use super::{Error, Sandbox};
use crate::machine::Tables;
use crate::sys::{self, Residence, residences};

const PAGE: usize = 4096;

/// A sandbox's memory and KVM's counters at one moment.
#[derive(Clone, Debug)]
pub struct Observation {
    /// Of each page of RAM and mailbox: whether it is mapped on the host, and whether it is a copy.
    pub pages: Vec<Residence>,
    /// The guest's page tables.
    pub tables: Tables,
    /// What KVM has counted of the VM and of its vCPU.
    pub statistics: BTreeMap<String, u64>,
}

impl Sandbox {
    /// Looks at everything. This takes milliseconds.
    pub fn observe(&mut self) -> Result<Observation, Error> {
        let machine = self.machine();
        Ok(Observation {
            pages: residences(machine.ram())?,
            tables: machine.page_tables()?,
            statistics: machine.vcpu().statistics()?,
        })
    }

    /// Of each page: whether its bytes are the snapshot's.
    pub fn unchanged_pages(&mut self) -> Result<Vec<bool>, Error> {
        let memory = Arc::clone(self.snapshot().memory());
        let ram = Arc::clone(self.machine().ram());
        let (mut ours, mut theirs) = ([0; PAGE], [0; PAGE]);
        let same = |at: usize| {
            memory
                .read_exact_at(&mut theirs, at as u64)
                .map_err(|e| sys::Error::new("read memory file", e))?;
            let read = ram.as_volatile_slice().read_slice(&mut ours, at);
            Ok(read.is_ok() && ours == theirs)
        };
        (0..ram.size()).step_by(PAGE).map(same).collect()
    }

    /// Makes the page tables of a sandbox that has not run yet say "not accessed", so that after a
    /// run they tell what it has read. That makes pages of theirs private.
    pub fn forget_accesses(&mut self) -> Result<(), Error> {
        Ok(self.machine().forget_accesses()?)
    }
}
