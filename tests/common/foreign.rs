//! Genuine snapshots of Firecracker's, unpacked for tests and benches.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use zeroboot::LoadOptions;
use zstd::stream::read::Decoder;

use crate::common::{programs, root};

/// The one whose memory is there whole.
pub const BASE: &str = "v1.12.1-idle";

/// Also on a host whose counter is behind the snapshot's: what wants no time works there, too.
pub const ANY_CLOCK: LoadOptions =
    LoadOptions { verify: false, sealed_copy: false, any_clock: true };

/// Where its files are.
pub fn golden(name: &str) -> PathBuf {
    root().join("tests/golden/firecracker").join(name)
}

fn base_memory() -> &'static [u8] {
    static MEMORY: OnceLock<Vec<u8>> = OnceLock::new();
    MEMORY.get_or_init(|| {
        let mut bytes = Vec::new();
        let file = File::open(golden(BASE).join("mem.zst")).unwrap();
        Decoder::new(file).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn memory_of(name: &str) -> Vec<u8> {
    if name == BASE {
        return base_memory().to_vec();
    }
    let file = File::open(golden(name).join("mem.patch.zst")).unwrap();
    let reader = std::io::BufReader::new(file);
    let mut decoder = Decoder::with_ref_prefix(reader, base_memory()).unwrap();
    decoder.window_log_max(31).unwrap();
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Writes what is not zero; the rest is a hole.
fn write_sparse(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for (page, bytes) in bytes.chunks(4096).enumerate() {
        if bytes.iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start(page as u64 * 4096)).unwrap();
            file.write_all(bytes).unwrap();
        }
    }
}

/// The snapshot's directory, unpacked once.
pub fn unpacked(name: &str) -> PathBuf {
    let parent = programs().join("firecracker");
    fs::create_dir_all(&parent).unwrap();
    let lock = File::create(parent.join("lock")).unwrap();
    lock.lock().unwrap();
    let dir = parent.join(name);
    if dir.exists() {
        return dir;
    }
    let work = parent.join(format!(".{name}"));
    let _ = fs::remove_dir_all(&work);
    fs::create_dir(&work).unwrap();
    fs::copy(golden(name).join("vmstate"), work.join("vmstate")).unwrap();
    write_sparse(&work.join("memory.img"), &memory_of(name));
    if let Ok(disk) = File::open(golden(name).join("disk.img.zst")) {
        let mut image = Vec::new();
        Decoder::new(disk).unwrap().read_to_end(&mut image).unwrap();
        fs::write(work.join("disk.img"), image).unwrap();
    }
    fs::rename(work, &dir).unwrap();
    dir
}
