use std::sync::Arc;
use std::time::Instant;

use super::Error;
use crate::agent::Guest;
use crate::device::{Console, LineSink};
use crate::kvm::restore;
use crate::machine::{Access, Machine, PutBack};
use crate::snapshot::Snapshot;
use crate::sys::{self, Moment};

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
        let layout = snapshot.layout();
        let ram = sys::private_of_file(snapshot.memory(), layout.memory_len() as usize)?;
        let console = Console::restored(snapshot.uart(), console);
        let mut machine =
            Machine::new(snapshot.host(), layout, ram, access, snapshot.rootfs(), console)?;
        restore(machine.vcpu(), snapshot.cpu(), Moment::now())?;
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
        self.guest.machine().replace_ports(Console::restored(snapshot.uart(), console));
    }
}
