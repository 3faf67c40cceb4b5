//! Executors that were given up and come back late: what they say of tests that are not decided yet is taken.

use std::time::Duration;

use seagull_domain::{AttemptId, AttemptState, Evidence, Outcome, Record, Role, TestIndex, Verdict};
use seagull_scheduler_core::{Call, Event, What};

use crate::world::*;

/// `a`, which had a bundle of three tests and was at the first, is given up. It lives.
fn given_up() -> World {
    let mut world = World::running(0, 3, Vec::new());
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    world.now = world.now + Duration::from_secs(15);
    let (facts, _) = world.step(Event::Tick);
    assert!(facts.iter().any(|what| matches!(what, What::AttemptLost { .. })), "{facts:?}");
    world
}

fn recorded(facts: &[What]) -> Vec<(u32, Option<Evidence>)> {
    let records = facts.iter().filter_map(|what| match what {
        What::Recorded { records, .. } => Some(records),
        _ => None,
    });
    let results = records.flatten().filter_map(|(record, evidence)| match record {
        Record::Result(result) => Some((result.test.0, *evidence)),
        _ => None,
    });
    results.collect()
}

#[test]
fn what_it_has_finished_meanwhile_counts_and_does_not_run_again() {
    let mut world = given_up();
    let late = [(1, result(0, Outcome::Passed)), (2, result(1, Outcome::Failed))];
    let (facts, effects) = world.send("a", &late);
    assert_eq!(recorded(&facts), [(0, None), (1, None)]);
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Passed), (TestIndex(1), Verdict::Failed)]);
    let desired = answer(&effects, Call(world.calls)).expect("it is answered");
    assert_eq!(desired.acknowledged, [(AttemptId(2), 2)]);
    let wanted: Vec<_> = desired.attempts.iter().map(|attempt| attempt.attempt).collect();
    assert_eq!(wanted, [AttemptId(3)], "what it ran is not wanted any more; what is left is given out anew");
    let rest = &world.state.runs[&run()].attempts[&AttemptId(3)];
    assert_eq!(rest.left.values().collect::<Vec<_>>(), [&(TestIndex(2), Role::Run)]);

    assert_eq!(world.report("a", &late), [], "repeats change nothing");
}

#[test]
fn a_test_that_has_moved_is_decided_when_nobody_holds_it_by_all_that_is_known() {
    let mut world = given_up();
    assert_eq!(assigned(&world.report("b", &[])), [("b", AttemptId(3))]);
    let facts = world.report("a", &[(1, result(1, Outcome::Passed))]);
    assert_eq!((recorded(&facts), decided(&facts)), (vec![(1, None)], vec![]), "`b` is at it");
    world.says("b", 3, AttemptState::Running(None));
    let facts = world.report("b", &[(1, result(1, Outcome::Failed)), (2, result(2, Outcome::Passed))]);
    assert_eq!(decided(&facts), [(TestIndex(1), Verdict::Flaky), (TestIndex(2), Verdict::Passed)]);
    let facts = world.report("a", &[(2, result(2, Outcome::Failed))]);
    assert_eq!(recorded(&facts), [(2, Some(Evidence::AfterDecision))], "that comes too late");
}

#[test]
fn what_it_did_not_find_meanwhile_says_nothing_of_the_test() {
    let mut world = given_up();
    let missing = Record::Missing { test: TestIndex(0), reason: "gone".into() };
    let facts = world.report("a", &[(1, missing)]);
    assert_eq!(decided(&facts), []);
    assert!(world.state.runs[&run()].test(TestIndex(0)).missing_on.is_empty());
}
