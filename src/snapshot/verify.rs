use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Error, MEMORY, Manifest, ROOTFS, Result};

/// Hashes the two large files of a snapshot and compares them with its manifest.
pub fn verify(dir: &Path, manifest: &Manifest) -> Result<()> {
    for (name, expected) in [(MEMORY, &manifest.memory_sha256), (ROOTFS, &manifest.rootfs_sha256)] {
        let path = dir.join(name);
        let found = sha256_of_file(&path)?;
        if &found != expected {
            let what = format!("SHA-256 is {found}, the manifest says {expected}");
            return Err(Error::corrupt(&path, what));
        }
    }
    Ok(())
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
