use std::fs::File;
use std::sync::Arc;

use super::Result;
use super::renew::Renewed;
use crate::device::{Console, LineSink, UartState};
use crate::kvm::{Board, Host, Prepared, restore};
use crate::machine::{Access, Layout, Machine, Shape};
use crate::sys::{self, Moment, Region};

/// What a fork's machine is made of: as data, so that whoever forks need not know.
#[derive(Debug)]
pub(super) enum Body {
    /// A machine of our own.
    Own {
        layout: Layout,
        /// The root file system's image, mapped once for all forks.
        rootfs: Arc<Region>,
    },
    /// A machine with a PC's board.
    Pc(Box<Pc>),
}

/// A machine with a PC's board, and what else of it than a vCPU was saved.
#[derive(Debug)]
pub(super) struct Pc {
    pub(super) shape: Shape,
    pub(super) board: Board,
    /// What the guest had not read yet from its UART.
    pub(super) input: Vec<u8>,
    /// What must be another in each fork.
    pub(super) renewed: Renewed,
}

/// What of a snapshot a machine is made of.
pub(super) struct Parts<'a> {
    pub(super) host: &'a Host,
    pub(super) cpus: &'a [Prepared],
    pub(super) memory: &'a Arc<File>,
}

impl Body {
    /// A machine that stands where the snapshot was taken, its memory mapped copy-on-write.
    pub(super) fn machine(
        &self,
        parts: &Parts<'_>,
        access: Access,
        console: Console,
    ) -> Result<Machine> {
        let now = Moment::now();
        match self {
            Body::Own { layout, rootfs } => {
                let ram = sys::private_of_file(parts.memory, layout.memory_len() as usize)?;
                let mut machine = Machine::new(parts.host, *layout, ram, access, rootfs, console)?;
                for cpu in parts.cpus {
                    restore(machine.vcpu(), cpu, now)?;
                }
                Ok(machine)
            }
            Body::Pc(pc) => {
                let mut machine = Machine::of_shape(parts.host, &pc.shape, parts.memory, console)?;
                machine.restore(parts.cpus, &pc.board, now)?;
                pc.renewed.renew(&machine)?;
                Ok(machine)
            }
        }
    }

    /// The console behind the UART of a new fork.
    pub(super) fn console(&self, uart: &UartState, sink: Option<LineSink>) -> Console {
        match self {
            Body::Own { .. } => Console::restored(uart, sink),
            Body::Pc(pc) => Console::restored_with(uart, &pc.input, sink),
        }
    }
}
