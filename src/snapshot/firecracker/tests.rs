//! The decoder against genuine snapshots, whole and damaged. What is expected of each was read by
//! another decoder.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use super::container::{self, seal};
use super::{Error, Kind, Vmstate, decode, formats};

const GENUINE: [&str; 6] = [
    "v1.12.1-idle",
    "v1.14.4-idle",
    "v1.15.1-idle",
    "v1.16.1-idle",
    "v1.16.1-devs",
    "v1.17-dev-idle",
];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/firecracker").join(name)
}

fn vmstate(name: &str) -> Vec<u8> {
    fs::read(golden(name).join("vmstate")).unwrap()
}

fn expected(name: &str) -> String {
    fs::read_to_string(golden(name).join("expected.txt")).unwrap()
}

/// The text behind `before`, up to `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let from = text.find(before).unwrap_or_else(|| panic!("no {before:?}")) + before.len();
    let len = text[from..].find(after).unwrap_or(text.len() - from);
    &text[from..from + len]
}

/// The values in a text, without the names of what they are of: numbers, flags and text.
fn values(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c.is_ascii_alphanumeric() || c == '_') {
        rest = &rest[at..];
        let len = match rest.strip_prefix('"') {
            Some(inside) => inside.find('"').unwrap() + 2,
            None => {
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
        };
        let value = &rest[..len];
        let named = rest[len..].starts_with(':');
        if !named && (value.starts_with(|c: char| c == '"' || c.is_ascii_digit()) || is_word(value))
        {
            values.push(value.to_owned());
        }
        rest = &rest[len..];
    }
    values
}

fn is_word(value: &str) -> bool {
    matches!(value, "true" | "false" | "None" | "Unsafe" | "Writeback" | "Sync" | "Block" | "Dram")
}

#[test]
fn devices_have_the_expected_values_in_each_field() {
    for name in GENUINE {
        let file = vmstate(name);
        let container = container::open(&file).unwrap();
        let read = formats::text(&container).unwrap();
        let expected = expected(name);
        let devices = expected.find("\ndevs ").unwrap();
        // The root's last field; the one before it ends with the rate of the TSC.
        let ours = &read[read.rfind("tsc_khz").unwrap()..];
        let ours = between(ours, "    devices: ", "\0");
        let theirs = values(&expected[devices..]);
        assert_eq!(values(ours), theirs, "{name}");
        assert!(theirs.len() > 3, "{name}");

        let info = between(&expected, "\ninfo: ", "\n");
        assert_eq!(values(between(&read, "    info: ", "    kvm_capabilities")), values(info));
    }
}

fn hex(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap()
}

/// The value of `name=0x..` in a line.
fn number(line: &str, name: &str) -> u64 {
    let word = line.split([' ', '\n']).find_map(|word| word.strip_prefix(&format!("{name}=")));
    hex(word.unwrap_or_else(|| panic!("no {name} in {line}")))
}

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines().find(|l| l.trim_start().starts_with(start)).unwrap_or_else(|| panic!("{start}?"))
}

#[test]
fn registers_have_the_expected_values() {
    for name in GENUINE {
        let (state, text) = (decode(&vmstate(name)).unwrap(), expected(name));
        assert_eq!(state.vcpus.len(), 1);
        let cpu = &state.vcpus[0].cpu;
        let regs = line(&text, "rax=");
        let r = &cpu.regs;
        let ours = [
            r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rsp, r.rbp, r.r8, r.r9, r.r10, r.r11,
            r.r12, r.r13, r.r14, r.r15, r.rip, r.rflags,
        ];
        let names = "rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rflags";
        for (register, value) in names.split(' ').zip(ours) {
            assert_eq!(value, number(regs, register), "{name} {register}");
        }
        let s = &cpu.sregs;
        let segments = [
            ("cs", s.cs),
            ("ds", s.ds),
            ("es", s.es),
            ("fs", s.fs),
            ("gs", s.gs),
            ("ss", s.ss),
            ("tr", s.tr),
            ("ldt", s.ldt),
        ];
        for (segment, ours) in segments {
            let shown = format!(
                "{segment} base={:#x} lim={:#x} sel={:#x} type={} p={} dpl={} db={} s={} l={} g={} \
                 avl={} unus={}",
                ours.base,
                ours.limit,
                ours.selector,
                ours.type_,
                ours.present,
                ours.dpl,
                ours.db,
                ours.s,
                ours.l,
                ours.g,
                ours.avl,
                ours.unusable
            );
            assert_eq!(shown, line(&text, &format!("{segment} base")).trim(), "{name}");
        }
        let shown = format!(
            "gdt {:#x}/{:#x} idt {:#x}/{:#x} cr0={:#x} cr2={:#x} cr3={:#x} cr4={:#x} cr8={:#x} \
             efer={:#x} apic_base={:#x} mp_state={}",
            s.gdt.base,
            s.gdt.limit,
            s.idt.base,
            s.idt.limit,
            s.cr0,
            s.cr2,
            s.cr3,
            s.cr4,
            s.cr8,
            s.efer,
            s.apic_base,
            cpu.mp_state.mp_state
        );
        assert_eq!(shown, line(&text, "gdt ").trim(), "{name}");
    }
}

#[test]
fn extended_state_and_lapic_have_the_expected_values() {
    for name in GENUINE {
        let (state, text) = (decode(&vmstate(name)).unwrap(), expected(name));
        let cpu = &state.vcpus[0].cpu;
        let x = &cpu.xsave.region;
        let xmm0: Vec<String> = (0..8).map(|i| format!("{:x}", xmm_word(x, i))).collect();
        let shown = format!(
            "xcrs nr={} xcr0={:#x}; xsave.len={} fcw={:#x} mxcsr={:#x} xstate_bv={:#x} xmm0=[{}]",
            cpu.xcrs.nr_xcrs,
            cpu.xcrs.xcrs[0].value,
            state.vcpus[0].xsave_extra.len(),
            x[0] & 0xffff,
            x[6],
            u64::from(x[128]) | u64::from(x[129]) << 32,
            xmm0.join(", ")
        );
        assert_eq!(shown, line(&text, "xcrs ").trim(), "{name}");
        let register = |at: usize| {
            let bytes: [u8; 4] = std::array::from_fn(|i| cpu.lapic.regs[at + i] as u8);
            u32::from_le_bytes(bytes)
        };
        let registers = [
            ("id", 0x20),
            ("ver", 0x30),
            ("tpr", 0x80),
            ("svr", 0xf0),
            ("lvtt", 0x320),
            ("tmict", 0x380),
            ("tmcct", 0x390),
            ("tdcr", 0x3e0),
        ];
        for (register_name, at) in registers {
            let expected = number(line(&text, "lapic id"), register_name);
            assert_eq!(u64::from(register(at)), expected, "{name} {register_name}");
        }
    }
}

/// The low half of an XMM register.
fn xmm_word(region: &[u32; 1024], i: usize) -> u64 {
    u64::from(region[40 + 4 * i]) | u64::from(region[41 + 4 * i]) << 32
}

#[test]
fn cpuid_and_msrs_are_the_expected_lists_in_their_order() {
    for name in GENUINE {
        let (state, text) = (decode(&vmstate(name)).unwrap(), expected(name));
        let vcpu = &state.vcpus[0];
        let leaf = |l: &kvm_bindings::kvm_cpuid_entry2| {
            let flags = l.flags;
            format!(
                "{:x}.{:x}:f{flags}:{:x},{:x},{:x},{:x}",
                l.function, l.index, l.eax, l.ebx, l.ecx, l.edx
            )
        };
        let cpuid: Vec<String> = vcpu.cpu.cpuid.iter().map(leaf).collect();
        assert_eq!(cpuid.join(" "), between(line(&text, "cpuid: "), "cpuid: ", "\n"), "{name}");

        let mut chunks = text.lines().filter_map(|l| l.trim().strip_prefix("msrs: "));
        let msrs: Vec<String> =
            vcpu.cpu.msrs.iter().map(|m| format!("{:x}={:x}", m.index, m.data)).collect();
        assert_eq!(msrs.join(" "), chunks.next().unwrap(), "{name}");
        assert_eq!(format!("6e0={:x}", vcpu.cpu.tsc_deadline), chunks.next().unwrap());
        assert!(text.contains(&format!("tsc {:?}", vcpu.tsc_khz)));
    }
}

fn bytes(text: &str) -> Vec<u8> {
    text.split(", ").map(|byte| hex(byte) as u8).collect()
}

#[test]
fn timer_clock_and_interrupt_controllers_have_the_expected_values() {
    use zerocopy::IntoBytes;
    for name in GENUINE {
        let (state, text) = (decode(&vmstate(name)).unwrap(), expected(name));
        assert_eq!(state.pit.as_bytes(), bytes(between(line(&text, "pit "), "[", "]")), "{name}");
        let clock = &state.clock;
        let shown = format!(
            "clock 48B ns={} flags={:#x} realtime={} host_tsc={}",
            clock.clock, clock.flags, clock.realtime, clock.host_tsc
        );
        assert_eq!(shown, line(&text, "clock "), "{name}");
        for (chip, start) in state.irqchips.iter().zip(["picm", "pics", "ioapic"]) {
            let line = line(&text, start);
            assert!(line.contains(&format!(" chip_id={} ", chip.chip_id)), "{name} {start}");
            let state = &chip.as_bytes()[8..];
            if start != "ioapic" {
                let expected = bytes(between(line, "[", "]"));
                assert_eq!(state[..expected.len()], expected, "{name} {start}");
                continue;
            }
            let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| state[at + i]));
            assert_eq!(word(0), number(line, "base"));
            let redirections = between(line, "redir=[", "]").split(", ").map(hex);
            assert!(redirections.eq((0..24).map(|pin| word(24 + 8 * pin))), "{name}");
        }
        let regions: Vec<u64> = state.regions.iter().flat_map(|r| [r.base, r.size]).collect();
        assert_eq!(regions, [0, 128 << 20], "{name}");
    }
}

#[test]
fn the_devices_of_a_machine_are_told_apart() {
    let state = decode(&vmstate("v1.16.1-devs")).unwrap();
    let kinds: Vec<&Kind> = state.devices.iter().map(|device| &device.kind).collect();
    let path = "disk.img".to_owned();
    assert_eq!(kinds, [&Kind::Block { path }, &Kind::Vsock { cid: 3 }, &Kind::Entropy]);
    let vsock = &state.devices[1];
    assert_eq!((vsock.transport.interrupt, vsock.gsi, vsock.queues[2].added), (1, Some(6), 1));
    assert!(state.devices[0].activated && !state.devices[2].activated);
    assert_eq!(state.generation.map(|g| (g.address, g.gsi)), Some((0xd_fff0, 8)));
}

#[test]
fn every_flip_of_a_byte_is_refused_by_the_checksum() {
    for name in GENUINE {
        let mut file = vmstate(name);
        for at in 0..file.len() {
            file[at] ^= 0xff;
            let error = decode(&file).unwrap_err();
            assert!(matches!(error, Error::Checksum | Error::Magic), "{name} byte {at}: {error}");
            file[at] ^= 0xff;
        }
        assert!(decode(&file).is_ok());
    }
}

/// Whatever comes of it, it comes.
fn survives(file: &[u8]) -> Option<Vmstate> {
    let outcome = catch_unwind(|| decode(file));
    outcome.unwrap_or_else(|_| panic!("{:02x?}", &file[..file.len().min(64)])).ok()
}

#[test]
fn every_flip_of_a_byte_behind_a_right_checksum_is_decoded_without_a_crash() {
    for name in GENUINE {
        let file = vmstate(name);
        let mut state = file[..file.len() - 8].to_vec();
        let mut taken = 0;
        for at in 0..state.len() {
            state[at] ^= 0xff;
            taken += usize::from(survives(&seal(&state)).is_some());
            state[at] ^= 0xff;
        }
        // Most of a file is registers, which may hold anything.
        assert!(taken > state.len() / 2, "{name}: {taken}");
    }
}

#[test]
fn every_truncation_behind_a_right_checksum_is_refused() {
    for name in GENUINE {
        let file = vmstate(name);
        for len in (0..file.len() - 8).rev().step_by(13) {
            assert!(decode(&seal(&file[..len])).is_err(), "{name}: {len} bytes");
        }
        let longer = [&file[..file.len() - 8], &[0]].concat();
        assert!(decode(&seal(&longer)).is_err(), "{name}");
    }
}

/// xorshift64*: the same sequence for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    /// A value that lengths, counts and tags go wrong with.
    fn odd_byte(&mut self) -> u8 {
        [0, 1, 2, 3, 4, 5, 6, 7, 9, 0x7f, 0x80, 0xfe, 0xff][self.below(13)]
    }

    /// Damages a state as a fuzzer does: bytes set, stretches copied, cut out, doubled.
    fn damage(&mut self, state: &mut Vec<u8>) {
        for _ in 0..1 + self.below(6) {
            let at = self.below(state.len());
            let len = self.below((state.len() - at).min(64)) + 1;
            match self.below(6) {
                0 => state[at] ^= 1 << self.below(8),
                1 => state[at] = self.odd_byte(),
                2 => state[at..at + len].fill(self.odd_byte()),
                3 => {
                    let from = self.below(state.len() - len + 1);
                    state.copy_within(from..from + len, at);
                }
                4 if state.len() > 1000 => drop(state.drain(at..at + len)),
                _ => {
                    let again = state[at..at + len].to_vec();
                    state.splice(at..at, again);
                }
            }
        }
    }
}

fn fuzz(executions: usize, seed: u64) -> usize {
    let files = GENUINE.map(vmstate);
    let mut random = Random(seed);
    let mut taken = 0;
    for i in 0..executions {
        let file = &files[i % files.len()];
        let mut state = file[..file.len() - 8].to_vec();
        random.damage(&mut state);
        taken += usize::from(survives(&seal(&state)).is_some());
    }
    taken
}

#[test]
fn damaged_states_are_decoded_without_a_crash() {
    assert!(fuzz(10_000, 0x5eed) > 500, "the damage is too great to reach far into the decoder");
}

#[test]
#[ignore = "a minute in a release build; ZB_FUZZ_SEED sets where it begins"]
fn a_million_damaged_states_are_decoded_without_a_crash() {
    let seed = std::env::var("ZB_FUZZ_SEED").map_or(0x5eed, |seed| seed.parse().unwrap());
    println!("{} of them are states", fuzz(1_000_000, seed));
}
