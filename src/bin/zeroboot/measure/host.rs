//! Where a measurement was made.

use std::fs;
use std::thread::available_parallelism;

use zeroboot::{Host, Snapshot};

use super::results::Description;
use super::way::Result;

/// This host and this template.
pub fn describe(snapshot: &Snapshot) -> Result<Description> {
    let manifest = snapshot.manifest();
    Ok(Description {
        zeroboot: env!("CARGO_PKG_VERSION").into(),
        processor: cpu_model(),
        processors: available_parallelism()?.get(),
        memory_mib: memory_mib(),
        kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        kvm: Host::open()?.kind().to_string(),
        runtime: manifest.runtime.clone(),
        guest_mib: manifest.ram_bytes >> 20,
        load_average: read("/proc/loadavg").split(' ').next().unwrap_or("unknown").into(),
        python: None,
    })
}

/// The processor's name.
pub fn cpu_model() -> String {
    let info = read("/proc/cpuinfo");
    let line = info.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or("unknown".into(), |line| line.trim_start_matches([' ', '\t', ':']).to_owned())
}

fn memory_mib() -> u64 {
    let info = read("/proc/meminfo");
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) >> 10
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
