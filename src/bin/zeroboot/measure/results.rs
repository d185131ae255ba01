//! What was measured, as it goes to files.

use serde::{Deserialize, Serialize};

use super::lives::Lives;
use super::statistics::Samples;
use super::way::About;

/// A whole measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Where.
    pub description: Description,
    /// Loading the template: `Snapshot::load` to its return.
    pub load: Summary,
    /// What was compared.
    pub ways: Vec<WayResults>,
}

/// Where a measurement was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// This version.
    pub zeroboot: String,
    /// The processor's name.
    pub processor: String,
    /// How many processors there are.
    pub processors: usize,
    /// The host's memory.
    pub memory_mib: u64,
    /// The host's kernel.
    pub kernel: String,
    /// The KVM module behind /dev/kvm.
    pub kvm: String,
    /// The template's runtime.
    pub runtime: String,
    /// The template's memory.
    pub guest_mib: u64,
    /// Of one minute, at the start.
    pub load_average: String,
    /// The host's interpreter, where one took part.
    pub python: Option<String>,
}

/// One way's figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WayResults {
    /// Its short name.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What starts and stops the clocks: spawn, first result, teardown.
    pub clocks: [Option<String>; 3],
    /// One life at a time.
    pub spawn: Option<Summary>,
    /// One life at a time.
    pub first_result: Summary,
    /// One life at a time.
    pub teardown: Option<Summary>,
    /// Nanoseconds to the first result that 0 %, 0.5 %, 1 % and so on of the lives did not exceed.
    pub distribution_ns: Vec<u64>,
    /// Under load.
    pub sustained: Vec<Sustained>,
    /// Many alive at once.
    pub many: Option<Many>,
    /// What a life costs beside others.
    pub crowd: Vec<Crowd>,
    /// Why a measurement ended early, if one did.
    pub stopped: Option<String>,
}

/// Percentiles, by nearest rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Of how many samples.
    pub n: usize,
    /// The median.
    pub p50_ns: u64,
    /// Nine of ten are no longer.
    pub p90_ns: u64,
    /// 99 of a hundred are no longer.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// Lives without a pause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sustained {
    /// In how many threads.
    pub threads: usize,
    /// For how long.
    pub seconds: f64,
    /// Whole ones, teardown included, of all threads.
    pub lives_a_second: f64,
    /// Latency meanwhile.
    pub first_result: Summary,
}

/// Forks that were all alive at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Many {
    /// How many.
    pub count: usize,
    /// How many threads spawned, asked and freed them.
    pub threads: usize,
    /// From the first one's spawn until all are there.
    pub spawned_ns: u64,
    /// From the first one's spawn until each has answered.
    pub answered_ns: u64,
    /// From the first one's drop until all are gone.
    pub freed_ns: u64,
    /// Private memory of each, having answered.
    pub private_kib: u64,
    /// The kernel's memory for each, by control group.
    pub kernel_group_kib: Option<u64>,
    /// The kernel's memory for each, by what the whole machine's kernel uses more than before.
    pub kernel_host_kib: u64,
}

/// What lives cost beside `live` forks that wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowd {
    /// How many.
    pub live: usize,
    /// Of lives beside them.
    pub spawn: Summary,
    /// Of lives beside them.
    pub first_result: Summary,
    /// Of lives beside them.
    pub teardown: Summary,
}

impl Summary {
    /// A summary of samples.
    pub fn of(samples: &Samples) -> Self {
        let [p50_ns, p90_ns, p99_ns, max_ns] =
            samples.percentiles([0.5, 0.9, 0.99, 1.0]).map(|d| d.as_nanos() as u64);
        Summary { n: samples.len(), p50_ns, p90_ns, p99_ns, max_ns }
    }

    fn of_some(samples: &Samples) -> Option<Self> {
        (samples.len() > 0).then(|| Summary::of(samples))
    }
}

impl WayResults {
    /// A way's latency; the rest is filled in as it is measured.
    pub fn of(about: &About, lives: &Lives) -> Self {
        let mut sorted = lives.first_result.nanoseconds();
        sorted.sort_unstable();
        let at = |half_percent: usize| sorted[half_percent * (sorted.len() - 1) / 200];
        WayResults {
            id: about.id.into(),
            name: about.name.into(),
            clocks: [about.spawn, Some(about.first_result), about.teardown]
                .map(|clock| clock.map(str::to_owned)),
            spawn: Summary::of_some(&lives.spawn),
            first_result: Summary::of(&lives.first_result),
            teardown: Summary::of_some(&lives.teardown),
            distribution_ns: (0..=200).map(at).collect(),
            sustained: Vec::new(),
            many: None,
            crowd: Vec::new(),
            stopped: None,
        }
    }
}
