use zeroboot_proto as proto;

use super::{Error, Result};
use crate::sys::Region;

const MIB: u64 = 1 << 20;
/// Page tables map DAX images in pages of this size.
const ALIGN: u64 = 2 * MIB;

/// The guest-physical address space.
///
/// ```text
/// 0                RAM, as the guest kernel knows it
/// ram_bytes        mailbox, in the same memslot
/// 0xd000_0000      doorbell, no memslot
/// 4 GiB            root file system image, read-only memslot
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    ram_bytes: u64,
    rootfs_bytes: u64,
}

impl Layout {
    /// Where the root file system's image lies.
    pub const ROOTFS_AT: u64 = 1 << 32;

    /// A layout with this much RAM and an image of this size.
    pub fn new(ram_bytes: u64, rootfs_bytes: u64) -> Result<Self> {
        if !ram_bytes.is_multiple_of(ALIGN) || !(32 * MIB..=3072 * MIB).contains(&ram_bytes) {
            return Err(Error::MemorySize { bytes: ram_bytes });
        }
        let limit = 64 << 30;
        if !rootfs_bytes.is_multiple_of(ALIGN) || !(ALIGN..=limit).contains(&rootfs_bytes) {
            return Err(Error::RootfsSize { bytes: rootfs_bytes });
        }
        Ok(Layout { ram_bytes, rootfs_bytes })
    }

    /// Bytes of RAM.
    pub fn ram_bytes(self) -> u64 {
        self.ram_bytes
    }

    /// Bytes of the image.
    pub fn rootfs_bytes(self) -> u64 {
        self.rootfs_bytes
    }

    /// Guest-physical address of the mailbox, and its offset in the memory file.
    pub fn mailbox_at(self) -> u64 {
        self.ram_bytes
    }

    /// Bytes of the RAM memslot and of the memory file: RAM and mailbox.
    pub fn memory_len(self) -> u64 {
        self.ram_bytes + u64::from(proto::MAILBOX_SIZE)
    }

    pub(super) fn check(self, ram: &Region, rootfs: &Region) -> Result<()> {
        let same = |want: u64, have: usize| {
            if want == have as u64 {
                Ok(())
            } else {
                Err(Error::Memory { want, have: have as u64 })
            }
        };
        same(self.memory_len(), ram.size())?;
        same(self.rootfs_bytes, rootfs.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sizes_are_refused() {
        assert!(Layout::new(128 * MIB, 40 * MIB).is_ok());
        assert!(Layout::new(129 * MIB, 40 * MIB).is_err());
        assert!(Layout::new(4096 * MIB, 40 * MIB).is_err());
        assert!(Layout::new(128 * MIB, 0).is_err());
        assert!(Layout::new(128 * MIB, 4096).is_err());
    }

    #[test]
    fn the_largest_machine_leaves_the_doorbell_free() {
        let layout = Layout::new(3072 * MIB, ALIGN).unwrap();
        assert!(layout.memory_len() <= proto::DOORBELL_GPA);
        const { assert!(proto::DOORBELL_GPA + proto::DOORBELL_SIZE <= Layout::ROOTFS_AT) };
    }
}
