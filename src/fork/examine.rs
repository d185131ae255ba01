//! A look inside a sandbox, for tests that compare machines or play a guest that broke out of its
//! ring 3. It is no part of the API.

use std::ops::Range;
use std::sync::Arc;

use kvm_ioctls::VcpuFd;
use zeroboot_proto as proto;

use super::Sandbox;
use crate::device::{Ports, UartState};
use crate::machine::PutBack;
use crate::snapshot::Snapshot;
use crate::sys::Region;

/// A machine that stands at its doorbell.
#[derive(Debug)]
pub struct Inside<'a> {
    /// Its processor.
    pub vcpu: &'a mut VcpuFd,
    /// RAM and mailbox.
    pub memory: &'a Arc<Region>,
    ports: &'a mut Ports,
    put_back: Option<PutBack>,
    snapshot: &'a Snapshot,
}

impl Sandbox {
    /// What the sandbox is made of, between two runs.
    #[doc(hidden)]
    pub fn inside(&mut self) -> Inside<'_> {
        let (shell, snapshot) = self.parts();
        let put_back = shell.put_back;
        let (vcpu, memory, ports) = shell.guest.machine().parts();
        Inside { vcpu: vcpu.registers(), memory, ports, put_back, snapshot }
    }
}

impl Inside<'_> {
    /// Where memory is by design not the snapshot's: what each fork has of its own.
    pub fn made_distinct(&self) -> Vec<Range<usize>> {
        // A guest that is not ours has no mailbox, and nothing is left there.
        let Some(layout) = self.snapshot.layout() else { return Vec::new() };
        let mailbox = layout.mailbox_at() as usize;
        let seed = mailbox + proto::SEED_START as usize;
        let word = mailbox + std::mem::offset_of!(proto::Header, seed);
        let left = [seed..seed + proto::SEED_BYTES as usize, word..word + size_of::<u32>()];
        let places = self.snapshot.clone_places().places();
        places.iter().map(|place| place.bytes()).chain(left).collect()
    }

    /// The UART's registers.
    pub fn uart(&self) -> UartState {
        self.ports.console().state()
    }

    /// What an `out` instruction of the guest's does.
    pub fn write_port(&mut self, port: u16, value: u8) {
        // A reset of the machine is not what a test wants here.
        let _ = self.ports.write(port, &[value]);
    }

    /// How the machine's memory was put back for this sandbox; `None` if no other had the machine.
    pub fn put_back(&self) -> Option<PutBack> {
        self.put_back
    }
}
