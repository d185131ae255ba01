//! Whose a page of a guest's memory is.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use zeroboot::{Mapping, Tables};

use crate::Result;

/// A program that shows the runtime's own mappings; every fork of a template has the same.
pub const MAPS_PROGRAM: &[u8] = b"print(open('/proc/self/maps').read())";

const PAGE: u64 = 4096;
/// Libraries' .bss is smaller, and what an allocator asks the kernel for is not.
const ALLOCATED: u64 = 1 << 20;
/// Linux on x86-64 (Documentation/arch/x86/x86_64/mm.rst).
const KERNEL_IMAGE: u64 = 0xffff_ffff_8000_0000;
const VMALLOC: std::ops::Range<u64> = 0xffff_c900_0000_0000..0xffff_e900_0000_0000;
const VMEMMAP: std::ops::Range<u64> = 0xffff_ea00_0000_0000..0xffff_eb00_0000_0000;

/// A page's owner, and where in it the page lies.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Owner {
    /// Kind of memory.
    pub name: String,
    /// Virtual address, and the symbol there if it is the kernel's.
    pub place: String,
}

/// A line of /proc/PID/maps.
struct Area {
    start: u64,
    end: u64,
    name: String,
}

/// Everything that is needed to tell.
pub struct Owners {
    areas: Vec<Area>,
    symbols: BTreeMap<u64, String>,
    by_page: HashMap<u64, Mapping>,
    tables: HashMap<u64, u64>,
    mailbox: u64,
}

impl Owners {
    /// `maps` is what [`MAPS_PROGRAM`] printed, `mailbox` the number of its first page.
    pub fn new(maps: &str, symbols: BTreeMap<u64, String>, tables: &Tables, mailbox: u64) -> Self {
        let mut by_page = HashMap::new();
        for mapping in &tables.mappings {
            for i in 0..mapping.pages.min(512) {
                let one = Mapping {
                    page: mapping.page + i,
                    virt: mapping.virt + i * PAGE,
                    pages: 1,
                    ..*mapping
                };
                // All RAM is in the kernel's direct map; what else maps a page says more.
                let known = by_page.entry(one.page).or_insert(one);
                if rank(&one) > rank(known) {
                    *known = one;
                }
            }
        }
        Owners {
            areas: areas(maps),
            symbols,
            by_page,
            tables: tables.pages.iter().copied().collect(),
            mailbox,
        }
    }

    /// Whose a guest-physical page is.
    pub fn of_page(&self, page: u64) -> Owner {
        if page >= self.mailbox && page < self.mailbox + 256 {
            return Owner { name: "mailbox".into(), place: format!("+{:#x}", page - self.mailbox) };
        }
        if let Some(virt) = self.tables.get(&page) {
            let whose = if *virt >> 63 == 0 { "of user space" } else { "of the kernel" };
            return Owner { name: format!("page table {whose}"), place: format!("{virt:#x}") };
        }
        match self.by_page.get(&page) {
            Some(mapping) => self.of_address(mapping.virt),
            None => Owner { name: "not mapped".into(), place: String::new() },
        }
    }

    /// Whose a virtual address is.
    pub fn of_address(&self, virt: u64) -> Owner {
        let place = format!("{virt:#x}");
        if virt >> 63 == 0 {
            let area = self.areas.iter().find(|area| (area.start..area.end).contains(&virt));
            let name = area.map_or("user, unknown".into(), |area| area.name.clone());
            return Owner { name, place };
        }
        if virt >= KERNEL_IMAGE {
            let below = |at: u64| self.symbols.range(..=at).next_back();
            // What the page begins in, and all that lies in it says too much.
            let symbol = below(virt).map_or(String::new(), |(_, name)| format!(" {name}"));
            return Owner { name: self.section(virt).into(), place: format!("{place}{symbol}") };
        }
        let name = match virt {
            v if VMALLOC.contains(&v) => "kernel vmalloc and stacks",
            v if VMEMMAP.contains(&v) => "kernel struct page",
            _ => "kernel slab and pages",
        };
        Owner { name: name.into(), place }
    }

    fn section(&self, virt: u64) -> &'static str {
        const SECTIONS: [(&str, &str); 4] = [
            ("_etext", "kernel text"),
            ("__end_rodata", "kernel rodata"),
            ("_edata", "kernel data"),
            ("__bss_stop", "kernel bss"),
        ];
        let end = |symbol: &str| self.symbols.iter().find(|(_, name)| *name == symbol);
        let found =
            SECTIONS.iter().find(|(symbol, _)| end(symbol).is_some_and(|(at, _)| virt < *at));
        found.map_or("kernel image", |(_, name)| name)
    }
}

/// How much a mapping says about its page.
fn rank(mapping: &Mapping) -> u32 {
    match mapping.virt {
        virt if virt >> 63 == 0 => 3,
        virt if virt >= KERNEL_IMAGE => 2,
        virt if VMALLOC.contains(&virt) || VMEMMAP.contains(&virt) => 1,
        _ => 0,
    }
}

fn areas(maps: &str) -> Vec<Area> {
    let mut areas: Vec<Area> = Vec::new();
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some((start, end)) = words.first().and_then(|range| range.split_once('-')) else {
            continue;
        };
        let address = |text| u64::from_str_radix(text, 16);
        let (Ok(start), Ok(end)) = (address(start), address(end)) else { continue };
        let access = words.get(1).copied().unwrap_or_default();
        let name = match words.get(5) {
            Some(path) => {
                let file = path.rsplit('/').next().unwrap_or(path);
                if file.starts_with('[') { file.to_owned() } else { format!("{file} {access}") }
            }
            // A .bss goes on where the file's mapping ends.
            None => match areas.last() {
                Some(last)
                    if last.end == start
                        && last.name.ends_with("rw-p")
                        && end - start < ALLOCATED =>
                {
                    last.name.replace("rw-p", "bss")
                }
                _ => "anonymous".into(),
            },
        };
        areas.push(Area { start, end, name });
    }
    areas
}

/// The kernel's symbols, from the System.map that the build leaves beside vmlinux.
pub fn symbols(vmlinux: &Path) -> Result<BTreeMap<u64, String>> {
    let path = fs::canonicalize(vmlinux)?.with_file_name("System.map");
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut symbols = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(at), Some(_), Some(name)) = (words.next(), words.next(), words.next()) {
            symbols.insert(u64::from_str_radix(at, 16)?, name.to_owned());
        }
    }
    Ok(symbols)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
00400000-00500000 r-xp 00000000 103:00 12 /usr/bin/python3.11
00700000-00710000 rw-p 00300000 103:00 12 /usr/bin/python3.11
00710000-00720000 rw-p 00000000 00:00 0 
01000000-01100000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000100000 rw-p 00000000 00:00 0 
";

    fn mapping(virt: u64, page: u64) -> Mapping {
        Mapping { virt, page, pages: 1, user: true, accessed: true, dirty: false }
    }

    #[test]
    fn a_page_belongs_to_what_says_most_about_it() {
        let tables = Tables {
            mappings: vec![
                mapping(0xffff_8880_0000_5000, 5),
                mapping(0x70_1000, 5),
                mapping(0x71_1000, 6),
                mapping(0x7f00_0000_1000, 7),
                mapping(0xffff_8880_0000_8000, 8),
                mapping(0xffff_ffff_8100_0000, 9),
            ],
            pages: vec![(3, 0x40_0000)],
        };
        let symbols = [(0xffff_ffff_8100_0000, "start"), (0xffff_ffff_8200_0000, "_etext")]
            .map(|(at, name)| (at, name.to_owned()));
        let owners = Owners::new(MAPS, symbols.into(), &tables, 100);
        let names = [3, 5, 6, 7, 8, 9, 10, 101].map(|page| owners.of_page(page).name);
        assert_eq!(
            names.each_ref().map(String::as_str),
            [
                "page table of user space",
                "python3.11 rw-p",
                "python3.11 bss",
                "anonymous",
                "kernel slab and pages",
                "kernel text",
                "not mapped",
                "mailbox"
            ]
        );
        assert_eq!(owners.of_page(9).place, "0xffffffff81000000 start");
    }
}
