use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::ptr;

use kvm_bindings::{
    CpuId, KVM_CAP_DIRTY_LOG_RING, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_CAP_SPLIT_IRQCHIP,
    KVM_DIRTY_LOG_PAGE_OFFSET, KVM_MEM_LOG_DIRTY_PAGES, KVM_MEM_READONLY, Msrs, kvm_dirty_gfn,
    kvm_enable_cap, kvm_msr_entry, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use zeroboot::{LoadOptions, Snapshot};
use zeroboot_proto::{self as proto, Event, Header, Request};

use super::find::Find;
use super::measure::way::Result;
use super::put_back::PutBack;
use super::state::State;

const PAGE: usize = 4096;
const ROOTFS_AT: u64 = 1 << 32;
const IA32_TSC_DEADLINE: u32 = 0x6e0;
/// Entries of the dirty ring; KVM wants a power of two.
const RING: usize = 4096;

/// A template's files.
pub struct Template {
    kvm: Kvm,
    state: State,
    cpuid: CpuId,
    memory: File,
    rootfs: File,
    memory_len: usize,
    rootfs_len: usize,
    mailbox: usize,
    usual: Vec<u32>,
    tsc_khz: u64,
}

impl Template {
    pub fn load(dir: &Path) -> Result<Self> {
        let snapshot = Snapshot::load(dir, LoadOptions::default())?;
        let manifest = snapshot.manifest();
        let state = State::parse(&fs::read(dir.join("state.bin"))?)?;
        Ok(Template {
            kvm: Kvm::new()?,
            cpuid: CpuId::from_entries(&state.cpuid).map_err(|e| format!("CPUID: {e:?}"))?,
            memory: File::open(dir.join("memory.img"))?,
            rootfs: File::open(dir.join("rootfs.img"))?,
            memory_len: (manifest.ram_bytes + u64::from(proto::MAILBOX_SIZE)) as usize,
            rootfs_len: manifest.rootfs_bytes as usize,
            mailbox: manifest.ram_bytes as usize,
            usual: snapshot.working_set().to_vec(),
            tsc_khz: u64::from(manifest.clock.tsc_khz),
            state,
        })
    }
}

/// A part of the address space that unmaps itself.
struct Map {
    at: *mut u8,
    len: usize,
}

impl Map {
    fn new(fd: &impl AsRawFd, len: usize, prot: i32, flags: i32, offset: i64) -> io::Result<Self> {
        // SAFETY: a new mapping, wherever there is room.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, prot, flags, fd.as_raw_fd(), offset) };
        if at == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Map { at: at.cast(), len })
        }
    }

    /// Where `len` bytes from `at` on are, which must lie in the mapping.
    fn place(&self, at: usize, len: usize) -> *mut u8 {
        assert!(at + len <= self.len);
        // SAFETY: inside the mapping, as was just checked.
        unsafe { self.at.add(at) }
    }

    fn advise(&self, page: usize, pages: usize, advice: i32) -> io::Result<()> {
        let (at, len) = (page * PAGE, pages * PAGE);
        // SAFETY: the range lies in the mapping; no reference is into it.
        check(unsafe { libc::madvise(self.place(at, len).cast(), len, advice) }).map(drop)
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        let place = self.place(at, bytes.len());
        // SAFETY: the place has room for them; the guest does not run meanwhile.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) };
    }

    fn read<const N: usize>(&self, at: usize) -> [u8; N] {
        let place = self.place(at, N).cast::<[u8; N]>();
        // SAFETY: the place is as long, and any bytes are an array of them.
        unsafe { place.read_unaligned() }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, whole.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

fn check(done: i32) -> io::Result<i32> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) }
}

/// A fork whose memory is put back again and again.
pub struct Machine<'a> {
    // The vCPU and the VM go before the memory.
    vcpu: VcpuFd,
    vm: VmFd,
    ram: Map,
    _rootfs: Map,
    template: &'a Template,
    way: Find,
    pagemap: File,
    /// What protects the memory, as long as it is open.
    _uffd: Option<OwnedFd>,
    ring: Option<Map>,
    ring_next: usize,
    found: Vec<u32>,
    log: Vec<u64>,
    /// The template's bytes of pages that were needed.
    originals: Vec<Option<Box<[u8; PAGE]>>>,
}

impl<'a> Machine<'a> {
    pub fn new(template: &'a Template, way: Find) -> Result<Self> {
        let vm = template.kvm.create_vm()?;
        enable(&vm, KVM_CAP_SPLIT_IRQCHIP, 24)?;
        match way {
            Find::KeptLog => enable(&vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1)?,
            Find::Ring => {
                enable(&vm, KVM_CAP_DIRTY_LOG_RING, (RING * size_of::<kvm_dirty_gfn>()) as u64)?
            }
            _ => {}
        }
        let (read, write) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE);
        let private = libc::MAP_PRIVATE | libc::MAP_NORESERVE;
        let ram = Map::new(&template.memory, template.memory_len, write, private, 0)?;
        let rootfs = Map::new(&template.rootfs, template.rootfs_len, read, libc::MAP_SHARED, 0)?;
        let logged = matches!(way, Find::KeptLog | Find::Log | Find::Ring);
        set_slot(&vm, 0, 0, &ram, if logged { KVM_MEM_LOG_DIRTY_PAGES } else { 0 })?;
        set_slot(&vm, 1, ROOTFS_AT, &rootfs, KVM_MEM_READONLY)?;
        let vcpu = vm.create_vcpu(0)?;
        vcpu.set_cpuid2(&template.cpuid)?;
        let ring = (way == Find::Ring).then(|| {
            let at = i64::from(KVM_DIRTY_LOG_PAGE_OFFSET) * PAGE as i64;
            Map::new(&vcpu, RING * size_of::<kvm_dirty_gfn>(), write, libc::MAP_SHARED, at)
        });
        let machine = Machine {
            ring: ring.transpose()?,
            _uffd: (way == Find::WriteProtect).then(|| write_protect(&ram)).transpose()?,
            pagemap: File::open("/proc/self/pagemap")?,
            ring_next: 0,
            found: Vec::new(),
            log: vec![0; template.memory_len.div_ceil(PAGE * 64)],
            originals: vec![None; template.memory_len / PAGE],
            vcpu,
            vm,
            ram,
            _rootfs: rootfs,
            template,
            way,
        };
        machine.reset_registers()?;
        if way == Find::WriteProtect {
            machine.scan(scan::PROTECT)?;
        }
        Ok(machine)
    }

    pub fn found(&self) -> &[u32] {
        &self.found
    }

    /// Runs a program to its end; its answer is whatever it is, since the bench of ways checks those.
    pub fn run(&mut self, program: &str) -> Result<()> {
        self.post(program);
        loop {
            match self.vcpu.run()? {
                VcpuExit::MmioWrite(proto::DOORBELL_GPA, data) => {
                    let rung = data.try_into().map_or(0, u32::from_le_bytes);
                    let code = u32::from_le_bytes(
                        self.ram.read(self.header(std::mem::offset_of!(Header, exit_code))),
                    );
                    if rung == proto::ring(Event::Done) && code == 0 {
                        return Ok(());
                    }
                    return Err(format!("the guest rang {rung:#x}, exit code {code}").into());
                }
                VcpuExit::IoIn(_, data) | VcpuExit::MmioRead(_, data) => data.fill(0xff),
                VcpuExit::IoOut(..) | VcpuExit::MmioWrite(..) | VcpuExit::Intr => {}
                exit => return Err(format!("the guest exited with {exit:?}").into()),
            }
        }
    }

    fn header(&self, field: usize) -> usize {
        self.template.mailbox + field
    }

    fn post(&self, program: &str) {
        let payload = self.template.mailbox + proto::PAYLOAD_START as usize;
        self.ram.write(payload, program.as_bytes());
        for (field, value) in [
            (std::mem::offset_of!(Header, request), Request::Run as u32),
            (std::mem::offset_of!(Header, payload_len), program.len() as u32),
            (std::mem::offset_of!(Header, output_start), proto::output_start(program.len() as u32)),
            (std::mem::offset_of!(Header, output_used), 0),
            (std::mem::offset_of!(Header, exit_code), 0),
        ] {
            self.ram.write(self.header(field), &value.to_le_bytes());
        }
    }

    pub fn reset_registers(&self) -> Result<()> {
        let state = &self.template.state;
        self.vcpu.set_sregs(&state.sregs)?;
        self.vcpu.set_xcrs(&state.xcrs)?;
        // SAFETY: this process never asked for more extended state than the struct's 4096 bytes.
        unsafe { self.vcpu.set_xsave(&state.xsave) }?;
        self.vcpu.set_regs(&state.regs)?;
        self.vcpu.set_lapic(&state.lapic)?;
        // SAFETY: RDTSC exists on every x86-64 processor. The deadline is far off on any counter.
        let now = unsafe { core::arch::x86_64::_rdtsc() };
        let mut entries = state.msrs.clone();
        let deadline = now + self.template.tsc_khz * 500;
        entries.push(kvm_msr_entry {
            index: IA32_TSC_DEADLINE,
            data: deadline,
            ..Default::default()
        });
        let msrs = Msrs::from_entries(&entries).map_err(|e| format!("MSRs: {e:?}"))?;
        let set = self.vcpu.set_msrs(&msrs)?;
        self.vcpu.set_mp_state(state.mp_state)?;
        if set == entries.len() { Ok(()) } else { Err(format!("{set} MSRs were taken").into()) }
    }

    /// Which pages were written.
    pub fn find(&mut self) -> Result<()> {
        match self.way {
            // A kept log is added to; the host's own writes are in none.
            Find::KeptLog | Find::Log => {
                self.read_log()?;
                self.add_mailbox();
            }
            Find::Ring => {
                self.harvest()?;
                self.add_mailbox();
            }
            Find::Scan => self.found = self.scan(scan::PRIVATE)?,
            Find::WriteProtect => {
                self.found = self.scan(scan::WRITTEN)?;
            }
            Find::Pagemap => self.read_pagemap()?,
            Find::Usual => self.found.clone_from(&self.template.usual),
        }
        Ok(())
    }

    fn add_mailbox(&mut self) {
        let first = (self.template.mailbox / PAGE) as u32;
        let payload = first + proto::PAYLOAD_START / PAGE as u32;
        for page in [first, payload] {
            if let Err(at) = self.found.binary_search(&page) {
                self.found.insert(at, page);
            }
        }
    }

    fn read_log(&mut self) -> io::Result<()> {
        let argument = (0u64, self.log.as_mut_ptr());
        // SAFETY: `struct kvm_dirty_log` is a slot in eight bytes and a pointer; the bitmap has a bit
        // for each page of slot 0.
        check(unsafe { libc::ioctl(self.vm.as_raw_fd(), KVM_GET_DIRTY_LOG, &argument) })?;
        self.found.clear();
        for (index, word) in self.log.iter().enumerate().filter(|(_, word)| **word != 0) {
            let bits = (0..64).filter(|bit| word >> bit & 1 == 1);
            self.found.extend(bits.map(|bit| (index * 64 + bit) as u32));
        }
        Ok(())
    }

    fn harvest(&mut self) -> io::Result<()> {
        let ring = self.ring.as_ref().expect("made with the machine");
        self.found.clear();
        loop {
            let at = self.ring_next % RING * size_of::<kvm_dirty_gfn>();
            let flags = u32::from_le_bytes(ring.read(at));
            if flags & 1 == 0 {
                break;
            }
            self.found.push(u64::from_le_bytes(ring.read(at + 8)) as u32);
            ring.write(at, &2u32.to_le_bytes());
            self.ring_next += 1;
        }
        self.found.sort_unstable();
        self.found.dedup();
        // SAFETY: an ioctl without an argument.
        check(unsafe { libc::ioctl(self.vm.as_raw_fd(), KVM_RESET_DIRTY_RINGS) }).map(drop)
    }

    fn scan(&self, wanted: scan::Wanted) -> io::Result<Vec<u32>> {
        let mut regions = [scan::Region::default(); 4096];
        let start = self.ram.at as u64;
        let mut argument =
            scan::Argument::new(wanted, start, start + self.ram.len as u64, &mut regions);
        // SAFETY: the argument names its own size, and an array with its length.
        let count = check(unsafe {
            libc::ioctl(self.pagemap.as_raw_fd(), scan::PAGEMAP_SCAN, &mut argument)
        })?;
        let page = |address: u64| ((address - start) / PAGE as u64) as u32;
        let regions = regions[..count as usize].iter();
        Ok(regions.flat_map(|region| page(region.start)..page(region.end)).collect())
    }

    fn read_pagemap(&mut self) -> io::Result<()> {
        /// proc_pid_pagemap(5): present; a page of a file, or shared.
        const PRESENT: u64 = 1 << 63;
        const FILE: u64 = 1 << 61;
        let mut entries = vec![0u8; self.ram.len / PAGE * 8];
        self.pagemap.read_exact_at(&mut entries, self.ram.at as u64 / PAGE as u64 * 8)?;
        let is_private = |(_, entry): &(usize, &[u8; 8])| {
            u64::from_le_bytes(**entry) & (PRESENT | FILE) == PRESENT
        };
        self.found.clear();
        self.found.extend(
            entries
                .as_chunks()
                .0
                .iter()
                .enumerate()
                .filter(is_private)
                .map(|(page, _)| page as u32),
        );
        Ok(())
    }

    /// Gives what was found its old bytes.
    pub fn put_back(&mut self, how: PutBack) -> io::Result<()> {
        self.write_back(how)?;
        if self.way == Find::WriteProtect {
            self.scan(scan::PROTECT)?;
        }
        Ok(())
    }

    fn write_back(&mut self, how: PutBack) -> io::Result<()> {
        match how {
            PutBack::Copy => (0..self.found.len()).try_for_each(|i| self.copy(self.found[i])),
            PutBack::DropAll => self.ram.advise(0, self.ram.len / PAGE, libc::MADV_DONTNEED),
            PutBack::DropFound => self
                .found
                .iter()
                .try_for_each(|page| self.ram.advise(*page as usize, 1, libc::MADV_DONTNEED)),
            PutBack::CopyUsualDropRest => (0..self.found.len()).try_for_each(|i| {
                let page = self.found[i];
                if self.template.usual.binary_search(&page).is_ok() {
                    self.copy(page)
                } else {
                    self.ram.advise(page as usize, 1, libc::MADV_DONTNEED)
                }
            }),
        }
    }

    fn copy(&mut self, page: u32) -> io::Result<()> {
        let at = page as usize * PAGE;
        let kept = &mut self.originals[page as usize];
        if kept.is_none() {
            let mut bytes = Box::new([0; PAGE]);
            self.template.memory.read_exact_at(&mut bytes[..], at as u64)?;
            *kept = Some(bytes);
        }
        self.ram.write(at, &kept.as_ref().expect("just filled")[..]);
        Ok(())
    }

    /// Whether all memory is as in the template: what the way missed shows here.
    pub fn memory_is_the_templates(&self) -> io::Result<bool> {
        let mut bytes = vec![0; PAGE];
        for page in 0..self.ram.len / PAGE {
            self.template.memory.read_exact_at(&mut bytes, (page * PAGE) as u64)?;
            if self.ram.read::<PAGE>(page * PAGE) != bytes[..] {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// `_IOW(KVMIO, 0x42, struct kvm_dirty_log)`
const KVM_GET_DIRTY_LOG: libc::c_ulong = 0x4010_ae42;
/// `_IO(KVMIO, 0xc7)`
const KVM_RESET_DIRTY_RINGS: libc::c_ulong = 0xaec7;

fn enable(vm: &VmFd, cap: u32, argument: u64) -> Result<()> {
    let mut enabled = kvm_enable_cap { cap, ..Default::default() };
    enabled.args[0] = argument;
    Ok(vm.enable_cap(&enabled)?)
}

fn set_slot(vm: &VmFd, slot: u32, at: u64, map: &Map, flags: u32) -> Result<()> {
    let region = kvm_userspace_memory_region {
        slot,
        flags,
        guest_phys_addr: at,
        memory_size: map.len as u64,
        userspace_addr: map.at as u64,
    };
    // SAFETY: the mapping has this length and lives in the `Machine`, behind the VM.
    Ok(unsafe { vm.set_user_memory_region(region) }?)
}

/// Registers memory with a userfaultfd that protects it without telling anybody.
fn write_protect(ram: &Map) -> io::Result<OwnedFd> {
    // linux/userfaultfd.h
    const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
    const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
    const PAGEFAULT_FLAG_WP: u64 = 1 << 0;
    const WP_ASYNC: u64 = 1 << 15;
    const WP_UNPOPULATED: u64 = 1 << 13;
    const REGISTER_MODE_WP: u64 = 1 << 1;
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) } as i32)?;
    // SAFETY: the call just made it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut api = [0xaau64, PAGEFAULT_FLAG_WP | WP_ASYNC | WP_UNPOPULATED, 0];
    // SAFETY: `struct uffdio_api` is three words.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_API, &mut api) })?;
    let mut register = [ram.at as u64, ram.len as u64, REGISTER_MODE_WP, 0];
    // SAFETY: `struct uffdio_register` is four words, and the range is the mapping's own.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_REGISTER, &mut register) })?;
    Ok(fd)
}

/// linux/fs.h
mod scan {
    pub const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
    const WRITTEN_BIT: u64 = 1 << 1;
    const FILE: u64 = 1 << 2;
    const PRESENT: u64 = 1 << 3;
    const SWAPPED: u64 = 1 << 4;

    #[repr(C)]
    #[derive(Clone, Copy, Default)]
    pub struct Region {
        pub start: u64,
        pub end: u64,
        categories: u64,
    }

    /// What is looked for: flags, inverted, all of, any of.
    pub type Wanted = [u64; 4];
    /// Pages that are not the file's.
    pub const PRIVATE: Wanted = [0, FILE, FILE, PRESENT | SWAPPED];
    /// Pages written since they were protected.
    pub const WRITTEN: Wanted = [0b10, 0, WRITTEN_BIT, 0];
    /// The same, and protects them again.
    pub const PROTECT: Wanted = [0b11, 0, WRITTEN_BIT, 0];

    #[repr(C)]
    pub struct Argument {
        size: u64,
        flags: u64,
        start: u64,
        end: u64,
        walk_end: u64,
        regions: *mut Region,
        regions_len: u64,
        max_pages: u64,
        inverted: u64,
        all: u64,
        any: u64,
        returned: u64,
    }

    impl Argument {
        pub fn new(wanted: Wanted, start: u64, end: u64, regions: &mut [Region]) -> Self {
            let [flags, inverted, all, any] = wanted;
            Argument {
                size: size_of::<Argument>() as u64,
                flags,
                start,
                end,
                walk_end: 0,
                regions: regions.as_mut_ptr(),
                regions_len: regions.len() as u64,
                max_pages: 0,
                inverted,
                all,
                any,
                // One category for all, so that neighbours are one region.
                returned: if flags == 0 { PRESENT } else { WRITTEN_BIT },
            }
        }
    }
}
