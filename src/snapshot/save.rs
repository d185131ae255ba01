use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use vm_memory::{Bytes, VolatileMemory};

use super::verify::sha256_of_file;
use super::{Error, MANIFEST, MEMORY, Manifest, ROOTFS, Result, STATE, State, encode};
use crate::sys::{self, Region};

/// A machine at rest, to be written down.
#[derive(Debug)]
pub struct Capture<'a> {
    /// RAM and mailbox.
    pub memory: &'a Region,
    /// vCPU and UART.
    pub state: State,
    /// All that is known but the memory's hash, which writing finds.
    pub manifest: Manifest,
    /// The image that the machine has mapped.
    pub rootfs: &'a Path,
}

const PAGE: usize = 4096;
/// What a kernel maps around a page that is read.
const CHUNK: usize = 64 << 10;

/// Writes a snapshot directory. It appears under its name whole or not at all; one that is there
/// already is replaced, and forks of it go on with the files they have.
pub fn write(dir: &Path, mut capture: Capture<'_>) -> Result<Manifest> {
    let temporary = sibling(dir);
    remove(&temporary)?;
    fs::create_dir_all(&temporary).map_err(Error::file(&temporary))?;
    let result = (|| {
        let memory = temporary.join(MEMORY);
        write_memory(&memory, capture.memory)?;
        capture.manifest.memory_sha256 = sha256_of_file(&memory)?;
        place_rootfs(capture.rootfs, &temporary.join(ROOTFS))?;
        let mut manifest = serde_json::to_vec_pretty(&capture.manifest)
            .map_err(|e| Error::corrupt(&temporary.join(MANIFEST), e.to_string()))?;
        manifest.push(b'\n');
        write_file(&temporary.join(STATE), &encode(&capture.state, &manifest))?;
        write_file(&temporary.join(MANIFEST), &manifest)?;
        sync(&temporary)?;
        replace(&temporary, dir)
    })();
    if result.is_err() {
        // The first error is the one to tell; what is left over is removed by the next build.
        let _ = fs::remove_dir_all(&temporary);
    }
    result.map(|()| capture.manifest)
}

/// Writes all pages but those of zeros, which stay holes.
///
/// Pages that follow each other are written in one go: file systems then keep them in memory as
/// larger units, which forks map and unmap at less cost. Not as huge pages, which a fork's first
/// write would take to pieces.
fn write_memory(path: &Path, memory: &Region) -> Result<()> {
    let file = create(path)?;
    file.set_len(memory.size() as u64).map_err(Error::file(path))?;
    let slice = memory.as_volatile_slice();
    let mut chunk = vec![0u8; CHUNK.min(memory.size())];
    for at in (0..memory.size()).step_by(CHUNK) {
        let chunk = &mut chunk[..CHUNK.min(memory.size() - at)];
        slice
            .read_slice(chunk, at)
            .map_err(|e| Error::corrupt(path, format!("memory at {at:#x}: {e}")))?;
        let is_zero = |page: &[u8]| page.iter().all(|byte| *byte == 0);
        let mut offset = at as u64;
        let pages: Vec<&[u8]> = chunk.chunks(PAGE).collect();
        for run in pages.chunk_by(|a, b| is_zero(a) == is_zero(b)) {
            let length: usize = run.iter().map(|page| page.len()).sum();
            if !is_zero(run[0]) {
                let begin = offset as usize - at;
                let bytes = &chunk[begin..begin + length];
                file.write_all_at(bytes, offset).map_err(Error::file(path))?;
            }
            offset += length as u64;
        }
    }
    file.sync_all().map_err(Error::file(path))
}

/// A second name for the image, so that all templates share its pages; a copy where that cannot be.
fn place_rootfs(image: &Path, path: &Path) -> Result<()> {
    let image = image.canonicalize().map_err(Error::file(image))?;
    if fs::hard_link(&image, path).is_err() {
        fs::copy(&image, path).map_err(Error::file(path))?;
    }
    Ok(())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = create(path)?;
    file.write_all(bytes).map_err(Error::file(path))?;
    file.sync_all().map_err(Error::file(path))
}

/// Read-only for everybody: a mapped file that is changed changes the forks.
fn create(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o444);
    options.open(path).map_err(Error::file(path))
}

/// In one step, also where there is one already: nobody finds none, or half of one.
fn replace(new: &Path, dir: &Path) -> Result<()> {
    if dir.exists() {
        sys::exchange(new, dir)?;
        remove(new)?;
    } else {
        fs::rename(new, dir).map_err(Error::file(dir))?;
    }
    dir.parent().map_or(Ok(()), sync)
}

fn sync(dir: &Path) -> Result<()> {
    let opened = File::open(dir).map_err(Error::file(dir))?;
    opened.sync_all().map_err(Error::file(dir))
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file(dir)(e)),
        _ => Ok(()),
    }
}

/// Where the directory is made; hidden, so that nobody takes it for a template.
fn sibling(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.new"))
}
