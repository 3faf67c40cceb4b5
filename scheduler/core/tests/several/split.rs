//! Bundles of which nothing ran.

use seagull_domain::{
    AttemptState, EndCause, InfraCause, NotExecuted, Outcome, Relation, Role, TestIndex, Verdict,
};
use seagull_scheduler_core::{Phase, What};

use crate::suspects::lose;
use crate::world::*;

const GIVEN_UP: Verdict = Verdict::NotExecuted(NotExecuted::Infra(InfraCause::SandboxFailed));

/// Plays a run to its end on two executors: a bundle with a culprit comes back, any other passes. Says how many came back.
fn play(world: &mut World, culprits: &[u32]) -> (u32, Vec<What>) {
    world.report("b", &[]);
    let (mut back, mut all) = (0, Vec::new());
    loop {
        let state = &world.state.runs[&run()];
        let Some((attempt, known)) = state.live_attempts().next() else { break };
        let executor = if known.executor.as_str() == "a" { "a" } else { "b" };
        let left: Vec<_> = known.left.values().map(|(test, _)| test.0).collect();
        let bad = left.iter().any(|test| culprits.contains(test));
        back += u32::from(bad);
        let passed = |test: &u32| result(*test, Outcome::Passed);
        let results: Vec<_> = (1..).zip(left.iter().filter(|_| !bad).map(passed)).collect();
        let end = if bad { came_back() } else { AttemptState::Ended(EndCause::Completed) };
        world.says(executor, attempt.0, end);
        all.extend(world.report(executor, &results));
        world.executors.get_mut(executor).unwrap().attempts.clear();
        all.extend(world.report(executor, &[]));
        assert!(back < 200, "it does not end");
    }
    (back, all)
}

#[test]
fn a_bundle_of_which_nothing_ran_goes_elsewhere_whole_and_then_in_two() {
    let mut world = World::running(0, 4, Vec::new());
    world.report("b", &[]);
    world.says("a", 2, came_back());
    let whole: Vec<_> = (0..4).map(|test| (test, Role::Run)).collect();
    let facts = world.report("a", &[]);
    assert_eq!(bundles(&facts), [&whole[..]]);
    assert_eq!(assigned(&facts)[0].0, "b");
    world.says("b", 3, came_back());
    assert_eq!(bundles(&world.report("b", &[])), [&whole[..2], &whole[2..]]);
    let state = &world.state.runs[&run()];
    assert_eq!((state.losses, state.test(TestIndex(0)).losses), (2, 0));
}

#[test]
fn a_culprit_is_found_and_its_neighbours_pay_nothing() {
    for culprit in 0..16 {
        let mut world = World::running(0, 16, Vec::new());
        let (came_back, facts) = play(&mut world, &[culprit]);
        assert_eq!(
            came_back,
            2 + 4 + 2,
            "whole, whole, in four cuts to the one, which pays with that and two more"
        );
        for (test, verdict) in decided(&facts) {
            assert_eq!(verdict, if test.0 == culprit { GIVEN_UP } else { Verdict::Passed }, "{test}");
        }
        let tests = &world.state.runs[&run()].tests;
        let paid: Vec<_> = tests.iter().map(|test| test.losses).filter(|losses| *losses > 0).collect();
        assert_eq!(paid, [3]);
    }
}

#[test]
fn an_ordered_relation_is_never_cut_and_pays_as_one() {
    let mut world = World::running(0, 5, ordered([1, 2, 4]));
    let (_, facts) = play(&mut world, &[2]);
    for entries in bundles(&facts) {
        let of_relation = entries.iter().filter(|(test, _)| [1, 2, 4].contains(test)).count();
        assert!([0, 3].contains(&of_relation), "{entries:?}");
    }
    let given_up = decided(&facts).into_iter().filter(|(_, verdict)| *verdict == GIVEN_UP);
    assert_eq!(given_up.map(|(test, _)| test.0).collect::<Vec<_>>(), [1, 2, 4]);
}

#[test]
fn what_belongs_together_is_cut_only_when_nothing_else_is_left() {
    let together = vec![Relation { ordered: false, tests: tests(0..4) }];
    let mut world = World::running(0, 6, together);
    let (_, facts) = play(&mut world, &[1]);
    let cut: Vec<Vec<_>> =
        bundles(&facts).iter().map(|entries| entries.iter().map(|(test, _)| *test).collect()).collect();
    assert_eq!(cut[..5], [vec![0, 1, 2, 3, 4, 5], vec![0, 1, 2, 3], vec![4, 5], vec![0, 1], vec![2, 3]]);
    let given_up = decided(&facts).into_iter().filter(|(_, verdict)| *verdict == GIVEN_UP);
    assert_eq!(given_up.map(|(test, _)| test.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_run_of_which_nothing_starts_ends_soon() {
    let mut world = World::running(0, 64, Vec::new());
    let (came_back, facts) = play(&mut world, &(0..64).collect::<Vec<_>>());
    assert!(came_back <= 14, "{came_back}");
    assert!(facts.contains(&What::Stopping { reason: NotExecuted::Infra(InfraCause::SandboxFailed) }));
    assert!(matches!(world.state.runs[&run()].phase, Phase::Ended { exit_code: 101, .. }));
    assert_eq!(world.state.runs[&run()].counts.not_executed, 64);
}

#[test]
fn what_was_lost_twice_with_nothing_seen_to_run_is_cut_behind_its_suspects() {
    let mut world = World::running(0, 4, Vec::new());
    world.report("b", &[]);
    let first = lose(&mut world, "a", &["b"]);
    assert_eq!(bundles(&first), [vec![(0, Role::Run)], (1..4).map(|test| (test, Role::Run)).collect()]);
    world.says("b", 3, AttemptState::Running(None));
    world.report("b", &[]);
    let second = lose(&mut world, "b", &["c"]);
    assert_eq!(bundles(&second), [1, 2, 3].map(|test| [(test, Role::Run)]));
    assert_eq!(world.state.runs[&run()].test(TestIndex(2)).losses, 0);
}
