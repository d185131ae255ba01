//! A process's end of the conversation with the host.

use std::fmt;
use std::io;

use zeroboot_proto as proto;
use zeroboot_proto::{Death, Event, Record, Request, Seed, Stage, Stream};

use crate::device::{Device, Doorbell};
use crate::mailbox::{Bell, Field, Mailbox};

const RECORD_HEAD: u32 = size_of::<Record>() as u32;

/// The host asked for something that this version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRequest(pub u32);

impl fmt::Display for UnknownRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown request {}", self.0)
    }
}

impl std::error::Error for UnknownRequest {}

/// Bytes from the host's own random number generator.
pub type SeedBytes = [u8; proto::SEED_BYTES as usize];

/// Doorbell and mailbox.
pub struct Channel<B: Bell = Doorbell> {
    bell: B,
    mailbox: Mailbox,
}

impl Channel {
    /// Maps the device; it may be closed afterwards.
    pub fn open(device: &Device) -> io::Result<Self> {
        let (bell, mailbox) = device.map()?;
        Ok(Channel { bell, mailbox })
    }
}

impl<B: Bell> Channel<B> {
    /// Any bell and mailbox, for a test that plays the host.
    pub fn from_parts(bell: B, mailbox: Mailbox) -> Self {
        Channel { bell, mailbox }
    }

    /// Rings `event` and returns the request that the host has made of this process meanwhile.
    ///
    /// This is where a snapshot is taken and where every fork of it begins.
    pub fn wait(&mut self, event: Event) -> Result<Request, UnknownRequest> {
        self.bell.ring(proto::ring(event));
        let request = self.mailbox.load(Field::REQUEST);
        Request::from_u32(request).ok_or(UnknownRequest(request))
    }

    /// Ends the request with an exit code and waits for the next one.
    pub fn done(&mut self, exit_code: u8) -> Result<Request, UnknownRequest> {
        self.mailbox.store(Field::EXIT_CODE, exit_code.into());
        self.wait(Event::Done)
    }

    /// The seed that the host leaves when it has forked the machine, or will; only the first who asks gets
    /// it. Whoever holds random state that was there before must renew it then, before anything
    /// uses that state.
    pub fn take_seed(&mut self) -> Option<(Seed, SeedBytes)> {
        let why = Seed::from_u32(self.mailbox.load(Field::SEED))?;
        let mut seed = [0; proto::SEED_BYTES as usize];
        self.mailbox.read(proto::SEED_START, &mut seed);
        // The program that runs next can read the mailbox.
        self.mailbox.write(proto::SEED_START, &[0; proto::SEED_BYTES as usize]);
        self.mailbox.store(Field::SEED, 0);
        Some((why, seed))
    }

    /// Bytes of the request's payload.
    pub fn payload_len(&self) -> usize {
        self.mailbox.load(Field::PAYLOAD_LEN).min(proto::PAYLOAD_MAX) as usize
    }

    /// Copies the beginning of the request's payload.
    pub fn copy_payload(&self, into: &mut [u8]) {
        let len = self.payload_len().min(into.len());
        self.mailbox.read(proto::PAYLOAD_START, &mut into[..len]);
    }

    /// Appends output. The host is called only when the area is full.
    pub fn write(&mut self, stream: Stream, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.room();
            if room <= RECORD_HEAD {
                self.bell.ring(proto::ring(Event::Output));
                self.mailbox.store(Field::OUTPUT_USED, 0);
                continue;
            }
            let len = bytes.len().min((room - RECORD_HEAD) as usize);
            let (now, later) = bytes.split_at(len);
            self.append(stream, now);
            bytes = later;
        }
    }

    /// Says how far the boot has come.
    pub fn stage(&mut self, stage: Stage) {
        self.bell.ring(proto::ring_stage(stage));
    }

    /// Says how the runtime's process ended. Only PID 1 calls this.
    pub fn dead(&mut self, death: Death, detail: u32) {
        self.mailbox.store(Field::DEATH_DETAIL, detail);
        self.mailbox.store(Field::DEATH, death as u32);
        self.bell.ring(proto::ring(Event::Dead));
    }

    /// `bytes` fit: see [`Channel::room`].
    fn append(&mut self, stream: Stream, bytes: &[u8]) {
        let used = self.output_used();
        let at = self.output_start() + used;
        let len = bytes.len() as u32;
        let record = Record::new(self.mailbox.fetch_add(Field::SEQUENCE, 1), stream, len);
        self.mailbox.write(at, &record.sequence.to_le_bytes());
        self.mailbox.write(at + 4, &record.stream_and_len.to_le_bytes());
        self.mailbox.write(at + RECORD_HEAD, bytes);
        // Last: a host that stops us before this sees no half record.
        self.mailbox.store(Field::OUTPUT_USED, used + proto::record_size(len));
    }

    fn room(&self) -> u32 {
        proto::CONSOLE_START - self.output_start() - self.output_used()
    }

    /// The host's word, corrected into the range that a host gives: a program may have changed it.
    fn output_start(&self) -> u32 {
        let latest = proto::output_start(proto::PAYLOAD_MAX);
        let start = self.mailbox.load(Field::OUTPUT_START);
        start.clamp(proto::PAYLOAD_START, latest).next_multiple_of(proto::RECORD_ALIGN)
    }

    /// Never beyond the area's end, for the same reason.
    fn output_used(&self) -> u32 {
        let room = proto::CONSOLE_START - self.output_start();
        let used = self.mailbox.load(Field::OUTPUT_USED);
        used.min(room).next_multiple_of(proto::RECORD_ALIGN)
    }
}

#[cfg(test)]
mod tests;
