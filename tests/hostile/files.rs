//! Snapshot files by somebody who can compute checksums.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::forged::{Forged, RAM, Ring};
use crate::held::{assert_the_next_fork_is_right, peak_kib, undisturbed};
use crate::{LONG, run_to};
use kvm_bindings::kvm_msr_entry;
use zeroboot::internals::State;
use zeroboot::{ForkOptions, Outcome, Pool, PoolOptions};

fn refused(change: impl FnOnce(&mut State)) -> String {
    let error = Forged::with("requests", Ring::Kernel, change).try_load().unwrap_err();
    assert!(error.to_string().contains("state.bin"), "{error}");
    error.to_string()
}

#[test]
fn a_snapshot_that_sets_registers_that_no_guest_can_set_is_refused_by_their_number() {
    let registers = [
        0x10,        // the TSC
        0x8b,        // microcode revision
        0x9e,        // SMBASE
        0xc1,        // a performance counter
        0x10a,       // what the processor is immune to
        0x480,       // VMX
        0x4000_0001, // Hyper-V's hypercall page
        0x4b56_4d01, // KVM's clock
        0x4b56_4d02, // KVM's asynchronous page faults
        0xc001_0117, // SVM's save area
        0xdead_beef,
    ];
    undisturbed(|| {
        for index in registers {
            let error = refused(|state| {
                state.cpu.msrs.push(kvm_msr_entry { index, data: 1, ..Default::default() });
            });
            assert!(error.contains(&format!("MSR {index:#x}")), "{error}");
        }
        let error = refused(|state| {
            let msr = kvm_msr_entry { index: 0xc000_0082, data: 1, ..Default::default() };
            state.cpu.msrs.extend([msr, msr]);
        });
        assert!(error.contains("MSR 0xc0000082"), "{error}");
    });
}

#[test]
fn a_snapshot_in_a_state_that_no_capture_finds_is_refused() {
    undisturbed(|| {
        let error = refused(|state| state.cpu.events.smi.smm = 1);
        assert!(error.contains("system management mode"), "{error}");
        for state in [1, 2, 4, 5, 77] {
            let error = refused(|s| s.cpu.mp_state.mp_state = state);
            assert!(error.contains("another to start it"), "{error}");
        }
        let error = refused(|state| state.working_set = vec![1 << 20]);
        assert!(error.contains("working set"), "{error}");
    });
}

#[test]
fn a_snapshot_whose_cpuid_offers_everything_gives_a_fork_that_runs() {
    undisturbed(|| {
        let forged = Forged::with("self_modifying", Ring::Kernel, |state| {
            for leaf in &mut state.cpu.cpuid {
                // Widths of addresses and layouts of state are no offers.
                if matches!(leaf.function, 1 | 7 | 0x8000_0001) {
                    (leaf.ecx, leaf.edx) = (u32::MAX, u32::MAX);
                }
            }
            let hypervisor = state.cpu.cpuid[0];
            state.cpu.cpuid.extend((0x4000_0000..0x4000_0006).map(|function| {
                let mut leaf = hypervisor;
                leaf.function = function;
                (leaf.eax, leaf.ebx) = (u32::MAX, u32::from_le_bytes(*b"Micr"));
                leaf.ecx = u32::from_le_bytes(*b"osof");
                leaf.edx = u32::from_le_bytes(*b"t Hv");
                leaf
            }));
        });
        let pool = Pool::new(forged.load(), PoolOptions::default());
        let mut sandbox = pool.fork(ForkOptions::default()).unwrap();
        assert_eq!(run_to(&mut sandbox, b"", LONG).outcome, Outcome::Exited(0));
        assert_the_next_fork_is_right();
    });
}

/// Recycling looks at a snapshot's page tables: here each page of memory is a table, and each entry
/// of each maps two megabytes, or points to another.
#[test]
fn page_tables_that_say_the_same_a_million_times_cost_no_more_than_memory() {
    undisturbed(|| {
        let forged = Forged::at("self_modifying", Ring::Kernel);
        let path = forged.path().join("memory.img");
        let memory = File::options().write(true).open(path).unwrap();
        let table = |at: u64, entries: Vec<u64>| {
            let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
            memory.write_all_at(&bytes, at).unwrap();
        };
        // Beside the true ones: 8 second-level tables with 512 third-level tables each.
        const FIRST: u64 = 0x80_0000;
        table(0x1_0008, (0..8).map(|i| (FIRST + i * 0x1000) | 7).collect());
        let pages = (RAM - FIRST) / 0x1000 - 8;
        let at = |page: u64| FIRST + (8 + page % pages) * 0x1000;
        for i in 0..8 {
            table(FIRST + i * 0x1000, (0..512).map(|n| at(i * 512 + n) | 7).collect());
        }
        for page in 0..pages {
            table(at(page), (0..512).map(|n| (n % 16) << 21 | 0x87).collect());
        }
        let peak = peak_kib();
        let pool = Pool::new(forged.load(), PoolOptions { recycle_max: 1, ..PoolOptions::NONE });
        for _ in 0..2 {
            let mut sandbox = pool.fork(ForkOptions::default()).unwrap();
            let result = run_to(&mut sandbox, b"", Duration::from_secs(60));
            assert_eq!(result.outcome, Outcome::Exited(0));
        }
        drop(pool);
        let grown = peak_kib() - peak;
        assert!(grown < 256 << 10, "{grown} KiB");
        assert_the_next_fork_is_right();
    });
}
