use std::sync::Arc;
use std::time::Instant;

use super::Error;
use crate::agent::Guest;
use crate::device::LineSink;
use crate::machine::{Access, PutBack};
use crate::snapshot::Snapshot;

/// A machine that stands where its snapshot was taken and belongs to nobody yet.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) guest: Guest,
    /// When its timer was last set.
    pub(super) timer_set: Instant,
    /// Whether the pages that any program writes to are its own already.
    pub(super) is_warm: bool,
    /// How it was last put back, if ever.
    pub(super) put_back: Option<PutBack>,
}

impl Shell {
    /// A new one. Its memory can be put back later if writes to it are logged.
    pub(super) fn new(
        snapshot: &Snapshot,
        access: Access,
        console: Option<LineSink>,
    ) -> Result<Self, Error> {
        let machine = snapshot.machine(access, console)?;
        let guest = Guest::at_doorbell(machine);
        Ok(Shell { guest, timer_set: Instant::now(), is_warm: false, put_back: None })
    }

    /// Makes the pages its own that any program writes to.
    pub(super) fn warm(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        if !self.is_warm {
            self.guest.machine().make_private(snapshot.working_set())?;
            self.is_warm = true;
        }
        Ok(())
    }

    /// Puts a console behind its UART.
    pub(super) fn connect(&mut self, snapshot: &Arc<Snapshot>, console: Option<LineSink>) {
        self.guest.machine().replace_ports(snapshot.console(console));
    }
}
