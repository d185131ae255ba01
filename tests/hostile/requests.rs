//! Stores, loads and port accesses that the host chooses: a machine whose program does what each
//! request says.

use crate::forged::{Forged, MAILBOX, RAM, Ring};
use crate::held::{assert_the_next_fork_is_right, undisturbed};
use crate::{AD, ANY, SHORT, end, run_to};
use zeroboot::{Crash, Fault, ForkOptions, Outcome, Pool, PoolOptions, RunResult, Sandbox};
use zeroboot_proto as proto;
use zeroboot_proto::{Event, Stage};

#[derive(Clone, Copy, Debug)]
#[repr(u32)]
enum Do {
    Store1,
    Store2,
    Store4,
    Store8,
    Store16,
    Load1,
    Load2,
    Load4,
    Load8,
    Load16,
    Tell,
    Exchange,
    Answer,
    Outs,
    Outs4,
    Ins,
    StringStore,
}

const STORES: [Do; 5] = [Do::Store1, Do::Store2, Do::Store4, Do::Store8, Do::Store16];
const LOADS: [Do; 5] = [Do::Load1, Do::Load2, Do::Load4, Do::Load8, Do::Load16];
const DONE: u32 = Event::Done as u32;

fn request(what: Do, event: u32, address: u64, value: u64, bytes: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend((what as u32).to_le_bytes());
    payload.extend(event.to_le_bytes());
    payload.extend(address.to_le_bytes());
    payload.extend(value.to_le_bytes());
    payload.extend(bytes);
    payload
}

/// Machines that do what requests say; one that dies is replaced.
struct Machines {
    pool: Pool,
    sandbox: Option<Sandbox>,
}

impl Machines {
    fn new(ring: Ring) -> Self {
        let pool = Pool::new(Forged::at("requests", ring).load(), PoolOptions::default());
        Machines { pool, sandbox: None }
    }

    fn run(&mut self, payload: &[u8]) -> Outcome {
        self.result(payload).outcome
    }

    fn result(&mut self, payload: &[u8]) -> RunResult {
        let fresh = || self.pool.fork(ForkOptions::default()).unwrap();
        let mut sandbox = self.sandbox.take().unwrap_or_else(fresh);
        let result = run_to(&mut sandbox, payload, SHORT);
        self.sandbox = sandbox.is_alive().then_some(sandbox);
        result
    }
}

/// Numbers that look random and are the same each time.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |x| {
        Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .skip(1)
    .map(|x| x ^ x >> 29)
}

#[test]
fn each_value_at_the_doorbell_has_its_documented_outcome() {
    undisturbed(|| {
        let mut machines = Machines::new(Ring::Kernel);
        // All there are with a meaning, all bytes, their neighbours, and others.
        let stages = [Stage::Init, Stage::Mounted, Stage::Runtime].map(proto::ring_stage);
        let values = (0..0x110).chain((0..0x120).map(|i| i << 8 | 6)).chain(stages);
        let random = numbers(1).map(|x| x as u32).take(300);
        for value in values.chain(random).chain([u32::MAX, 1 << 31, 0x0200_0002]) {
            let outcome = machines.run(&request(Do::Load4, value, 0, 0, b""));
            let expected = match value {
                1 => Outcome::Crashed(Crash::Event(Event::Ready)),
                2 => Outcome::Exited(0),
                5 => Outcome::Crashed(Crash::Death(0)),
                // The machine goes on, with the same request.
                3 | 4 | 0x106 | 0x206 | 0x306 => Outcome::TimedOut,
                _ => Outcome::Crashed(Crash::Fault(Fault::Doorbell(value))),
            };
            assert_eq!(outcome, expected, "{value:#x}");
        }
        for store in STORES {
            let mut machines = Machines::new(Ring::Kernel);
            let outcome = machines.run(&request(store, DONE, proto::DOORBELL_GPA, 2, b""));
            let is_event = matches!(store, Do::Store4);
            assert_eq!(outcome == Outcome::Exited(0), is_event, "{store:?}: {outcome:?}");
        }
        assert_the_next_fork_is_right();
    });
}

#[test]
fn every_width_at_every_kind_of_hole_is_survived() {
    let beyond = RAM + u64::from(proto::MAILBOX_SIZE);
    let holes = [
        beyond,
        beyond - 8,
        0x8000_0000,
        0xb000_0000,
        0xc000_0000,
        proto::DOORBELL_GPA - 8,
        proto::DOORBELL_GPA + 4,
        proto::DOORBELL_GPA + 0xff8,
        proto::DOORBELL_GPA + 0x1000,
        0xfec0_0000,
        0xfee0_0000,
        0xfee0_0ff0,
        0xffff_fff0,
        1 << 32,
        (1 << 32) + (2 << 20),
        0x1_3fff_fff0,
        0x1_4000_0000,
    ];
    undisturbed(|| {
        for ring in [Ring::Kernel, Ring::User] {
            let mut machines = Machines::new(ring);
            for hole in holes {
                for what in STORES.into_iter().chain(LOADS).chain([Do::Exchange, Do::StringStore]) {
                    for odd in [0, 1, 3] {
                        let at = hole + odd;
                        let payload = request(what, DONE, at, 7, b"");
                        let ended = end(machines.run(&payload));
                        assert!(ANY.contains(&ended), "{what:?} at {at:#x} in {ring:?}");
                    }
                }
            }
        }
        assert_the_next_fork_is_right();
    });
}

#[test]
fn a_store_to_the_image_is_lost() {
    undisturbed(|| {
        let mut machines = Machines::new(Ring::Kernel);
        for at in [1u64 << 32, (1 << 32) + 0x1000] {
            let stored = machines.run(&request(Do::Store4, DONE, at, 0x5a, b""));
            assert!(AD.contains(&end(stored)), "{stored:?}");
            assert_eq!(machines.run(&request(Do::Tell, DONE, at, 0, b"")), Outcome::Exited(0));
        }
    });
}

#[test]
fn string_instructions_at_ports_are_bounded_by_what_they_carry() {
    undisturbed(|| {
        for ring in [Ring::Kernel, Ring::User] {
            let mut machines = Machines::new(ring);
            for port in [0x3f8, 0x3fb, 0x70, 0x71, 0x42, 0x64, 0x80, 0xcf8, 0xffff] {
                for what in [Do::Outs, Do::Outs4, Do::Ins] {
                    for count in [0, 1, 3, 4096, 5000] {
                        let outcome = machines.run(&request(what, DONE, port, count, b"text"));
                        let ended = end(outcome);
                        assert!(ANY.contains(&ended), "{what:?} {port:#x} {count}: {outcome:?}");
                    }
                }
            }
        }
        assert_the_next_fork_is_right();
    });
}

#[test]
fn lies_in_the_mailboxs_header_are_found_or_harmless() {
    const FIELDS: u64 = size_of::<proto::Header>() as u64 / 4;
    let room = proto::CONSOLE_START - proto::output_start(24);
    let values = [0, 1, 7, 8, 0xffff, room, room + 1, 0x7fff_ffff, 0x8000_0000, u32::MAX];
    let events = [Event::Done, Event::Output, Event::Console, Event::Dead, Event::Ready];
    undisturbed(|| {
        let mut machines = Machines::new(Ring::Kernel);
        for field in 0..FIELDS {
            for value in values {
                for event in events {
                    // The machine goes on after these two, at the same request.
                    let goes_on = matches!(event, Event::Output | Event::Console);
                    if goes_on && value % 8 != 0 {
                        continue;
                    }
                    let at = MAILBOX + field * 4;
                    let lie = request(Do::Store4, event as u32, at, u64::from(value), b"");
                    let outcome = machines.run(&lie);
                    assert_lie_is_contained(field, value, event, outcome);
                }
            }
        }
        assert_the_next_fork_is_right();
    });
}

fn assert_lie_is_contained(field: u64, value: u32, event: Event, outcome: Outcome) {
    const OUTPUT_USED: u64 = 5;
    const CONSOLE_USED: u64 = 7;
    let told = format!("field {field} = {value:#x}, then {event:?}: {outcome:?}");
    let too_long = (field == OUTPUT_USED && value > proto::CONSOLE_START)
        || (field == CONSOLE_USED && value > proto::MAILBOX_SIZE - proto::CONSOLE_START);
    match outcome {
        Outcome::Crashed(Crash::Protocol(_)) => {
            assert!(field == OUTPUT_USED || field == CONSOLE_USED, "{told}");
        }
        _ if too_long => panic!("a length that cannot be was believed: {told}"),
        Outcome::Exited(code) => assert!(event == Event::Done && code < 256, "{told}"),
        Outcome::Crashed(Crash::Event(Event::Ready)) => assert_eq!(event, Event::Ready, "{told}"),
        Outcome::Crashed(Crash::Death(_))
        | Outcome::ProcessExited(_)
        | Outcome::Signaled(_)
        | Outcome::OutOfMemory => assert_eq!(event, Event::Dead, "{told}"),
        Outcome::TimedOut => assert!(matches!(event, Event::Output | Event::Console), "{told}"),
        _ => panic!("{told}"),
    }
}

fn record(sequence: u32, stream_and_len: u32, text: &[u8]) -> Vec<u8> {
    let mut bytes = sequence.to_le_bytes().to_vec();
    bytes.extend(stream_and_len.to_le_bytes());
    bytes.extend(text);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

#[test]
fn records_that_are_cut_off_or_too_long_are_violations_and_what_came_before_is_kept() {
    let good = record(0, 1 << 24 | 5, b"right");
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (record(1, 1 << 24 | 0xff_ffff, b""), "an enormous length"),
        (record(1, 1 << 24 | 9, b"12345678"), "one byte too long"),
        (record(1, 0, b"text"), "no stream"),
        (record(1, 3 << 24 | 4, b"text"), "another stream"),
        (record(1, 0xffff_ffff, b"text"), "all ones"),
        (b"cut".to_vec(), "half a head"),
        (record(1, 1 << 24, b"")[..4].to_vec(), "no length"),
    ];
    undisturbed(|| {
        let mut machines = Machines::new(Ring::User);
        for (bad, what) in bad {
            let area = [good.as_slice(), &bad].concat();
            let len = area.len() as u64;
            let result = machines.result(&request(Do::Answer, DONE, len, len, &area));
            let is_violation = matches!(result.outcome, Outcome::Crashed(Crash::Protocol(_)));
            assert!(is_violation, "{what}: {:?}", result.outcome);
            assert_eq!(result.output.stdout, b"right", "{what}");
        }
        let len = good.len() as u64;
        let result = machines.result(&request(Do::Answer, DONE, len, len, &good));
        assert_eq!(
            (result.outcome, &result.output.stdout[..]),
            (Outcome::Exited(0), &b"right"[..])
        );
        assert_the_next_fork_is_right();
    });
}
