use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP,
    VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_queue::{DescriptorChain, Queue, QueueT, Reader, Writer};
use vm_memory::bitmap::BitmapSlice;

use super::{Device, Memory, Served};

/// Bytes that a request counts in.
const SECTOR: u64 = 512;

/// A longer request is none that a driver makes.
const REQUEST_MAX: usize = 16 << 20;

/// Bytes that a write makes a fork's own.
const BLOCK: usize = 4096;

/// An image of a disk, shared by all forks.
#[derive(Debug)]
pub struct Disk {
    file: File,
    sectors: u64,
    id: String,
    read_only: bool,
}

impl Disk {
    /// A disk of this name; what is behind its last whole sector is not part of it.
    pub fn new(file: File, id: &str, read_only: bool) -> io::Result<Self> {
        let sectors = file.metadata()?.len() / SECTOR;
        Ok(Disk { file, sectors, id: id.to_owned(), read_only })
    }

    /// Bytes of a block, zero behind the end.
    fn block(&self, number: u64) -> io::Result<Box<[u8; BLOCK]>> {
        let mut block = Box::new([0; BLOCK]);
        let at = number * BLOCK as u64;
        let end = self.sectors * SECTOR;
        let len = end.saturating_sub(at).min(BLOCK as u64) as usize;
        self.file.read_exact_at(&mut block[..len], at)?;
        Ok(block)
    }
}

/// A fork's view of a disk: the image, and over it the blocks that the fork has written.
#[derive(Debug)]
pub(super) struct Block {
    disk: Arc<Disk>,
    written: HashMap<u64, Box<[u8; BLOCK]>>,
}

/// Why a request fails, as the driver is told.
struct Failed(u32);

impl From<io::Error> for Failed {
    fn from(_: io::Error) -> Self {
        Failed(VIRTIO_BLK_S_IOERR)
    }
}

impl Block {
    pub(super) fn new(disk: Arc<Disk>) -> Self {
        Block { disk, written: HashMap::new() }
    }

    /// Carries out a request; bytes written to the guest's buffers.
    fn request(&mut self, chain: &DescriptorChain<&Memory>, memory: &Memory) -> Option<u32> {
        let mut reader = chain.clone().reader(memory).ok()?;
        let mut writer = chain.clone().writer(memory).ok()?;
        // The status is the last byte that can be written.
        let room = writer.available_bytes().checked_sub(1)?;
        let mut status_at = writer.split_at(room).ok()?;
        let status = match self.carry_out(&mut reader, &mut writer) {
            Ok(()) => VIRTIO_BLK_S_OK,
            Err(Failed(status)) => status,
        };
        status_at.write_obj(status as u8).ok()?;
        u32::try_from(writer.bytes_written() + 1).ok()
    }

    fn carry_out<B: BitmapSlice>(
        &mut self,
        reader: &mut Reader<'_, B>,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), Failed> {
        let kind: u32 = reader.read_obj()?;
        let _reserved: u32 = reader.read_obj()?;
        let sector: u64 = reader.read_obj()?;
        match kind {
            VIRTIO_BLK_T_IN => {
                let at = self.start(sector, writer.available_bytes())?;
                self.read(at, writer)
            }
            VIRTIO_BLK_T_OUT if !self.disk.read_only => {
                let at = self.start(sector, reader.available_bytes())?;
                self.write(at, reader)
            }
            VIRTIO_BLK_T_OUT => Err(Failed(VIRTIO_BLK_S_IOERR)),
            // Nothing outlives a fork.
            VIRTIO_BLK_T_FLUSH => Ok(()),
            VIRTIO_BLK_T_GET_ID => {
                let mut id = [0; VIRTIO_BLK_ID_BYTES as usize];
                id.iter_mut().zip(self.disk.id.bytes()).for_each(|(to, byte)| *to = byte);
                Ok(writer.write_all(&id)?)
            }
            _ => Err(Failed(VIRTIO_BLK_S_UNSUPP)),
        }
    }

    /// Where a request begins, if all of it lies on the disk.
    fn start(&self, sector: u64, len: usize) -> Result<u64, Failed> {
        let sectors = (len as u64).div_ceil(SECTOR);
        let end = sector.checked_add(sectors);
        if len <= REQUEST_MAX && end.is_some_and(|end| end <= self.disk.sectors) {
            Ok(sector * SECTOR)
        } else {
            Err(Failed(VIRTIO_BLK_S_IOERR))
        }
    }

    fn read<B: BitmapSlice>(&self, mut at: u64, writer: &mut Writer<'_, B>) -> Result<(), Failed> {
        while writer.available_bytes() > 0 {
            let (number, offset) = (at / BLOCK as u64, at as usize % BLOCK);
            let len = writer.available_bytes().min(BLOCK - offset);
            match self.written.get(&number) {
                Some(block) => writer.write_all(&block[offset..offset + len])?,
                None => writer.write_all(&self.disk.block(number)?[offset..offset + len])?,
            }
            at += len as u64;
        }
        Ok(())
    }

    fn write<B: BitmapSlice>(
        &mut self,
        mut at: u64,
        reader: &mut Reader<'_, B>,
    ) -> Result<(), Failed> {
        while reader.available_bytes() > 0 {
            let (number, offset) = (at / BLOCK as u64, at as usize % BLOCK);
            let len = reader.available_bytes().min(BLOCK - offset);
            let block = match self.written.entry(number) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(self.disk.block(number)?)
                }
            };
            reader.read_exact(&mut block[offset..offset + len])?;
            at += len as u64;
        }
        Ok(())
    }
}

impl Device for Block {
    fn serve(&mut self, queues: &mut [Queue], index: usize, memory: &Memory) -> Served {
        let mut served = Served::NOTHING;
        let queue = &mut queues[index];
        // As many as the ring holds, at most: a driver that goes on adding is served again.
        for _ in 0..queue.size() {
            let Some(chain) = queue.pop_descriptor_chain(memory) else { break };
            let written = self.request(&chain, memory).unwrap_or(0);
            if queue.add_used(memory, chain.head_index(), written).is_err() {
                break;
            }
            served = Served::one(index);
        }
        served
    }

    /// `struct virtio_blk_config`: its first field is the capacity.
    fn config(&self) -> Vec<u8> {
        self.disk.sectors.to_le_bytes().to_vec()
    }
}
