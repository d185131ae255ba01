use std::io::{Read, Write};

use virtio_queue::{Queue, QueueT};

use super::{Device, Memory, Served};

/// Virtio 1.2, 5.10.2: the guest's queues.
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// `struct virtio_vsock_hdr`.
const HEADER: usize = 44;
const SOURCE_CID: usize = 0;
const DESTINATION_CID: usize = 8;
const SOURCE_PORT: usize = 16;
const DESTINATION_PORT: usize = 20;
const LEN: usize = 24;
const TYPE: usize = 28;
const OPERATION: usize = 30;
const OPERATION_RESET: u16 = 3;

/// Packets that wait for the guest to make room.
const WAITING_MAX: usize = 256;

/// Sockets to a host on which nobody listens: every packet but a reset is answered with a reset.
#[derive(Debug)]
pub(super) struct Vsock {
    cid: u64,
    waiting: Vec<[u8; HEADER]>,
}

impl Vsock {
    pub(super) fn new(cid: u64) -> Self {
        Vsock { cid, waiting: Vec::new() }
    }

    fn take_packets(&mut self, queue: &mut Queue, memory: &Memory) -> bool {
        let mut any = false;
        for _ in 0..queue.size() {
            let Some(chain) = queue.pop_descriptor_chain(memory) else { break };
            let head = chain.head_index();
            let reader = chain.reader(memory).ok();
            let mut header = [0; HEADER];
            let whole = reader.is_some_and(|mut reader| reader.read_exact(&mut header).is_ok());
            if whole && self.waiting.len() < WAITING_MAX {
                self.waiting.extend(answer(&header));
            }
            if queue.add_used(memory, head, 0).is_err() {
                break;
            }
            any = true;
        }
        any
    }

    fn give_answers(&mut self, queue: &mut Queue, memory: &Memory) -> bool {
        let mut any = false;
        while !self.waiting.is_empty() {
            let Some(chain) = queue.pop_descriptor_chain(memory) else { break };
            let head = chain.head_index();
            let writer = chain.writer(memory).ok();
            let packet = self.waiting.remove(0);
            let whole = writer.is_some_and(|mut writer| writer.write_all(&packet).is_ok());
            let len = if whole { HEADER as u32 } else { 0 };
            if queue.add_used(memory, head, len).is_err() {
                break;
            }
            any = true;
        }
        any
    }
}

/// The reset that answers a packet.
fn answer(packet: &[u8; HEADER]) -> Option<[u8; HEADER]> {
    let operation = u16::from_le_bytes([packet[OPERATION], packet[OPERATION + 1]]);
    if operation == OPERATION_RESET {
        return None;
    }
    let mut answer = [0; HEADER];
    answer[SOURCE_CID..][..8].copy_from_slice(&packet[DESTINATION_CID..][..8]);
    answer[DESTINATION_CID..][..8].copy_from_slice(&packet[SOURCE_CID..][..8]);
    answer[SOURCE_PORT..][..4].copy_from_slice(&packet[DESTINATION_PORT..][..4]);
    answer[DESTINATION_PORT..][..4].copy_from_slice(&packet[SOURCE_PORT..][..4]);
    answer[LEN..][..4].fill(0);
    answer[TYPE..][..2].copy_from_slice(&packet[TYPE..][..2]);
    answer[OPERATION..][..2].copy_from_slice(&OPERATION_RESET.to_le_bytes());
    Some(answer)
}

impl Device for Vsock {
    fn serve(&mut self, queues: &mut [Queue], index: usize, memory: &Memory) -> Served {
        let mut served = Served::NOTHING;
        if index == TRANSMIT && self.take_packets(&mut queues[TRANSMIT], memory) {
            served.queues |= Served::one(TRANSMIT).queues;
        }
        let receive = &mut queues[RECEIVE];
        if index <= TRANSMIT
            && receive.ready()
            && receive.is_valid(memory)
            && self.give_answers(receive, memory)
        {
            served.queues |= Served::one(RECEIVE).queues;
        }
        served
    }

    /// `struct virtio_vsock_config`.
    fn config(&self) -> Vec<u8> {
        self.cid.to_le_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_answered_with_a_reset_from_where_it_went_to() {
        let mut request = [0; HEADER];
        request[SOURCE_CID] = 3;
        request[DESTINATION_CID] = 2;
        request[SOURCE_PORT] = 77;
        request[DESTINATION_PORT] = 52;
        request[TYPE] = 1;
        request[OPERATION] = 1;
        let reset = answer(&request).unwrap();
        assert_eq!((reset[SOURCE_CID], reset[DESTINATION_CID]), (2, 3));
        assert_eq!((reset[SOURCE_PORT], reset[DESTINATION_PORT]), (52, 77));
        assert_eq!((reset[TYPE], reset[OPERATION]), (1, 3));
        assert_eq!(answer(&reset), None);
    }
}
