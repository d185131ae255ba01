//! Snapshots that an attacker wrote: memory and processor are what a test wants them to be.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use kvm_bindings::{kvm_regs, kvm_segment};
use tempfile::TempDir;
use zeroboot::internals::{State, decode, encode};
use zeroboot::{LoadOptions, Manifest, Snapshot, SnapshotError};

use crate::common::{programs, root, succeed, template};

pub const RAM: u64 = 32 << 20;
pub const MAILBOX: u64 = RAM;
const IMAGE: u64 = 2 << 20;

const GDT: u64 = 0x1000;
const PML4: u64 = 0x10000;
const PDPT: u64 = 0x11000;
const DIRECTORIES: u64 = 0x12000;
const GIBS: u64 = 6;
const IDT: u64 = 0x5000;
const CODE: u64 = 0x10_0000;
const STACK: u64 = 0x20_0000;
const PLACES: u64 = 0x3a_0000;

/// Present, writable, for ring 3 as well; and a large page.
const TABLE: u64 = 0x7;
const LARGE: u64 = 0x87;

/// Where a program stands when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    Kernel,
    User,
}

/// The programs of attacks.S: bytes, and where each begins.
struct Attacks {
    code: Vec<u8>,
    labels: BTreeMap<String, u64>,
}

fn attacks() -> &'static Attacks {
    static ATTACKS: OnceLock<Attacks> = OnceLock::new();
    ATTACKS.get_or_init(|| {
        let dir = tempfile::tempdir_in(programs()).unwrap();
        let file = |name: &str| dir.path().join(name);
        succeed(
            Command::new("gcc")
                .arg("-c")
                .args([format!("-DMAILBOX={MAILBOX:#x}"), format!("-DIDT={IDT:#x}")])
                .arg(root().join("tests/hostile/attacks.S"))
                .arg("-o")
                .arg(file("attacks.o")),
        );
        succeed(
            Command::new("ld")
                .arg(format!("-Ttext={CODE:#x}"))
                .arg(format!("--entry={CODE:#x}"))
                .args([file("attacks.o"), "-o".into(), file("attacks.elf")]),
        );
        succeed(
            Command::new("objcopy")
                .args(["-O", "binary"])
                .args([file("attacks.elf"), file("attacks.bin")]),
        );
        let symbols = succeed(Command::new("nm").arg(file("attacks.elf")));
        let labels = String::from_utf8(symbols.stdout)
            .unwrap()
            .lines()
            .map(|line| {
                let mut words = line.split_whitespace();
                let at = u64::from_str_radix(words.next().unwrap(), 16).unwrap();
                (words.nth(1).unwrap().to_owned(), at)
            })
            .collect();
        Attacks { code: fs::read(file("attacks.bin")).unwrap(), labels }
    })
}

/// A snapshot's directory, removed with it.
pub struct Forged {
    dir: TempDir,
}

impl Forged {
    /// A machine without a kernel that stands at the beginning of a program of attacks.S.
    pub fn at(label: &str, ring: Ring) -> Self {
        Forged::with(label, ring, |_| {})
    }

    /// The same, with a state that the caller has the last word on.
    pub fn with(label: &str, ring: Ring, change: impl FnOnce(&mut State)) -> Self {
        let rip = *attacks().labels.get(label).unwrap_or_else(|| panic!("no program {label}"));
        let (mut manifest, mut state) = originals();
        manifest.ram_bytes = RAM;
        manifest.rootfs_bytes = IMAGE;
        state.working_set.clear();
        // What a fork's host writes into memory goes where no program of ours is.
        for (at, field) in (PLACES..).step_by(0x80).zip(&mut state.clone_fields) {
            field.address = at;
        }
        set_up_processor(&mut state, rip, ring);
        change(&mut state);
        let forged = Forged { dir: tempfile::tempdir_in(template().parent().unwrap()).unwrap() };
        forged.write(&manifest, &state);
        write_memory(&forged.path().join("memory.img"));
        File::create(forged.path().join("rootfs.img")).unwrap().set_len(IMAGE).unwrap();
        forged
    }

    /// The template with its processor or its memory changed.
    pub fn of_template(change: impl FnOnce(&mut Manifest, &mut State, &File)) -> Self {
        let (mut manifest, mut state) = originals();
        let forged = Forged { dir: tempfile::tempdir_in(template().parent().unwrap()).unwrap() };
        let memory = forged.path().join("memory.img");
        succeed(
            Command::new("cp")
                .arg("--sparse=always")
                .arg(template().join("memory.img"))
                .arg(&memory),
        );
        // The template's is for reading only.
        succeed(Command::new("chmod").arg("u+w").arg(&memory));
        let file = File::options().read(true).write(true).open(memory).unwrap();
        fs::hard_link(template().join("rootfs.img"), forged.path().join("rootfs.img")).unwrap();
        change(&mut manifest, &mut state, &file);
        forged.write(&manifest, &state);
        forged
    }

    fn write(&self, manifest: &Manifest, state: &State) {
        let manifest = serde_json::to_vec(manifest).unwrap();
        fs::write(self.path().join("state.bin"), encode(state, &manifest)).unwrap();
        fs::write(self.path().join("manifest.json"), manifest).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn try_load(&self) -> Result<Arc<Snapshot>, SnapshotError> {
        Snapshot::load(self.path(), LoadOptions::default()).map(Arc::new)
    }

    pub fn load(&self) -> Arc<Snapshot> {
        self.try_load().unwrap()
    }
}

fn originals() -> (Manifest, State) {
    let manifest = fs::read(template().join("manifest.json")).unwrap();
    let state = fs::read(template().join("state.bin")).unwrap();
    (serde_json::from_slice(&manifest).unwrap(), decode(&state, &manifest).unwrap())
}

/// 64-bit mode, in ring 0 or ring 3, with all rights that ring 3 can have over ports.
fn set_up_processor(state: &mut State, rip: u64, ring: Ring) {
    const CR4_PAE_FXSR_XMM_XSAVE: u64 = 0x4_0620;
    const IOPL_3: u64 = 0x3000;
    let dpl = if ring == Ring::Kernel { 0 } else { 3 };
    let cpu = &mut state.cpu;
    cpu.tsc_deadline = 0;
    cpu.events = Default::default();
    cpu.regs = kvm_regs { rip, rsp: STACK, rflags: 2, ..Default::default() };
    if ring == Ring::User {
        cpu.regs.rflags |= IOPL_3;
    }
    let sregs = &mut cpu.sregs;
    sregs.cr3 = PML4;
    sregs.cr4 &= CR4_PAE_FXSR_XMM_XSAVE;
    sregs.interrupt_bitmap = Default::default();
    (sregs.gdt.base, sregs.gdt.limit) = (GDT, 0x3f);
    (sregs.idt.base, sregs.idt.limit) = (0, 0);
    let (code, data) = if ring == Ring::Kernel { (0x10, 0x18) } else { (0x33, 0x2b) };
    sregs.cs = segment(code, 11, dpl, 1);
    let flat = segment(data, 3, dpl, 0);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (flat, flat, flat, flat, flat);
}

fn segment(selector: u16, type_: u8, dpl: u8, long: u8) -> kvm_segment {
    kvm_segment {
        limit: 0xffff_ffff,
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

fn write_memory(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(MAILBOX + u64::from(zeroboot_proto::MAILBOX_SIZE)).unwrap();
    let words = |at: u64, words: &[u64]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        file.write_all_at(&bytes, at).unwrap();
    };
    // As Linux has it: kernel's code and data at 0x10 and 0x18, user's data and code at 0x28 and 0x30.
    let (code, data) = (0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff);
    const DPL_3: u64 = 3 << 45;
    words(GDT, &[0, 0, code, data, 0, data | DPL_3, code | DPL_3, 0]);
    words(PML4, &[PDPT | TABLE]);
    let directories: Vec<u64> = (0..GIBS).map(|i| (DIRECTORIES + i * 0x1000) | TABLE).collect();
    words(PDPT, &directories);
    let near = (0..(GIBS - 1) * 512).map(|i| i << 21 | LARGE);
    // Beyond the image, and further and further away.
    let far = [33, 34, 36, 37, 38, 39, 42, 45].into_iter().map(|bit| 1u64 << bit | LARGE);
    words(DIRECTORIES, &near.chain(far).collect::<Vec<_>>());
    let gates: Vec<u64> = (0..256).flat_map(gate).collect();
    words(IDT, &gates);
    // Descriptors, or pieces of them, of every kind.
    let garbage: Vec<u64> =
        (0..512u64).map(|i| (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    words(0x38_0000, &garbage);
    file.write_all_at(&attacks().code, CODE).unwrap();
    let header = [zeroboot_proto::MAGIC, zeroboot_proto::VERSION];
    file.write_all_at(&header.map(u32::to_le_bytes).concat(), MAILBOX).unwrap();
}

/// An interrupt gate to one of the handlers that step over an instruction.
fn gate(vector: u64) -> [u64; 2] {
    let has_code = matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30);
    let at = attacks().labels[if has_code { "with_code" } else { "without_code" }];
    const INTERRUPT_GATE: u64 = 0x8e00 << 32;
    [at & 0xffff | 0x10 << 16 | INTERRUPT_GATE | (at >> 16 & 0xffff) << 48, at >> 32]
}
