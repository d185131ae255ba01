use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Error, MEMORY, Manifest, ROOTFS, Result};
use crate::sys;

/// Hashes the two large files of a snapshot and compares them with its manifest.
pub fn verify(dir: &Path, manifest: &Manifest) -> Result<()> {
    let memory = dir.join(MEMORY);
    let rootfs = dir.join(ROOTFS);
    let files = [
        (sha256_of_file(&memory)?, &manifest.memory_sha256, memory),
        (sha256_of_image(&rootfs)?, &manifest.rootfs_sha256, rootfs),
    ];
    for (found, expected, path) in files {
        if &found != expected {
            let what = format!("SHA-256 is {found}, the manifest says {expected}");
            return Err(Error::corrupt(&path, what));
        }
    }
    Ok(())
}

/// As [`sha256_of_file`], of a root file system's image. The system would keep what was read for it in
/// small pages, in which it would then be mapped; so it is not kept.
pub fn sha256_of_image(path: &Path) -> Result<String> {
    let hash = sha256_of_file(path)?;
    sys::forget_cached(&File::open(path).map_err(Error::file(path))?)?;
    Ok(hash)
}

/// The SHA-256 of a file's contents, in hexadecimal.
pub fn sha256_of_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(Error::file(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let n = file.read(&mut buffer).map_err(Error::file(path))?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
