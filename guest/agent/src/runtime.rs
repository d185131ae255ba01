//! The runtime that the image holds, and how it is started.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Pid;
use zeroboot_driver::Device;

use crate::{Result, log};

/// Set by the kernel from its command line.
const NAME_VARIABLE: &str = "ZB_RUNTIME";
const DIRECTORY: &str = "/usr/lib/zeroboot";
/// Tells the runtime which of its descriptors is the device.
const CHANNEL_VARIABLE: &str = "ZB_CHANNEL_FD";

const SANDBOX_ID: u32 = 1000;
const SANDBOX_HOME: &str = "/home/sandbox";

/// PID 1 is safe by itself; this also makes the kernel prefer the sandbox's processes to any other
/// that root starts. A process may raise its own score and not lower it.
const OOM_SCORE: &str = "500";

/// A runtime's command line and environment, from `runtime.conf`: a line `argv WORD` for each
/// argument, `env NAME=VALUE` for each variable, and comments.
#[derive(Debug, Default, PartialEq)]
pub struct Definition {
    argv: Vec<String>,
    env: Vec<(String, String)>,
}

impl Definition {
    /// The definition that the kernel's command line names.
    pub fn load() -> Result<Self> {
        let name = std::env::var(NAME_VARIABLE)
            .map_err(|_| format!("the kernel's command line has no {NAME_VARIABLE}=NAME"))?;
        let path = format!("{DIRECTORY}/{name}/runtime.conf");
        let text = fs::read_to_string(&path).map_err(|e| format!("read {path}: {e}"))?;
        Definition::parse(&text).map_err(|e| format!("{path}: {e}"))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut definition = Definition::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            definition.parse_line(line).ok_or_else(|| format!("not understood: {line:?}"))?;
        }
        match definition.argv.is_empty() {
            true => Err("no argv".into()),
            false => Ok(definition),
        }
    }

    fn parse_line(&mut self, line: &str) -> Option<()> {
        match line.split_once(' ')? {
            ("argv", word) => self.argv.push(word.into()),
            ("env", variable) => {
                let (name, value) = variable.split_once('=')?;
                self.env.push((name.into(), value.into()));
            }
            _ => return None,
        }
        Some(())
    }

    /// Starts the runtime as an ordinary user who holds nothing of root's but the open device and,
    /// until the runtime replaces its standard descriptors, the boot log.
    pub fn start(&self, device: &Device) -> Result<Pid> {
        let channel = device.file();
        // The device must survive the exec.
        fcntl_setfd(channel, FdFlags::empty()).map_err(|e| format!("hand on the channel: {e}"))?;
        let log = log::open().map_err(|e| format!("open the boot log: {e}"))?;
        let log_again = log.try_clone().map_err(|e| format!("open the boot log: {e}"))?;
        let mut command = self.command(channel);
        let child = command.stdout(log).stderr(log_again).spawn();
        let child = child.map_err(|e| format!("start {}: {e}", self.argv[0]))?;
        let score = format!("/proc/{}/oom_score_adj", child.id());
        fs::write(&score, OOM_SCORE).map_err(|e| format!("write {score}: {e}"))?;
        Ok(Pid::from_child(&child))
    }

    fn command(&self, channel: &File) -> Command {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).env_clear().envs(self.env.iter().cloned());
        command.env(CHANNEL_VARIABLE, channel.as_raw_fd().to_string());
        // As root, std also drops the supplementary groups when the user changes.
        command.stdin(Stdio::null()).current_dir(SANDBOX_HOME).uid(SANDBOX_ID).gid(SANDBOX_ID);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_is_a_command_line_and_an_environment() {
        let text = "# comment\nargv /bin/x\nargv two words\n\nenv A=b=c\nenv EMPTY=\n";
        let expected = Definition {
            argv: vec!["/bin/x".into(), "two words".into()],
            env: vec![("A".into(), "b=c".into()), ("EMPTY".into(), "".into())],
        };
        assert_eq!(Definition::parse(text), Ok(expected));
    }

    #[test]
    fn a_definition_without_a_program_or_with_an_odd_line_is_refused() {
        assert_eq!(Definition::parse("env A=b"), Err("no argv".into()));
        assert_eq!(Definition::parse("argv /x\nenv A"), Err("not understood: \"env A\"".into()));
        assert_eq!(Definition::parse("argv"), Err("not understood: \"argv\"".into()));
        assert_eq!(Definition::parse("exec /x"), Err("not understood: \"exec /x\"".into()));
    }
}
