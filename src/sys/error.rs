use std::io;

/// A system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{call}: {source}{hint}")]
pub struct Error {
    /// The call's name and what it was for.
    pub call: &'static str,
    /// What the kernel said.
    pub source: io::Error,
    hint: &'static str,
}

impl Error {
    pub(crate) fn new(call: &'static str, source: io::Error) -> Self {
        let hint = hint(&source);
        Error { call, source, hint }
    }

    /// The error that `errno` holds now.
    pub(crate) fn last(call: &'static str) -> Self {
        Error::new(call, io::Error::last_os_error())
    }

    /// The errno, 0 if there is none.
    pub fn errno(&self) -> i32 {
        self.source.raw_os_error().unwrap_or(0)
    }
}

/// Names the limit behind an errno that a process with many sandboxes meets.
pub(crate) fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EMFILE) => {
            " (the process's limit of open files, RLIMIT_NOFILE; a sandbox takes 2)"
        }
        Some(libc::ENFILE) => " (the system's limit of open files, fs.file-max)",
        Some(libc::ENOMEM) => {
            " (out of memory, or of mappings: vm.max_map_count; a sandbox takes 2)"
        }
        _ => "",
    }
}
