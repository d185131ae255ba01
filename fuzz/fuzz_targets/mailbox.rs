//! A guest that writes what it likes into its mailbox, between any two looks of the host's.

#![no_main]

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use vm_memory::{Bytes, VolatileMemory};
use zeroboot::Stream;
use zeroboot::internals::{Mailbox, OutputReader, Region, Sink, shared_of_memfd};
use zeroboot_proto as proto;
use zeroboot_proto::{Event, Request};

struct Count {
    bytes: usize,
    left: u8,
}

impl Sink for Count {
    fn output(&mut self, _: Stream, bytes: &[u8]) -> ControlFlow<()> {
        self.bytes += bytes.len();
        self.left = self.left.wrapping_sub(1);
        if self.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn memory() -> &'static Arc<Region> {
    static MEMORY: OnceLock<Arc<Region>> = OnceLock::new();
    MEMORY.get_or_init(|| Arc::new(shared_of_memfd(proto::MAILBOX_SIZE as usize).unwrap().1))
}

/// A guest's write; what would go beyond the end is left out.
fn poke(at: usize, bytes: &[u8]) {
    let at = at.min(proto::MAILBOX_SIZE as usize);
    let len = bytes.len().min(proto::MAILBOX_SIZE as usize - at);
    memory().as_volatile_slice().write_slice(&bytes[..len], at).unwrap();
}

/// Takes a number of up to 4 bytes off the front.
fn take(data: &mut &[u8], bytes: usize) -> u32 {
    let (head, rest) = data.split_at(bytes.min(data.len()));
    *data = rest;
    head.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fuzz_target!(|data: &[u8]| {
    let mut data = data;
    let mailbox = Mailbox::new(memory(), 0).unwrap();
    let mut reader = OutputReader::default();
    let payload = take(&mut data, 1) as usize * 61;
    let mut sink = Count { bytes: 0, left: take(&mut data, 1) as u8 };
    poke(0, &[0; 64]);
    mailbox.tidy();
    let start = mailbox.post(Request::Run, &vec![b'x'; payload]).unwrap();
    reader.begin(start);
    while !data.is_empty() {
        // What the guest does: a piece anywhere near where it counts, then the lengths.
        let place = [0, start, start + 8, proto::CONSOLE_START][take(&mut data, 1) as usize % 4];
        let offset = take(&mut data, 2);
        let len = (take(&mut data, 1) as usize).min(data.len());
        let (piece, rest) = data.split_at(len);
        data = rest;
        poke((place + offset) as usize, piece);
        let (used, console) = (take(&mut data, 3), take(&mut data, 3));
        poke(std::mem::offset_of!(proto::Header, output_used), &used.to_le_bytes());
        poke(std::mem::offset_of!(proto::Header, console_used), &console.to_le_bytes());
        // What the host does.
        let before = sink.bytes;
        let event = Event::from_u32(take(&mut data, 1));
        let drained = reader.drain(&mailbox, event, &mut sink);
        assert!(sink.bytes - before <= proto::MAILBOX_SIZE as usize);
        if !matches!(drained, Ok(ControlFlow::Continue(()))) {
            break;
        }
    }
});
