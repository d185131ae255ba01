//! Machines with a PC's board: those that somebody else made snapshots of.

use std::fs::File;
use std::sync::Arc;

use super::peripherals::Peripherals;
use super::{Error, Machine, Result, Shape, shape};
use crate::device::{Console, Ports, Window};
use crate::kvm::{Access, Board, Host, Line, Prepared, Slot, Vcpu, Vm, restore, restore_board};
use crate::sys::Moment;

impl Machine {
    /// A machine of this shape with its memory mapped copy-on-write from a file, and nothing in its
    /// vCPUs.
    pub fn of_shape(
        host: &Host,
        shape: &Shape,
        file: &Arc<File>,
        console: Console,
    ) -> Result<Self> {
        let regions = shape.map_private(file)?;
        let ram = regions.first().ok_or(Error::Slot { at: 0, len: 0 })?;
        let ram = Arc::clone(ram);
        let mut vm = Vm::bare(host)?;
        let placed = || shape.slots.iter().zip(&regions);
        for (number, (slot, region)) in placed().enumerate() {
            vm.map(Slot(number as u32), slot.at, region, Access::Full)?;
        }
        vm.add_board()?;
        let (vcpu, others) = vm.into_vcpus(shape.vcpus)?;
        let memory = shape::memory(placed().map(|(slot, region)| (slot.at, Arc::clone(region))))?;
        let windows = shape.windows.iter().map(|window| {
            let line = line(&vcpu, window.gsi)?;
            let none = || Error::Window { id: window.id.clone(), at: window.address };
            Window::new(window, &memory, line).ok_or_else(none)
        });
        let windows: Vec<Window> = windows.collect::<Result<_>>()?;
        let uart_line = Some(line(&vcpu, shape.uart_gsi)?);
        let ports = pc_ports(console, uart_line.as_ref());
        let devices = Peripherals { ports, windows, has_doorbell: false };
        Ok(Machine { vcpu, others, devices, uart_line, mailbox: None, memory, ram, written: None })
    }

    /// Makes the new machine the snapshot's: its vCPUs, then the board.
    pub fn restore(&mut self, cpus: &[Prepared], board: &Board, now: Moment) -> Result<()> {
        let vcpus = [&self.vcpu].into_iter().chain(&self.others);
        for (vcpu, prepared) in vcpus.zip(cpus) {
            restore(vcpu, prepared, now)?;
        }
        restore_board(&self.vcpu, &self.others, board, now)?;
        self.devices.windows.iter_mut().for_each(Window::resume);
        Ok(())
    }

    /// Raises an interrupt line for a moment.
    pub fn pulse(&self, gsi: u32) -> Result<()> {
        Ok(line(&self.vcpu, gsi)?.pulse()?)
    }
}

fn line(vcpu: &Vcpu, gsi: u32) -> Result<Line> {
    Line::new(vcpu, gsi).ok_or(Error::Line { gsi })
}

/// Ports with the UART's line connected.
pub(super) fn pc_ports(mut console: Console, line: Option<&Line>) -> Ports {
    if let Some(line) = line {
        console.connect(line.clone());
    }
    Ports::of_pc(console)
}
