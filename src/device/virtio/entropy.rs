use std::io::Write;

use virtio_queue::{DescriptorChain, Queue, QueueT};

use super::{Device, Memory, Served};
use crate::sys;

/// As much as one request gets; a driver asks for 64 bytes or so.
const REQUEST_MAX: usize = 4096;

/// A source of entropy: the host kernel's.
#[derive(Debug)]
pub(super) struct Entropy;

fn fill(chain: DescriptorChain<&Memory>, memory: &Memory) -> Option<u32> {
    let mut writer = chain.writer(memory).ok()?;
    let mut bytes = vec![0; writer.available_bytes().min(REQUEST_MAX)];
    sys::fill_random(&mut bytes).ok()?;
    writer.write_all(&bytes).ok()?;
    Some(bytes.len() as u32)
}

impl Device for Entropy {
    fn serve(&mut self, queues: &mut [Queue], index: usize, memory: &Memory) -> Served {
        let mut served = Served::NOTHING;
        let queue = &mut queues[index];
        for _ in 0..queue.size() {
            let Some(chain) = queue.pop_descriptor_chain(memory) else { break };
            let head = chain.head_index();
            let written = fill(chain, memory).unwrap_or(0);
            if queue.add_used(memory, head, written).is_err() {
                break;
            }
            served = Served::one(index);
        }
        served
    }
}
