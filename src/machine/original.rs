//! What a machine's memory was at the capture, for putting it back.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use once_cell::sync::OnceCell;

use super::PAGE;

/// A page of memory.
pub(super) type Page = [u8; PAGE];

/// Page table entry bits (SDM volume 3, 4.5.4).
const PRESENT: u64 = 1 << 0;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// The most pages that are kept in memory, 32 MiB; those beyond are read from the file each time.
const KEPT_MAX: usize = 8192;

/// The memory file of a snapshot, and which of its pages can be put back without KVM knowing.
///
/// Where KVM has no second level of tables in hardware, it derives shadow page tables from the
/// guest's and follows the guest's own writes to them; what the host writes there it does not see.
/// So a page that the guest's kernel may use as a page table is not just overwritten.
#[derive(Debug)]
pub struct Original {
    file: Arc<File>,
    /// Pages that were needed, read once: a host program must not fault on a file that somebody
    /// truncated, as it would if it read from a mapping.
    kept: Box<[OnceCell<Box<Page>>]>,
    kept_count: AtomicUsize,
    kinds: Vec<Kind>,
}

/// What is known of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The page's bytes will have to tell.
    Unknown,
    /// Mapped into user space at the capture, and so no table; or usual: what ordinary runs write
    /// to without as much as a system call.
    Plain,
    /// In the tree of page tables at the capture.
    Table,
}

impl Original {
    /// Of memory with `pages` pages whose page tables begin at `cr3`. `usual` is the pages that an
    /// ordinary run writes to.
    pub fn new(file: &Arc<File>, pages: usize, cr3: u64, usual: &[u32]) -> io::Result<Self> {
        let mut original = Original {
            file: Arc::clone(file),
            kept: std::iter::repeat_with(OnceCell::new).take(pages).collect(),
            kept_count: AtomicUsize::new(0),
            kinds: vec![Kind::Unknown; pages],
        };
        let (tables, user) = original.walk(cr3)?;
        let user = (0u32..).zip(user).filter_map(|(page, is_user)| is_user.then_some(page));
        let plain = user.chain(usual.iter().copied()).map(|page| (page, Kind::Plain));
        for (page, kind) in plain.chain(tables.into_iter().map(|page| (page, Kind::Table))) {
            if let Some(place) = original.kinds.get_mut(page as usize) {
                *place = kind;
            }
        }
        Ok(original)
    }

    /// Number of pages.
    pub(super) fn pages(&self) -> usize {
        self.kept.len()
    }

    /// Calls `use_it` with a page's bytes.
    pub(super) fn with_page<R>(
        &self,
        page: usize,
        use_it: impl FnOnce(&Page) -> R,
    ) -> io::Result<R> {
        if let Some(kept) = self.kept[page].get() {
            return Ok(use_it(kept));
        }
        if self.kept_count.load(Ordering::Relaxed) >= KEPT_MAX {
            return Ok(use_it(&self.read(page)?));
        }
        let kept = self.kept[page].get_or_try_init(|| {
            self.kept_count.fetch_add(1, Ordering::Relaxed);
            self.read(page).map(Box::new)
        })?;
        Ok(use_it(kept))
    }

    /// Whether a page that a guest wrote to can be overwritten with its old bytes.
    pub(super) fn is_plain(&self, page: usize) -> io::Result<bool> {
        let memory = (self.pages() * PAGE) as u64;
        match self.kinds[page] {
            Kind::Plain => Ok(true),
            Kind::Table => Ok(false),
            Kind::Unknown => self.with_page(page, |bytes| !may_be_table(bytes, memory)),
        }
    }

    fn read(&self, page: usize) -> io::Result<Page> {
        let mut bytes = [0; PAGE];
        self.file.read_exact_at(&mut bytes, (page * PAGE) as u64)?;
        Ok(bytes)
    }

    /// The guest's tree of page tables: the pages that are tables, and those that user space has.
    ///
    /// The tables are whatever the snapshot's author wrote, each entry of each perhaps the same as
    /// all others: so nothing is noted, or looked at, more often than once.
    fn walk(&self, cr3: u64) -> io::Result<(HashSet<u32>, Vec<bool>)> {
        let mut tables = HashSet::new();
        let mut user = vec![false; self.pages()];
        let mut large = HashSet::new();
        // A table outside of memory maps nothing; one that was seen, nothing new.
        let mut is_new = |table: u64| {
            let page = (table & FRAME) / PAGE as u64;
            (page < self.pages() as u64 && tables.insert(page as u32)).then_some(page as usize)
        };
        let mut level: Vec<_> = is_new(cr3).map(|root| (root, true)).into_iter().collect();
        for leaf_bytes in [1u64 << 39, 1 << 30, 1 << 21, 1 << 12] {
            let mut next = Vec::new();
            for (table, is_user) in level {
                for entry in entries(&self.read(table)?).filter(|entry| entry & PRESENT != 0) {
                    let is_user = is_user && entry & USER != 0;
                    let is_leaf = leaf_bytes == 1 << 12 || entry & LARGE != 0;
                    if !is_leaf {
                        next.extend(is_new(entry).map(|table| (table, is_user)));
                    } else if is_user && leaf_bytes <= 1 << 21 {
                        let first = (entry & FRAME & !(leaf_bytes - 1)) / PAGE as u64;
                        let pages = leaf_bytes / PAGE as u64;
                        if pages == 1 || large.insert(first) {
                            let end = user.len();
                            let inside = |page: u64| page.min(end as u64) as usize;
                            user[inside(first)..inside(first + pages)].fill(true);
                        }
                    }
                }
            }
            level = next;
        }
        Ok((tables, user))
    }
}

/// Whether a page could be a page table: all that is marked present is an address in memory or
/// among the devices. A page of zeros could; most others could not.
fn may_be_table(page: &Page, memory: u64) -> bool {
    /// Beyond it lies nothing that a machine of ours has: see `Layout`.
    const END: u64 = (4 << 30) + (64 << 30);
    let possible = |entry: u64| {
        let at = entry & FRAME;
        entry & PRESENT == 0 || at < memory || (0xc000_0000..END).contains(&at)
    };
    entries(page).all(possible)
}

fn entries(page: &Page) -> impl Iterator<Item = u64> + '_ {
    page.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes))
}
