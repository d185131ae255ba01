use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use linux_loader::loader::{Elf, KernelLoader};
use vm_memory::bitmap::AtomicBitmap;
use vm_memory::{Address, GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use super::{Error, Result};
use crate::sys::Region;

/// RAM with addresses, as linux-loader wants it.
pub(super) type Memory = GuestMemoryMmap<AtomicBitmap>;

/// RAM from guest-physical address 0 on.
pub(super) fn memory(ram: &Arc<Region>) -> Result<Memory> {
    let region = GuestRegionMmap::with_arc(Arc::clone(ram), GuestAddress(0));
    let regions = region.into_iter().collect();
    Memory::from_regions(regions)
        .map_err(|e| Error::Kernel { path: "guest memory".into(), why: e.to_string() })
}

/// Puts an uncompressed kernel (vmlinux) where its program headers say; its entry point.
pub(super) fn load(memory: &Memory, path: &Path) -> Result<u64> {
    let mut file = File::open(path).map_err(Error::file(path))?;
    let loaded = Elf::load(memory, None, &mut file, None)
        .map_err(|e| Error::Kernel { path: path.to_path_buf(), why: e.to_string() })?;
    Ok(loaded.kernel_load.raw_value())
}
