//! A look inside a sandbox, for tests that compare machines or play a guest that broke out of its
//! ring 3. It is no part of the API.

use std::sync::Arc;

use kvm_ioctls::VcpuFd;

use super::Sandbox;
use crate::device::{Ports, UartState};
use crate::machine::PutBack;
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
}

impl Sandbox {
    /// What the sandbox is made of, between two runs.
    #[doc(hidden)]
    pub fn inside(&mut self) -> Inside<'_> {
        let shell = self.shell();
        let put_back = shell.put_back;
        let (vcpu, memory, ports) = shell.guest.machine().parts();
        Inside { vcpu: vcpu.registers(), memory, ports, put_back }
    }
}

impl Inside<'_> {
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
