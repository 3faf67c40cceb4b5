//! The end of a run: what goes first, what waits behind what, and what is taken back when, so that no slot is left with
//! much to do.

use std::time::Duration;

use seagull_domain::{AttemptId, AttemptState, TestIndex};
use seagull_scheduler_core::{Plan, What};

use super::suspects::lose;
use super::*;

/// A run of tests that take so many seconds, on `a`.
fn running(bundles: Vec<Vec<TestIndex>>, seconds: &[u64]) -> World {
    let predicted_us = seconds.iter().map(|seconds| seconds * 1_000_000).collect();
    World::running_plan(0, Plan { predicted_us, ..plan(bundles, Vec::new(), 0) })
}

/// `a` has been at its first test for so long.
fn is_at_first(world: &mut World, seconds: u64) {
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    world.now = world.now + Duration::from_secs(seconds);
    world.report("a", &[]);
}

#[test]
fn what_has_the_longest_test_goes_before_what_is_longer() {
    let world = running(vec![tests(0..3), tests([3])], &[10, 10, 10, 20]);
    let given = &world.state.runs[&run()].attempts[&AttemptId(2)];
    assert_eq!(given.left.values().map(|(test, _)| test.0).collect::<Vec<_>>(), [3]);
}

#[test]
fn nothing_waits_behind_a_long_test_though_that_is_the_last() {
    let mut world = running(vec![tests([0]), tests([1])], &[20, 10]);
    is_at_first(&mut world, 5);
    assert_eq!(world.state.runs[&run()].pending.len(), 1);
    assert_eq!(assigned(&world.report("b", &[])), [("b", AttemptId(3))]);
}

#[test]
fn a_move_has_to_be_worth_what_it_takes_to_start() {
    for (starts, taken) in [(0, vec![3, 4]), (30, vec![4]), (50, vec![])] {
        let mut world = World::running(0, 5, Vec::new());
        world.now = world.now + Duration::from_secs(starts);
        is_at_first(&mut world, 0);
        assert_eq!(asked_back(&world.report("b", &[])), tests(taken));
    }
}

#[test]
fn what_a_test_has_behind_it_is_not_left_to_do() {
    for (seconds, taken) in [(0, vec![1]), (9, vec![])] {
        let mut world = World::running(0, 2, Vec::new());
        is_at_first(&mut world, seconds);
        world.now = world.now + Duration::from_millis(900);
        assert_eq!(asked_back(&world.report("b", &[])), tests(taken));
    }
}

#[test]
fn what_would_end_last_behind_a_test_that_is_late_is_taken_back_though_there_is_more_to_give_out() {
    for (seconds, taken) in [(60, vec![1, 2]), (40, vec![])] {
        let bundles = vec![tests(0..3), tests(3..6), tests(6..9), tests(9..12)];
        let mut world = World::running_bundles(0, bundles, Vec::new());
        is_at_first(&mut world, seconds);
        let facts = world.report("b", &[]);
        assert_eq!(assigned(&facts), [("b", AttemptId(3))]);
        assert_eq!(asked_back(&facts), tests(taken), "there are 60 s of work for each slot");
    }
}

#[test]
fn in_a_large_fleet_too_idle_slots_get_what_is_taken_back_though_something_waits() {
    let bundles = (0..251).map(|bundle| tests(2 * bundle..2 * bundle + 2)).collect();
    let mut world = World::running_bundles(1, bundles, Vec::new());
    world.executors.get_mut("a").unwrap().more_slots = 249;
    world.report("a", &[]);
    assert_eq!(assigned(&world.report("b", &[])), [("b", AttemptId(252))]);
    world.now = world.now + Duration::from_secs(5);
    world.says("b", 252, AttemptState::Ended(EndCause::Completed));
    let facts = world.report("b", &[(1, result(500, Outcome::Failed)), (2, result(501, Outcome::Passed))]);
    assert_eq!(world.state.runs[&run()].pending.len(), 1, "its retry waits for the other executor");
    assert_eq!(asked_back(&facts).len(), 1);
}

#[test]
fn nothing_is_taken_back_for_an_executor_that_it_must_not_go_to() {
    let mut world = World::running(0, 5, Vec::new());
    assert_eq!(assigned(&lose(&mut world, "a", &["b"])), [("b", AttemptId(3))], "what it had not begun");
    world.says("b", 3, AttemptState::Running(None));
    world.report("b", &[]);
    world.executors.insert("a", Executor { boot: 1, ..Executor::default() });
    assert_eq!(asked_back(&world.report("a", &[])), [], "it was lost there");
    assert_eq!(assigned(&world.report("c", &[])), [("c", AttemptId(4))], "what was in flight there");
    assert_eq!(asked_back(&world.report("d", &[])), tests([3, 4]));
}

#[test]
fn a_long_suspect_does_not_wait_until_the_run_would_have_to_wait_for_it() {
    let mut world = running((0..6).map(|test| tests([test])).collect(), &[100, 90, 80, 70, 60, 60]);
    let facts = world.report("b", &[]);
    assert_eq!(assigned(&facts), [("b", AttemptId(3))]);
    world.says("b", 3, AttemptState::Running(Some(TestIndex(1))));
    suspects::lose(&mut world, "a", &["b"]);
    let facts = suspects::completes(&mut world, "b", 3, &[1]);
    assert_eq!(given(&world, &facts), [2], "there is more than three times as much to do");
    world.says("b", 4, AttemptState::Running(Some(TestIndex(2))));
    let facts = suspects::completes(&mut world, "b", 4, &[2]);
    assert_eq!(given(&world, &facts), [0]);
    let facts = suspects::completes(&mut world, "b", 5, &[0]);
    assert_eq!(given(&world, &facts), [3]);
}

/// The tests of what was assigned.
fn given(world: &World, facts: &[What]) -> Vec<u32> {
    let attempts =
        assigned(facts).into_iter().map(|(_, attempt)| &world.state.runs[&run()].attempts[&attempt]);
    attempts.flat_map(|attempt| attempt.left.values().map(|(test, _)| test.0)).collect()
}
