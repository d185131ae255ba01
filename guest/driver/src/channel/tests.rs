//! A channel over plain memory; the test plays the host.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;

use super::*;

const WORDS: usize = proto::MAILBOX_SIZE as usize / 8;

/// The host: it reads the mailbox through a view of its own, as the real one does.
struct Host {
    view: Mailbox,
    rung: Vec<u32>,
    records: Vec<(u32, Option<Stream>, Vec<u8>)>,
}

impl Host {
    fn word(&self, offset: u32) -> u32 {
        let mut word = [0; 4];
        self.view.read(offset, &mut word);
        u32::from_le_bytes(word)
    }

    fn drain(&mut self) {
        let start = self.view.load(Field::OUTPUT_START);
        let used = self.view.load(Field::OUTPUT_USED);
        let mut at = start;
        while at < start + used {
            let head = Record { sequence: self.word(at), stream_and_len: self.word(at + 4) };
            let mut text = vec![0; head.len() as usize];
            self.view.read(at + RECORD_HEAD, &mut text);
            self.records.push((head.sequence, head.stream(), text));
            at += proto::record_size(head.len());
        }
        assert_eq!(at, start + used);
        assert!(at <= proto::CONSOLE_START);
    }

    fn text(&self) -> Vec<u8> {
        self.records.iter().flat_map(|(_, _, text)| text.clone()).collect()
    }
}

#[derive(Clone)]
struct FakeBell(Rc<RefCell<Host>>);

impl Bell for FakeBell {
    fn ring(&mut self, value: u32) {
        let mut host = self.0.borrow_mut();
        host.rung.push(value);
        if value == proto::ring(Event::Output) {
            host.drain();
        }
    }
}

fn channel() -> (Channel<FakeBell>, Rc<RefCell<Host>>) {
    let memory: &'static mut [u64] = Box::leak(vec![0u64; WORDS].into_boxed_slice());
    let base = NonNull::from(memory).cast::<u8>();
    // SAFETY: MAILBOX_SIZE leaked bytes, aligned to 8; the reference to them is gone.
    let mailbox = unsafe { Mailbox::new(base) };
    // SAFETY: as above; the two views are used by one thread.
    let view = unsafe { Mailbox::new(base) };
    view.store(Field::OUTPUT_START, proto::output_start(0));
    let host = Rc::new(RefCell::new(Host { view, rung: vec![], records: vec![] }));
    (Channel::from_parts(FakeBell(host.clone()), mailbox), host)
}

fn request(host: &Rc<RefCell<Host>>, number: u32, payload: &[u8]) {
    let mut host = host.borrow_mut();
    host.view.store(Field::REQUEST, number);
    host.view.store(Field::PAYLOAD_LEN, payload.len() as u32);
    host.view.write(proto::PAYLOAD_START, payload);
    host.view.store(Field::OUTPUT_START, proto::output_start(payload.len() as u32));
    host.view.store(Field::OUTPUT_USED, 0);
}

#[test]
fn a_request_and_its_payload_are_read_after_the_bell() {
    let (mut channel, host) = channel();
    request(&host, 1, b"print(1)");
    assert_eq!(channel.wait(Event::Ready), Ok(Request::Run));
    let mut payload = vec![0; channel.payload_len()];
    channel.copy_payload(&mut payload);
    assert_eq!(payload, b"print(1)");
    assert_eq!(host.borrow().rung, [1]);
}

#[test]
fn an_unknown_request_is_named() {
    let (mut channel, host) = channel();
    request(&host, 77, b"");
    assert_eq!(channel.wait(Event::Ready), Err(UnknownRequest(77)));
}

#[test]
fn done_stores_the_exit_code_before_it_rings() {
    let (mut channel, host) = channel();
    request(&host, 2, b"");
    assert_eq!(channel.done(42), Ok(Request::Settle));
    assert_eq!(host.borrow().view.load(Field::EXIT_CODE), 42);
    assert_eq!(host.borrow().rung, [2]);
}

#[test]
fn records_are_aligned_numbered_and_need_no_bell() {
    let (mut channel, host) = channel();
    request(&host, 1, b"12345");
    channel.write(Stream::Stdout, b"abc");
    // The guest kernel takes a number in between.
    host.borrow().view.fetch_add(Field::SEQUENCE, 1);
    channel.write(Stream::Stderr, b"defghijkl");
    let mut host = host.borrow_mut();
    assert_eq!(host.view.load(Field::OUTPUT_USED), 16 + 24);
    host.drain();
    let expected = [
        (0, Some(Stream::Stdout), b"abc".to_vec()),
        (2, Some(Stream::Stderr), b"defghijkl".to_vec()),
    ];
    assert_eq!(host.records, expected);
    assert!(host.rung.is_empty());
}

#[test]
fn an_empty_write_leaves_no_record() {
    let (mut channel, host) = channel();
    channel.write(Stream::Stdout, b"");
    assert_eq!(host.borrow().view.load(Field::OUTPUT_USED), 0);
}

#[test]
fn more_than_the_area_holds_is_split_and_nothing_is_lost() {
    let (mut channel, host) = channel();
    request(&host, 1, b"x");
    let text: Vec<u8> = (0..2_000_003u32).map(|i| (i % 251) as u8).collect();
    channel.write(Stream::Stdout, &text[..5]);
    channel.write(Stream::Stdout, &text[5..]);
    let mut host = host.borrow_mut();
    assert_eq!(host.rung, [3, 3]);
    host.drain();
    assert_eq!(host.text(), text);
}

#[test]
fn an_area_filled_to_the_last_byte_is_announced_with_the_next_write() {
    let (mut channel, host) = channel();
    let room = proto::CONSOLE_START - proto::output_start(0) - RECORD_HEAD;
    channel.write(Stream::Stdout, &vec![b'a'; room as usize]);
    assert!(host.borrow().rung.is_empty());
    channel.write(Stream::Stdout, b"b");
    assert_eq!(host.borrow().rung, [3]);
    assert_eq!(host.borrow().view.load(Field::OUTPUT_USED), 16);
}

#[test]
fn the_smallest_rest_of_an_area_is_used() {
    let (mut channel, host) = channel();
    let room = proto::CONSOLE_START - proto::output_start(0) - RECORD_HEAD;
    channel.write(Stream::Stdout, &vec![b'a'; (room - 16) as usize]);
    channel.write(Stream::Stdout, &[b'b'; 9]);
    let mut host = host.borrow_mut();
    assert_eq!(host.rung, [3]);
    host.drain();
    let lengths: Vec<usize> = host.records.iter().map(|(_, _, text)| text.len()).collect();
    assert_eq!(lengths, [room as usize - 16, 8, 1]);
}

#[test]
fn a_scribbled_header_costs_output_and_not_memory_safety() {
    let (mut channel, host) = channel();
    for (start, used) in [(u32::MAX, u32::MAX), (0, u32::MAX), (3, 5), (0xbffff, 1), (u32::MAX, 0)]
    {
        host.borrow().view.store(Field::OUTPUT_START, start);
        host.borrow().view.store(Field::OUTPUT_USED, used);
        host.borrow().view.store(Field::PAYLOAD_LEN, u32::MAX);
        let before = channel.output_start();
        assert!(before <= proto::CONSOLE_START - proto::OUTPUT_MIN + proto::RECORD_ALIGN);
        // The fake host would not follow such records; only the driver's own bounds count here.
        if channel.room() > 64 {
            channel.write(Stream::Stdout, b"some text");
        }
        let mut payload = vec![0; channel.payload_len()];
        channel.copy_payload(&mut payload);
    }
}

#[test]
fn a_death_is_in_the_header_before_the_bell() {
    let (mut channel, host) = channel();
    channel.dead(Death::Signaled, 11);
    let host = host.borrow();
    assert_eq!(host.view.load(Field::DEATH), 2);
    assert_eq!(host.view.load(Field::DEATH_DETAIL), 11);
    assert_eq!(host.rung, [5]);
}

#[test]
fn a_stage_is_in_the_upper_bits() {
    let (mut channel, host) = channel();
    channel.stage(Stage::Mounted);
    assert_eq!(host.borrow().rung, [0x206]);
}

#[test]
fn a_seed_is_given_once_and_leaves_no_trace() {
    let (mut channel, host) = channel();
    assert_eq!(channel.take_seed(), None);
    let seed: SeedBytes = std::array::from_fn(|i| i as u8 + 1);
    for why in [Seed::Fork, Seed::Rehearsal] {
        host.borrow_mut().view.write(proto::SEED_START, &seed);
        host.borrow_mut().view.store(Field::SEED, why as u32);
        assert_eq!(channel.take_seed(), Some((why, seed)));
        assert_eq!(channel.take_seed(), None);
        let mut left = [1; proto::SEED_BYTES as usize];
        host.borrow().view.read(proto::SEED_START, &mut left);
        assert_eq!(left, [0; proto::SEED_BYTES as usize]);
    }
}

#[test]
fn a_seed_for_an_unknown_reason_is_none() {
    let (mut channel, host) = channel();
    host.borrow_mut().view.store(Field::SEED, 77);
    assert_eq!(channel.take_seed(), None);
}
