/// How pages get their old bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PutBack {
    /// Copied over what is in them: they stay the machine's own, and mapped in the guest.
    Copy,
    /// Dropped one by one: the next access maps the file's.
    DropFound,
    /// All private pages dropped in one call, found or not.
    DropAll,
    /// Those that every run writes are copied, the rest dropped.
    CopyUsualDropRest,
}

impl PutBack {
    pub fn name(self) -> &'static str {
        match self {
            PutBack::Copy => "copy",
            PutBack::DropFound => "drop what was found",
            PutBack::DropAll => "drop all",
            PutBack::CopyUsualDropRest => "copy the usual, drop the rest",
        }
    }
}
