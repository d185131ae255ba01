//! Making a machine that has run what it was before it ran.
//!
//! What the guest wrote to is known from KVM's dirty log, which live migration relies on for the
//! same purpose; what this process wrote, from the mapping's bitmap. The old bytes are copied over
//! the pages, which so stay this machine's, and mapped in the guest: the next run finds them warm.
//! Where that is not enough, all private pages are dropped and KVM's view of them with it.

use super::original::Original;
use super::{Error, Machine, PAGE, RAM, Result};
use vm_memory::{Bytes, VolatileMemory};

use crate::kvm::{self, Access, Baseline, Prepared};
use crate::sys::{self, Moment};

/// A machine that wrote to more pages than this (8 MiB) gets them from the file again: they are
/// memory that it holds on to, and copying them takes longer than most runs.
const WRITTEN_MAX: u32 = 2048;

/// What a machine that can be reset remembers.
#[derive(Debug)]
pub(super) struct Written {
    /// Pages to put back, a bit a page: all that were ever written since memory was last dropped.
    pages: Vec<u64>,
    /// KVM's log, as it was last read.
    log: Vec<u64>,
}

/// How memory was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutBack {
    /// So many pages were overwritten with what was in them.
    Copied(u32),
    /// All were dropped.
    Dropped,
}

impl Written {
    pub(super) fn new(bytes: usize) -> Self {
        let words = bytes.div_ceil(PAGE).div_ceil(64);
        Written { pages: vec![0; words], log: vec![0; words] }
    }

    fn count(&self) -> u32 {
        self.pages.iter().map(|word| word.count_ones()).sum()
    }

    /// Adds to the pages; whether all that are new can be overwritten.
    fn add(&mut self, host: &[u64], original: &Original) -> Result<bool> {
        for (index, word) in self.pages.iter_mut().enumerate() {
            let new = (self.log[index] | host[index]) & !*word;
            *word |= new;
            for page in bits(index, new) {
                if !original.is_plain(page).map_err(Error::Original)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn forget(&mut self) {
        self.pages.fill(0);
    }
}

/// The pages of a word of a bitmap.
fn bits(index: usize, mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        (word != 0).then(|| {
            word &= word - 1;
            index * 64 + bit
        })
    })
}

impl Machine {
    /// Puts memory and processor back to how a fork of the snapshot finds them. The guest must
    /// stand at its doorbell, or not have run.
    ///
    /// Budget: 60 us where memory can be copied. No allocation a page.
    pub fn reset(
        &mut self,
        original: &Original,
        prepared: &Prepared,
        baseline: &Baseline,
    ) -> Result<PutBack> {
        let put_back = self.put_memory_back(original)?;
        kvm::reset(&mut self.vcpu, prepared, baseline, Moment::now())?;
        Ok(put_back)
    }

    /// How many pages of RAM the guest has written to since the machine was made or its memory was
    /// last dropped.
    ///
    /// Budget: 3 us for 128 MiB.
    pub fn count_written(&mut self) -> Result<u32> {
        let written = self.written.as_mut().ok_or(Error::NotResettable)?;
        self.vcpu.read_dirty_log(RAM, &mut written.log)?;
        Ok(written.log.iter().map(|word| word.count_ones()).sum())
    }

    fn put_memory_back(&mut self, original: &Original) -> Result<PutBack> {
        let written = self.written.as_mut().ok_or(Error::NotResettable)?;
        self.vcpu.read_dirty_log(RAM, &mut written.log)?;
        let by_host = self.ram.bitmap().get_and_reset();
        let all_plain = written.add(&by_host, original)?;
        if !all_plain || written.count() > WRITTEN_MAX {
            return self.drop_memory();
        }
        let memory = self.ram.as_volatile_slice();
        let mut copied = 0;
        for (index, word) in written.pages.iter().enumerate() {
            for page in bits(index, *word) {
                original
                    .with_page(page, |bytes| memory.write_slice(bytes, page * PAGE))
                    .map_err(Error::Original)?
                    .expect("a bit of the log is a page of memory");
                copied += 1;
            }
        }
        Ok(PutBack::Copied(copied))
    }

    fn drop_memory(&mut self) -> Result<PutBack> {
        sys::forget_private(&self.ram)?;
        self.vcpu.renew(RAM, 0, &self.ram, Access::Logged)?;
        if let Some(written) = &mut self.written {
            written.forget();
        }
        Ok(PutBack::Dropped)
    }
}
