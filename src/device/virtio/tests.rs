//! Devices against rings in memory, right ones and others.

use std::io::Write;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::mock::MockSplitQueue;
use vm_memory::{Bytes, GuestAddress, GuestRegionMmap};

use super::block::Block;
use super::*;
use crate::sys;

const RING: GuestAddress = GuestAddress(0);
const HEADER: u64 = 0x8000;
const DATA: u64 = 0x9000;
const STATUS: u64 = 0xe000;
/// What is at a status that nobody has written.
const UNTOUCHED: u32 = 0xaa;

fn memory() -> Memory {
    let (_file, region) = sys::shared_of_memfd(0x10000).unwrap();
    let slot = GuestRegionMmap::with_arc(Arc::new(region), GuestAddress(0)).unwrap();
    Memory::from_regions(vec![slot]).unwrap()
}

/// A disk of 64 sectors, each full of its number.
fn disk(read_only: bool) -> Arc<Disk> {
    let mut file = tempfile::tempfile().unwrap();
    (0..64u8).for_each(|sector| file.write_all(&[sector; 512]).unwrap());
    Arc::new(Disk::new(file, "disk", read_only).unwrap())
}

/// Hands the device a chain of (address, length, flags) and has it served.
fn serve(device: &mut dyn Device, memory: &Memory, chain: &[(u64, u32, u32)]) -> Served {
    let ring = MockSplitQueue::create(memory, RING, 16);
    let descriptor = |(i, (at, len, flags)): (usize, &(u64, u32, u32))| {
        let next = if i + 1 < chain.len() { VRING_DESC_F_NEXT } else { 0 };
        RawDescriptor::from(Descriptor::new(*at, *len, (flags | next) as u16, i as u16 + 1))
    };
    let descriptors: Vec<_> = chain.iter().enumerate().map(descriptor).collect();
    ring.add_desc_chains(&descriptors, 0).unwrap();
    let mut queues = [ring.create_queue::<Queue>().unwrap()];
    device.serve(&mut queues, 0, memory)
}

/// The status of a request of a driver's usual form.
fn request(block: &mut Block, memory: &Memory, kind: u32, sector: u64, len: u32) -> u32 {
    memory.write_obj(kind, GuestAddress(HEADER)).unwrap();
    memory.write_obj(sector, GuestAddress(HEADER + 8)).unwrap();
    memory.write_obj(UNTOUCHED as u8, GuestAddress(STATUS)).unwrap();
    let data = if kind == VIRTIO_BLK_T_IN { VRING_DESC_F_WRITE } else { 0 };
    let chain = [(HEADER, 16, 0), (DATA, len, data), (STATUS, 1, VRING_DESC_F_WRITE)];
    serve(block, memory, &chain);
    u32::from(memory.read_obj::<u8>(GuestAddress(STATUS)).unwrap())
}

fn data(memory: &Memory, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    memory.read_slice(&mut bytes, GuestAddress(DATA)).unwrap();
    bytes
}

#[test]
fn what_a_fork_writes_to_its_disk_is_read_by_it_and_by_nobody_else() {
    let (memory, disk) = (memory(), disk(false));
    let mut forks = [Block::new(Arc::clone(&disk)), Block::new(disk)];
    memory.write_slice(&[0xee; 1024], GuestAddress(DATA)).unwrap();
    assert_eq!(request(&mut forks[0], &memory, VIRTIO_BLK_T_OUT, 7, 1024), VIRTIO_BLK_S_OK);
    assert_eq!(request(&mut forks[0], &memory, VIRTIO_BLK_T_IN, 6, 2048), VIRTIO_BLK_S_OK);
    let expected = [[6; 512], [0xee; 512], [0xee; 512], [9; 512]].concat();
    assert_eq!(data(&memory, 2048), expected);
    assert_eq!(request(&mut forks[1], &memory, VIRTIO_BLK_T_IN, 7, 512), VIRTIO_BLK_S_OK);
    assert_eq!(data(&memory, 512), [7; 512]);
}

#[test]
fn a_disk_ends_where_it_ends_and_one_that_is_read_only_takes_nothing() {
    let memory = memory();
    let mut block = Block::new(disk(false));
    assert_eq!(request(&mut block, &memory, VIRTIO_BLK_T_IN, 63, 512), VIRTIO_BLK_S_OK);
    for (sector, len) in [(63, 1024), (64, 512), (u64::MAX, 512), (u64::MAX / 512, 512)] {
        for kind in [VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT] {
            assert_eq!(request(&mut block, &memory, kind, sector, len), VIRTIO_BLK_S_IOERR);
        }
    }
    assert_eq!(request(&mut block, &memory, 99, 0, 512), VIRTIO_BLK_S_UNSUPP);
    let mut read_only = Block::new(disk(true));
    assert_eq!(request(&mut read_only, &memory, VIRTIO_BLK_T_OUT, 0, 512), VIRTIO_BLK_S_IOERR);
}

#[test]
fn chains_that_make_no_sense_do_no_harm() {
    let memory = memory();
    let write = VRING_DESC_F_WRITE;
    let indirect = virtio_bindings::virtio_ring::VRING_DESC_F_INDIRECT;
    let chains: &[&[(u64, u32, u32)]] = &[
        &[(HEADER, 16, 0)],
        &[(HEADER, 3, 0), (STATUS, 1, write)],
        &[(STATUS, 1, write), (HEADER, 16, 0)],
        &[(u64::MAX - 4, 16, 0), (STATUS, 1, write)],
        &[(HEADER, u32::MAX, 0), (DATA, u32::MAX, write), (STATUS, 1, write)],
        &[(HEADER, 16, 0), (0xffff, 512, write), (STATUS, 0, write)],
        &[(HEADER, 16, indirect)],
        &[(0, 0, indirect | write)],
    ];
    for model in [Model::Block(disk(false)), Model::Entropy, Model::Vsock { cid: 3 }] {
        for chain in chains {
            serve(device(&model).as_mut(), &memory, chain);
        }
    }
}

#[test]
fn a_source_of_entropy_fills_what_it_is_given() {
    let memory = memory();
    let served = serve(&mut entropy::Entropy, &memory, &[(DATA, 64, VRING_DESC_F_WRITE)]);
    assert_eq!(served, Served::one(0));
    assert_ne!(data(&memory, 64), [0; 64]);
}
