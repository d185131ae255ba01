use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use zeroboot::{LoadOptions, Manifest, Plan, Program, Runtime, Snapshot, Template, verify};

use crate::progress::progress;
use crate::{Result, paths};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Boot a runtime, warm it up and keep it as a template; does nothing if it is up to date
    Build(Build),
    /// Show all templates, and whether each can be used on this host now
    List,
    /// Show what a template is, where it lies and how it was made
    Inspect {
        /// The template's name
        name: String,
        /// Print its directory and nothing else
        #[arg(long)]
        path: bool,
    },
    /// Hash a template's memory and image and compare with its manifest
    Verify {
        /// The template's name
        name: String,
    },
    /// Remove a template; its kernel and image stay
    Rm {
        /// The template's name
        name: String,
    },
}

const EXAMPLES: &str = "\
Examples:
  zeroboot template build python
  zeroboot template build python --name mine --memory 512 --warm imports.py";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Build {
    /// Runtime: python
    runtime: String,
    /// Name of the template [default: the runtime's]
    #[arg(long)]
    name: Option<String>,
    /// RAM in MiB, a multiple of 2 from 32 to 3072 [default: the runtime's]
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// A program to warm up with besides the usual ones; may be given more than once
    #[arg(long, value_name = "FILE")]
    warm: Vec<PathBuf>,
    /// Build even if the template is up to date
    #[arg(long)]
    force: bool,
    /// Guest kernel [default: the one that guest/kernel/build.sh made]
    #[arg(long, value_name = "VMLINUX")]
    kernel: Option<PathBuf>,
    /// Root file system image [default: the one that guest/rootfs/build.sh made]
    #[arg(long, value_name = "IMAGE")]
    rootfs: Option<PathBuf>,
    /// Seconds that the guest may take until its runtime is ready
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    boot_timeout: u64,
}

pub fn template(command: Command) -> Result<ExitCode> {
    match command {
        Command::Build(arguments) => build(arguments),
        Command::List => list(),
        Command::Inspect { name, path } => inspect(&name, path),
        Command::Verify { name } => {
            let dir = paths::existing_template(&name)?;
            verify(&dir, &Manifest::read(&dir)?)?;
            Snapshot::load(&dir, LoadOptions::default())?;
            out!("{name}: memory and image are as they were written, and it loads here");
            Ok(ExitCode::SUCCESS)
        }
        Command::Rm { name } => {
            let dir = paths::existing_template(&name)?;
            // What is no template is not ours to remove.
            Manifest::read(&dir)?;
            fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn build(arguments: Build) -> Result<ExitCode> {
    let started = Instant::now();
    let name = arguments.name.clone().unwrap_or_else(|| arguments.runtime.clone());
    let dir = paths::template(&name)?;
    let progress = progress();
    let force = arguments.force;
    let template = Template::plan(plan(arguments)?, &*progress)?;
    if !force && let Some(why) = up_to_date(&dir, &template) {
        drop(progress);
        out!("{name}: {why}");
        return Ok(ExitCode::SUCCESS);
    }
    let result = template.build(&dir, &progress);
    drop(progress);
    let manifest = result?;
    // What cannot be loaded is not built.
    Snapshot::load(&dir, LoadOptions::default())?;
    out!("{name}: built in {:.1} s at {}", started.elapsed().as_secs_f64(), dir.display());
    out!("{}", timings(&manifest));
    Ok(ExitCode::SUCCESS)
}

fn plan(arguments: Build) -> Result<Plan> {
    let runtime = Runtime::named(&arguments.runtime).ok_or_else(|| {
        let known: Vec<_> = Runtime::all().map(|r| r.name).collect();
        format!("no runtime {}; there is: {}", arguments.runtime, known.join(", "))
    })?;
    let mut warm = runtime.warm_programs();
    for path in &arguments.warm {
        let code = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
        warm.push(Program { name: path.display().to_string(), code });
    }
    let image = format!("{}.erofs", runtime.name);
    let script = format!("guest/rootfs/build.sh {}", runtime.name);
    Ok(Plan {
        kernel: match arguments.kernel {
            Some(path) => path,
            None => paths::guest("vmlinux", "guest/kernel/build.sh")?,
        },
        rootfs: match arguments.rootfs {
            Some(path) => path,
            None => paths::guest(&image, &script)?,
        },
        runtime: runtime.name.into(),
        ram_bytes: arguments.memory.map_or(runtime.ram_bytes, |mib| mib.saturating_mul(1 << 20)),
        warm,
        boot_timeout: Duration::from_secs(arguments.boot_timeout),
    })
}

/// Why there is nothing to do, if so: the same inputs, and it loads on this host now.
fn up_to_date(dir: &Path, template: &Template) -> Option<&'static str> {
    let manifest = Manifest::read(dir).ok()?;
    let same = manifest.origin.key == template.key();
    (same && Snapshot::load(dir, LoadOptions::default()).is_ok()).then_some("up to date")
}

fn list() -> Result<ExitCode> {
    let dir = paths::templates()?;
    let mut names: Vec<String> = match fs::read_dir(&dir) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(format!("{}: {e}", dir.display()).into()),
    };
    names.sort();
    if names.is_empty() {
        out!("no templates; `zeroboot template build python` makes one");
        return Ok(ExitCode::SUCCESS);
    }
    out!("{:20} {:10} {:>8} {:>8} {:>9}  STATE", "NAME", "RUNTIME", "MEMORY", "ON DISK", "AGE");
    for name in names {
        out!("{}", line(&name, &dir.join(&name)));
    }
    Ok(ExitCode::SUCCESS)
}

fn line(name: &str, dir: &Path) -> String {
    let manifest = match Manifest::read(dir) {
        Ok(manifest) => manifest,
        Err(error) => return format!("{name:20} {error}"),
    };
    let state = match Snapshot::load(dir, LoadOptions::default()) {
        Ok(_) => "ready".to_owned(),
        Err(error) => error.to_string(),
    };
    format!(
        "{name:20} {:10} {:>4} MiB {:>4} MiB {:>9}  {state}",
        manifest.runtime,
        manifest.ram_bytes >> 20,
        on_disk(dir) >> 20,
        age(&manifest),
    )
}

fn inspect(name: &str, path_only: bool) -> Result<ExitCode> {
    let dir = paths::existing_template(name)?;
    if path_only {
        out!("{}", dir.display());
        return Ok(ExitCode::SUCCESS);
    }
    let m = Manifest::read(&dir)?;
    out!("path        {}", dir.display());
    out!("runtime     {}", m.runtime);
    out!("memory      {} MiB, {} MiB of it on disk", m.ram_bytes >> 20, on_disk(&dir) >> 20);
    out!("image       {} MiB, sha256 {}", m.rootfs_bytes >> 20, m.rootfs_sha256);
    out!("kernel      sha256 {}", m.origin.kernel_sha256);
    out!("command     {}", m.origin.command_line);
    out!("made        {} ago by zeroboot {}", age(&m), m.origin.zeroboot);
    out!("for         {} processors, ring 0 {}", m.cpu.vendor, m.ring0);
    out!("tsc         {} kHz", m.clock.tsc_khz);
    out!("warmed      {} runs of {}", m.origin.warm_runs, m.origin.warmed_with.join(", "));
    out!("{}", timings(&m));
    match Snapshot::load(&dir, LoadOptions::default()) {
        Ok(_) => out!("state       ready"),
        Err(error) => out!("state       {error}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Where a build's time went.
fn timings(manifest: &Manifest) -> String {
    let part = |(step, ms): &(String, u64)| format!("{step} {:.1} s", *ms as f64 / 1e3);
    let parts: Vec<_> = manifest.origin.timings_ms.iter().map(part).collect();
    format!("took        {}", parts.join(", "))
}

/// Bytes that the memory file takes: it is sparse.
fn on_disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(dir.join("memory.img")).map_or(0, |m| m.blocks() * 512)
}

fn age(manifest: &Manifest) -> String {
    let made = SystemTime::UNIX_EPOCH + Duration::from_nanos(manifest.clock.realtime_ns);
    let seconds = made.elapsed().unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
