//! Where things are: `$XDG_CACHE_HOME/zeroboot`, or `~/.cache/zeroboot`.

use std::env;
use std::path::{Path, PathBuf};

use crate::Result;

/// zeroboot's part of the user's cache.
pub fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => match env::var_os("HOME").filter(|v| !v.is_empty()) {
            Some(home) => PathBuf::from(home).join(".cache"),
            None => return Err("neither XDG_CACHE_HOME nor HOME is set".into()),
        },
    };
    Ok(base.join("zeroboot"))
}

/// All templates.
pub fn templates() -> Result<PathBuf> {
    Ok(cache()?.join("templates"))
}

/// A template's directory: a name in the cache, or any path with a slash in it.
pub fn template(name: &str) -> Result<PathBuf> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    Ok(templates()?.join(checked(name)?))
}

/// A template that must be there.
pub fn existing_template(name: &str) -> Result<PathBuf> {
    let dir = template(name)?;
    if dir.is_dir() {
        return Ok(dir);
    }
    Err(format!(
        "no template {name}: {} is not there; `zeroboot template list` shows what is, \
         `zeroboot template build` makes one",
        dir.display()
    )
    .into())
}

/// Snapshots that somebody else made.
pub fn snapshots() -> Result<PathBuf> {
    Ok(cache()?.join("snapshots"))
}

/// A directory for such a snapshot.
pub fn snapshot(name: &str) -> Result<PathBuf> {
    Ok(snapshots()?.join(checked(name)?))
}

/// One that must be there: a name in the cache, or any path with a slash in it.
pub fn existing_snapshot(name: &str) -> Result<PathBuf> {
    let dir = if name.contains('/') { PathBuf::from(name) } else { snapshot(name)? };
    if dir.is_dir() {
        return Ok(dir);
    }
    Err(format!(
        "no snapshot {name}: {} is not there; `zeroboot snapshot import` takes one in",
        dir.display()
    )
    .into())
}

/// A part of the guest, as the build scripts leave it.
pub fn guest(file: &str, script: &str) -> Result<PathBuf> {
    let path = cache()?.join("guest").join(file);
    if path.exists() {
        return Ok(path);
    }
    Err(format!("{} is not there; {script} builds it (`make guest` runs them all)", path.display())
        .into())
}

/// Dots begin what is being written, and slashes are paths.
fn checked(name: &str) -> Result<&Path> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(good) {
        return Err(format!("{name:?} is no template's name: letters, digits, ., _ and -").into());
    }
    Ok(Path::new(name))
}
