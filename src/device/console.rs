use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial, SerialState};

/// Gets each line that a guest prints on its console, without the line's end.
pub type LineSink = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// A longer line is passed on in pieces, so that a guest cannot make the host collect one forever.
const LINE_MAX: usize = 1024;

/// Bytes of a UART's state in a snapshot.
pub const UART_STATE_BYTES: usize = 9;

/// The UART's registers, in the order of `SerialState`'s fields.
pub type UartState = [u8; UART_STATE_BYTES];

/// The UART behind the guest's ttyS0: it prints lines to a sink and never has input.
pub struct Console {
    uart: Serial<NoInterrupt, NoEvents, Lines>,
}

impl Console {
    /// A UART after reset.
    pub fn new(sink: Option<LineSink>) -> Self {
        Console { uart: Serial::new(NoInterrupt, Lines::new(sink)) }
    }

    /// A UART as it was when a snapshot was taken.
    pub fn restored(state: &UartState, sink: Option<LineSink>) -> Self {
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
            in_buffer: Vec::new(),
        };
        match Serial::from_state(&serial_state, NoInterrupt, NoEvents, Lines::new(sink.clone())) {
            Ok(uart) => Console { uart },
            // Only a receive buffer beyond the FIFO's size is refused, and this one is empty.
            Err(_) => Console::new(sink),
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
        self.uart.read(register)
    }

    pub(super) fn write(&mut self, register: u8, value: u8) {
        // Neither the trigger nor the sink can fail; in loopback mode a full FIFO loses the byte,
        // as the hardware's does.
        let _ = self.uart.write(register, value);
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("state", &self.state()).finish()
    }
}

/// There is no interrupt controller for the UART's line to end in.
struct NoInterrupt;

impl Trigger for NoInterrupt {
    type E = std::convert::Infallible;
    fn trigger(&self) -> Result<(), Self::E> {
        Ok(())
    }
}

struct Lines {
    sink: Option<LineSink>,
    line: Vec<u8>,
}

impl Lines {
    fn new(sink: Option<LineSink>) -> Self {
        Lines { sink, line: Vec::new() }
    }

    fn end_line(&mut self) {
        if let Some(sink) = &self.sink {
            sink(&self.line);
        }
        self.line.clear();
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
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
        b"one\r\ntwo\n".iter().for_each(|b| console.write(0, *b));
        (0..LINE_MAX + 1).for_each(|_| console.write(0, b'x'));
        let lines = lines.lock().unwrap();
        assert_eq!(lines[..2], ["one", "two"]);
        assert_eq!(lines[2].len(), LINE_MAX);
        assert_eq!(lines.len(), 3);
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
