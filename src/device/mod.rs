//! What a guest finds at its ports and in its mailbox.
//!
//! | ports | device |
//! |---|---|
//! | 0x3f8 to 0x3ff | UART: the guest's console, for the log; in a PC with input |
//! | 0x70, 0x71 | CMOS clock, read once by a booting kernel |
//! | 0x42 | no timer: reads as 0, which a kernel takes for an answer |
//! | 0x64 | the keyboard controller's reset line |
//! | all others | nothing: reads give ones (zeroes in a PC), writes are lost |
//!
//! The doorbell is no device: a store to it ends `machine::Machine::run`.

mod console;
mod dialogue;
mod mailbox;
mod ports;
mod rtc;
mod virtio;

pub use console::{Console, LineSink, UART_STATE_BYTES, UartState};
pub use dialogue::{Dialogue, Heard};
pub use mailbox::Mailbox;
pub use ports::{Halt, Ports};
pub use virtio::{Disk, Memory, Model, Selected, Window, WindowState};
