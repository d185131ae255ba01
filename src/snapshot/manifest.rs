use serde::{Deserialize, Serialize};

use crate::kvm::{Clock, CpuFeatures, Ring0};

/// `manifest.json`: what a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`super::FORMAT`].
    pub format: u32,
    /// `zeroboot_proto::VERSION` of the software in the guest.
    pub protocol: u32,
    /// The runtime that stands at the doorbell: "python".
    pub runtime: String,
    /// RAM as the guest knows it.
    pub ram_bytes: u64,
    /// SHA-256 of `memory.img`.
    pub memory_sha256: String,
    /// Length of the root file system's image.
    pub rootfs_bytes: u64,
    /// SHA-256 of the image.
    pub rootfs_sha256: String,
    /// When it was captured, on both clocks.
    pub clock: Clock,
    /// Who executed the guest's ring 0. A kernel is booted for one or the other.
    pub ring0: Ring0,
    /// What the processor has to have.
    pub cpu: CpuFeatures,
    /// How it came to be.
    pub origin: Origin,
}

/// For people, and for the question whether a template is still up to date.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The library's version.
    pub zeroboot: String,
    /// SHA-256 of the kernel.
    pub kernel_sha256: String,
    /// The kernel's command line.
    pub command_line: String,
    /// Hash over all that went in; equal keys give equal templates.
    pub key: String,
    /// Names of the programs that it was warmed with.
    pub warmed_with: Vec<String>,
    /// How many runs that took.
    pub warm_runs: u32,
    /// Milliseconds from the first instruction to the capture, by step.
    pub timings_ms: Vec<(String, u64)>,
}
