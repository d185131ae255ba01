//! The guest's file systems.
//!
//! The root is the runtime's image, read-only and shared by every guest on the host. What a guest
//! writes goes to memory: to a tmpfs over it, or to one of the tmpfs where programs usually write,
//! which are cheaper. Their sizes bound what a program can write before it gets ENOSPC; all of
//! them full are more than the memory there is, and then the kernel kills the runtime.

use std::ffi::CStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_move, unmount};
use rustix::process::{chdir, pivot_root};

use crate::Result;

/// A directory of the image that serves as the building site of the new root.
const SITE: &str = "/mnt";
const NEW_ROOT: &str = "/mnt/root";
const NEW_DEV: &str = "/mnt/root/dev";
const LAYERS: &CStr = c"lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work";

/// Shells rely on them.
const DESCRIPTOR_LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

const DATA_ONLY: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// `/dev`, unless the kernel has mounted it.
pub fn devices() -> Result<()> {
    if Path::new("/dev/null").exists() {
        return Ok(());
    }
    mount_at("devtmpfs", "/dev", MountFlags::NOSUID, c"mode=755")
}

/// Puts a writable layer over the image and makes the two the root.
pub fn writable_root() -> Result<()> {
    mount_at("tmpfs", SITE, DATA_ONLY, c"mode=755,size=25%")?;
    for directory in ["/mnt/upper", "/mnt/work", NEW_ROOT] {
        fs::create_dir(directory).map_err(|e| format!("create {directory}: {e}"))?;
    }
    mount_at("overlay", NEW_ROOT, MountFlags::NODEV, LAYERS)?;
    mount_move("/dev", NEW_DEV).map_err(|e| format!("move /dev to {NEW_DEV}: {e}"))?;
    change_root().map_err(|e| format!("make {NEW_ROOT} the root: {e}"))
}

/// With "." twice the old root lands on top of the new one, from where it can be taken away, so no
/// program sees the layers: see pivot_root(2).
fn change_root() -> std::result::Result<(), Errno> {
    chdir(NEW_ROOT)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")
}

/// What programs expect beside the root.
pub fn the_rest() -> Result<()> {
    mount_at("proc", "/proc", DATA_ONLY | MountFlags::NOEXEC, c"")?;
    mount_at("tmpfs", "/tmp", DATA_ONLY, c"mode=1777,size=50%")?;
    mount_at("tmpfs", "/home/sandbox", DATA_ONLY, c"mode=755,uid=1000,gid=1000,size=50%")?;
    fs::create_dir("/dev/shm").map_err(|e| format!("create /dev/shm: {e}"))?;
    mount_at("tmpfs", "/dev/shm", DATA_ONLY, c"mode=1777,size=50%")?;
    for (link, target) in DESCRIPTOR_LINKS {
        symlink(target, link).map_err(|e| format!("create {link}: {e}"))?;
    }
    Ok(())
}

fn mount_at(kind: &str, at: &str, flags: MountFlags, options: &CStr) -> Result<()> {
    mount(kind, at, kind, flags, options).map_err(|e| format!("mount {kind} on {at}: {e}"))
}
