//! Bundles of which nothing ran.

use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, Digest, Discovery, EndCause, Generation, InfraCause, NotExecuted,
    Outcome, Relation, Role, SlotIndex, TestIndex, Verdict,
};
use seagull_scheduler_core::{Attempt, Event, Phase, What};

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
fn what_only_runs_before_others_pays_nothing_for_them_though_it_owes_a_retry() {
    let mut world = World::running(1, 2, ordered(0..2));
    world.says("a", 2, AttemptState::Ended(EndCause::Completed));
    let facts = world.report("a", &[(1, result(0, Outcome::Failed)), (2, result(1, Outcome::Failed))]);
    let [retry, behind_it] = [vec![(0, Role::Run)], vec![(0, Role::Predecessor), (1, Role::Run)]];
    assert_eq!(bundles(&facts), [retry, behind_it.clone()]);
    for attempt in [3, 4] {
        let left = &world.state.runs[&run()].attempts[&AttemptId(attempt)].left;
        let is_behind = left.values().map(|(test, role)| (test.0, *role)).eq(behind_it.iter().copied());
        world.says("a", attempt, came_back());
        let facts = world.report("a", &[]);
        let charged = facts.iter().find_map(|fact| match fact {
            What::AttemptEnded { charged, .. } => Some(charged.as_slice()),
            _ => None,
        });
        assert_eq!(charged, Some(&[TestIndex(u32::from(is_behind))][..]));
    }
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

/// What an executor of which only the first slot starts anything says of all that it has.
fn starts_in_its_first_slot(world: &mut World, executor: &'static str) {
    let live = world.state.runs[&run()].live_attempts();
    let report = |(attempt, known): (AttemptId, &Attempt)| {
        let first = known.left.values().next().map(|(test, _)| *test);
        let state = if known.slot == SlotIndex(0) { AttemptState::Running(first) } else { came_back() };
        AttemptReport { attempt, run: run(), generation: Generation(1), kept: Vec::new(), state }
    };
    let attempts = live.filter(|(_, known)| known.executor.as_str() == executor).map(report).collect();
    world.executors.get_mut(executor).unwrap().attempts = attempts;
}

/// A run of two tests apart, on an executor of so many slots that has discovered them.
fn two_tests_on(slots: u16) -> World {
    let mut world = World::of(0);
    world.executors.entry("a").or_default().more_slots = slots - 1;
    world.report("a", &[]);
    let discovery = Discovery { manifest: Digest([7; 32]), tests: 2 };
    world.says("a", 1, AttemptState::Ended(EndCause::Discovered(discovery)));
    world.report("a", &[]);
    world.planned(vec![tests([0]), tests([1])], Vec::new(), 0);
    world
}

#[test]
fn slots_in_which_nothing_starts_spend_nothing_of_a_test_while_another_may_start_it() {
    for slots in [2, 4, 64] {
        let mut world = two_tests_on(slots);
        let (mut back, mut facts) = (0, Vec::new());
        loop {
            starts_in_its_first_slot(&mut world, "a");
            let came_back = world.executors["a"].attempts.iter().filter(|a| a.state == came_back()).count();
            if came_back == 0 {
                break;
            }
            back += came_back;
            facts.extend(world.report("a", &[]));
            assert!(back <= 2 * usize::from(slots), "it does not end");
        }
        let state = &world.state.runs[&run()];
        assert_eq!((decided(&facts), state.test(TestIndex(1)).losses), (Vec::new(), 0), "{slots} slots");
        assert!(state.losses <= 3, "{} losses of the run", state.losses);
        assert_eq!(back, 2 * usize::from(slots - 1), "each of the others twice, and then it waits");
        let first = state.live_attempts().map(|(attempt, _)| attempt).next().unwrap();
        world.says("a", first.0, AttemptState::Ended(EndCause::Completed));
        let facts = world.report("a", &[(1, result(0, Outcome::Passed))]);
        let given = assigned(&facts);
        assert_eq!(given.len(), 1, "the slot that has started something");
        assert_eq!(world.state.runs[&run()].attempts[&given[0].1].slot, SlotIndex(0));
    }
}

#[test]
fn a_test_that_starts_in_no_slot_of_the_only_executor_is_given_up() {
    let mut world = two_tests_on(4);
    let (mut back, mut facts) = (0, Vec::new());
    while decided(&facts).is_empty() {
        let live = world.state.runs[&run()].live_attempts().map(|(attempt, _)| attempt);
        let report = |attempt| {
            let (run, generation, kept, state) = (run(), Generation(1), Vec::new(), came_back());
            AttemptReport { attempt, run, generation, kept, state }
        };
        let attempts: Vec<_> = live.map(report).collect();
        back += attempts.len();
        world.executors.get_mut("a").unwrap().attempts = attempts;
        facts.extend(world.report("a", &[]));
        assert!(back < 50, "it does not end");
    }
    let given_up = decided(&facts).into_iter().any(|(_, verdict)| verdict == GIVEN_UP);
    assert!(given_up, "{:?}", decided(&facts));
}

#[test]
fn what_comes_back_after_a_restart_costs_no_test_before_all_executors_are_known() {
    let mut world = World::running(0, 1, Vec::new());
    world.report("b", &[]);
    world.restart();
    world.says("a", 2, came_back());
    world.report("a", &[]);
    let state = &world.state.runs[&run()];
    assert_eq!((state.losses, state.test(TestIndex(0)).losses), (1, 0), "another may be about to report");
}

#[test]
fn a_restart_is_no_reason_to_give_a_run_up() {
    let mut world = World::running(0, 1, Vec::new());
    world.state.runs.get_mut(&run()).unwrap().in_vain = 8;
    world.state.runs.get_mut(&run()).unwrap().lost_to = Some(InfraCause::SandboxFailed);
    world.restart();
    let phase = |world: &World| world.state.runs[&run()].phase;
    assert_eq!(phase(&world), Phase::Running, "nobody was heard from");
    world.now = world.now + Duration::from_secs(14);
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    world.now = world.now + Duration::from_secs(2);
    world.step(Event::Tick);
    world.report("a", &[]);
    assert_eq!(phase(&world), Phase::Running, "one is at a test");
    world.now = world.now + Duration::from_secs(16);
    world.step(Event::Tick);
    assert_eq!(phase(&world), Phase::Running, "nobody is there who could say anything");
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
