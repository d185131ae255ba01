use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use zeroboot::{LoadOptions, Snapshot};

use crate::{Result, paths};

/// What `vmstate` says of disks is the last part of their paths.
const IMPORT: &str = "\
Examples:
  zeroboot snapshot import shell --vmstate snap/vmstate --memory snap/mem
  zeroboot snapshot import db --vmstate v --memory m --disk /images/root.ext4
  zeroboot console -t shell 'uname -a'

A disk is found by its file's name, which must be the one that it had when the snapshot was taken.";

#[derive(clap::Subcommand)]
pub enum Command {
    /// Take in a snapshot that Firecracker made (format 6 or 8 to 11), as it is
    #[command(after_help = IMPORT)]
    Import {
        /// Name that it gets here
        name: String,
        /// The state: Firecracker's `snapshot_path`
        #[arg(long, value_name = "FILE")]
        vmstate: PathBuf,
        /// The memory: Firecracker's `mem_file_path`
        #[arg(long, value_name = "FILE")]
        memory: PathBuf,
        /// Image of a disk; may be repeated
        #[arg(long, value_name = "FILE")]
        disk: Vec<PathBuf>,
    },
    /// Remove a snapshot that was taken in
    Remove {
        /// Its name
        name: String,
    },
    /// Print the directory of a snapshot that was taken in
    Path {
        /// Its name
        name: String,
    },
}

pub fn snapshot(command: Command) -> Result<ExitCode> {
    match command {
        Command::Import { name, vmstate, memory, disk } => import(&name, &vmstate, &memory, &disk)?,
        Command::Remove { name } => {
            let dir = paths::existing_snapshot(&name)?;
            fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        Command::Path { name } => out!("{}", paths::existing_snapshot(&name)?.display()),
    }
    Ok(ExitCode::SUCCESS)
}

fn import(name: &str, vmstate: &Path, memory: &Path, disks: &[PathBuf]) -> Result<()> {
    let dir = paths::snapshot(name)?;
    if dir.exists() {
        return Err(
            format!("{} is there already; `zeroboot snapshot remove`", dir.display()).into()
        );
    }
    let parent = paths::snapshots()?;
    fs::create_dir_all(&parent).map_err(|e| format!("{}: {e}", parent.display()))?;
    // Under a name that no snapshot can have, so that it is there whole or not at all.
    let work = parent.join(format!(".{name}.{}", std::process::id()));
    let made = fill(&work, vmstate, memory, disks).and_then(|warnings| {
        fs::rename(&work, &dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(warnings)
    });
    if made.is_err() {
        // What is left of it is in nobody's way, and the first error is the one to tell.
        let _ = fs::remove_dir_all(&work);
    }
    for warning in made? {
        err!("zeroboot: warning: {warning}");
    }
    out!("{}", dir.display());
    Ok(())
}

/// Copies the files and loads them, as every fork will.
fn fill(work: &Path, vmstate: &Path, memory: &Path, disks: &[PathBuf]) -> Result<Vec<String>> {
    fs::create_dir(work).map_err(|e| format!("{}: {e}", work.display()))?;
    copy(vmstate, &work.join("vmstate"))?;
    copy(memory, &work.join("memory.img"))?;
    for disk in disks {
        let name = disk.file_name().ok_or_else(|| format!("{}: no file", disk.display()))?;
        copy(disk, &work.join(name))?;
    }
    // A clock that stands today may go on tomorrow: that is for whoever forks to be told.
    let options = LoadOptions { any_clock: true, ..LoadOptions::default() };
    Ok(Snapshot::load(work, options)?.warnings().to_vec())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        return Err(format!("{}: there are two of this name", from.display()).into());
    }
    fs::copy(from, to).map_err(|e| format!("{}: {e}", from.display()))?;
    Ok(())
}
