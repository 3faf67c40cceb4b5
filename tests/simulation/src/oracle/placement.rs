//! Where things ran: relations, and the numbers of slots.

use std::collections::{BTreeMap, BTreeSet};

use seagull_domain::{AttemptId, Isolation, Outcome, Recall, Relation, Role, RunEvent, TestIndex, Verdict};

use super::{Story, ensure};
use crate::physical::{Ended, Execution, WorkerLife};
use crate::scenario::{Does, TEST_KIB};

pub fn check(story: &Story) -> Result<(), String> {
    for relation in &story.plan.relations {
        let all = story.executions.iter().chain(&story.withdrawn_executions);
        let mut executions: Vec<_> = all.copied().filter(|e| relation.tests.contains(&e.test)).collect();
        executions.sort_by_key(|execution| execution.start);
        let named = |error: String| {
            format!("relation of {:?}, ordered {}: {error}", relation.tests, relation.ordered)
        };
        apart_only_when_lost(story, &executions).map_err(named)?;
        if relation.ordered {
            in_order(story, relation, &executions).map_err(named)?;
        } else {
            in_one_worker(story, relation, &executions).map_err(named)?;
        }
    }
    renewed(story)?;
    environments(story)?;
    numbers(story)
}

fn overlap(a: (u64, Option<u64>), b: (u64, Option<u64>)) -> bool {
    let ends_after = |end: Option<u64>, start| end.is_none_or(|end| end > start);
    ends_after(a.1, b.0) && ends_after(b.1, a.0)
}

/// Nothing of a relation runs on two slots at a time, unless one of the executors was given up before.
fn apart_only_when_lost(story: &Story, executions: &[&Execution]) -> Result<(), String> {
    for (place, a) in executions.iter().enumerate() {
        for b in executions[place + 1..].iter().filter(|b| b.worker != a.worker) {
            let both = overlap((a.start, a.end), (b.start, b.end));
            let since = a.start.max(b.start);
            let given_up = |e: &Execution| {
                story.was_lost_by(e, since) || is_lost(story, &story.physical.workers[e.worker], since)
            };
            ensure(!both || given_up(a) || given_up(b), || {
                format!("test {} in attempt {} while {} in {}", a.test, a.attempt, b.test, b.attempt)
            })?;
        }
    }
    Ok(())
}

/// Whether what a test was in came to nothing so often that it is cut, and with it a relation that is all there is. What an
/// agent never learned of may have been that.
fn was_in_vain(story: &Story, test: TestIndex) -> bool {
    let lost = story.events().filter_map(|event| match event {
        RunEvent::AttemptLost { attempt, .. } => Some(attempt),
        _ => None,
    });
    let had = |attempt: &&AttemptId| story.physical.given.get(*attempt).is_none_or(|of| of.contains(&test));
    let began = |attempt: &AttemptId| story.executions.iter().any(|of| of.attempt == *attempt);
    lost.filter(had).filter(|attempt| !began(attempt)).count() >= 2
}

/// Tests of a *together* relation run in one worker, unless it broke, was lost, or had to be another kind of worker.
fn in_one_worker(story: &Story, relation: &Relation, executions: &[&Execution]) -> Result<(), String> {
    // What is not found and was only expected to be there goes elsewhere without a word.
    let needs_another = |test: &TestIndex| {
        matches!(story.plan.script(*test).does, Does::NeedsWholeCollection | Does::IsMissingOn(_))
    };
    let missing = |event: &RunEvent| matches!(event, RunEvent::TestMissing { test, .. } if relation.tests.contains(test));
    if relation.tests.iter().any(needs_another) || story.events().any(missing) {
        return Ok(());
    }
    for pair in executions.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        let retried = |of: &Execution| {
            executions
                .iter()
                .any(|e| e.test == of.test && e.start < of.start && e.ended == Ended::With(Outcome::Failed))
        };
        let gave_up = |of: &Execution| {
            story
                .events()
                .any(|e| matches!(e, RunEvent::AttemptLost { attempt, .. } if *attempt == of.attempt))
        };
        // What is handed back by an executor that leaves may come in parts: what had not begun, then what was interrupted.
        let drained = story.physical.agents.iter().any(|agent| agent.leaves.is_some_and(|at| at <= b.start));
        let withdrawn = |of: &Execution| story.withdrawn.contains_key(&of.attempt);
        let worker = &story.physical.workers[a.worker];
        // What was in flight when a machine was lost runs by itself, even what had not begun.
        let suspects = story.lost.values().any(|at| *at <= b.start);
        let explained = a.worker == b.worker
            || worker.broke
            || drained
            || withdrawn(a) != withdrawn(b)
            || retried(b)
            || retried(a)
            || gave_up(a)
            || gave_up(b)
            || suspects
            || was_in_vain(story, b.test);
        ensure(explained, || {
            format!("moved from attempt {} to {} at test {}", a.attempt, b.attempt, b.test)
        })?;
    }
    Ok(())
}

/// What comes before a test of an *ordered* relation has run before it, in the same worker. What was expected instead may
/// have been related otherwise, and then does not count.
fn in_order(story: &Story, relation: &Relation, executions: &[&Execution]) -> Result<(), String> {
    for execution in executions.iter().filter(|e| !story.withdrawn.contains_key(&e.attempt)) {
        let before = relation.tests.iter().take_while(|test| **test != execution.test);
        for test in before {
            let ran = executions.iter().any(|e| {
                let over = e.end.is_some_and(|end| end <= execution.start);
                e.test == *test && e.worker == execution.worker && over && matches!(e.ended, Ended::With(_))
            });
            ensure(ran, || {
                format!("{} ran in attempt {} without {test}", execution.test, execution.attempt)
            })?;
        }
    }
    let again = executions.iter().filter(|e| e.role == Role::Predecessor);
    for predecessor in again {
        let for_what = executions.iter().any(|e| e.test == predecessor.test && e.start < predecessor.start);
        // What was given up without an execution is not owed one, but the tests after it need it.
        let given_up = story.events().any(|event| {
            matches!(event, RunEvent::Verdict { test, verdict: Verdict::NotExecuted(_) } if *test == predecessor.test)
        });
        let taken_apart = story.events().any(|event| is_taken_apart(story, event, predecessor.test));
        ensure(for_what || given_up || taken_apart, || {
            format!("{} ran as a predecessor at first", predecessor.test)
        })?;
    }
    Ok(())
}

/// What had the test was asked for all that it had not started: what is behind the test may have come back before it.
fn is_taken_apart(story: &Story, event: &RunEvent, test: TestIndex) -> bool {
    let RunEvent::TakenBack { attempt, tests: 1.., why } = event else { return false };
    let had = story.physical.given.get(attempt).is_none_or(|given| given.contains(&test));
    *why != Recall::Idle && had
}

/// A worker runs no more than it lives for, and nothing more when it has too much memory, but for what is related to
/// what it has run; and no other attempt finds what one has left in its services.
fn renewed(story: &Story) -> Result<(), String> {
    let spec = &story.plan.spec;
    let mut workers: BTreeMap<usize, Vec<&Execution>> = BTreeMap::new();
    for execution in story.executions.iter().chain(&story.withdrawn_executions).copied() {
        workers.entry(execution.worker).or_default().push(execution);
    }
    for executions in workers.values_mut() {
        executions.sort_by_key(|execution| execution.start);
        for (before, pair) in (1..).zip(executions.windows(2)) {
            let (a, b) = (pair[0], pair[1]);
            let related = |relation: &Relation| [a, b].iter().all(|e| relation.tests.contains(&e.test));
            let lives = match spec.isolation {
                Isolation::Slot => true,
                Isolation::Bundle => a.attempt == b.attempt,
                Isolation::Test => false,
            };
            let fits = spec.worker_memory_kib.is_none_or(|limit| before * TEST_KIB <= limit);
            ensure((lives && fits) || story.plan.relations.iter().any(related), || {
                format!("worker {} was not renewed between {} and {}", a.worker, a.test, b.test)
            })?;
            let cleaned = &story.physical.workers[a.worker].cleaned;
            let is_clean = cleaned.iter().any(|at| a.end.is_none_or(|end| end <= *at) && *at <= b.start);
            ensure(!story.plan.resets() || a.attempt == b.attempt || is_clean, || {
                format!("what {} left was not made clean before {}", a.test, b.test)
            })?;
        }
    }
    Ok(())
}

/// A test runs in a worker of the environment that it needs, and what an executor is given at a time is of one.
fn environments(story: &Story) -> Result<(), String> {
    for execution in story.executions.iter().chain(&story.withdrawn_executions) {
        let (is, needed) =
            (story.physical.workers[execution.worker].environment, story.plan.environment(execution.test));
        ensure(is == needed, || {
            format!("test {} ran in environment {is}, and needs {needed}", execution.test)
        })?;
    }
    let attempts: BTreeSet<_> = story.executions.iter().map(|execution| execution.attempt).collect();
    for attempt in attempts {
        let given = story.physical.given.get(&attempt).into_iter().flatten();
        let needed: BTreeSet<_> = given.map(|test| story.plan.environment(*test)).collect();
        ensure(needed.len() < 2, || format!("attempt {attempt} is of several environments: {needed:?}"))?;
    }
    Ok(())
}

/// No two live workers of a run have the same number, unless the executor of one was given up before.
fn numbers(story: &Story) -> Result<(), String> {
    let workers: Vec<_> = story.physical.workers.iter().filter(|worker| worker.run == story.run).collect();
    for (place, a) in workers.iter().enumerate() {
        for b in workers[place + 1..].iter().filter(|b| b.number == a.number) {
            let both = overlap((a.start, a.end), (b.start, b.end));
            let since = a.start.max(b.start);
            let lost = is_lost(story, a, since) || is_lost(story, b, since);
            ensure(!both || lost, || {
                let of = |w: &WorkerLife| {
                    format!("agent {} slot {} from {} to {:?}", w.agent, w.slot, w.start, w.end)
                };
                format!("two workers have number {}: {} and {}", a.number, of(a), of(b))
            })?;
        }
    }
    Ok(())
}

fn is_lost(story: &Story, worker: &WorkerLife, by: u64) -> bool {
    let executor = &story.physical.agents[worker.agent].executor;
    // Of a withdrawn attempt no loss is told, so its executor's has to do, though the worker may have started after it.
    let since = if story.withdrawn.contains_key(&worker.attempt) { 0 } else { worker.start };
    let told = story.told.iter().any(|(_, at, event)| match event {
        RunEvent::ExecutorLost { executor: of, .. } => of.as_str() == executor && (since..=by).contains(at),
        _ => false,
    });
    told || story.lost.get(&worker.attempt).is_some_and(|at| *at <= by)
}
