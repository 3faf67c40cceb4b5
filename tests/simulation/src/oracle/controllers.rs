//! Controllers: at most one of a run on an executor at a time, and it ends after all its workers.

use super::{Story, ensure};
use crate::physical::{ControllerLife, WorkerLife};

pub fn check(story: &Story) -> Result<(), String> {
    let controllers: Vec<_> = story.physical.controllers.iter().filter(|c| c.run == story.run).collect();
    ensure(controllers.is_empty() || story.plan.controlled, || "a controller that nobody wants".into())?;
    for (place, a) in controllers.iter().enumerate() {
        for b in controllers[place + 1..].iter().filter(|b| b.agent == a.agent) {
            ensure(a.end.is_some_and(|end| end <= b.start), || {
                format!("two controllers on agent {}, from {} and from {}", a.agent, a.start, b.start)
            })?;
        }
        outlives(story, a)?;
    }
    Ok(())
}

fn outlives(story: &Story, controller: &ControllerLife) -> Result<(), String> {
    let end = controller.end.filter(|_| !controller.broke);
    let of = |worker: &&WorkerLife| (worker.run, worker.agent) == (controller.run, controller.agent);
    for worker in story.physical.workers.iter().filter(of) {
        // One that starts while it ends waits for another.
        let had_it = worker.configured.is_some_and(|at| at >= controller.start);
        let ended = |end: u64| {
            worker.end.is_some_and(|at| at <= end) || worker.configured.is_some_and(|at| at >= end)
        };
        ensure(!had_it || end.is_none_or(ended), || {
            format!("the controller on agent {} ended at {end:?}, before a worker", controller.agent)
        })?;
    }
    Ok(())
}
