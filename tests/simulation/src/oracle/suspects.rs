//! Suspects: what was in flight when its executor was lost runs alone from then on, and after all that never ran.

use seagull_domain::{AttemptId, InfraCause, RunEvent, TestIndex};

use super::{Story, ensure};
use crate::physical::Execution;

/// A suspect that takes so long need not be the last.
const LONG_US: u64 = 20_000_000;
/// So long after its start a scheduler has heard from every executor that is there.
const KNOWS_AFTER_MS: u64 = 20_000;

pub fn check(story: &Story) -> Result<(), String> {
    for (place, (_, at, event)) in story.told.iter().enumerate() {
        let RunEvent::AttemptLost { attempt, cause: InfraCause::ExecutorLost, .. } = event else { continue };
        // A scheduler that has just started does not know what executors have.
        let life = story.physical.life_at(*at);
        if life > 0 && *at < life + KNOWS_AFTER_MS {
            continue;
        }
        let Some(suspect) = in_flight(story, place, *attempt) else { continue };
        // What ran may have been a test before it that only had to run again.
        if !story.of_test(suspect).any(|execution| execution.attempt == *attempt) {
            continue;
        }
        let later = story.told[place..].iter().map(|(_, _, event)| event);
        let result = later.take_while(|event| {
            !matches!(event, RunEvent::TestFinished { result, evidence: None, .. } if result.test == suspect)
        });
        for (place, event) in (place..).zip(result) {
            let RunEvent::AttemptAssigned { attempt, .. } = event else { continue };
            let Some(given) = story.physical.given.get(attempt).filter(|given| given.contains(&suspect))
            else {
                continue;
            };
            let named = |error: &str| format!("suspect {suspect} in attempt {attempt} {error}");
            ensure(given.len() == 1, || named("runs with others"))?;
            ensure(is_alone(story, *attempt), || named("runs beside others"))?;
            let is_long = story.plan.tests[suspect.0 as usize].predicted_us >= LONG_US;
            ensure(is_long || is_last(story, place), || named("runs before what never ran"))?;
        }
    }
    Ok(())
}

/// The test that a lost attempt was at, by what was told of it: the first without a result. Only where it is known to
/// have been there; of an *ordered* relation others run with it.
fn in_flight(story: &Story, place: usize, attempt: AttemptId) -> Option<TestIndex> {
    let told = story.told[..place].iter().filter_map(|(_, _, event)| match event {
        RunEvent::TestFinished { result, attempt: of, .. } if *of == attempt => Some(result.test),
        RunEvent::TestMissing { test, attempt: of, .. } if *of == attempt => Some(*test),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let retaken =
        |event: &RunEvent| matches!(event, RunEvent::TakenBack { attempt: of, .. } if *of == attempt);
    if told.is_empty() || story.events().any(retaken) || is_next(story, attempt) {
        return None;
    }
    // What has to run before a test of an *ordered* relation may have been what ran.
    let ordered = |test: &TestIndex| story.plan.relations.iter().any(|r| r.ordered && r.tests.contains(test));
    if story.physical.given.get(&attempt)?.iter().any(ordered) {
        return None;
    }
    let first = story.physical.given.get(&attempt)?.iter().find(|test| !told.contains(test)).copied()?;
    let decided = |event: &RunEvent| matches!(event, RunEvent::Verdict { test, .. } if *test == first);
    let is_decided = story.told[..place].iter().any(|(_, _, event)| decided(event));
    (!is_decided && !story.is_related(first)).then_some(first)
}

/// Whether an earlier attempt of its slot was lost with it: then it was that one's turn, whatever had gone ahead before.
fn is_next(story: &Story, attempt: AttemptId) -> bool {
    let slot = |of: AttemptId| {
        story.events().find_map(|event| match event {
            RunEvent::AttemptAssigned { attempt, executor, slot, .. } if *attempt == of => {
                Some((executor, *slot))
            }
            _ => None,
        })
    };
    let with_it = |of: &AttemptId, at: &u64| *of < attempt && story.lost.get(&attempt) == Some(at);
    story.lost.iter().any(|(of, at)| with_it(of, at) && slot(*of) == slot(attempt))
}

/// Nothing of the run that was not lost itself ran on the same agent meanwhile.
fn is_alone(story: &Story, attempt: AttemptId) -> bool {
    let counts = |of: &&&Execution| !story.lost.contains_key(&of.attempt);
    let own = story.executions.iter().filter(|of| of.attempt == attempt);
    own.into_iter().all(|own| {
        let mut others = story.executions.iter().filter(|of| of.agent == own.agent && of.attempt != attempt);
        let overlaps = |of: &&&Execution| {
            of.end.is_none_or(|end| end > own.start) && own.end.is_none_or(|end| of.start < end)
        };
        !others.any(|of| counts(&of) && overlaps(&of))
    })
}

/// Nothing is given out later that was there and had never been given out.
fn is_last(story: &Story, place: usize) -> bool {
    let assigned = |(_, _, event): &(_, u64, RunEvent)| match event {
        RunEvent::AttemptAssigned { attempt, discovery: false, .. } => Some(*attempt),
        _ => None,
    };
    let known = |attempt: &AttemptId| story.physical.given.contains_key(attempt);
    let all_known = story.told[..place].iter().filter_map(assigned).all(|attempt| known(&attempt));
    let plans = story.withdrawn.is_empty() && story.plan.anticipation.is_none();
    !all_known
        || !plans
        || !story.told[place + 1..].iter().filter_map(assigned).any(|later| story.is_fresh(later))
}
