//! Snapshot directories by somebody who can compute checksums: load, fork, run.
//!
//! The processor begins as a sane one in ring 0 or 3 whose code is the end of the input; the rest of
//! the input changes bytes of the manifest, of the state and of the files' lengths. Every five
//! hundred inputs a fork of the ordinary template must give the right answer.

#![no_main]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kvm_bindings::{kvm_regs, kvm_segment};
use libfuzzer_sys::fuzz_target;
use zeroboot::internals::{State, decode, encode};
use zeroboot::{
    ForkOptions, LoadOptions, Manifest, Outcome, Pool, PoolOptions, RunOptions, Sandbox, Snapshot,
};
use zerocopy::IntoBytes;

const RAM: u64 = 32 << 20;
const IMAGE: u64 = 2 << 20;
const PML4: u64 = 0x1_0000;
const CODE: u64 = 0x10_0000;

struct Place {
    dir: PathBuf,
    manifest: Vec<u8>,
    state: Vec<u8>,
    good: Pool,
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let template = std::env::var("ZB_FUZZ_TEMPLATE").expect("ZB_FUZZ_TEMPLATE: a template");
        let template = Path::new(&template);
        let good = Arc::new(Snapshot::load(template, LoadOptions::default()).unwrap());
        let dir = tempfile::tempdir_in("/dev/shm").unwrap().keep();
        Place {
            dir,
            manifest: fs::read(template.join("manifest.json")).unwrap(),
            state: fs::read(template.join("state.bin")).unwrap(),
            good: Pool::new(good, PoolOptions { recycle_max: 1, ..PoolOptions::NONE }),
        }
    })
}

fn segment(selector: u16, type_: u8, dpl: u8, long: u8) -> kvm_segment {
    kvm_segment {
        limit: u32::MAX,
        selector,
        type_,
        present: 1,
        dpl,
        db: 1 - long,
        s: 1,
        l: long,
        g: 1,
        ..Default::default()
    }
}

fn sane(state: &mut State, ring: u8) {
    let cpu = &mut state.cpu;
    cpu.regs = kvm_regs { rip: CODE, rsp: 0x20_0000, rflags: 2, ..Default::default() };
    (cpu.regs.rdi, cpu.regs.rsi) = (zeroboot_proto::DOORBELL_GPA, RAM);
    cpu.events = Default::default();
    cpu.sregs.cr3 = PML4;
    cpu.sregs.cr4 &= 0x4_0620;
    cpu.sregs.interrupt_bitmap = Default::default();
    let dpl = if ring == 0 { 0 } else { 3 };
    let (code, data) = if ring == 0 { (0x10, 0x18) } else { (0x33, 0x2b) };
    cpu.sregs.cs = segment(code, 11, dpl, 1);
    let flat = segment(data, 3, dpl, 0);
    (cpu.sregs.ds, cpu.sregs.es, cpu.sregs.ss) = (flat, flat, flat);
    state.working_set.clear();
    for (at, field) in (0x3a_0000..).step_by(0x80).zip(&mut state.clone_fields) {
        field.address = at;
    }
}

/// One byte somewhere in the state.
fn change(state: &mut State, what: u8, at: usize, value: u8) {
    let cpu = &mut state.cpu;
    let bytes: &mut [u8] = match what % 11 {
        0 => cpu.regs.as_mut_bytes(),
        1 | 2 => cpu.sregs.as_mut_bytes(),
        3 => cpu.events.as_mut_bytes(),
        4 => cpu.msrs.as_mut_bytes(),
        5 => cpu.cpuid.as_mut_bytes(),
        6 => cpu.lapic.as_mut_bytes(),
        7 => cpu.xsave.as_mut_bytes(),
        8 => cpu.xcrs.as_mut_bytes(),
        9 => cpu.debugregs.as_mut_bytes(),
        _ => cpu.mp_state.as_mut_bytes(),
    };
    if !bytes.is_empty() {
        let at = at % bytes.len();
        bytes[at] = value;
    }
}

/// One thing about the rest of the directory.
fn change_manifest(manifest: &mut Manifest, state: &mut State, what: u8, at: usize, value: u8) {
    let number = (at as u64) << (value % 48);
    match what % 8 {
        0 => manifest.ram_bytes = number,
        1 => manifest.rootfs_bytes = number,
        2 => manifest.clock.tsc = number,
        3 => manifest.clock.realtime_ns = number,
        4 => manifest.clock.tsc_khz = number as u32,
        5 => state.uart[at % 9] = value,
        6 => state.working_set.push(number as u32),
        7 if at % 4 != 0 => {
            let fields = state.clone_fields.len().max(1);
            if let Some(field) = state.clone_fields.get_mut(at % fields) {
                (field.address, field.kind) = (number, field.kind ^ u32::from(value & 3));
            }
        }
        _ => state.cpu.tsc_deadline = number,
    }
}

fn write(place: &Place, data: &[u8]) {
    let mut manifest: Manifest = serde_json::from_slice(&place.manifest).unwrap();
    let mut state = decode(&place.state, &place.manifest).unwrap();
    manifest.ram_bytes = RAM;
    manifest.rootfs_bytes = IMAGE;
    let (head, data) = data.split_at(data.len().min(2));
    let ring = head.first().copied().unwrap_or(0) % 2;
    let changes = (head.get(1).copied().unwrap_or(0) % 16) as usize;
    sane(&mut state, ring);
    let (changed, code) = data.split_at(data.len().min(changes * 4));
    let mut extra = 0i64;
    for c in changed.as_chunks::<4>().0 {
        let at = usize::from(c[1]) | usize::from(c[2]) << 8;
        match c[0] {
            0..=199 => change(&mut state, c[0], at, c[3]),
            200..=249 => change_manifest(&mut manifest, &mut state, c[0], at, c[3]),
            _ => extra = at as i64 - 0x8000,
        }
    }
    let manifest_bytes = serde_json::to_vec(&manifest).unwrap();
    let memory = File::create(place.dir.join("memory.img")).unwrap();
    let words = |at: u64, words: &[u64]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        memory.write_all_at(&bytes, at).unwrap();
    };
    words(PML4, &[0x1_1007]);
    words(0x1_1000, &[0x1_2007, 0x1_3007, 0x1_4007, 0x1_5007, 0x1_6007]);
    words(0x1_2000, &(0..5 * 512).map(|i| i << 21 | 0x87).collect::<Vec<_>>());
    memory.write_all_at(code, CODE).unwrap();
    let wanted = RAM + u64::from(zeroboot_proto::MAILBOX_SIZE);
    memory.set_len(wanted.saturating_add_signed(extra)).unwrap();
    File::create(place.dir.join("rootfs.img")).unwrap().set_len(IMAGE).unwrap();
    fs::write(place.dir.join("state.bin"), encode(&state, &manifest_bytes)).unwrap();
    fs::write(place.dir.join("manifest.json"), manifest_bytes).unwrap();
}

fn run(sandbox: &mut Sandbox) {
    let options = RunOptions {
        timeout: Some(Duration::from_millis(2)),
        max_output: 1 << 20,
        ..Default::default()
    };
    let before = sandbox.is_alive();
    match sandbox.run(b"request", options) {
        Ok(result) => {
            assert!(result.output.stdout.len() + result.output.stderr.len() <= 1 << 20);
            assert_eq!(sandbox.is_alive(), matches!(result.outcome, Outcome::Exited(_)));
        }
        Err(error) => assert!(before && !error.to_string().is_empty()),
    }
}

fn the_template_is_right(place: &Place) {
    let mut sandbox = place.good.fork(ForkOptions::default()).unwrap();
    let result = sandbox.run(b"print(6*7)", RunOptions::default()).unwrap();
    assert_eq!((result.outcome, &result.output.stdout[..]), (Outcome::Exited(0), &b"42\n"[..]));
}

fuzz_target!(|data: &[u8]| {
    static INPUTS: AtomicUsize = AtomicUsize::new(0);
    let place = place();
    write(place, data);
    if let Ok(snapshot) = Snapshot::load(&place.dir, LoadOptions::default()) {
        let pool =
            Pool::new(Arc::new(snapshot), PoolOptions { recycle_max: 1, ..PoolOptions::NONE });
        // The second has the first one's machine, if it can be used again.
        for _ in 0..2 {
            let Ok(mut sandbox) = pool.fork(ForkOptions::default()) else { break };
            run(&mut sandbox);
            if !sandbox.is_alive() {
                break;
            }
        }
    }
    if INPUTS.fetch_add(1, Ordering::Relaxed) % 500 == 0 {
        the_template_is_right(place);
    }
});
