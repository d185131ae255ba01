//! The guest kernel's command line: guest/kernel/README.md says what each word is for.

use linux_loader::cmdline::Cmdline;
use zeroboot_proto as proto;

use super::{Error, Result};
use crate::kvm::{Ring0, Traits};
use crate::machine::Layout;

/// The kernel takes no more (COMMAND_LINE_SIZE on x86).
const CAPACITY: usize = 2048;

const ALWAYS: &[&str] = &[
    "console=ttyS0",
    "quiet",
    "root=/dev/pmem0",
    "rootfstype=erofs",
    "rootflags=dax=always",
    "ro",
    "init=/sbin/init",
    "tsc=reliable",
    "reboot=k",
    "panic=-1",
];

/// For a KVM that emulates ring 0: what its emulator does not know, or what costs more
/// instructions than it is worth there.
const EMULATED: &[&str] = &[
    "zeroboot.emulated_ring0",
    "mitigations=off",
    "rodata=off",
    "transparent_hugepage=always",
    "thp_anon=64K,128K:always",
    "clearcpuid=popcnt,smap,smep,cx16,umip,rdrand,rdseed,invpcid,pcid,fsgsbase,erms,fsrm,\
     clflushopt,clwb,xsaveopt,xsavec,xsaves,pku",
];

/// The words for this host and machine.
pub(super) fn build(traits: Traits, layout: Layout, extra: &[String]) -> Result<Cmdline> {
    let of_host = [
        format!("tsc_early_khz={}", traits.tsc_khz),
        format!("zeroboot.doorbell={:#x}", proto::DOORBELL_GPA),
        format!("zeroboot.mailbox={:#x}", layout.mailbox_at()),
    ];
    let emulated = if traits.ring0 == Ring0::Emulated { EMULATED } else { &[] };
    let fixed = ALWAYS.iter().chain(emulated).map(|word| (*word).to_owned());
    let mut line = Cmdline::new(CAPACITY).map_err(wrong)?;
    for word in fixed.chain(of_host).chain(extra.iter().cloned()) {
        line.insert_str(word).map_err(wrong)?;
    }
    Ok(line)
}

fn wrong(error: linux_loader::cmdline::Error) -> Error {
    Error::Kernel { path: "command line".into(), why: error.to_string() }
}
