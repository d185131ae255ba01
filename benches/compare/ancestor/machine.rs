#![allow(
    unsafe_code,
    reason = "memslots and XSAVE through kvm-ioctls; the library has no part in it"
)]

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::FromRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use kvm_bindings::{
    CpuId, KVM_IRQCHIP_IOAPIC, KVM_MEM_READONLY, KVM_PIT_SPEAKER_DUMMY, Msrs, kvm_irqchip,
    kvm_msr_entry, kvm_pit_config, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory};
use zeroboot::{Host, Snapshot, TscControl};
use zeroboot_proto::{self as proto, Event, Header, Request, Stream};

use super::state::State;
use crate::measure::way::Result;

/// What smaps calls a fork's memory.
pub const MEMFD: &str = "memfd:ancestor";
const MEMFD_NAME: &CStr = c"ancestor";

const ROOTFS_AT: u64 = 1 << 32;
const IA32_TSC: u32 = 0x10;
const IA32_TSC_DEADLINE: u32 = 0x6e0;
/// As in our restore, where ring 0 is emulated.
const TIMER_GRACE_MS: u64 = 500;
/// After this long, our forks put their timer ahead once more.
const LONG_WAIT: Duration = Duration::from_millis(50);

/// A snapshot, ready to be forked.
pub struct Template {
    kvm: Kvm,
    state: State,
    ioapic: kvm_irqchip,
    cpuid: CpuId,
    memory: Arc<File>,
    rootfs: Arc<MmapRegion<()>>,
    ram_bytes: u64,
    memory_len: usize,
    time: Time,
}

/// What a guest's clock was at the capture.
struct Time {
    control: TscControl,
    captured: SystemTime,
    tsc: u64,
    khz: u64,
}

/// One of its forks.
pub struct Machine {
    // The vCPU goes before the VM, the VM before the memory.
    vcpu: VcpuFd,
    _vm: VmFd,
    memory: MmapRegion<()>,
    _rootfs: Arc<MmapRegion<()>>,
    mailbox: usize,
    /// When it was forked and what puts its timer ahead, until it has run.
    waits: Option<(Instant, u64)>,
}

impl Template {
    /// Copies the memory into a memory file and gets the state ready.
    pub fn load(dir: &Path, snapshot: &Snapshot) -> Result<Self> {
        let manifest = snapshot.manifest();
        let state = State::parse(&fs::read(dir.join("state.bin"))?)?;
        let kvm = Kvm::new()?;
        let memory_len = (manifest.ram_bytes + u64::from(proto::MAILBOX_SIZE)) as usize;
        let rootfs = Arc::new(File::open(dir.join("rootfs.img"))?);
        Ok(Template {
            ioapic: ioapic(&kvm)?,
            cpuid: CpuId::from_entries(&state.cpuid).map_err(|e| format!("CPUID: {e:?}"))?,
            memory: Arc::new(memory_file(&dir.join("memory.img"), memory_len as u64)?),
            rootfs: Arc::new(map(
                &rootfs,
                manifest.rootfs_bytes as usize,
                libc::PROT_READ,
                libc::MAP_SHARED,
            )?),
            ram_bytes: manifest.ram_bytes,
            memory_len,
            time: Time {
                control: Host::open()?.traits()?.tsc,
                captured: SystemTime::UNIX_EPOCH + Duration::from_nanos(manifest.clock.realtime_ns),
                tsc: manifest.clock.tsc,
                khz: u64::from(manifest.clock.tsc_khz),
            },
            kvm,
            state,
        })
    }

    fn tsc(&self) -> Result<u64> {
        Ok(match self.time.control {
            // SAFETY: RDTSC exists on every x86-64 processor; Linux leaves it enabled.
            TscControl::Raw => unsafe { core::arch::x86_64::_rdtsc() },
            TscControl::Settable => {
                let elapsed = self.time.captured.elapsed()?.as_nanos();
                self.time.tsc + (elapsed * u128::from(self.time.khz) / 1_000_000) as u64
            }
        })
    }

    fn msrs(&self) -> Result<Msrs> {
        let tsc = self.tsc()?;
        let mut entries = self.state.msrs.clone();
        if self.time.control == TscControl::Settable {
            entries.push(entry(IA32_TSC, tsc));
        }
        entries.push(entry(IA32_TSC_DEADLINE, tsc + TIMER_GRACE_MS * self.time.khz));
        Msrs::from_entries(&entries).map_err(|e| format!("MSRs: {e:?}").into())
    }
}

impl Machine {
    /// As the ancestor spawns.
    pub fn fork(template: &Template) -> Result<Self> {
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let vm = template.kvm.create_vm()?;
        set_slot(&vm, 1, ROOTFS_AT, &template.rootfs, KVM_MEM_READONLY)?;
        vm.create_irq_chip()?;
        vm.create_pit2(kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() })?;
        vm.set_irqchip(&template.ioapic)?;
        let memory = map(&template.memory, template.memory_len, prot, libc::MAP_PRIVATE)?;
        set_slot(&vm, 0, 0, &memory, 0)?;
        let vcpu = vm.create_vcpu(0)?;
        vcpu.set_cpuid2(&template.cpuid)?;
        set_state(&vcpu, template)?;
        Ok(Machine {
            vcpu,
            _vm: vm,
            memory,
            _rootfs: Arc::clone(&template.rootfs),
            mailbox: template.ram_bytes as usize,
            waits: Some((Instant::now(), template.time.khz)),
        })
    }

    /// Has the guest run a program, to the end.
    pub fn run(&mut self, program: &str) -> Result<String> {
        self.put_timer_ahead()?;
        let start = self.post(program)?;
        loop {
            match self.vcpu.run()? {
                VcpuExit::MmioWrite(proto::DOORBELL_GPA, data) => {
                    let rung = data.try_into().map_or(0, u32::from_le_bytes);
                    if rung == proto::ring(Event::Done) {
                        return self.stdout(start);
                    }
                    return Err(format!("the ancestor's guest rang {rung:#x}").into());
                }
                VcpuExit::IoIn(_, data) | VcpuExit::MmioRead(_, data) => data.fill(0xff),
                VcpuExit::IoOut(..) | VcpuExit::MmioWrite(..) | VcpuExit::Intr => {}
                exit => return Err(format!("the ancestor's guest exited with {exit:?}").into()),
            }
        }
    }

    fn put_timer_ahead(&mut self) -> Result<()> {
        match self.waits.take() {
            Some((since, khz)) if since.elapsed() > LONG_WAIT => {
                let mut msrs = Msrs::from_entries(&[entry(IA32_TSC, 0)])
                    .map_err(|e| format!("MSRs: {e:?}"))?;
                self.vcpu.get_msrs(&mut msrs)?;
                let deadline = msrs.as_slice()[0].data + TIMER_GRACE_MS * khz;
                msrs.as_mut_slice()[0] = entry(IA32_TSC_DEADLINE, deadline);
                all_set(self.vcpu.set_msrs(&msrs)?, 1)
            }
            _ => Ok(()),
        }
    }

    /// Leaves a request in the mailbox; gives where the output will be.
    fn post(&self, program: &str) -> Result<u32> {
        let start = proto::output_start(program.len() as u32);
        let memory = self.memory.as_volatile_slice();
        memory.write_slice(program.as_bytes(), self.mailbox + proto::PAYLOAD_START as usize)?;
        for (field, value) in [
            (std::mem::offset_of!(Header, request), Request::Run as u32),
            (std::mem::offset_of!(Header, payload_len), program.len() as u32),
            (std::mem::offset_of!(Header, output_start), start),
            (std::mem::offset_of!(Header, output_used), 0),
            (std::mem::offset_of!(Header, exit_code), 0),
        ] {
            memory.write_obj(value, self.mailbox + field)?;
        }
        Ok(start)
    }

    fn word(&self, at: usize) -> Result<u32> {
        Ok(self.memory.as_volatile_slice().read_obj(self.mailbox + at)?)
    }

    /// The records of standard output.
    fn stdout(&self, start: u32) -> Result<String> {
        let used = self.word(std::mem::offset_of!(Header, output_used))?;
        let (mut at, mut text) = (start, Vec::new());
        while at < start + used {
            let head = proto::Record {
                sequence: self.word(at as usize)?,
                stream_and_len: self.word(at as usize + 4)?,
            };
            let mut bytes = vec![0; head.len() as usize];
            let from = self.mailbox + at as usize + size_of::<proto::Record>();
            self.memory.as_volatile_slice().read_slice(&mut bytes, from)?;
            if head.stream() == Some(Stream::Stdout) {
                text.extend(bytes);
            }
            at += proto::record_size(head.len());
        }
        Ok(String::from_utf8(text)?)
    }
}

fn set_state(vcpu: &VcpuFd, template: &Template) -> Result<()> {
    let state = &template.state;
    vcpu.set_sregs(&state.sregs)?;
    vcpu.set_xcrs(&state.xcrs)?;
    // SAFETY: this process never asked for more extended state than the struct's 4096 bytes.
    unsafe { vcpu.set_xsave(&state.xsave) }?;
    vcpu.set_regs(&state.regs)?;
    vcpu.set_lapic(&state.lapic)?;
    let msrs = template.msrs()?;
    all_set(vcpu.set_msrs(&msrs)?, msrs.as_slice().len())?;
    Ok(vcpu.set_mp_state(state.mp_state)?)
}

fn all_set(set: usize, wanted: usize) -> Result<()> {
    if set == wanted { Ok(()) } else { Err(format!("{set} of {wanted} MSRs were taken").into()) }
}

fn entry(index: u32, data: u64) -> kvm_msr_entry {
    kvm_msr_entry { index, data, ..Default::default() }
}

fn set_slot(vm: &VmFd, slot: u32, at: u64, region: &MmapRegion<()>, flags: u32) -> Result<()> {
    let slot = kvm_userspace_memory_region {
        slot,
        flags,
        guest_phys_addr: at,
        memory_size: region.size() as u64,
        userspace_addr: region.as_ptr() as u64,
    };
    // SAFETY: the region is mapped with this length and lives in the `Machine`, behind the VM.
    Ok(unsafe { vm.set_user_memory_region(slot) }?)
}

/// The IOAPIC's state that each fork is given: what a new one has, since the snapshot has none.
fn ioapic(kvm: &Kvm) -> Result<kvm_irqchip> {
    let vm = kvm.create_vm()?;
    vm.create_irq_chip()?;
    let mut state = kvm_irqchip { chip_id: KVM_IRQCHIP_IOAPIC, ..Default::default() };
    vm.get_irqchip(&mut state)?;
    Ok(state)
}

fn memory_file(path: &Path, len: u64) -> Result<File> {
    // SAFETY: the name is NUL-terminated and outlives the call.
    let fd = unsafe { libc::memfd_create(MEMFD_NAME.as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: the call just made the descriptor, and nobody else has it.
    let mut file = unsafe { File::from_raw_fd(fd) };
    let copied = io::copy(&mut File::open(path)?, &mut file)?;
    if copied == len { Ok(file) } else { Err(format!("memory of {copied} bytes").into()) }
}

fn map(file: &Arc<File>, len: usize, prot: i32, sharing: i32) -> Result<MmapRegion<()>> {
    Ok(MmapRegionBuilder::new(len)
        .with_file_offset(FileOffset::from_arc(Arc::clone(file), 0))
        .with_mmap_prot(prot)
        .with_mmap_flags(sharing | libc::MAP_NORESERVE)
        .build()?)
}
