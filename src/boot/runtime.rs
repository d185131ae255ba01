/// A program that warms a runtime up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// What it is called in messages and manifests.
    pub name: String,
    /// Its source.
    pub code: Vec<u8>,
}

/// A language that templates can be built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// What users call it; also the image's name.
    pub name: &'static str,
    /// Default RAM.
    pub ram_bytes: u64,
    warm: &'static [(&'static str, &'static str)],
}

macro_rules! warm {
    ($directory:literal: $($file:literal),+ $(,)?) => {
        &[$(($file, include_str!(concat!("../../guest/runtimes/", $directory, "/warm/", $file)))),+]
    };
}

const RUNTIMES: &[Runtime] = &[Runtime {
    name: "python",
    ram_bytes: 128 << 20,
    warm: warm!("python": "print.py", "language.py", "data.py", "memory.py", "errors.py", "exits.py",
        "coroutines.py", "files.py", "threads.py", "children.py"),
}];

impl Runtime {
    /// The runtime that users call so.
    pub fn named(name: &str) -> Option<&'static Runtime> {
        RUNTIMES.iter().find(|runtime| runtime.name == name)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = &'static Runtime> {
        RUNTIMES.iter()
    }

    /// Representative programs: what they touch is warm in every fork.
    pub fn warm_programs(&self) -> Vec<Program> {
        self.warm
            .iter()
            .map(|(name, code)| Program { name: (*name).into(), code: code.as_bytes().to_vec() })
            .collect()
    }
}
