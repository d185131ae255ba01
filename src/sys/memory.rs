//! Guest memory as mappings that unmap themselves.
//!
//! Every mapping is `MADV_DONTFORK`: a fork(2) of the host program must neither copy a guest's
//! memory nor share a doorbell with it.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use vm_memory::bitmap::{AtomicBitmap, BS, NewBitmap};
use vm_memory::mmap::{MmapRegionBuilder, MmapRegionError};
use vm_memory::{FileOffset, MmapRegion, VolatileSlice};

use super::{Error, Result};

/// An owned mapping; it unmaps when dropped. Its bitmap has the pages that this process wrote to by
/// way of it, which KVM's own log of a guest's writes does not know.
pub type Region = MmapRegion<AtomicBitmap>;

/// A part of a region.
pub type Slice<'a> = VolatileSlice<'a, BS<'a, AtomicBitmap>>;

/// Maps a file copy-on-write: writes stay in this mapping, pages nobody wrote are the file's.
pub fn private_of_file(file: &Arc<File>, len: usize) -> Result<Region> {
    map(file, len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE)
}

/// Maps a part of a file copy-on-write; it begins at a whole page.
pub fn private_of_file_at(file: &Arc<File>, from: u64, len: usize) -> Result<Region> {
    map_at(file, from, len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE)
}

/// Maps a file for reading, shared with everybody who maps it.
///
/// What has to be read from disk for it is kept in huge pages, where kernel and file system can:
/// where the guest maps its image by huge pages, too, KVM fills 2 MiB of its page tables at once.
pub fn read_only_of_file(file: &Arc<File>, len: usize) -> Result<Region> {
    let region = map(file, len, libc::PROT_READ, libc::MAP_SHARED)?;
    // SAFETY: the range is exactly the region's own, and the advice does not change its contents.
    let done = unsafe { libc::madvise(region.as_ptr().cast(), len, libc::MADV_HUGEPAGE) };
    match (done, Error::last("madvise HUGEPAGE")) {
        (0, _) => Ok(region),
        // A kernel without huge pages.
        (_, error) if error.errno() == libc::EINVAL => Ok(region),
        (_, error) => Err(error),
    }
}

/// Drops what the system has cached of a file, so that the next to map it may have it in larger
/// pages than those in which it was written. What somebody maps already stays as it is.
pub fn forget_cached(file: &File) -> Result<()> {
    // What cannot be written back stays cached, and the file is mapped as it is.
    let _ = file.sync_data();
    // SAFETY: the call touches no memory of ours.
    let failed = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    match failed {
        0 => Ok(()),
        errno => Err(Error::new("posix_fadvise DONTNEED", io::Error::from_raw_os_error(errno))),
    }
}

/// A new memory file of `len` zero bytes and a shared mapping of it.
pub fn shared_of_memfd(len: usize) -> Result<(Arc<File>, Region)> {
    let file = Arc::new(memfd(c"zeroboot-template", len, 0)?);
    let region = map(&file, len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)?;
    Ok((file, region))
}

/// Copies the first `len` bytes of `file` into a memory file that nobody can shrink or write to.
///
/// A mapped file that somebody truncates raises SIGBUS in the process that touches it; a sealed
/// copy cannot be truncated. Holes stay holes.
pub fn sealed_copy(file: &File, len: usize) -> Result<File> {
    let copy = memfd(c"zeroboot-sealed", len, libc::MFD_ALLOW_SEALING)?;
    let mut from = 0i64;
    let mut buffer = vec![0u8; 1 << 20];
    while let Some((start, end)) = next_data(file, from, len as i64)? {
        let mut at = start as u64;
        while at < end as u64 {
            let n = buffer.len().min((end as u64 - at) as usize);
            let chunk = &mut buffer[..n];
            file.read_exact_at(chunk, at).map_err(|e| Error::new("read memory file", e))?;
            copy.write_all_at(chunk, at).map_err(|e| Error::new("write sealed copy", e))?;
            at += n as u64;
        }
        from = end;
    }
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
    // SAFETY: fcntl on an open descriptor with an integer argument touches no memory of ours.
    let done = unsafe { libc::fcntl(copy.as_raw_fd(), libc::F_ADD_SEALS, seals) };
    if done == 0 { Ok(copy) } else { Err(Error::last("F_ADD_SEALS")) }
}

/// Gives a copy-on-write mapping its own copies of some pages (numbers, in ascending order), as a
/// write to each of them would.
///
/// Not by reading and writing: that would map the file's page first and then replace it, which
/// every VM of the process is told of. Older kernels (before 5.14) do not know the request; there
/// it does nothing, and the guest's own writes make the copies.
pub fn make_private(region: &Region, pages: &[u32]) -> Result<()> {
    for run in pages.chunk_by(|a, b| a + 1 == *b) {
        let (at, len) = (run[0] as usize * PAGE, run.len() * PAGE);
        if at + len > region.size() {
            break;
        }
        // SAFETY: the range was just checked to lie inside the region.
        let start = unsafe { region.as_ptr().add(at) };
        // SAFETY: the range is the region's own, and populating changes no byte of it.
        if unsafe { libc::madvise(start.cast(), len, libc::MADV_POPULATE_WRITE) } != 0 {
            let error = Error::last("madvise POPULATE_WRITE");
            return match error.errno() {
                // Pages that are not there yet get there when they are written to.
                libc::EINVAL | libc::EINTR | libc::EAGAIN => Ok(()),
                _ => Err(error),
            };
        }
    }
    Ok(())
}

/// Makes all of a copy-on-write mapping the file's again.
pub fn forget_private(region: &Region) -> Result<()> {
    // SAFETY: the range is exactly the region's own. Its bytes change, as those of memory that a
    // guest writes to may at any time; the region hands out no references to them.
    let done = unsafe { libc::madvise(region.as_ptr().cast(), region.size(), libc::MADV_DONTNEED) };
    if done == 0 { Ok(()) } else { Err(Error::last("madvise DONTNEED")) }
}

const PAGE: usize = 4096;

/// Excludes a mapping from children of fork(2).
fn advise_dont_fork(region: &Region) -> Result<()> {
    // SAFETY: the range is exactly the region's own, and DONTFORK does not change its contents.
    let done = unsafe { libc::madvise(region.as_ptr().cast(), region.size(), libc::MADV_DONTFORK) };
    if done == 0 { Ok(()) } else { Err(Error::last("madvise DONTFORK")) }
}

fn map(file: &Arc<File>, len: usize, prot: i32, sharing: i32) -> Result<Region> {
    map_at(file, 0, len, prot, sharing)
}

fn map_at(file: &Arc<File>, from: u64, len: usize, prot: i32, sharing: i32) -> Result<Region> {
    let region = MmapRegionBuilder::new_with_bitmap(len, AtomicBitmap::with_len(len))
        .with_file_offset(FileOffset::from_arc(Arc::clone(file), from))
        .with_mmap_prot(prot)
        .with_mmap_flags(sharing | libc::MAP_NORESERVE)
        .build()
        .map_err(|e| match e {
            MmapRegionError::Mmap(source) => Error::new("mmap guest memory", source),
            other => Error::new("mmap guest memory", io::Error::other(other.to_string())),
        })?;
    advise_dont_fork(&region)?;
    Ok(region)
}

fn memfd(name: &std::ffi::CStr, len: usize, flags: libc::c_uint) -> Result<File> {
    // SAFETY: the name is NUL-terminated and outlives the call.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | flags) };
    if fd < 0 {
        return Err(Error::last("memfd_create"));
    }
    // SAFETY: the call just made the descriptor, and nobody else has it.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(len as u64).map_err(|e| Error::new("size memory file", e))?;
    Ok(file)
}

/// The next run of data at or behind `from`, cut at `len`; `None` when only a hole is left.
fn next_data(file: &File, from: i64, len: i64) -> Result<Option<(i64, i64)>> {
    let seek = |at: i64, whence: i32| {
        // SAFETY: lseek on an open descriptor touches no memory of ours.
        let found = unsafe { libc::lseek(file.as_raw_fd(), at, whence) };
        if found >= 0 { Ok(found) } else { Err(Error::last("lseek memory file")) }
    };
    if from >= len {
        return Ok(None);
    }
    let start = match seek(from, libc::SEEK_DATA) {
        Err(e) if e.errno() == libc::ENXIO => return Ok(None),
        other => other?,
    };
    if start >= len {
        return Ok(None);
    }
    Ok(Some((start, seek(start, libc::SEEK_HOLE)?.min(len))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_copy_has_the_bytes_and_cannot_shrink() {
        let source = memfd(c"source", 1 << 16, 0).unwrap();
        source.write_all_at(b"here", 0x5000).unwrap();
        let copy = sealed_copy(&source, 1 << 16).unwrap();
        let mut got = [0u8; 4];
        copy.read_exact_at(&mut got, 0x5000).unwrap();
        assert_eq!(&got, b"here");
        assert!(copy.set_len(0x1000).is_err());
        assert!(copy.write_at(b"x", 0).is_err());
    }

    #[test]
    fn pages_made_private_keep_their_bytes() {
        use vm_memory::{Bytes, VolatileMemory};
        let file = Arc::new(memfd(c"file", 8 * PAGE, 0).unwrap());
        file.write_all_at(b"kept", 2 * PAGE as u64).unwrap();
        let region = private_of_file(&file, 8 * PAGE).unwrap();
        make_private(&region, &[1, 2, 5, 99]).unwrap();
        file.write_all_at(b"late", 2 * PAGE as u64).unwrap();
        let mut got = [0u8; 4];
        region.as_volatile_slice().read_slice(&mut got, 2 * PAGE).unwrap();
        assert_eq!(&got, b"kept");
    }

    #[test]
    fn a_private_mapping_leaves_the_file_alone() {
        use vm_memory::{Bytes, VolatileMemory};
        let file = Arc::new(memfd(c"file", 0x2000, 0).unwrap());
        let region = private_of_file(&file, 0x2000).unwrap();
        region.as_volatile_slice().write_slice(b"mine", 0x10).unwrap();
        let mut got = [1u8; 4];
        file.read_exact_at(&mut got, 0x10).unwrap();
        assert_eq!(got, [0; 4]);
    }
}
