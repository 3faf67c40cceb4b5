//! Second copies: only of a test that is late, free and without a result, elsewhere, and once.

use std::collections::BTreeSet;

use seagull_domain::{AttemptId, RunEvent, SecondCopy};

use super::{Story, ensure};
use crate::physical::Execution;

pub fn check(story: &Story) -> Result<(), String> {
    let mut copied = BTreeSet::new();
    for (attempt, copy) in &story.copies {
        let may_be = [
            (story.plan.spec.second_copy, "nobody wants one"),
            (copied.insert(copy.test), "there was one"),
            (is_free(story, copy), "it is related"),
            (is_open(story, *attempt, copy), "it has a result"),
            (is_late(story, *attempt, copy), "it is not late"),
            (executor(story, *attempt) != executor(story, copy.beside), "it runs on that executor"),
        ];
        for (holds, why) in may_be {
            ensure(holds, || format!("test {} has a second copy in attempt {attempt}: {why}", copy.test))?;
        }
    }
    Ok(())
}

fn is_free(story: &Story, copy: &SecondCopy) -> bool {
    !story.plan.relations.iter().any(|relation| relation.tests.contains(&copy.test))
}

fn is_open(story: &Story, attempt: AttemptId, copy: &SecondCopy) -> bool {
    let before = |place| place < story.assigned[&attempt];
    let is_result = |told: super::Told| told.result.test == copy.test && told.evidence.is_none();
    !story.finished().any(|told| before(told.place) && is_result(told))
}

/// It has run for three times its prediction, and for ten seconds.
fn is_late(story: &Story, attempt: AttemptId, copy: &SecondCopy) -> bool {
    let at = story.told[story.assigned[&attempt]].1;
    let predicted_us = story.plan.tests[copy.test.0 as usize].predicted_us;
    let late_ms = (3 * predicted_us / 1000).max(10_000);
    let mut of_test = story.of_test(copy.test);
    of_test.any(|execution| execution.attempt == copy.beside && execution.start + late_ms <= at)
}

fn executor<'a>(story: &'a Story, attempt: AttemptId) -> Option<&'a str> {
    match &story.told[*story.assigned.get(&attempt)?].2 {
        RunEvent::AttemptAssigned { executor, .. } => Some(executor.as_str()),
        _ => None,
    }
}

/// Whether a test that the execution's attempt was at had a result of another copy by then.
pub fn is_superseded(story: &Story, execution: &Execution, time: u64) -> bool {
    let is_of =
        |(attempt, copy): &(&AttemptId, &SecondCopy)| [**attempt, copy.beside].contains(&execution.attempt);
    let has_result = |(_, copy): (&AttemptId, &SecondCopy)| {
        let mut told = story.finished().filter(|told| told.result.test == copy.test);
        told.any(|told| told.attempt != execution.attempt && story.told[told.place].1 <= time)
    };
    story.copies.iter().filter(is_of).any(has_result)
}
