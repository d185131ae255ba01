//! PID 1 of a zeroboot guest: mounts the file systems, starts the runtime as an ordinary user, and
//! tells the host when the runtime's process has ended. In between it sleeps.

#![forbid(unsafe_code)]

mod clock;
mod death;
mod log;
mod mounts;
mod network;
mod runtime;

use std::process::ExitCode;

use rustix::process::{Pid, WaitOptions, wait};
use zeroboot_driver::{Channel, Death, Device, Stage};

use crate::runtime::Definition;

const HOSTNAME: &[u8] = b"zeroboot";

/// What a shell reports for a program that cannot be started.
const CANNOT_START: u32 = 127;

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let (device, mut channel) = match open_channel() {
        Ok(opened) => opened,
        Err(error) => {
            // Without a channel, the kernel's panic over a lost PID 1 is what the host can see.
            log::say(&error);
            return ExitCode::FAILURE;
        }
    };
    match boot(&device, &mut channel) {
        Ok(runtime) => {
            drop(device);
            reap(runtime, &mut channel)
        }
        Err(error) => {
            log::say(&format!("the runtime cannot be started: {error}"));
            channel.dead(Death::Exited, CANNOT_START);
            sleep_forever()
        }
    }
}

fn open_channel() -> Result<(Device, Channel)> {
    mounts::devices()?;
    let device = Device::open().map_err(|e| format!("open /dev/zeroboot: {e}"))?;
    let channel = Channel::open(&device).map_err(|e| format!("map /dev/zeroboot: {e}"))?;
    Ok((device, channel))
}

fn boot(device: &Device, channel: &mut Channel) -> Result<Pid> {
    channel.stage(Stage::Init);
    clock::set()?;
    rustix::system::sethostname(HOSTNAME).map_err(|e| format!("set the host's name: {e}"))?;
    network::loopback_up()?;
    mounts::writable_root()?;
    mounts::the_rest()?;
    channel.stage(Stage::Mounted);
    Definition::load()?.start(device)
}

/// Waits for the runtime and for every orphan.
fn reap(runtime: Pid, channel: &mut Channel) -> ! {
    while let Ok(ended) = wait(WaitOptions::empty()) {
        let Some((pid, status)) = ended else { continue };
        if pid == runtime {
            let (death, detail) = death::classify(runtime, status);
            log::say(&format!("the runtime {}", death::describe(death, detail)));
            channel.dead(death, detail);
        }
    }
    // No child is left, and PID 1 must not return.
    sleep_forever()
}

fn sleep_forever() -> ! {
    loop {
        rustix::event::pause();
    }
}
