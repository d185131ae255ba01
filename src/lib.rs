//! Real virtual machines for the price of a function call.
//!
//! A template VM (a minimal Linux with a warm language runtime) boots once; its memory and CPU
//! state become a snapshot. A fork of the snapshot is a KVM virtual machine of its own that maps
//! the memory copy-on-write and stands where the snapshot was taken: in the runtime's process,
//! waiting for a program.
//!
//! ```text
//! kernel + rootfs + runtime --boot--> warm guest --capture--> snapshot directory
//! snapshot --load--> Snapshot --fork--> Sandbox --run--> RunResult        (drop: free)
//! ```
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use zeroboot::{LoadOptions, RunOptions, Sandbox, Snapshot};
//!
//! let snapshot = Arc::new(Snapshot::load(Path::new("/path/to/template"), LoadOptions::default())?);
//! let mut sandbox = Sandbox::fork(&snapshot, None)?;
//! let result = sandbox.run(b"print(6*7)", RunOptions::default())?;
//! assert_eq!(result.output.stdout, b"42\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layers
//!
//! A layer uses only those above it in this table; `tests/layering.rs` sees to it.
//!
//! | layer | what | `unsafe` |
//! |---|---|---|
//! | `sys` | owned mappings, memory files, clocks, waking a thread out of `KVM_RUN` | yes |
//! | `kvm` | /dev/kvm, VM and memslots, vCPU, its state: save and restore | yes |
//! | `device` | ports, UART, mailbox | no |
//! | `machine` | memory + vCPU + devices; running until something happens | no |
//! | `snapshot` | the directory on disk: write, load, verify | no |
//! | `agent` | the host's side of the guest protocol | no |
//! | `fork` | snapshot -> sandbox -> result: the hot path | no |
//! | `boot` | kernel + image -> snapshot: the cold path | no |
//! | `ffi` | the C API | yes |

#[allow(unsafe_code)]
mod sys;

#[allow(unsafe_code)]
mod kvm;

mod device;

mod machine;

mod snapshot;

mod agent;

mod fork;

mod boot;

#[allow(unsafe_code)]
mod ffi;

pub use agent::{Collected, Crash, Error as AgentError, Outcome};
pub use boot::{Error as BuildError, Plan, Program, Progress, Runtime, Step, Template};
pub use device::LineSink;
#[doc(hidden)]
pub use fork::Inside;
pub use fork::{
    Error as RunError, ForkOptions, InstanceId, NoInstanceId, Observation, Pool, PoolOptions,
    RunOptions, RunResult, Sandbox, TalkOptions,
};
pub use kvm::{
    CpuFeatures, Error as KvmError, Host, Kind, Report, Ring0, Traits, TscControl, report,
};
#[doc(hidden)]
pub use machine::PutBack;
pub use machine::{Fault, Mapping, Tables};
pub use snapshot::firecracker;
pub use snapshot::{
    Error as SnapshotError, LoadOptions, Manifest, Origin, Snapshot, sha256_of_file, verify,
};
pub use sys::{Cancel, Residence};
pub use zeroboot_proto::Stream;

/// What tests and fuzz targets need that are not part of this crate: the formats of what is taken
/// from guests and from files. It is no part of the API.
#[doc(hidden)]
pub mod internals {
    pub use crate::agent::{OutputReader, Sink, Violation};
    pub use crate::device::Mailbox;
    pub use crate::kvm::CpuState;
    pub use crate::snapshot::{FORMAT, FormatError, State, decode, encode, parse_manifest};
    pub use crate::sys::{Region, shared_of_memfd};
}
