//! What KVM counts of a VM and of a vCPU (Documentation/virt/kvm/api.rst, 4.133).

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::fs::FileExt;

use super::{Error, Result, Vcpu};

/// `_IO(KVMIO, 0xce)`.
const KVM_GET_STATS_FD: libc::c_ulong = 0xaece;

/// `struct kvm_stats_header`: flags, name_size, num_desc, id_offset, desc_offset, data_offset.
const HEADER: usize = 24;
/// `struct kvm_stats_desc` in front of the name: flags, exponent, size, offset, bucket_size.
const DESCRIPTOR: usize = 16;

/// All single numbers; histograms are left out.
pub(super) fn of(vcpu: &Vcpu, vm: RawFd) -> Result<BTreeMap<String, u64>> {
    let mut all = read(vm)?;
    all.extend(read(vcpu.fd().as_raw_fd())?);
    Ok(all)
}

fn read(fd: RawFd) -> Result<BTreeMap<String, u64>> {
    // SAFETY: the ioctl takes no argument and touches no memory of ours.
    let got = unsafe { libc::ioctl(fd, KVM_GET_STATS_FD) };
    if got < 0 {
        return Err(Error::io("KVM_GET_STATS_FD", std::io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just made the descriptor, so nobody else owns it.
    let file = unsafe { File::from_raw_fd(got) };
    parse(&file).map_err(|e| Error::io("read KVM's statistics", e))
}

fn parse(file: &File) -> std::io::Result<BTreeMap<String, u64>> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0)?;
    let [name_size, count, descriptors, data] = [4, 8, 16, 20].map(|at| word(&header, at));
    let step = DESCRIPTOR + name_size as usize;
    let mut table = vec![0; step * count as usize];
    file.read_exact_at(&mut table, descriptors.into())?;
    let mut numbers = BTreeMap::new();
    for descriptor in table.chunks_exact(step) {
        let size = u16::from_le_bytes([descriptor[6], descriptor[7]]);
        if size != 1 {
            continue;
        }
        let name = descriptor[DESCRIPTOR..].split(|byte| *byte == 0).next().unwrap_or_default();
        let mut value = [0; 8];
        let at = u64::from(data) + u64::from(word(descriptor, 8));
        file.read_exact_at(&mut value, at)?;
        numbers.insert(String::from_utf8_lossy(name).into_owned(), u64::from_le_bytes(value));
    }
    Ok(numbers)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}
