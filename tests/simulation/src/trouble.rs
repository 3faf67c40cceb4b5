//! What goes wrong besides processes that die: disks, networks, clocks, and whatever stands still for longer than it
//! may. And when all of it stops, from when on a history has to come to its end.

use crate::random::Random;
use crate::scenario::{Does, Fault, RunPlan, Scenario, Script};

/// From the last fault on, leases have run out and everybody has come back within this.
const RECOVERS_MS: u64 = 120_000;
/// A test that does not end as it should may take its worker, its executor or its limit along, each time.
const BAD_MS: u64 = 60_000;
/// What an execution takes besides its test: a worker, a collection, a report.
const OVERHEAD_MS: u64 = 300;
/// Sessions that hang as they end, of a worker and of its controller.
const SESSIONS_MS: u64 = 60_000;
/// A client that is lost while it judges is waited for so long.
const JUDGE_LOST_MS: u64 = 120_000;

/// Adds the faults of a scenario that has all else.
pub fn add(r: &mut Random, scenario: &mut Scenario) {
    let (end, executors) = (scenario.expected_end(), scenario.executors.len());
    let mut faults = Vec::new();
    if r.chance(250) {
        faults.push(Fault::FailDisk { down_ms: r.within(50..=10_000) });
    }
    if r.chance(250) {
        faults.push(Fault::StallDisk { for_ms: r.within(2000..=25_000) });
    }
    if r.chance(250) {
        faults.push(Fault::Partition { executor: r.index(executors), for_ms: r.within(500..=40_000) });
    }
    if r.chance(200) {
        faults.push(Fault::PartitionClients { for_ms: r.within(500..=20_000) });
    }
    if r.chance(250) {
        let (executor, whole_machine) = (r.index(executors), r.chance(500));
        faults.push(Fault::Pause { executor, for_ms: r.within(15_001..=60_000), whole_machine });
    }
    if r.chance(200) {
        faults.push(Fault::PauseScheduler { for_ms: r.within(15_001..=60_000) });
    }
    for fault in faults {
        scenario.faults.push((r.within(0..=end), fault));
    }
    for executor in &mut scenario.executors {
        executor.clock = match r.within(0..=9) {
            0 => r.within(900..=999),
            1 => r.within(1001..=1100),
            _ => 1000,
        };
    }
    scenario.calm_at = calm_at(scenario);
}

/// When nothing more goes wrong by itself.
pub fn calm_at(scenario: &Scenario) -> u64 {
    let ends = scenario.faults.iter().map(|(at, fault)| at + fault.lasts_ms());
    let joins = scenario.executors.iter().map(|executor| executor.joins_at);
    let asked = scenario.runs.iter().map(|run| run.submitted_at.max(run.cancelled_at.unwrap_or(0)));
    let expected = scenario.expected_end() * 3 / 2;
    ends.chain(joins).chain(asked).max().unwrap_or(0).max(expected)
}

impl Fault {
    /// How long it lasts, from when it happens.
    fn lasts_ms(&self) -> u64 {
        match *self {
            Fault::Die { back_after, .. } => back_after.unwrap_or(0),
            Fault::Pause { for_ms, .. }
            | Fault::PauseScheduler { for_ms }
            | Fault::StallDisk { for_ms }
            | Fault::Partition { for_ms, .. }
            | Fault::PartitionClients { for_ms } => for_ms,
            Fault::CrashScheduler { down_ms } | Fault::FailDisk { down_ms } => down_ms,
            Fault::Drain { limit_ms, .. } => limit_ms,
            Fault::Leave { .. } | Fault::Cut { .. } => 0,
        }
    }
}

impl Scenario {
    /// When every run is over at the latest: what is left at worst when all is calm, on the executor that is never lost
    /// for good, and what its client then takes to judge it.
    pub fn over_by(&self) -> u64 {
        let slots = u64::from(self.executors[0].slots);
        let work: u64 = self.runs.iter().map(RunPlan::most_ms).sum();
        // As many tests as may be in flight when the others are lost run one by one from then on.
        let in_flight = self.executors.iter().map(|executor| usize::from(executor.slots)).sum();
        let mut alone: Vec<_> = self.runs.iter().flat_map(|run| &run.tests).map(once_ms).collect();
        alone.sort_unstable();
        let alone: u64 = alone.iter().rev().take(in_flight).sum();
        let judged = self.runs.iter().filter_map(|run| run.judge).map(|judge| judge.takes_ms + JUDGE_LOST_MS);
        self.calm_at + RECOVERS_MS + SESSIONS_MS + work / slots + alone + judged.max().unwrap_or(0)
    }
}

impl RunPlan {
    /// How long its tests take one after the other, with all that each is tried again for.
    fn most_ms(&self) -> u64 {
        let executions = 1 + u64::from(self.spec.retries);
        let once = |does: Does| matches!(does, Does::Always(_) | Does::FailsFirst(_));
        let bad = |does: Does| if once(does) { 0 } else { BAD_MS };
        let tests = self.tests.iter().chain(&self.gone);
        tests.map(|test| executions * once_ms(test) + bad(test.does)).sum()
    }
}

/// How long one execution of a test takes at most, where it ends by itself.
fn once_ms(test: &Script) -> u64 {
    test.slow_ms.unwrap_or(0).max(test.duration_ms) + OVERHEAD_MS
}
