use std::mem::size_of;
use std::sync::Arc;

use vm_memory::{Bytes, VolatileMemory};
use zeroboot_proto as proto;
use zeroboot_proto::{CloneField, Header, Request, Seed};

use crate::sys::{Region, Slice};

/// Words of a header.
const WORDS: usize = size_of::<Header>() / 4;

/// The host's side of the pages that it shares with a guest.
///
/// The guest may write to them at any time. So all reads are copies, made once, and no length or
/// offset in them is used before it was checked in the copy.
#[derive(Clone, Debug)]
pub struct Mailbox {
    ram: Arc<Region>,
    at: usize,
}

impl Mailbox {
    /// The mailbox at offset `at` of a region, if it fits in.
    pub fn new(ram: &Arc<Region>, at: usize) -> Option<Self> {
        let end = at.checked_add(proto::MAILBOX_SIZE as usize)?;
        (end <= ram.size()).then(|| Mailbox { ram: Arc::clone(ram), at })
    }

    /// Makes it an empty mailbox of this version, for a machine that boots.
    pub fn format(&self) {
        self.erase();
        self.store(0, proto::MAGIC);
        self.store(1, proto::VERSION);
    }

    /// Erases what runs left in it; the guest stands at its doorbell and no request is open.
    pub fn tidy(&self) {
        let sequence = self.header().sequence;
        self.format();
        self.store(SEQUENCE, sequence);
    }

    /// A private copy of the header.
    pub fn header(&self) -> Header {
        let mut words = [0u32; WORDS];
        for (i, word) in words.iter_mut().enumerate() {
            *word = self.load(i);
        }
        let [
            magic,
            version,
            request,
            payload_len,
            output_start,
            output_used,
            exit_code,
            console_used,
            sequence,
            death,
            death_detail,
            seed,
        ] = words;
        Header {
            magic,
            version,
            request,
            payload_len,
            output_start,
            output_used,
            exit_code,
            console_used,
            sequence,
            death,
            death_detail,
            seed,
        }
    }

    /// Leaves a request for a runtime that stands at its doorbell. `payload` is at most
    /// [`proto::PAYLOAD_MAX`] bytes; a longer one is not posted and gives `None`. The offset of
    /// the output that it will give is returned.
    pub fn post(&self, request: Request, payload: &[u8]) -> Option<u32> {
        let len = u32::try_from(payload.len()).ok().filter(|n| *n <= proto::PAYLOAD_MAX)?;
        let output_start = proto::output_start(len);
        self.slice().write_slice(payload, proto::PAYLOAD_START as usize).ok()?;
        self.store(REQUEST, request as u32);
        self.store(PAYLOAD_LEN, len);
        self.store(OUTPUT_START, output_start);
        self.store(OUTPUT_USED, 0);
        self.store(EXIT_CODE, 0);
        Some(output_start)
    }

    /// Leaves a seed for a runtime that stands at its doorbell: it reseeds what it has loaded before
    /// its next request.
    pub fn leave_seed(&self, why: Seed, seed: &[u8; proto::SEED_BYTES as usize]) {
        self.slice()
            .write_slice(seed, proto::SEED_START as usize)
            .expect("the seed lies inside the mailbox");
        self.store(SEED, why as u32);
    }

    /// What a booted guest's kernel says about what its clones must not share. Nothing of it is
    /// checked but that there is room for so many.
    pub fn clone_fields(&self) -> Vec<CloneField> {
        let at = |i: usize| proto::CLONE_FIELDS_START as usize / 4 + i;
        let long = |i| u64::from(self.load(at(i))) | u64::from(self.load(at(i + 1))) << 32;
        let count = long(0).min(u64::from(proto::CLONE_FIELDS_MAX)) as usize;
        let field = |i| CloneField {
            address: long(i),
            len: self.load(at(i + 2)),
            kind: self.load(at(i + 3)),
        };
        (0..count).map(|i| field(2 + 4 * i)).collect()
    }

    /// Appends a private copy of bytes `from..to` to a buffer; the caller has checked that the
    /// range lies inside the mailbox and made room.
    pub fn copy(&self, from: u32, to: u32, into: &mut Vec<u8>) {
        let old = into.len();
        into.resize(old + (to - from) as usize, 0);
        self.slice()
            .read_slice(&mut into[old..], from as usize)
            .expect("the caller checked the range against the mailbox");
    }

    /// Empties the runtime's area, which it has announced as full. It will do so itself when it goes
    /// on, but a look at the mailbox may come before that.
    pub fn empty_output(&self) {
        self.store(OUTPUT_USED, 0);
    }

    /// The same for the guest kernel's area.
    pub fn empty_console(&self) {
        self.store(CONSOLE_USED, 0);
    }

    fn erase(&self) {
        const ZEROS: [u8; 4096] = [0; 4096];
        for page in (0..proto::MAILBOX_SIZE as usize).step_by(ZEROS.len()) {
            self.slice().write_slice(&ZEROS, page).expect("a page of the mailbox");
        }
    }

    fn slice(&self) -> Slice<'_> {
        self.ram
            .get_slice(self.at, proto::MAILBOX_SIZE as usize)
            .expect("new checked that the mailbox lies inside the region")
    }

    fn load(&self, word: usize) -> u32 {
        let bytes: [u8; 4] =
            self.slice().read_obj(word * 4).expect("the header lies inside the mailbox");
        u32::from_le_bytes(bytes)
    }

    fn store(&self, word: usize, value: u32) {
        self.slice()
            .write_obj(value.to_le_bytes(), word * 4)
            .expect("the header lies inside the mailbox");
    }
}

const REQUEST: usize = std::mem::offset_of!(Header, request) / 4;
const PAYLOAD_LEN: usize = std::mem::offset_of!(Header, payload_len) / 4;
const OUTPUT_START: usize = std::mem::offset_of!(Header, output_start) / 4;
const OUTPUT_USED: usize = std::mem::offset_of!(Header, output_used) / 4;
const EXIT_CODE: usize = std::mem::offset_of!(Header, exit_code) / 4;
const CONSOLE_USED: usize = std::mem::offset_of!(Header, console_used) / 4;
const SEED: usize = std::mem::offset_of!(Header, seed) / 4;
const SEQUENCE: usize = std::mem::offset_of!(Header, sequence) / 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    fn mailbox() -> Mailbox {
        let (_file, region) = sys::shared_of_memfd(proto::MAILBOX_SIZE as usize).unwrap();
        let mailbox = Mailbox::new(&Arc::new(region), 0).unwrap();
        mailbox.format();
        mailbox
    }

    #[test]
    fn a_posted_request_is_in_the_header() {
        let mailbox = mailbox();
        let start = mailbox.post(Request::Run, b"print(1)").unwrap();
        let header = mailbox.header();
        assert_eq!(header.magic, proto::MAGIC);
        assert_eq!(header.request, Request::Run as u32);
        assert_eq!((header.payload_len, header.output_start), (8, start));
        let mut copy = Vec::new();
        mailbox.copy(proto::PAYLOAD_START, proto::PAYLOAD_START + 8, &mut copy);
        assert_eq!(copy, b"print(1)");
    }

    #[test]
    fn a_payload_that_is_too_long_is_not_posted() {
        let mailbox = mailbox();
        assert!(mailbox.post(Request::Run, &vec![0; proto::PAYLOAD_MAX as usize + 1]).is_none());
        assert!(mailbox.post(Request::Run, &vec![0; proto::PAYLOAD_MAX as usize]).is_some());
    }

    #[test]
    fn a_mailbox_that_does_not_fit_is_refused() {
        let (_file, region) = sys::shared_of_memfd(proto::MAILBOX_SIZE as usize).unwrap();
        assert!(Mailbox::new(&Arc::new(region), 4096).is_none());
    }

    #[test]
    fn a_seed_that_is_left_is_in_the_mailbox() {
        let mailbox = mailbox();
        mailbox.leave_seed(Seed::Fork, &[7; proto::SEED_BYTES as usize]);
        assert_eq!(mailbox.header().seed, Seed::Fork as u32);
        let mut copy = Vec::new();
        mailbox.copy(proto::SEED_START, proto::SEED_START + proto::SEED_BYTES, &mut copy);
        assert_eq!(copy, [7; proto::SEED_BYTES as usize]);
        mailbox.tidy();
        assert_eq!(mailbox.header().seed, 0);
    }

    #[test]
    fn clone_fields_are_as_many_as_the_guest_says_and_never_more_than_there_is_room_for() {
        let mailbox = mailbox();
        assert_eq!(mailbox.clone_fields(), []);
        let write = |at: u32, word: u32| mailbox.store(at as usize / 4, word);
        write(proto::CLONE_FIELDS_START, 1);
        for (i, word) in [0x2000, 3, 32, 1].into_iter().enumerate() {
            write(proto::CLONE_FIELDS_START + 8 + 4 * i as u32, word);
        }
        let field = CloneField { address: 0x3_0000_2000, len: 32, kind: 1 };
        assert_eq!(mailbox.clone_fields(), [field]);
        write(proto::CLONE_FIELDS_START, u32::MAX);
        write(proto::CLONE_FIELDS_START + 4, u32::MAX);
        assert_eq!(mailbox.clone_fields().len(), proto::CLONE_FIELDS_MAX as usize);
    }
}
