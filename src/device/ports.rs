use std::ops::ControlFlow;

use super::rtc::Rtc;
use super::{Console, Heard};

const UART: std::ops::RangeInclusive<u16> = 0x3f8..=0x3ff;
/// A PC's timer, which is not there.
const PIT_CHANNEL_2: u16 = 0x42;
const CMOS_INDEX: u16 = 0x70;
const CMOS_DATA: u16 = 0x71;
/// A PC's keyboard controller: its reset line is how the guest kernel reboots (`reboot=k`).
const KEYBOARD: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;

/// The port space of a machine. String instructions come with several bytes for one port.
#[derive(Debug)]
pub struct Ports {
    console: Console,
    rtc: Rtc,
    /// What a port reads as where nothing is.
    absent: u8,
}

/// Why the guest cannot just go on behind an `out` instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Halt {
    /// It resets the machine.
    Reset,
    /// It has printed what somebody waits for.
    Heard,
}

impl Ports {
    /// The devices behind the ports.
    pub fn new(console: Console) -> Self {
        Ports { console, rtc: Rtc::default(), absent: 0xff }
    }

    /// Those of a PC as Firecracker makes it.
    pub fn of_pc(console: Console) -> Self {
        Ports { console, rtc: Rtc::default(), absent: 0 }
    }

    /// The UART, to talk with the guest.
    pub fn console_mut(&mut self) -> &mut Console {
        &mut self.console
    }

    /// The UART.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// An `in` instruction.
    pub fn read(&mut self, port: u16, data: &mut [u8]) {
        for byte in data {
            *byte = match port {
                p if UART.contains(&p) => self.console.read((p - UART.start()) as u8),
                CMOS_DATA => self.rtc.read(),
                // An AMD kernel measures its TSC against the PIT first. A counter that does not begin
                // with all ones ends that after one read instead of 100,000.
                PIT_CHANNEL_2 => 0,
                // Nothing to read, ready for a command.
                KEYBOARD => 0,
                _ => self.absent,
            };
        }
    }

    /// An `out` instruction.
    pub fn write(&mut self, port: u16, data: &[u8]) -> ControlFlow<Halt> {
        let mut heard = Heard::More;
        for byte in data {
            match port {
                p if UART.contains(&p) => {
                    heard = heard.or(self.console.write((p - UART.start()) as u8, *byte));
                }
                CMOS_INDEX => self.rtc.select(*byte),
                KEYBOARD if *byte == PULSE_RESET => return ControlFlow::Break(Halt::Reset),
                _ => {}
            }
        }
        match heard {
            Heard::More => ControlFlow::Continue(()),
            Heard::Enough => ControlFlow::Break(Halt::Heard),
        }
    }
}
