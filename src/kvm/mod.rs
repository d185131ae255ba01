//! KVM: the host's abilities, a VM with its memslots and its vCPU, and a vCPU's whole state.
//!
//! `restore` is the only place where the order of the state's parts lives.

mod admit;
mod board;
mod cpuid;
mod error;
mod features;
mod host;
mod long_mode;
mod probe;
mod reset;
mod restore;
mod save;
mod state;
mod statistics;
mod vcpu;
mod vet;
mod vm;

pub use admit::admit;
pub use board::{Board, GSIS, Line, restore_board};
pub use cpuid::guest_cpuid;
pub use error::{Error, Result};
pub use features::CpuFeatures;
pub use host::{Host, Kind, Ring0, Traits, TscControl};
pub use long_mode::enter_long_mode;
pub use probe::{Report, report};
pub use reset::{Baseline, reset};
pub use restore::{Prepared, postpone_timer, restore, set_xsave};
pub use save::{guest_clock, guest_tsc, save};
pub use state::{Clock, CpuState, Passed};
pub use vcpu::{Exit, Vcpu};
pub use vet::vet_msrs;
pub use vm::{Access, Slot, Vm};
