use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use zeroboot::{
    LoadOptions, Observation, Outcome, Residence, RunOptions, Sandbox, Snapshot, sha256_of_file,
};

use super::owners::{MAPS_PROGRAM, Owner, Owners, symbols};
use crate::measure::statistics::Samples;
use crate::{Result, paths};

const MORE: &str = "\
A page is `private` if the first run has made a copy of it (or it was copied ahead because it is in \
the template's working set), `written` and `read` if ring 3 has written to it, or used it at all. \
`read` is found out in a fork of its own whose page tables were told to forget. Pages from 4 GiB on \
are the root file system's.";

#[derive(clap::Args)]
#[command(after_help = MORE)]
pub struct Arguments {
    /// Template to fork: a name, or a directory (with a slash in it)
    #[arg(short, long, default_value = "python")]
    template: String,
    /// The program
    #[arg(default_value = "print(6*7)")]
    code: String,
    /// Read the program from a file
    #[arg(short, long, conflicts_with = "code")]
    file: Option<PathBuf>,
    /// How many forks to time
    #[arg(short, long, default_value_t = 50)]
    rounds: u32,
    /// List every page, not only sums
    #[arg(long)]
    pages: bool,
    /// Print all of it as JSON
    #[arg(long)]
    json: bool,
    /// The template's kernel, beside its System.map [default: the one guest/kernel/build.sh made]
    #[arg(long, value_name = "VMLINUX")]
    kernel: Option<PathBuf>,
}

/// All that is found out.
#[derive(Serialize)]
struct Report {
    /// Medians, in microseconds.
    phases_us: BTreeMap<&'static str, f64>,
    /// What KVM counted in the first run and in the one after it.
    counters: BTreeMap<String, [u64; 2]>,
    owners: BTreeMap<String, Count>,
    total: Count,
    pages: Vec<Page>,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Count {
    private: u32,
    /// Of the private ones: those that the template's working set names.
    ahead: u32,
    /// Of the private ones: those that are byte for byte what the snapshot has.
    unchanged: u32,
    read: u32,
}

#[derive(Serialize)]
struct Page {
    number: u64,
    private: bool,
    ahead: bool,
    unchanged: bool,
    read: bool,
    owner: Owner,
}

pub fn faults(arguments: Arguments) -> Result<ExitCode> {
    let dir = paths::existing_template(&arguments.template)?;
    let snapshot = Arc::new(Snapshot::load(&dir, LoadOptions::default())?);
    let code = match &arguments.file {
        Some(path) => std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?,
        None => arguments.code.clone().into_bytes(),
    };
    let kernel = match arguments.kernel {
        Some(path) => path,
        None => paths::guest("vmlinux", "guest/kernel/build.sh")?,
    };
    if sha256_of_file(&kernel)? != snapshot.manifest().origin.kernel_sha256 {
        return Err(format!("{} is not this template's kernel", kernel.display()).into());
    }
    let probe = Probe { snapshot, code };
    let report = probe.report(arguments.rounds, symbols(&kernel)?)?;
    if arguments.json {
        out!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        show(&report, arguments.pages);
    }
    Ok(ExitCode::SUCCESS)
}

struct Probe {
    snapshot: Arc<Snapshot>,
    code: Vec<u8>,
}

impl Probe {
    fn report(&self, rounds: u32, symbols: BTreeMap<u64, String>) -> Result<Report> {
        let phases_us = self.phases(rounds)?;
        let mut sandbox = self.fork()?;
        let before = sandbox.observe()?;
        run(&mut sandbox, &self.code)?;
        let first = sandbox.observe()?;
        run(&mut sandbox, &self.code)?;
        let second = sandbox.observe()?;
        let unchanged = sandbox.unchanged_pages()?;
        let owners = self.owners(symbols, &first)?;
        let pages = self.pages(&owners, &first, &unchanged)?;
        let mut report = Report {
            phases_us,
            counters: counters([&before, &first, &second]),
            owners: BTreeMap::new(),
            total: Count::default(),
            pages,
        };
        for page in &report.pages {
            page.count(&mut report.total);
            page.count(report.owners.entry(page.owner.name.clone()).or_default());
        }
        Ok(report)
    }

    fn fork(&self) -> Result<Sandbox> {
        Ok(Sandbox::fork(&self.snapshot, None)?)
    }

    fn phases(&self, rounds: u32) -> Result<BTreeMap<&'static str, f64>> {
        let [mut fork, mut first, mut again, mut free] = <[Samples; 4]>::default();
        for _ in 0..rounds {
            let started = Instant::now();
            let mut sandbox = self.fork()?;
            fork.add(started.elapsed());
            for samples in [&mut first, &mut again] {
                let started = Instant::now();
                run(&mut sandbox, &self.code)?;
                samples.add(started.elapsed());
            }
            let started = Instant::now();
            drop(sandbox);
            free.add(started.elapsed());
        }
        let p50 = |samples: &Samples| samples.percentile(0.5).as_secs_f64() * 1e6;
        Ok([("fork", &fork), ("first run", &first), ("run again", &again), ("free", &free)]
            .map(|(name, samples)| (name, p50(samples)))
            .into())
    }

    fn owners(&self, symbols: BTreeMap<u64, String>, at: &Observation) -> Result<Owners> {
        let maps = run(&mut self.fork()?, MAPS_PROGRAM)?;
        let mailbox = self.snapshot.manifest().ram_bytes / PAGE;
        Ok(Owners::new(&String::from_utf8_lossy(&maps), symbols, &at.tables, mailbox))
    }

    fn pages(&self, owners: &Owners, after: &Observation, unchanged: &[bool]) -> Result<Vec<Page>> {
        let mut sandbox = self.fork()?;
        sandbox.forget_accesses()?;
        run(&mut sandbox, &self.code)?;
        let mut pages = BTreeMap::new();
        for mapping in sandbox.observe()?.tables.mappings {
            if mapping.user && mapping.accessed {
                pages.insert(mapping.page, owners.of_address(mapping.virt));
            }
        }
        let read: Vec<u64> = pages.keys().copied().collect();
        for (number, residence) in (0u64..).zip(&after.pages) {
            if *residence == Residence::Private {
                pages.insert(number, owners.of_page(number));
            }
        }
        let private = |number: u64| after.pages.get(number as usize) == Some(&Residence::Private);
        let page = |(number, owner)| Page {
            number,
            private: private(number),
            ahead: self.snapshot.working_set().binary_search(&(number as u32)).is_ok(),
            unchanged: private(number) && unchanged[number as usize],
            read: read.binary_search(&number).is_ok(),
            owner,
        };
        Ok(pages.into_iter().map(page).collect())
    }
}

const PAGE: u64 = 4096;

impl Page {
    fn count(&self, count: &mut Count) {
        count.private += u32::from(self.private);
        count.ahead += u32::from(self.private && self.ahead);
        count.unchanged += u32::from(self.unchanged);
        count.read += u32::from(self.read);
    }
}

fn run(sandbox: &mut Sandbox, code: &[u8]) -> Result<Vec<u8>> {
    let result = sandbox.run(code, RunOptions::default())?;
    match result.outcome {
        Outcome::Exited(0) => Ok(result.output.stdout),
        other => {
            let printed = String::from_utf8_lossy(&result.output.stderr).into_owned();
            Err(format!("the program ended with {other:?}\n{printed}").into())
        }
    }
}

/// By how much each counter has grown from one observation to the next, if it has.
fn counters(at: [&Observation; 3]) -> BTreeMap<String, [u64; 2]> {
    let value = |i: usize, name: &str| at[i].statistics.get(name).copied().unwrap_or(0);
    let grown = |name: &String| {
        let [before, first, second] = [0, 1, 2].map(|i| value(i, name));
        (name.clone(), [first.saturating_sub(before), second.saturating_sub(first)])
    };
    at[2].statistics.keys().map(grown).filter(|(_, grown)| *grown != [0, 0]).collect()
}

fn show(report: &Report, pages: bool) {
    out!("{:28} {:>12}", "phase", "p50 us");
    for (name, us) in &report.phases_us {
        out!("{name:28} {us:12.1}");
    }
    out!("\n{:28} {:>12} {:>12}", "KVM's counters", "first run", "run again");
    for (name, [first, again]) in &report.counters {
        out!("{name:28} {first:12} {again:12}");
    }
    out!("\n{:28} {:>9} {:>9} {:>9} {:>9}", "pages of", "private", "ahead", "unchanged", "read");
    let line = |name: &str, count: &Count| {
        let Count { private, ahead, unchanged, read } = count;
        out!("{name:28} {private:9} {ahead:9} {unchanged:9} {read:9}");
    };
    report.owners.iter().for_each(|(name, count)| line(name, count));
    line("all", &report.total);
    if pages {
        out!("\n{:>8} {:7} {:5} {:9} {:4}  owner", "page", "private", "ahead", "unchanged", "read");
    }
    for page in report.pages.iter().filter(|_| pages) {
        let mark = |yes: bool| if yes { "x" } else { "" };
        let Page { number, private, ahead, unchanged, read, owner } = page;
        out!(
            "{number:8x} {:7} {:5} {:9} {:4}  {} {}",
            mark(*private),
            mark(*ahead),
            mark(*unchanged),
            mark(*read),
            owner.name,
            owner.place
        );
    }
}
