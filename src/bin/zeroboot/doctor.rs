use std::fs;
use std::path::Path;
use std::process::ExitCode;

use zeroboot::{Host, Ring0, Runtime, TscControl, report};

use crate::{Result, paths};

/// Limits of a process, and what a sandbox takes of them.
const FILES_A_SANDBOX: u64 = 2;
const MAPPINGS_A_SANDBOX: u64 = 2;

/// Prints what there is; fails if a sandbox cannot be made.
pub fn doctor() -> Result<ExitCode> {
    out!("processor     {}", cpu_model());
    out!("kernel        {}", read("/proc/sys/kernel/osrelease"));
    let host = match Host::open() {
        Ok(host) => host,
        Err(error) => {
            out!("kvm           {error}");
            out!("\nNo sandbox can be made here.");
            return Ok(ExitCode::FAILURE);
        }
    };
    out!("kvm           {}", host.kind());
    let traits = host.traits()?;
    out!(
        "ring 0        {}",
        match traits.ring0 {
            Ring0::Native => "native",
            Ring0::Emulated => {
                "emulated: a guest's system calls and page faults are slow, its computing is not"
            }
        }
    );
    out!(
        "tsc           {} kHz, {}",
        traits.tsc_khz,
        match traits.tsc {
            TscControl::Settable => "can be set: templates of machines with another rate work here",
            TscControl::Raw => "cannot be set: templates of machines with another rate do not work",
        }
    );
    for capability in report(&host) {
        let state = match (capability.present, capability.required) {
            (true, _) => "yes",
            (false, false) => "no, works without",
            (false, true) => "MISSING",
        };
        out!("  {:72} {state}", capability.name);
    }
    limits();
    artifacts()?;
    Ok(ExitCode::SUCCESS)
}

fn limits() {
    let files = open_files_limit();
    let maps = read("/proc/sys/vm/max_map_count").parse::<u64>().unwrap_or(0);
    out!(
        "limits        open files {files} (RLIMIT_NOFILE), mappings {maps} (vm.max_map_count): \
         about {} sandboxes in a process",
        (files / FILES_A_SANDBOX).min(maps / MAPPINGS_A_SANDBOX)
    );
}

fn artifacts() -> Result<()> {
    let show = |what: &str, path: Result<std::path::PathBuf>| match path {
        Ok(path) => out!("{what:13} {}", path.display()),
        Err(error) => out!("{what:13} {error}"),
    };
    show("guest kernel", paths::guest("vmlinux", "guest/kernel/build.sh"));
    for runtime in Runtime::all() {
        let script = format!("guest/rootfs/build.sh {}", runtime.name);
        show(
            &format!("{} image", runtime.name),
            paths::guest(&format!("{}.erofs", runtime.name), &script),
        );
        let template = paths::template(runtime.name)?;
        let state = if template.is_dir() {
            template.display().to_string()
        } else {
            format!("none; `zeroboot template build {}` makes one", runtime.name)
        };
        out!("{:13} {state}", "template");
    }
    Ok(())
}

fn open_files_limit() -> u64 {
    let limits = read("/proc/self/limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(0)
}

fn cpu_model() -> String {
    let info = read("/proc/cpuinfo");
    let line = info.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or("unknown".into(), |line| line.trim_start_matches([' ', '\t', ':']).to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(path)).unwrap_or_default().trim().to_owned()
}
