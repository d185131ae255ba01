//! What a guest printed, out of the two areas of its mailbox.
//!
//! The areas are the guest's: offsets and lengths in them are claims. Each byte is copied once and
//! only the copy is looked at.

use std::ops::ControlFlow;

use zeroboot_proto as proto;
use zeroboot_proto::{Event, Record, Stream};

use crate::device::Mailbox;

/// Gets output in the order in which it was written; says whether to go on.
pub trait Sink {
    /// A piece of output.
    fn output(&mut self, stream: Stream, bytes: &[u8]) -> ControlFlow<()>;
}

/// Why a mailbox makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A record ends outside its area.
    #[error("an output record of {len} bytes at {at} ends behind its area's {area} bytes")]
    RecordTooLong {
        /// Offset in the copied piece.
        at: usize,
        /// What the record claims.
        len: u32,
        /// What there is.
        area: usize,
    },
    /// A record for a stream that does not exist.
    #[error("an output record for stream {0}")]
    Stream(u32),
    /// An area is said to hold less than was read already, or more than it can.
    #[error(
        "an output area said to hold {claimed} bytes, of which {read} were read and {room} fit"
    )]
    Used {
        /// What the guest claims.
        claimed: u32,
        /// What the host has read.
        read: u32,
        /// What there is room for.
        room: u32,
    },
}

/// One of the two areas, and how far the host has read.
#[derive(Clone, Debug, Default)]
struct Area {
    start: u32,
    room: u32,
    read: u32,
    copy: Vec<u8>,
}

impl Area {
    /// Copies what is new.
    fn fetch(&mut self, mailbox: &Mailbox, used: u32) -> Result<(), Violation> {
        self.copy.clear();
        if used < self.read || used > self.room {
            return Err(Violation::Used { claimed: used, read: self.read, room: self.room });
        }
        mailbox.copy(self.start + self.read, self.start + used, &mut self.copy);
        self.read = used;
        Ok(())
    }
}

/// Reads a guest's output as it comes.
#[derive(Clone, Debug)]
pub struct OutputReader {
    runtime: Area,
    console: Area,
}

impl Default for OutputReader {
    fn default() -> Self {
        let console = Area {
            start: proto::CONSOLE_START,
            room: proto::CLONE_FIELDS_START - proto::CONSOLE_START,
            ..Area::default()
        };
        OutputReader { runtime: Area::default(), console }
    }
}

impl OutputReader {
    /// A request was posted; the runtime's output begins at `start`.
    pub fn begin(&mut self, start: u32) {
        self.runtime.start = start;
        self.runtime.room = proto::CONSOLE_START - start;
        self.runtime.read = 0;
    }

    /// Passes on all output that is new. With `event`, the area that the guest has announced as
    /// full counts as empty from now on.
    pub fn drain(
        &mut self,
        mailbox: &Mailbox,
        event: Option<Event>,
        sink: &mut dyn Sink,
    ) -> Result<ControlFlow<()>, Violation> {
        let header = mailbox.header();
        self.runtime.fetch(mailbox, header.output_used)?;
        self.console.fetch(mailbox, header.console_used)?;
        match event {
            Some(Event::Output) => {
                mailbox.empty_output();
                self.runtime.read = 0;
            }
            Some(Event::Console) => {
                mailbox.empty_console();
                self.console.read = 0;
            }
            _ => {}
        }
        merge(&self.runtime.copy, &self.console.copy, sink)
    }
}

/// Passes on the records of two areas in the order of their sequence numbers.
fn merge(a: &[u8], b: &[u8], sink: &mut dyn Sink) -> Result<ControlFlow<()>, Violation> {
    let (mut a, mut b) = (records(a).peekable(), records(b).peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (None, None) => return Ok(ControlFlow::Continue(())),
            (Some(_), None) => a.next(),
            (None, Some(_)) => b.next(),
            (Some(x), Some(y)) if earlier(x, y) => a.next(),
            (Some(_), Some(_)) => b.next(),
        };
        let Some(record) = next else { continue };
        let (_, stream, bytes) = record?;
        if sink.output(stream, bytes).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
}

type Item<'a> = Result<(u32, Stream, &'a [u8]), Violation>;

/// Sequence numbers wrap; a violation comes first, since nothing behind it counts.
fn earlier(x: &Item<'_>, y: &Item<'_>) -> bool {
    match (x, y) {
        (Ok((x, ..)), Ok((y, ..))) => (x.wrapping_sub(*y) as i32) < 0,
        (x, _) => x.is_err(),
    }
}

/// The records in a private copy of an area: sequence number, stream, text. Ends at the first
/// violation.
fn records(area: &[u8]) -> impl Iterator<Item = Result<(u32, Stream, &[u8]), Violation>> {
    let mut at = 0usize;
    let mut broken = false;
    std::iter::from_fn(move || {
        const HEAD: usize = size_of::<Record>();
        if broken || at == area.len() {
            return None;
        }
        let parsed = (|| {
            let head = area.get(at..at + HEAD).ok_or(Violation::RecordTooLong {
                at,
                len: 0,
                area: area.len(),
            })?;
            let record = Record { sequence: word(head, 0), stream_and_len: word(head, 4) };
            let start = at + HEAD;
            let text = area
                .get(start..start + record.len() as usize)
                .ok_or(Violation::RecordTooLong { at, len: record.len(), area: area.len() })?;
            let stream = record.stream().ok_or(Violation::Stream(record.stream_and_len >> 24))?;
            at = (at + proto::record_size(record.len()) as usize).min(area.len());
            Ok((record.sequence, stream, text))
        })();
        broken = parsed.is_err();
        Some(parsed)
    })
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0u8; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// Output, stream by stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// What was written to fd 1.
    pub stdout: Vec<u8>,
    /// What was written to fd 2.
    pub stderr: Vec<u8>,
}

impl Collected {
    /// How many bytes more make `max` of both streams.
    pub fn room(&self, max: u64) -> usize {
        let have = (self.stdout.len() + self.stderr.len()) as u64;
        usize::try_from(max.saturating_sub(have)).unwrap_or(usize::MAX)
    }

    /// Adds bytes; `Break` if there is no memory for them.
    pub fn add(&mut self, stream: Stream, bytes: &[u8]) -> ControlFlow<()> {
        let into = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        // The guest decides how much this is, so a failure must not abort the process.
        if into.try_reserve(bytes.len()).is_err() {
            return ControlFlow::Break(());
        }
        into.extend_from_slice(bytes);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Sink for Vec<(Stream, Vec<u8>)> {
        fn output(&mut self, stream: Stream, bytes: &[u8]) -> ControlFlow<()> {
            self.push((stream, bytes.to_vec()));
            ControlFlow::Continue(())
        }
    }

    fn record(sequence: u32, stream: Stream, text: &[u8]) -> Vec<u8> {
        let head = Record::new(sequence, stream, text.len() as u32);
        let mut out = head.sequence.to_le_bytes().to_vec();
        out.extend(head.stream_and_len.to_le_bytes());
        out.extend(text);
        out.resize(proto::record_size(text.len() as u32) as usize, 0);
        out
    }

    #[test]
    fn two_areas_become_one_stream_in_the_order_of_writing() {
        let a = [record(u32::MAX, Stream::Stdout, b"one"), record(1, Stream::Stderr, b"three")];
        let b = record(0, Stream::Stdout, b"two");
        let mut got: Vec<(Stream, Vec<u8>)> = Vec::new();
        assert!(merge(&a.concat(), &b, &mut got).unwrap().is_continue());
        let texts: Vec<_> = got.iter().map(|(_, t)| t.as_slice()).collect();
        assert_eq!(texts, [b"one".as_slice(), b"two", b"three"]);
    }

    #[test]
    fn a_record_that_lies_about_its_length_is_a_violation() {
        let mut bytes = record(0, Stream::Stdout, b"text");
        bytes[4] = 200;
        let mut got: Vec<(Stream, Vec<u8>)> = Vec::new();
        let error = merge(&bytes, &[], &mut got).unwrap_err();
        assert_eq!(error, Violation::RecordTooLong { at: 0, len: 200, area: 16 });
        assert!(merge(&bytes[..5], &[], &mut got).is_err());
        assert!(got.is_empty());
    }

    #[test]
    fn a_stream_that_does_not_exist_is_a_violation() {
        let mut bytes = record(0, Stream::Stdout, b"text");
        bytes[7] = 9;
        assert_eq!(records(&bytes).next(), Some(Err(Violation::Stream(9))));
    }

    #[test]
    fn both_streams_count_towards_the_limit() {
        let mut collected = Collected::default();
        assert!(collected.add(Stream::Stdout, b"12345").is_continue());
        assert!(collected.add(Stream::Stderr, b"12").is_continue());
        assert_eq!((collected.room(8), collected.room(3)), (1, 0));
    }
}
