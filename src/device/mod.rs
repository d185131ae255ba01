//! What a guest finds at its ports and in its mailbox.
//!
//! | ports | device |
//! |---|---|
//! | 0x3f8 to 0x3ff | UART, output only: the guest's console, for the log |
//! | 0x70, 0x71 | CMOS clock, read once by a booting kernel |
//! | 0x42 | no timer: reads as 0, which a kernel takes for an answer |
//! | 0x64 | the keyboard controller's reset line |
//! | all others | nothing: reads give ones, writes are lost |
//!
//! The doorbell is no device: a store to it ends `machine::Machine::run`.

mod console;
mod mailbox;
mod ports;
mod rtc;

pub use console::{Console, LineSink, UART_STATE_BYTES, UartState};
pub use mailbox::Mailbox;
pub use ports::Ports;
