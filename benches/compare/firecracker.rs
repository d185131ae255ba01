//! A fork of a snapshot that Firecracker made, beside ours: another machine, another guest, reached by
//! its serial console.

use std::sync::Arc;
use std::time::Instant;

use zeroboot::{Outcome, Sandbox, Snapshot, TalkOptions};

use crate::foreign::{ANY_CLOCK, BASE, unpacked};
use crate::measure::lives::Lives;
use crate::measure::results::WayResults;
use crate::measure::way::{About, Result, check};

const ABOUT: About = About {
    id: "firecracker",
    name: "zeroboot, a Firecracker snapshot (a shell script on a PC's console)",
    spawn: Some("the call of Sandbox::fork"),
    first_result: "from the call of Sandbox::fork to the end of the guest's answer to `count`",
    teardown: Some("the drop of a sandbox that has answered"),
    mapping: None,
};

/// First answers take seconds where ring 0 is emulated.
const LIVES: usize = 20;

/// Measured alone, behind the others.
pub fn measure() -> Result<WayResults> {
    let snapshot = Arc::new(Snapshot::load(&unpacked(BASE), ANY_CLOCK)?);
    let mut lives = Lives::default();
    for _ in 0..LIVES {
        let started = Instant::now();
        let mut sandbox = Sandbox::fork(&snapshot, None)?;
        lives.spawn.add(started.elapsed());
        let options = TalkOptions { until: b"DONE\n", ..TalkOptions::default() };
        let result = sandbox.talk(b"count\n", options)?;
        lives.first_result.add(started.elapsed());
        check(&format!("{:?}", result.outcome), &format!("{:?}", Outcome::Exited(0)))?;
        let said = String::from_utf8(result.output.stdout)?;
        check(said.get(said.len().saturating_sub(13)..).unwrap_or_default(), "count=2\nDONE\n")?;
        let ending = Instant::now();
        drop(sandbox);
        lives.teardown.add(ending.elapsed());
    }
    Ok(WayResults::of(&ABOUT, &lives))
}
