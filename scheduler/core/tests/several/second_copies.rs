//! Second copies of tests that take far longer than predicted.

use std::time::Duration;

use seagull_domain::{AttemptId, AttemptState, EndCause, Outcome, RunEvent, SecondCopy, TestIndex, Verdict};
use seagull_scheduler_core::{Call, Event, Fact, Pace, Run, What, project};

use super::*;

/// `a` has been at the only test, which was to take ten seconds, for so long, and `b` is idle.
fn after(seconds: u64, change: impl FnOnce(&mut Run)) -> (World, Vec<What>) {
    let mut world = World::running(0, 1, Vec::new());
    change(world.state.runs.get_mut(&run()).unwrap());
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    world.now = world.now + Duration::from_secs(seconds - 1);
    world.report("a", &[]);
    // What nobody has room for is not looked at in each step.
    world.now = world.now + Duration::from_secs(1);
    let facts = world.report("b", &[]);
    (world, facts)
}

/// `b` is at a second copy of the test that `a` is at.
fn copied() -> World {
    let (mut world, _) = after(31, |_| {});
    world.says("b", 3, AttemptState::Running(Some(TestIndex(0))));
    world.report("b", &[]);
    world
}

fn ended(cause: EndCause) -> AttemptState {
    AttemptState::Ended(cause)
}

fn copies(facts: &[What]) -> Vec<(&str, SecondCopy)> {
    let copies = facts.iter().filter_map(|what| match what {
        What::Assigned { executor, copy, .. } => Some((executor.as_str(), (*copy)?)),
        _ => None,
    });
    copies.collect()
}

#[test]
fn a_test_that_takes_three_times_its_prediction_runs_a_second_time_elsewhere() {
    assert_eq!(copies(&after(30, |_| {}).1), []);
    let (mut world, facts) = after(31, |_| {});
    let copy = SecondCopy { test: TestIndex(0), beside: AttemptId(2) };
    assert_eq!(copies(&facts), [("b", copy)]);
    let told = facts.into_iter().flat_map(|what| project(&Fact { run: run(), what }));
    let is_told = |event: RunEvent| match event {
        RunEvent::AttemptAssigned { copy: of, tests, discovery, .. } => {
            (of, tests, discovery) == (Some(copy), 1, false)
        }
        _ => false,
    };
    assert!(told.into_iter().any(is_told));
    world.now = world.now + Duration::from_secs(60);
    assert_eq!(copies(&world.report("c", &[])), [], "one is enough");
}

#[test]
fn no_copy_of_what_has_no_history_or_a_result_or_may_kill_or_where_it_is_not_wanted() {
    let none = |change: fn(&mut Run)| assert_eq!(copies(&after(100, change).1), []);
    none(|run| run.spec.second_copy = false);
    none(|run| run.tests[0].unknown = true);
    none(|run| run.tests[0].suspect = true);
    none(|run| run.tests[0].seen.add(Outcome::Failed));
    let slow = |run: &mut Run| run.pace = Pace { predicted_us: 1, taken_us: 9 };
    assert_eq!(copies(&after(100, slow).1), [], "all tests of the run take so much longer");
}

#[test]
fn no_copy_of_a_relation_nor_on_the_same_executor() {
    let mut world = World::running(0, 2, ordered(0..2));
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    world.now = world.now + Duration::from_secs(100);
    assert_eq!(copies(&world.report("a", &[])), [], "nobody else is there");
    assert_eq!(copies(&world.report("b", &[])), []);
}

#[test]
fn the_first_result_cancels_the_other_copy_and_the_test_is_decided_when_that_is_gone() {
    for (first, slower, attempts) in [("b", "a", [3, 2]), ("a", "b", [2, 3])] {
        let mut world = copied();
        world.says(first, attempts[0], ended(EndCause::Completed));
        let facts = world.report(first, &[(1, result(0, Outcome::Passed))]);
        assert_eq!(decided(&facts), [], "the other may come to something else");
        let (_, effects) = world.send(slower, &[]);
        let told = &answer(&effects, Call(world.calls)).expect("it is news").attempts[0];
        assert_eq!((told.attempt, told.cancel, told.superseded), (AttemptId(attempts[1]), true, true));
        world.says(slower, attempts[1], ended(EndCause::Cancelled));
        let facts = world.report(slower, &[]);
        assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Passed)]);
        assert_eq!(bundles(&facts), [[]; 0]);
        assert_eq!(world.state.runs[&run()].losses, 0);
    }
}

#[test]
fn two_copies_that_both_end_count_both() {
    let mut world = copied();
    world.says("b", 3, ended(EndCause::Completed));
    world.report("b", &[(1, result(0, Outcome::Passed))]);
    world.says("a", 2, ended(EndCause::Completed));
    let facts = world.report("a", &[(1, result(0, Outcome::Failed))]);
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Flaky)]);
}

#[test]
fn what_waits_behind_a_superseded_test_runs_elsewhere() {
    let mut world = World::running(0, 2, Vec::new());
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    world.report("b", &[]);
    world.now = world.now + Duration::from_secs(31);
    world.report("a", &[]);
    world.now = world.now + Duration::from_secs(1);
    let facts = world.report("c", &[]);
    assert_eq!(copies(&facts).len(), 1, "one of the two idle slots is for the other test");
    world.says("b", 3, ended(EndCause::Completed));
    world.report("b", &[(1, result(0, Outcome::Passed))]);
    world.says("a", 2, ended(EndCause::Cancelled));
    let facts = world.report("a", &[]);
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Passed)]);
    assert_eq!(bundles(&facts), [[(1, Role::Run)]]);
}

#[test]
fn a_copy_that_is_lost_costs_nothing_while_the_other_runs() {
    let mut world = copied();
    world.now = world.now + Duration::from_secs(10);
    world.report("a", &[]);
    world.now = world.now + Duration::from_secs(10);
    let (facts, _) = world.step(Event::Tick);
    assert!(
        facts.iter().any(|what| matches!(what, What::AttemptLost { attempt: AttemptId(3), .. })),
        "{facts:?}"
    );
    assert_eq!(bundles(&facts), [[]; 0]);
    assert_eq!(world.state.runs[&run()].tests[0].losses, 0);
    world.says("a", 2, ended(EndCause::Completed));
    let facts = world.report("a", &[(1, result(0, Outcome::Passed))]);
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Passed)]);
}
