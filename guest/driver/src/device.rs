//! The guest kernel's devices: doorbell and mailbox, and the two that stand behind fd 1 and 2.

use std::ffi::c_void;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::{self, NonNull};

use zeroboot_proto::{DOORBELL_SIZE, MAILBOX_SIZE};

use crate::mailbox::{Bell, Mailbox};

const DEVICE: &str = "/dev/zeroboot";
const STANDARD_OUTPUTS: [(&str, i32); 2] =
    [("/dev/zeroboot-stdout", 1), ("/dev/zeroboot-stderr", 2)];

/// `/dev/zeroboot`, which only root can open; an open one may be handed to another process.
pub struct Device(File);

impl Device {
    /// Opens the device.
    pub fn open() -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(DEVICE).map(Device)
    }

    /// The device that another process has opened and handed on as `descriptor`, which stays
    /// open: this is a duplicate of it.
    pub fn inherited(descriptor: i32) -> io::Result<Self> {
        // SAFETY: touches no memory; a wrong descriptor is an error.
        match unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 3) } {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: the kernel has just made it, so nobody else owns it.
            new => Ok(Device(unsafe { File::from_raw_fd(new) })),
        }
    }

    /// The open file, to hand it on.
    pub fn file(&self) -> &File {
        &self.0
    }

    /// Maps doorbell and mailbox, for the rest of the process's life.
    pub(crate) fn map(&self) -> io::Result<(Doorbell, Mailbox)> {
        let doorbell = self.map_shared(0, DOORBELL_SIZE as usize)?;
        let mailbox = self.map_shared(DOORBELL_SIZE as i64, MAILBOX_SIZE as usize)?;
        // SAFETY: MAILBOX_SIZE bytes are mapped, page-aligned and never unmapped; only pointers
        // into them exist.
        Ok((Doorbell(doorbell.cast()), unsafe { Mailbox::new(mailbox.cast()) }))
    }

    fn map_shared(&self, offset: i64, len: usize) -> io::Result<NonNull<c_void>> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let fd = self.0.as_raw_fd();
        // SAFETY: the kernel chooses the address, so no mapping of this process is replaced.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, access, libc::MAP_SHARED, fd, offset) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        keep_from_children(at, len)?;
        NonNull::new(at).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))
    }
}

/// A child that a program forks must not answer in its parent's place.
fn keep_from_children(at: *mut c_void, len: usize) -> io::Result<()> {
    // SAFETY: the range is a mapping made by the caller; DONTFORK does not change its contents.
    match unsafe { libc::madvise(at, len, libc::MADV_DONTFORK) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The doorbell page.
pub struct Doorbell(NonNull<u32>);

// SAFETY: the page is mapped in the whole process; a store to it is a message, not shared state.
unsafe impl Send for Doorbell {}
// SAFETY: as above; besides, only `&mut self` rings.
unsafe impl Sync for Doorbell {}

impl Bell for Doorbell {
    fn ring(&mut self, value: u32) {
        // What was written to the mailbox is in place before the host looks.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        // SAFETY: the page stays mapped (`Device::map`) and is aligned.
        unsafe { self.0.as_ptr().write_volatile(value) };
        // The host has written to the mailbox in the middle of that store.
        std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
    }
}

/// Puts the kernel's output devices behind fd 1 and 2, for what does not write through a
/// [`Channel`](crate::Channel): children, and libraries that write to a descriptor.
pub fn capture_output() -> io::Result<()> {
    for (path, fd) in STANDARD_OUTPUTS {
        let file = OpenOptions::new().write(true).open(path)?;
        // SAFETY: replaces a standard descriptor, which nothing in the process owns.
        if unsafe { libc::dup2(file.as_raw_fd(), fd) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
