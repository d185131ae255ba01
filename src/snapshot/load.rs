use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use once_cell::sync::OnceCell;
use zeroboot_proto as proto;

use super::body::{Body, Parts};
use super::foreign;
use super::{
    ClonePlaces, Error, FORMAT, MANIFEST, MEMORY, Manifest, ROOTFS, Result, STATE, State, decode,
    verify,
};
use crate::device::{Console, LineSink, UartState};
use crate::kvm::{
    CpuFeatures, Error as KvmError, Host, Prepared, Ring0, Traits, TscControl, admit,
};
use crate::machine::{Access, Layout, Machine};
use crate::sys::{self, Gate, Moment};

/// A manifest or a state file is a few KiB; what is longer is no such file.
const SMALL_FILE_MAX: u64 = 1 << 20;

/// How far ahead of the host's the wall clock of a fork may be: a template's clock does not go back.
/// As much as two hosts' clocks may differ, or one may be corrected.
const CLOCK_ERROR_MAX_NS: i128 = 250_000_000;

/// How to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Hash the memory and the image and compare with the manifest: as long as reading them takes.
    pub verify: bool,
    /// Copy the memory into a sealed memory file first, so that nobody who truncates the
    /// snapshot's file can make this process fault (SIGBUS).
    pub sealed_copy: bool,
    /// Take a snapshot by Firecracker even if time would stand still in its forks: on a host whose
    /// time stamp counter cannot be set and has not got as far as it was when the snapshot was taken.
    pub any_clock: bool,
}

/// A snapshot that was checked and is ready to be forked.
#[derive(Debug)]
pub struct Snapshot {
    pub(super) host: Host,
    pub(super) body: Body,
    /// One at least.
    pub(super) cpus: Vec<Prepared>,
    pub(super) uart: UartState,
    pub(super) working_set: Vec<u32>,
    pub(super) clone_places: ClonePlaces,
    pub(super) memory: Arc<File>,
    pub(super) manifest: Manifest,
    pub(super) gate: Option<&'static Gate>,
    pub(super) warnings: Vec<String>,
}

/// Where ring 0 is emulated, a guest that waits for a processor still owes its timer ticks, and
/// each costs more than its share of the time when dozens of guests want to run: they would all do
/// nothing but tick. So runs of a process begin a few at a time.
static GATE: OnceCell<Gate> = OnceCell::new();

const PAGE: u64 = 4096;

const RUNS_A_PROCESSOR: usize = 2;

impl Snapshot {
    /// Loads a snapshot's directory. Nothing is read but the two small files; memory is mapped by
    /// the forks.
    ///
    /// Budget: 2 ms, whatever the memory's size.
    pub fn load(dir: &Path, options: LoadOptions) -> Result<Self> {
        if foreign::is_foreign(dir) {
            return foreign::load(dir, options);
        }
        // First, since "no such snapshot" is worth saying on a host without KVM, too.
        let (manifest, bytes) = read_manifest(dir)?;
        let host = Host::open()?;
        let traits = host.traits()?;
        let state_path = dir.join(STATE);
        let state = decode(&read_small(&state_path)?, &bytes)
            .map_err(|e| Error::corrupt(&state_path, e.to_string()))?;
        // Behind the checksums: a damaged number must not pass for another host's.
        check_host(dir, &manifest, traits)?;
        let layout = Layout::new(manifest.ram_bytes, manifest.rootfs_bytes)?;
        let clone_places = check_places(&state_path, &state, layout)?;
        let working_set = union(state.working_set, clone_places.pages());
        let memory = open_exact(&dir.join(MEMORY), layout.memory_len())?;
        let rootfs = Arc::new(open_exact(&dir.join(ROOTFS), layout.rootfs_bytes())?);
        if options.verify {
            verify(dir, &manifest)?;
        }
        let memory = if options.sealed_copy {
            sys::sealed_copy(&memory, layout.memory_len() as usize)?
        } else {
            memory
        };
        // Whoever wrote the file may have written more into it than a guest can do to itself.
        let cpu = admit(&host, state.cpu).map_err(|e| match e {
            KvmError::Ioctl { .. } => e.into(),
            refused => Error::corrupt(&state_path, refused.to_string()),
        })?;
        let mut prepared = Prepared::new(cpu, manifest.clock, traits)?;
        if rates_differ(manifest.clock.tsc_khz, traits.tsc_khz) {
            prepared = scale_tsc(dir, &host, prepared, &manifest, traits)?;
        }
        let rootfs = Arc::new(sys::read_only_of_file(&rootfs, layout.rootfs_bytes() as usize)?);
        Ok(Snapshot {
            host,
            body: Body::Own { layout, rootfs },
            clone_places,
            cpus: vec![prepared],
            uart: state.uart,
            working_set,
            memory: Arc::new(memory),
            manifest,
            gate: (traits.ring0 == Ring0::Emulated).then(gate),
            warnings: Vec::new(),
        })
    }

    /// What a run has to pass before it begins, on hosts that need that.
    pub fn gate(&self) -> Option<&'static Gate> {
        self.gate
    }

    /// /dev/kvm, opened and checked.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// A machine that stands where the snapshot was taken, its memory mapped copy-on-write.
    pub fn machine(&self, access: Access, sink: Option<LineSink>) -> Result<Machine> {
        let parts = Parts { host: &self.host, cpus: &self.cpus, memory: &self.memory };
        self.body.machine(&parts, access, self.console(sink))
    }

    /// The console behind the UART of a machine in which nothing has run.
    pub fn console(&self, sink: Option<LineSink>) -> Console {
        self.body.console(&self.uart, sink)
    }

    /// Where things are in a fork's memory, if its machine is one of ours.
    pub fn layout(&self) -> Option<Layout> {
        match &self.body {
            Body::Own { layout, .. } => Some(*layout),
            Body::Pc(_) => None,
        }
    }

    /// The first vCPU's state.
    pub fn cpu(&self) -> &Prepared {
        &self.cpus[0]
    }

    /// What of the snapshot a fork has not got, in words.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Numbers of the pages that the smallest program writes to, or the host before any does.
    pub fn working_set(&self) -> &[u32] {
        &self.working_set
    }

    /// Where a fork has to be made to differ from its siblings.
    pub fn clone_places(&self) -> &ClonePlaces {
        &self.clone_places
    }

    /// RAM and mailbox.
    pub fn memory(&self) -> &Arc<File> {
        &self.memory
    }

    /// What it is.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

impl Manifest {
    /// Reads the manifest of a snapshot directory, without looking at anything else.
    pub fn read(dir: &Path) -> Result<Self> {
        read_manifest(dir).map(|(manifest, _)| manifest)
    }
}

pub(super) fn gate() -> &'static Gate {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    GATE.get_or_init(|| Gate::new(processors * RUNS_A_PROCESSOR))
}

fn read_manifest(dir: &Path) -> Result<(Manifest, Vec<u8>)> {
    let path = dir.join(MANIFEST);
    let bytes = read_small(&path)?;
    Ok((parse_manifest(&path, &bytes)?, bytes))
}

/// The manifest in the bytes of `path`, if it is of this version.
pub fn parse_manifest(path: &Path, bytes: &[u8]) -> Result<Manifest> {
    // A manifest of another version may have other fields, so the versions are looked at first.
    #[derive(serde::Deserialize)]
    struct Versions {
        format: u64,
        protocol: u64,
    }
    let corrupt = |e: serde_json::Error| Error::corrupt(path, format!("no manifest: {e}"));
    let versions: Versions = serde_json::from_slice(bytes).map_err(corrupt)?;
    for (what, have, want) in [
        ("snapshot format", versions.format, FORMAT),
        ("guest protocol", versions.protocol, proto::VERSION),
    ] {
        if have != u64::from(want) {
            return Err(Error::Version { path: path.to_path_buf(), what, have, want });
        }
    }
    serde_json::from_slice(bytes).map_err(corrupt)
}

fn check_host(dir: &Path, manifest: &Manifest, traits: Traits) -> Result<()> {
    let refuse = |why: String| Err(Error::Host { path: dir.to_path_buf(), why });
    if manifest.ring0 != traits.ring0 {
        return refuse(format!(
            "it was booted where KVM's ring 0 is {}, here it is {}",
            manifest.ring0, traits.ring0
        ));
    }
    if let Some(lacking) = manifest.cpu.lacking_on(&CpuFeatures::of_host()) {
        return refuse(format!("it needs {lacking}"));
    }
    let error_ns = manifest.clock.error_ns(Moment::now());
    if error_ns.abs() > CLOCK_ERROR_MAX_NS {
        return Err(Error::Clock { path: dir.to_path_buf(), ms: error_ns / 1_000_000 });
    }
    Ok(())
}

/// What the state says about places in memory.
fn check_places(path: &Path, state: &State, layout: Layout) -> Result<ClonePlaces> {
    check_working_set(path, &state.working_set, layout)?;
    ClonePlaces::check(&state.clone_fields, layout).map_err(|e| Error::corrupt(path, e.to_string()))
}

fn union(mut pages: Vec<u32>, more: &[u32]) -> Vec<u32> {
    pages.extend(more);
    pages.sort_unstable();
    pages.dedup();
    pages
}

/// The pages must be pages of the memory, each once.
fn check_working_set(path: &Path, pages: &[u32], layout: Layout) -> Result<()> {
    let ascending = pages.windows(2).all(|pair| pair[0] < pair[1]);
    let inside = pages.last().is_none_or(|last| u64::from(*last) < layout.memory_len() / PAGE);
    if ascending && inside {
        return Ok(());
    }
    Err(Error::corrupt(path, "working set: page numbers outside of memory or out of order"))
}

/// More than 250 parts in a million, KVM's own default tolerance (kvm.tsc_tolerance_ppm): what is
/// less is the difference between two measurements of the same rate.
pub(super) fn rates_differ(a: u32, b: u32) -> bool {
    u64::from(a.abs_diff(b)) * 4000 > u64::from(a)
}

/// A snapshot from a machine whose TSC has another rate.
fn scale_tsc(
    dir: &Path,
    host: &Host,
    prepared: Prepared,
    manifest: &Manifest,
    traits: Traits,
) -> Result<Prepared> {
    if traits.tsc == TscControl::Settable && host.can_scale_tsc() {
        return Ok(prepared.scale_tsc());
    }
    let why = format!(
        "its time stamp counter runs at {} kHz, this host's at {} kHz and cannot be scaled",
        manifest.clock.tsc_khz, traits.tsc_khz
    );
    Err(Error::Host { path: dir.to_path_buf(), why })
}

fn read_small(path: &Path) -> Result<Vec<u8>> {
    read_at_most(path, SMALL_FILE_MAX)
}

pub(super) fn read_at_most(path: &Path, max: u64) -> Result<Vec<u8>> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(Error::file(path))?;
    if bytes.len() as u64 > max {
        return Err(Error::corrupt(path, format!("longer than {max} bytes")));
    }
    Ok(bytes)
}

fn open_exact(path: &Path, want: u64) -> Result<File> {
    let file = open(path)?;
    let have = file.metadata().map_err(Error::file(path))?.len();
    if have == want {
        Ok(file)
    } else {
        Err(Error::corrupt(path, format!("need {want} bytes, file has {have}")))
    }
}

pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(Error::file(path))
}
