//! Processes that die, stand still or leave; what goes wrong besides is in [`crate::trouble`].

use super::{Fault, Milestone, RunPlan, expected_end};
use crate::machines::ExecutorPlan;
use crate::random::Random;

pub(super) fn faults(
    r: &mut Random,
    executors: &[ExecutorPlan],
    runs: &[RunPlan],
) -> (Vec<(u64, Fault)>, Option<Milestone>) {
    let end = expected_end(executors, runs);
    let mut faults = Vec::new();
    if r.chance(500) {
        faults.push((r.within(0..=end), death(r, executors.len())));
        for _ in 0..r.within(0..=2) {
            let fault = if r.chance(500) { death(r, executors.len()) } else { pause(r, executors.len()) };
            faults.push((r.within(0..=end), fault));
        }
    }
    // The first executor neither dies for good nor leaves, so that every run can end.
    if r.chance(400) {
        let executor = 1 + r.index(executors.len() - 1);
        faults.push((r.within(0..=end), farewell(r, executor)));
    }
    if r.chance(500) {
        faults.push((r.within(0..=end), Fault::Cut { executor: r.index(executors.len()) }));
    }
    if r.chance(200) {
        faults.push((r.within(0..=end), Fault::PauseScheduler { for_ms: r.within(1000..=30_000) }));
    }
    let mut crash_after = None;
    if r.chance(500) {
        let down_ms = if r.chance(800) { r.within(50..=3000) } else { r.within(3000..=30_000) };
        faults.push((r.within(0..=end), Fault::CrashScheduler { down_ms }));
        crash_after = match r.within(0..=5) {
            0 => Some(Milestone::PlanAsked),
            1 => Some(Milestone::ArchiveAsked),
            2 => Some(Milestone::TakenBack),
            _ => None,
        };
    }
    (faults, crash_after)
}

/// With no time at all, with time to end what runs, or with something in between.
fn farewell(r: &mut Random, executor: usize) -> Fault {
    let time = r.within(0..=25_000);
    match r.within(0..=2) {
        0 => Fault::Drain { executor, limit_ms: time },
        how => Fault::Leave { executor, within_ms: time, spot: how == 1 },
    }
}

fn death(r: &mut Random, executors: usize) -> Fault {
    let executor = r.index(executors);
    let for_good = executor > 0 && r.chance(500);
    let back_after = (!for_good).then(|| r.within(50..=20_000));
    Fault::Die { executor, back_after }
}

/// Shorter than a lease, or longer.
fn pause(r: &mut Random, executors: usize) -> Fault {
    let executor = r.index(executors);
    let for_ms = if r.chance(500) { r.within(100..=5000) } else { r.within(5000..=40_000) };
    Fault::Pause { executor, for_ms, whole_machine: r.chance(500) }
}
