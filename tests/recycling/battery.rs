//! Programs that do to their machine what they can.

use std::fs;
use std::time::Duration;

use vm_memory::{Bytes, VolatileMemory};
use zeroboot::{RunOptions, Sandbox};

use crate::common::root;
use crate::examination::memory_of;

pub struct Hostile {
    pub name: String,
    code: String,
    as_root: bool,
}

/// What goes before each program.
pub fn prelude() -> String {
    fs::read_to_string(root().join("tests/guest/hostile/prelude.py")).unwrap()
}

/// All of tests/guest/hostile, in the order of their names.
pub fn battery() -> Vec<Hostile> {
    let directory = root().join("tests/guest/hostile");
    let prelude = prelude();
    let mut names: Vec<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".py") && name != "prelude.py")
        .collect();
    names.sort();
    assert!(names.len() >= 27, "{names:?}");
    let load = |file: String| {
        let text = fs::read_to_string(directory.join(&file)).unwrap();
        let as_root = text.starts_with("# as root\n");
        let prelude = if text.starts_with("# alone\n") { "" } else { &prelude };
        Hostile {
            name: file.trim_end_matches(".py").into(),
            code: format!("{prelude}\n{text}"),
            as_root,
        }
    };
    names.into_iter().map(load).collect()
}

impl Hostile {
    /// A program that needs no more rights than every program has.
    pub fn new(name: &str, code: String) -> Self {
        Hostile { name: name.into(), code, as_root: false }
    }

    /// Runs it; it must end well.
    pub fn run(&self, sandbox: &mut Sandbox) {
        if self.as_root {
            become_root(sandbox);
        }
        let timeout = Some(Duration::from_secs(300));
        let options = RunOptions { timeout, ..Default::default() };
        let result = sandbox.run(self.code.as_bytes(), options).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let stderr = text(&result.output.stderr);
        assert_eq!(result.outcome, zeroboot::Outcome::Exited(0), "{}: {stderr}", self.name);
    }
}

/// Gives the guest's processes all rights, as an exploit of its kernel would: by writing to the
/// kernel's memory. `struct cred` has eight ids one behind the other, `securebits`, and five sets
/// of capabilities.
fn become_root(sandbox: &mut Sandbox) {
    const IDS: usize = 32;
    const SETS: usize = 40;
    const ALL: u64 = 0x1ff_ffff_ffff;
    let memory = sandbox.inside().memory.clone();
    let ram = memory.as_volatile_slice();
    let of_sandbox: Vec<u8> =
        1000u32.to_le_bytes().repeat(8).into_iter().chain([0; 8 + 24]).collect();
    let bytes = memory_of(&memory);
    let mut found = 0;
    for at in (0..bytes.len() - IDS - 8 - SETS).step_by(8) {
        if bytes[at..].starts_with(&of_sandbox) {
            ram.write_slice(&[0; IDS], at).unwrap();
            for set in 0..5 {
                ram.write_obj(ALL, at + IDS + 8 + set * 8).unwrap();
            }
            found += 1;
        }
    }
    assert!(found > 0, "no credentials of the sandbox's user in memory");
}
