use std::fmt;

use crc::{CRC_64_REDIS, Crc, Table};

use super::VMSTATE_MAX;

/// What a file for x86-64 begins with.
const MAGIC: u64 = 0x0710_1984_8664_0000;

/// The checksum that Firecracker writes behind the state. Over state and checksum together it is 0.
static CRC64: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// No format's version is as long as this.
const VERSION_TEXT_MAX: usize = 16;

/// Packed columns can grow to 64 times their size when they are unpacked. A machine of 32 vCPUs
/// takes less than a MiB.
const PACKED_MAX: usize = 2 << 20;

/// Why bytes are no state that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not one of Firecracker's files.
    #[error("not a Firecracker vmstate file")]
    Magic,
    /// The bytes are not those that were written.
    #[error("checksum mismatch: the file was damaged")]
    Checksum,
    /// Too long to be one.
    #[error("{have} bytes, more than the {max} that such a file can have")]
    TooLong {
        /// The file's length.
        have: usize,
        /// The most.
        max: usize,
    },
    /// A format that is not read.
    #[error("made by Firecracker {maker}, format {version}: {why}")]
    Version {
        /// The releases that write it.
        maker: &'static str,
        /// As the file says it.
        version: String,
        /// What to do about it.
        why: &'static str,
    },
    /// The fields are not those of the format.
    #[error("format {version}: {what}")]
    Contents {
        /// The file's format.
        version: Version,
        /// What is wrong.
        what: String,
    },
}

/// A format's version, which is not Firecracker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Another one is another encoding.
    pub major: u16,
    /// A higher one has fields that a lower one has not.
    pub minor: u16,
    /// Of no consequence.
    pub patch: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Version {
    fn parse(text: &[u8]) -> Option<Self> {
        let mut numbers = std::str::from_utf8(text).ok()?.split('.').map(str::parse::<u16>);
        let mut next = || numbers.next()?.ok();
        let version = Version { major: next()?, minor: next()?, patch: next()? };
        numbers.next().is_none().then_some(version)
    }

    /// The releases of Firecracker that write it.
    pub fn maker(self) -> &'static str {
        match self.major {
            1 => "1.7",
            2 => "1.8",
            3 => "1.9 or 1.10.0",
            4 => "1.10.1",
            5 => "1.11",
            6 => "1.12",
            8 => "1.13 or 1.14",
            9 => "1.15",
            10 => "1.16",
            11 => "1.17",
            _ => "of another time",
        }
    }
}

/// How the state is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Fixed-width integers in order.
    Fixed,
    /// bitcode's columns.
    Columns,
}

/// A file that is whole and of a format that is read.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) version: Version,
    pub(super) encoding: Encoding,
    pub(super) state: &'a [u8],
}

/// Recognises a file.
///
/// Both encodings begin with the magic and the version, each in its own way; the oldest one, of
/// Firecracker 1.6 and before, with the low half of the magic and a number.
pub(super) fn open(file: &[u8]) -> Result<Container<'_>, Error> {
    if file.len() as u64 > VMSTATE_MAX {
        return Err(Error::TooLong { have: file.len(), max: VMSTATE_MAX as usize });
    }
    let (encoding, text) = if word(file, 0) == Some(MAGIC) {
        let len = word(file, 8).and_then(|len| usize::try_from(len).ok());
        (Encoding::Fixed, len.and_then(|len| text(file, 16, len)))
    } else if file.first() == Some(&0) && word(file, 1) == Some(MAGIC) {
        let len = file.get(9).map(|len| usize::from(*len));
        (Encoding::Columns, len.and_then(|len| text(file, 10, len)))
    } else {
        return Err(oldest(file).unwrap_or(Error::Magic));
    };
    if CRC64.checksum(file) != 0 {
        return Err(Error::Checksum);
    }
    // Behind the checksum: a damaged version must not pass for another one.
    let text = text.ok_or(Error::Magic)?;
    let version = Version::parse(text).ok_or(Error::Magic)?;
    check_version(version, encoding)?;
    let state = &file[..file.len() - size_of::<u64>()];
    if encoding == Encoding::Columns && state.len() > PACKED_MAX {
        return Err(Error::TooLong { have: file.len(), max: PACKED_MAX });
    }
    Ok(Container { version, encoding, state })
}

fn check_version(version: Version, encoding: Encoding) -> Result<(), Error> {
    let expected = match version.major {
        6 | 8 => Some(Encoding::Fixed),
        9..=11 => Some(Encoding::Columns),
        _ => None,
    };
    let why = match expected {
        Some(expected) if version.minor == 0 && expected == encoding => return Ok(()),
        Some(_) => "this library reads no other minor version than 0 of this format",
        None if version.major > 11 => {
            "newer than this library reads; formats 6, 8, 9, 10 and 11 are"
        }
        None => "too old; make the snapshot again with Firecracker 1.12 or later",
    };
    Err(Error::Version { maker: version.maker(), version: version.to_string(), why })
}

/// Firecracker 1.0 to 1.6: `versionize`, with a data version of 4 to 10.
fn oldest(file: &[u8]) -> Option<Error> {
    if word(file, 0)? & !0xffff != MAGIC || word(file, 0)? & 0xffff != 1 {
        return None;
    }
    let version = u16::from_le_bytes(file.get(8..10)?.try_into().ok()?);
    Some(Error::Version {
        maker: "1.6 or before",
        version: format!("versionize {version}"),
        why: "too old; make the snapshot again with Firecracker 1.12 or later",
    })
}

fn word(file: &[u8], at: usize) -> Option<u64> {
    let bytes = file.get(at..at.checked_add(8)?)?;
    bytes.try_into().ok().map(u64::from_le_bytes)
}

fn text(file: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    file.get(at..at + len.min(VERSION_TEXT_MAX + 1)).filter(|text| text.len() <= VERSION_TEXT_MAX)
}

/// A file with the checksum that belongs to its bytes.
#[cfg(test)]
pub(super) fn seal(state: &[u8]) -> Vec<u8> {
    let mut file = state.to_vec();
    file.extend(CRC64.checksum(state).to_le_bytes());
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(version: &str) -> Vec<u8> {
        let mut state = MAGIC.to_le_bytes().to_vec();
        state.extend((version.len() as u64).to_le_bytes());
        state.extend(version.as_bytes());
        seal(&state)
    }

    fn refusal(file: &[u8]) -> String {
        open(file).unwrap_err().to_string()
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(CRC64.checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(CRC64.checksum(&seal(b"anything")), 0);
    }

    #[test]
    fn other_formats_are_refused_by_the_name_of_who_makes_them() {
        assert_eq!(
            refusal(&fixed("1.0.0")),
            "made by Firecracker 1.7, format 1.0.0: too old; make the snapshot again with \
             Firecracker 1.12 or later"
        );
        for (version, maker) in [("2.0.0", "1.8"), ("4.0.0", "1.10.1"), ("5.0.0", "1.11")] {
            assert!(refusal(&fixed(version)).contains(&format!("Firecracker {maker}, ")));
        }
        assert!(refusal(&fixed("12.0.0")).contains("newer than this library reads"));
        assert!(refusal(&fixed("8.1.0")).contains("no other minor version"));
        assert!(refusal(&fixed("9.0.0")).contains("no other minor version"));
        let versionize = [&(MAGIC | 1).to_le_bytes()[..], &[6, 0, 0, 0]].concat();
        assert!(refusal(&versionize).contains("made by Firecracker 1.6 or before"));
    }

    #[test]
    fn what_is_no_vmstate_is_refused() {
        for file in [&b""[..], b"x", b"\0", &[0xff; 64], b"#!/bin/sh\necho no snapshot\n"] {
            assert_eq!(open(file).unwrap_err(), Error::Magic);
        }
        for version in ["", "6", "6.0", "6.0.0.0", "a.b.c", "6.0.99999"] {
            assert_eq!(open(&fixed(version)).unwrap_err(), Error::Magic, "{version}");
        }
        let mut endless = MAGIC.to_le_bytes().to_vec();
        endless.extend([0xff; 8]);
        assert_eq!(open(&seal(&endless)).unwrap_err(), Error::Magic);
        assert!(refusal(&vec![0; VMSTATE_MAX as usize + 1]).contains("more than the 10000000"));
    }
}
