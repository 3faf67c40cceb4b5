//! What was executed had a reason, and what was executed is told.

use seagull_domain::{Evidence, Outcome, Role, RunEvent, TestIndex};

use super::copies::is_superseded;
use super::{Story, ensure};
use crate::physical::{Ended, Execution};

pub fn check(story: &Story) -> Result<(), String> {
    let what = |execution: &Execution, error: &str| {
        format!("test {} in attempt {}: {error}", execution.test, execution.attempt)
    };
    // The worst comes first.
    for execution in &story.executions {
        ensure(is_told(story, execution), || what(execution, "its outcome was never told"))?;
    }
    for execution in &story.executions {
        let what = |error: &str| what(execution, error);
        ensure(may_be_interrupted(story, execution), || what("interrupted for no reason"))?;
        ensure(may_be_predecessor(story, execution), || what("run as a predecessor of nothing"))?;
    }
    for execution in &story.withdrawn_executions {
        ensure(may_be_interrupted(story, execution), || {
            format!("test {} in attempt {}: interrupted early", execution.test, execution.attempt)
        })?;
    }
    for test in (0..story.plan.tests.len() as u32).map(TestIndex) {
        repeats(story, test).map_err(|error| format!("test {test}: {error}"))?;
    }
    Ok(())
}

/// An outcome reaches the stream if neither its machine nor the trust in it was lost.
fn is_told(story: &Story, execution: &Execution) -> bool {
    let Ended::With(_) = execution.ended else { return true };
    let told = |t: &super::Told| (t.attempt, t.result.test) == (execution.attempt, execution.test);
    !story.is_sound(execution) || story.finished().any(|t| told(&t))
}

/// What a worker says is heard so soon, but where its executor stands still.
const HEARD_MS: u64 = 2000;

/// Only where a run stops, an executor leaves or was given up, another copy has ended, or nothing was left to find out.
fn may_be_interrupted(story: &Story, execution: &Execution) -> bool {
    let (Ended::Interrupted, Some(end)) = (execution.ended, execution.end) else { return true };
    let agent = &story.physical.agents[execution.agent];
    // What runs goes on until there is only just time to interrupt it, but for what is predicted to need longer: by the
    // time at which its executor has heard that it runs.
    let own = |ms: u64| (ms * 1000).div_ceil(agent.rate);
    let grace = own(story.plan.spec.grace_ms);
    let predicted = own(story.plan.script(execution.test).predicted_us.div_ceil(1000));
    // What it stood still for does not count.
    let too_long = execution.start + predicted + HEARD_MS + grace + agent.stood_still;
    let time_is_up = agent.last.is_some_and(|last| last <= end + grace || last <= too_long);
    let leaves = agent.leaves.is_some_and(|at| at <= end) && time_is_up;
    let stops =
        story.told.iter().any(|(_, at, event)| matches!(event, RunEvent::Stopping { .. }) && *at <= end);
    let verdicts =
        story.told.iter().filter(|(_, at, event)| matches!(event, RunEvent::Verdict { .. }) && *at <= end);
    let given_up = story.was_lost_by(execution, end) || story.was_withdrawn_by(execution, end);
    let all = verdicts.count() == story.plan.tests.len();
    leaves || stops || given_up || all || is_superseded(story, execution, end)
}

/// Only in an *ordered* relation.
fn may_be_predecessor(story: &Story, execution: &Execution) -> bool {
    let of_test = story.plan.relations.iter().find(|relation| relation.tests.contains(&execution.test));
    execution.role == Role::Run || of_test.is_some_and(|relation| relation.ordered)
}

/// A test is executed for its result once, and again only after a failure that is retried, or a loss, or as a second
/// copy.
fn repeats(story: &Story, test: TestIndex) -> Result<(), String> {
    let runs: Vec<_> = story.of_test(test).filter(|execution| execution.role == Role::Run).collect();
    for (place, execution) in runs.iter().enumerate().skip(1) {
        let reason = runs[..place].iter().any(|before| match before.ended {
            Ended::With(Outcome::Failed) | Ended::Interrupted | Ended::Gone | Ended::Not => true,
            Ended::With(_) => !story.is_sound(before),
        });
        let is_copy = story.copies.get(&execution.attempt).is_some_and(|copy| copy.test == test);
        let reason = reason || is_copy || story.was_lost_by(execution, execution.start);
        ensure(reason, || format!("executed again in attempt {} for no reason", execution.attempt))?;
    }
    let failures =
        runs.iter().filter(|e| e.ended == Ended::With(Outcome::Failed) && story.is_sound(e)).count();
    let is_first =
        |told: &super::Told| told.result.test == test && told.evidence == Some(Evidence::FirstMemoryKill);
    let first = story.finished().filter(is_first).count();
    let most = 1 + story.plan.spec.retries as usize + story.copies_of(test) + first;
    ensure(failures <= most, || format!("failed {failures} times of at most {most}"))?;
    for told in story.finished().filter(|told| told.result.test == test && told.evidence.is_none()) {
        let settled = told.result.outcome != Outcome::Failed;
        let later = |execution: &&&Execution| {
            story.assigned.get(&execution.attempt).is_some_and(|at| *at > told.place)
        };
        ensure(!settled || runs.iter().filter(later).count() == 0, || {
            format!("given out again after attempt {} had {:?}", told.attempt, told.result.outcome)
        })?;
    }
    Ok(())
}
