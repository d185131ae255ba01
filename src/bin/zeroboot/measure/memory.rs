//! What forks weigh.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

/// Weighs what comes to be from now on.
pub struct Scales<'a> {
    mapping: &'a str,
    group: Option<Group>,
    before: Weight,
}

/// Of all forks together.
pub struct Weight {
    /// Pages of guest memory that they have to themselves.
    pub private_kib: u64,
    /// The kernel's memory, by control group if there can be one.
    pub group_kib: Option<u64>,
    /// The kernel's memory, by what the whole machine's kernel uses.
    pub host_kib: u64,
}

impl<'a> Scales<'a> {
    /// With nothing on them; guest memory is what mappings of this name have.
    pub fn at_zero(mapping: &'a str) -> Self {
        let group = Group::enter();
        let before = Weight::now(mapping, group.as_ref());
        Scales { mapping, group, before }
    }

    /// What has come to be.
    pub fn weigh(&self) -> Weight {
        let (before, now) = (&self.before, Weight::now(self.mapping, self.group.as_ref()));
        let since = u64::saturating_sub;
        Weight {
            private_kib: since(now.private_kib, before.private_kib),
            group_kib: now.group_kib.zip(before.group_kib).map(|(a, b)| since(a, b)),
            host_kib: since(now.host_kib, before.host_kib),
        }
    }
}

impl Weight {
    fn now(mapping: &str, group: Option<&Group>) -> Self {
        Weight {
            private_kib: private_kib(mapping),
            group_kib: group.and_then(Group::kernel_kib),
            host_kib: kernel_kib(),
        }
    }
}

/// Pages that mappings of this name have to themselves.
fn private_kib(mapping: &str) -> u64 {
    let (mut ours, mut sum) = (false, 0);
    for line in read("/proc/self/smaps").lines() {
        match line.strip_prefix("Private_Dirty:") {
            Some(rest) if ours => sum += first_number(rest),
            Some(_) => {}
            // A mapping's first line begins with its addresses.
            None if line.contains('-') && !line.contains("kB") => ours = line.contains(mapping),
            None => {}
        }
    }
    sum
}

/// What the kernel itself uses on this machine, for whatever.
fn kernel_kib() -> u64 {
    const FIELDS: &[&str] = &[
        "SUnreclaim:",
        "PageTables:",
        "SecPageTables:",
        "KernelStack:",
        "Percpu:",
        "VmallocUsed:",
    ];
    read("/proc/meminfo")
        .lines()
        .filter_map(|line| FIELDS.iter().find_map(|field| line.strip_prefix(field)))
        .map(first_number)
        .sum()
}

/// A control group that this process is in and nobody else, to see what the kernel uses for it.
struct Group {
    dir: PathBuf,
    parent: PathBuf,
}

impl Group {
    /// Makes one below the group that this process is in, if that may be done and tells anything.
    fn enter() -> Option<Self> {
        let membership = read("/proc/self/cgroup");
        let parent = membership.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
            match controllers {
                "" => Some(Path::new("/sys/fs/cgroup").join(path)),
                c if c.split(',').any(|c| c == "memory") => {
                    Some(Path::new("/sys/fs/cgroup/memory").join(path))
                }
                _ => None,
            }
        })?;
        let dir = parent.join(format!("zeroboot-bench-{}", process::id()));
        fs::create_dir(&dir).ok()?;
        let group = Group { dir, parent };
        let entered = fs::write(group.dir.join("cgroup.procs"), process::id().to_string());
        // Without accounting the group is of no use; its drop takes it away.
        (entered.is_ok() && group.kernel_kib().is_some()).then_some(group)
    }

    /// What the kernel uses for this process now.
    fn kernel_kib(&self) -> Option<u64> {
        // Version 1 of control groups has one counter for it.
        if let Ok(bytes) = fs::read_to_string(self.dir.join("memory.kmem.usage_in_bytes")) {
            return Some(bytes.trim().parse::<u64>().ok()? >> 10);
        }
        // Version 2: all of the kernel's since Linux 5.18.
        let stat = fs::read_to_string(self.dir.join("memory.stat")).ok()?;
        let kernel = stat.lines().find_map(|line| line.strip_prefix("kernel "))?;
        Some(kernel.trim().parse::<u64>().ok()? >> 10)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Nothing better can be done about a failure than to leave an empty group behind.
        let _ = fs::write(self.parent.join("cgroup.procs"), process::id().to_string());
        let _ = fs::remove_dir(&self.dir);
    }
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_machine_tells_what_its_kernel_uses() {
        assert!(super::kernel_kib() > 1000);
    }
}
