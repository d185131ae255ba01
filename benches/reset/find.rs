/// How written pages are found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Find {
    /// KVM's dirty log, read and never reset (KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2): what was ever
    /// written stays in it, and writable.
    KeptLog,
    /// KVM's dirty log, read and reset: what is reset is write-protected.
    Log,
    /// KVM's dirty ring, harvested and reset.
    Ring,
    /// PAGEMAP_SCAN for pages that are not the file's (Linux 6.7).
    Scan,
    /// The same from /proc/self/pagemap.
    Pagemap,
    /// userfaultfd's asynchronous write protection, and PAGEMAP_SCAN for what was written since.
    WriteProtect,
    /// Not at all: the pages that the template's own recording names.
    Usual,
}

pub const ALL: &[Find] = &[
    Find::KeptLog,
    Find::Log,
    Find::Ring,
    Find::Scan,
    Find::Pagemap,
    Find::WriteProtect,
    Find::Usual,
];

impl Find {
    pub fn name(self) -> &'static str {
        match self {
            Find::KeptLog => "KVM's dirty log, kept",
            Find::Log => "KVM's dirty log, reset",
            Find::Ring => "KVM's dirty ring",
            Find::Scan => "PAGEMAP_SCAN, private pages",
            Find::Pagemap => "/proc/self/pagemap",
            Find::WriteProtect => "userfaultfd write-protect, PAGEMAP_SCAN",
            Find::Usual => "nothing: the usual pages",
        }
    }
}
