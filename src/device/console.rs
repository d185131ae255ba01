use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};

use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial, SerialState};

use super::dialogue::{Dialogue, Heard};
use crate::kvm::Line;

/// Gets each line that a guest prints on its console, without the line's end.
pub type LineSink = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// A longer line is passed on in pieces, so that a guest cannot make the host collect one forever.
const LINE_MAX: usize = 1024;

/// What a machine can print on its console, line ends included. A guest prints as fast as it can exit,
/// and what it prints goes to its host's log.
const PRINTED_MAX: usize = 1 << 20;

const CUT_OFF: &[u8] = b"[zeroboot: the guest's console is cut off here, after 1 MiB]";

/// Bytes of a UART's state in a snapshot.
pub const UART_STATE_BYTES: usize = 9;

/// The UART's registers, in the order of `SerialState`'s fields.
pub type UartState = [u8; UART_STATE_BYTES];

/// The UART behind the guest's ttyS0: it prints lines to a sink, and has input where somebody
/// talks with the guest.
pub struct Console {
    uart: Serial<Interrupt, NoEvents, Lines>,
    dialogue: Option<Dialogue>,
}

/// Where a UART's registers begin to count (16550A).
const DATA: u8 = 0;

impl Console {
    /// A UART after reset.
    pub fn new(sink: Option<LineSink>) -> Self {
        Console { uart: Serial::new(Interrupt::default(), Lines::new(sink)), dialogue: None }
    }

    /// A UART as it was when a snapshot was taken.
    pub fn restored(state: &UartState, sink: Option<LineSink>) -> Self {
        Self::restored_with(state, &[], sink)
    }

    /// The same, with input that the guest has not read yet.
    pub fn restored_with(state: &UartState, input: &[u8], sink: Option<LineSink>) -> Self {
        let serial_state = SerialState {
            baud_divisor_low: state[0],
            baud_divisor_high: state[1],
            interrupt_enable: state[2],
            interrupt_identification: state[3],
            line_control: state[4],
            line_status: state[5],
            modem_control: state[6],
            modem_status: state[7],
            scratch: state[8],
            in_buffer: input.to_vec(),
        };
        let lines = Lines::new(sink.clone());
        match Serial::from_state(&serial_state, Interrupt::default(), NoEvents, lines) {
            Ok(uart) => Console { uart, dialogue: None },
            // Only a receive buffer beyond the FIFO's size is refused: no UART was ever like that.
            Err(_) => Console::new(sink),
        }
    }

    /// Connects it to an interrupt line; it has none otherwise.
    pub fn connect(&mut self, line: Line) {
        // A UART's line does not change.
        let _ = self.uart.interrupt_evt().0.set(line);
    }

    /// Begins to talk: the guest gets `input` as fast as it reads it, and what it prints is kept
    /// from now on.
    pub fn begin(&mut self, dialogue: Dialogue) {
        self.dialogue = Some(dialogue);
        self.feed();
    }

    /// What came of the talk so far.
    pub fn heard(&mut self) -> Option<&mut Dialogue> {
        self.dialogue.as_mut()
    }

    /// Ends the talk.
    pub fn end(&mut self) -> Option<Dialogue> {
        self.dialogue.take()
    }

    /// Fills the receive buffer.
    fn feed(&mut self) {
        let Some(dialogue) = &mut self.dialogue else { return };
        let room = self.uart.fifo_capacity();
        // In loopback mode it takes nothing; then it gets more at the next read.
        match self.uart.enqueue_raw_bytes(dialogue.next_input(room)) {
            Ok(taken) => dialogue.took(taken),
            Err(error) => log::error!("the console's interrupt was lost: {error:?}"),
        }
    }

    /// The registers, for a snapshot.
    pub fn state(&self) -> UartState {
        let s = self.uart.state();
        [
            s.baud_divisor_low,
            s.baud_divisor_high,
            s.interrupt_enable,
            s.interrupt_identification,
            s.line_control,
            s.line_status,
            s.modem_control,
            s.modem_status,
            s.scratch,
        ]
    }

    pub(super) fn read(&mut self, register: u8) -> u8 {
        let value = self.uart.read(register);
        // An empty buffer only: a guest's driver reads until there is no more, and is interrupted
        // again for the rest.
        if register == DATA && self.dialogue.is_some() && self.is_drained() {
            self.feed();
        }
        value
    }

    fn is_drained(&self) -> bool {
        self.uart.fifo_capacity() == FIFO
    }

    /// `Heard::Enough` when the guest has printed what somebody waits for.
    pub(super) fn write(&mut self, register: u8, value: u8) -> Heard {
        // The sink cannot fail; in loopback mode a full FIFO loses the byte, as the hardware's does.
        if let Err(vm_superio::serial::Error::Trigger(error)) = self.uart.write(register, value) {
            log::error!("the console's interrupt was lost: {error}");
        }
        match (&mut self.dialogue, self.uart.writer_mut().last.take()) {
            (Some(dialogue), Some(byte)) => dialogue.hear(byte),
            _ => Heard::More,
        }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("state", &self.state()).finish()
    }
}

/// Bytes that the receive buffer holds.
const FIFO: usize = 0x40;

/// The UART's line; a machine without an interrupt controller has none.
#[derive(Default)]
struct Interrupt(OnceLock<Line>);

impl Trigger for Interrupt {
    type E = crate::kvm::Error;
    fn trigger(&self) -> Result<(), Self::E> {
        self.0.get().map_or(Ok(()), Line::pulse)
    }
}

struct Lines {
    sink: Option<LineSink>,
    line: Vec<u8>,
    /// The byte that was printed last, for whoever listens.
    last: Option<u8>,
    printed: usize,
}

impl Lines {
    fn new(sink: Option<LineSink>) -> Self {
        Lines { sink, line: Vec::new(), last: None, printed: 0 }
    }

    fn end_line(&mut self) {
        self.printed += self.line.len() + 1;
        if let Some(sink) = &self.sink {
            sink(if self.printed <= PRINTED_MAX { &self.line } else { CUT_OFF });
        }
        if self.printed > PRINTED_MAX {
            self.sink = None;
        }
        self.line.clear();
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.last = bytes.last().copied();
        if self.sink.is_none() {
            return Ok(bytes.len());
        }
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(),
                b'\r' => {}
                _ => {
                    self.line.push(*byte);
                    if self.line.len() == LINE_MAX {
                        self.end_line();
                    }
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn collector() -> (Arc<Mutex<Vec<String>>>, LineSink) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let copy = Arc::clone(&lines);
        let sink: LineSink = Arc::new(move |line| {
            copy.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
        });
        (lines, sink)
    }

    #[test]
    fn lines_come_without_their_ends_and_long_ones_in_pieces() {
        let (lines, sink) = collector();
        let mut console = Console::new(Some(sink));
        for byte in [&b"one\r\ntwo\n"[..], &[b'x'; LINE_MAX + 1]].concat() {
            assert_eq!(console.write(0, byte), Heard::More);
        }
        let lines = lines.lock().unwrap();
        assert_eq!(lines[..2], ["one", "two"]);
        assert_eq!(lines[2].len(), LINE_MAX);
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_flood_is_cut_off_and_the_last_line_says_so() {
        let (lines, sink) = collector();
        let mut console = Console::new(Some(sink));
        for _ in 0..2 * PRINTED_MAX {
            console.write(0, b'\n');
        }
        let lines = lines.lock().unwrap();
        assert_eq!(lines.len(), PRINTED_MAX + 1);
        assert_eq!(lines.last().unwrap().as_bytes(), CUT_OFF);
    }

    #[test]
    fn a_restored_uart_has_the_saved_registers() {
        let mut console = Console::new(None);
        console.write(7, 0x5a);
        console.write(3, 0x13);
        let state = console.state();
        assert_eq!(Console::restored(&state, None).state(), state);
        assert_eq!(state[8], 0x5a);
    }
}
