//! What a fork's first run touches.

mod common;

use common::snapshot;
use zeroboot::{Observation, Outcome, Residence, RunOptions, Sandbox};

fn observed(program: &str) -> Observation {
    let mut sandbox = Sandbox::fork(snapshot(), None).unwrap();
    let result = sandbox.run(program.as_bytes(), RunOptions::default()).unwrap();
    let printed = String::from_utf8_lossy(&result.output.stderr).into_owned();
    assert_eq!(result.outcome, Outcome::Exited(0), "{program}: {printed}");
    sandbox.observe().unwrap()
}

fn private(observation: &Observation) -> usize {
    observation.pages.iter().filter(|page| **page == Residence::Private).count()
}

/// Of all that a guest's kernel does for a program, a page fault at least writes to page tables.
fn written_page_tables(observation: &Observation) -> Vec<u64> {
    let is_private = |page: &u64| observation.pages[*page as usize] == Residence::Private;
    observation.tables.pages.iter().map(|table| table.0).filter(is_private).collect()
}

#[test]
fn a_small_program_makes_few_pages_private() {
    let pages = private(&observed("print(6*7)"));
    // 193 where this was written, of which some 55 are what a fork has of its own: random state in
    // the kernel and in Python, clocks, names.
    assert!((20..=230).contains(&pages), "{pages}");
}

#[test]
fn usual_programs_need_no_new_mapping_of_the_guests_kernel() {
    const PROGRAMS: &[&str] = &[
        "import json\nd = {f'k{i}': [i, i * 1.5, None] for i in range(3000)}\n\
         assert json.loads(json.dumps(d)) == d",
        "import re\nassert len(re.findall(r'(\\w+)@(\\w+)\\.com', 'a@b.com, ' * 5000)) == 5000",
        "x = [i * 7 for i in range(100_000)]; print(sum(x))",
        "s = ''.join(f'line {i}\\n' for i in range(50_000)); print(len(s), s.count('7'))",
        "from dataclasses import dataclass\n@dataclass\nclass P:\n a: int\n b: str = 'x'\n\
         print([P(i) for i in range(1000)][-1])",
        "d = {i: str(i) for i in range(10_000)}; print(len({v: k for k, v in d.items()}))",
        "import random\nr = random.Random(3); x = sorted(r.random() for _ in range(50_000))",
        "from decimal import *\ngetcontext().prec = 50; print(Decimal(2).sqrt())",
        "import datetime\nprint(datetime.datetime(2024, 2, 29).strftime('%Y-%m-%d %A'))",
        "import hashlib\nprint([hashlib.new(n, b'x' * 100_000).hexdigest() \
         for n in ('sha256', 'md5', 'sha1', 'sha512', 'blake2b')])",
        "x = [bytes(1000) for _ in range(8000)]; y = bytearray(5_000_000); y[::4096] = \
         b'x' * len(y[::4096])",
    ];
    for program in PROGRAMS {
        let tables = written_page_tables(&observed(program));
        assert!(tables.is_empty(), "{program}: {} page tables written", tables.len());
    }
}

#[test]
fn a_program_that_maps_memory_writes_page_tables() {
    let observation = observed("import mmap\nm = mmap.mmap(-1, 1 << 20); m[::4096] = b'x' * 256");
    assert!(!written_page_tables(&observation).is_empty());
}

#[test]
fn accesses_are_forgotten_and_then_seen_again() {
    let mut sandbox = Sandbox::fork(snapshot(), None).unwrap();
    let used = |sandbox: &mut Sandbox| {
        let tables = sandbox.observe().unwrap().tables;
        tables.mappings.iter().filter(|mapping| mapping.user && mapping.accessed).count()
    };
    sandbox.forget_accesses().unwrap();
    assert_eq!(used(&mut sandbox), 0);
    sandbox.run(b"print(6*7)", RunOptions::default()).unwrap();
    assert!(used(&mut sandbox) > 50);
}
