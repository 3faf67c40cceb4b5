//! Executors that are sick: cordoned, relieved of what they have, and tried again.

use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptReport, AttemptState, EndCause, Generation, InfraCause, Outcome, RunEvent, Sickness,
    TestIndex, Verdict,
};
use seagull_scheduler_core::{Call, Event, Fact, Phase, What, project};

use crate::fixture::spec;
use crate::world::*;

/// What an executor makes of a test; None if nothing starts there.
type Does = fn(&str, u32) -> Option<Outcome>;

/// A run of so many bundles of two tests, on executors of which `a` has the first.
fn world(retries: u32, bundles: u32, executors: &[&'static str]) -> World {
    let bundles = (0..bundles).map(|bundle| tests(2 * bundle..2 * bundle + 2)).collect();
    let mut world = World::running_bundles(retries, bundles, Vec::new());
    executors.iter().for_each(|executor| drop(world.report(executor, &[])));
    world
}

/// Ends the oldest attempt of an executor, if it has one.
fn end(world: &mut World, executor: &'static str, does: Does) -> Vec<What> {
    let state = &world.state.runs[&run()];
    let oldest = state.live_attempts().find(|(_, attempt)| attempt.executor.as_str() == executor);
    let Some((id, attempt)) = oldest else { return Vec::new() };
    let left: Vec<_> = attempt.left.values().map(|(test, _)| test.0).collect();
    let outcomes: Option<Vec<_>> =
        left.iter().map(|test| Some(result(*test, does(executor, *test)?))).collect();
    let ended = AttemptState::Ended(EndCause::Completed);
    world.says(executor, id.0, if outcomes.is_some() { ended } else { came_back() });
    let results: Vec<_> = (1..).zip(outcomes.unwrap_or_default()).collect();
    let mut facts = world.report(executor, &results);
    world.executors.get_mut(executor).unwrap().attempts.clear();
    facts.extend(world.report(executor, &[]));
    facts
}

/// Every executor ends an attempt in turn, so often.
fn play(world: &mut World, executors: &[&'static str], rounds: u32, does: Does) -> Vec<What> {
    let rounds = (0..rounds).flat_map(|_| executors);
    rounds.flat_map(|executor| end(world, executor, does)).collect()
}

fn cordoned(facts: &[What]) -> Vec<(&str, Sickness, u32)> {
    let cordoned = facts.iter().filter_map(|what| match what {
        What::Cordoned { executor, sickness, attempts, .. } => {
            Some((executor.as_str(), *sickness, *attempts))
        }
        _ => None,
    });
    cordoned.collect()
}

fn given(facts: &[What], executor: &str) -> usize {
    assigned(facts).iter().filter(|(to, _)| *to == executor).count()
}

const STARTS_ON_A: Does = |executor, _| (executor == "a").then_some(Outcome::Passed);
const STARTS_NOTHING: Does = |executor, _| (executor != "b").then_some(Outcome::Passed);
const FAILS: Does = |executor, _| Some(if executor == "b" { Outcome::Failed } else { Outcome::Passed });

/// All that an executor has comes back at once.
fn all_come_back(world: &mut World, executor: &'static str) -> Vec<What> {
    let live = world.state.runs[&run()].live_attempts();
    let of_executor = live.filter(|(_, attempt)| attempt.executor.as_str() == executor);
    let report = |(attempt, _)| {
        let (run, generation, kept) = (run(), Generation(1), Vec::new());
        AttemptReport { attempt, run, generation, kept, state: came_back() }
    };
    world.executors.get_mut(executor).unwrap().attempts = of_executor.map(report).collect();
    let mut facts = world.report(executor, &[]);
    world.executors.get_mut(executor).unwrap().attempts.clear();
    facts.extend(world.report(executor, &[]));
    facts
}

#[test]
fn a_discovery_waits_for_a_busy_executor_rather_than_go_where_one_came_back() {
    let mut world = World::of(0);
    assert_eq!(assigned(&world.report("b", &[])), [("b", AttemptId(1))]);
    world.step(Event::Submit { request: Call(1001), spec: Box::new(spec("s")) });
    assert_eq!(assigned(&world.report("a", &[])), [("a", AttemptId(2))]);
    let facts = all_come_back(&mut world, "b");
    assert_eq!(assigned(&facts), [], "the other is at another run");
    world.executors.get_mut("a").unwrap().draining = Some(InfraCause::Drained);
    assert_eq!(assigned(&world.report("a", &[])), [("b", AttemptId(3))], "there is no other");
}

#[test]
fn what_an_idle_executor_of_many_slots_gives_back_at_once_costs_little() {
    let mut world = world(0, 100, &[]);
    world.executors.entry("b").or_default().more_slots = 63;
    assert_eq!(given(&world.report("b", &[]), "b"), 64);
    let facts = all_come_back(&mut world, "b");
    assert_eq!((cordoned(&facts), given(&facts, "b")), (vec![("b", Sickness::NothingStarts, 64)], 0));
    let state = &world.state.runs[&run()];
    assert_eq!(
        (state.losses, state.phase),
        (3, Phase::Running),
        "the first executor is still at its first test"
    );
    assert!(state.tests.iter().all(|test| test.losses == 0));
}

#[test]
fn tests_that_sick_executors_gave_back_wait_for_a_sound_one_that_is_busy() {
    let mut world = World::running_bundles(0, (0..4).map(|test| tests([test])).collect(), Vec::new());
    let sick = ["b", "c", "d", "e"];
    sick.iter().for_each(|executor| drop(world.report(executor, &[])));
    let facts = play(&mut world, &sick, 10, STARTS_ON_A);
    assert_eq!(decided(&facts), []);
    let facts = play(&mut world, &["a"], 4, STARTS_ON_A);
    assert!(facts.iter().any(|what| matches!(what, What::Ended { exit_code: 0, .. })));
}

#[test]
fn an_executor_where_tests_fail_at_once_gets_one_attempt_at_a_time() {
    let mut world = world(0, 40, &["b", "c"]);
    play(&mut world, &["b"], 40, FAILS);
    assert_eq!(world.state.runs[&run()].counts.failed, 6);
    for seconds in [1, 2, 4] {
        world.now = world.now + Duration::from_millis(seconds * 1000 - 1);
        assert_eq!(given(&world.step(Event::Tick).0, "b"), 0);
        world.now = world.now + Duration::from_millis(1);
        assert_eq!(given(&world.step(Event::Tick).0, "b"), 1);
        ["a", "c"].iter().for_each(|executor| drop(world.report(executor, &[])));
        end(&mut world, "b", FAILS);
    }
    assert_eq!(world.state.runs[&run()].counts.failed, 12);
    // Where they fail everywhere it is not the executor.
    let mut facts = play(&mut world, &["a", "c"], 3, |_, _| Some(Outcome::Failed));
    facts.extend(world.report("b", &[]));
    assert!(given(&facts, "b") > 0);
}

#[test]
fn an_executor_where_nothing_starts_gets_nothing_more_and_nobody_pays() {
    let mut world = world(0, 20, &["b", "c"]);
    let facts = play(&mut world, &["b", "a", "c"], 12, STARTS_NOTHING);
    assert_eq!(cordoned(&facts), [("b", Sickness::NothingStarts, 2)], "both in its only slot");
    assert_eq!(given(&facts, "b"), 1, "beside the one that it had at first");
    assert!(facts.iter().any(|what| matches!(what, What::Ended { exit_code: 0, .. })));
    assert!(world.state.runs[&run()].tests.iter().all(|test| test.losses == 0));
}

#[test]
fn where_nothing_starts_anywhere_nobody_is_cordoned() {
    let mut world = world(0, 20, &["b", "c"]);
    let facts = play(&mut world, &["b", "a", "c"], 30, |_, _| None);
    assert_eq!(cordoned(&facts), []);
    assert!(matches!(world.state.runs[&run()].phase, Phase::Ended { exit_code: 101, .. }));
}

#[test]
fn the_last_executor_is_never_cordoned_and_a_cordoned_one_is_used_when_it_is_the_last() {
    let mut world = world(0, 20, &["b"]);
    let facts = play(&mut world, &["b", "a"], 4, STARTS_NOTHING);
    assert_eq!(cordoned(&facts), [("b", Sickness::NothingStarts, 2)]);
    world.executors.get_mut("a").unwrap().draining = Some(seagull_domain::InfraCause::Drained);
    assert_eq!(given(&world.report("a", &[]), "b"), 1, "there is no other");
    let facts = play(&mut world, &["b"], 1, |_, _| Some(Outcome::Passed));
    assert!(facts.contains(&What::Back { executor: "b".parse().unwrap() }));
}

#[test]
fn a_cordoned_executor_is_tried_again_with_one_attempt_and_less_and_less_often() {
    let mut world = world(0, 60, &["b", "c"]);
    play(&mut world, &["b", "a", "c"], 4, STARTS_NOTHING);
    let mut wait = |seconds| {
        let mut facts = Vec::new();
        for _ in 0..seconds {
            world.now = world.now + Duration::from_secs(1);
            facts.extend(world.step(Event::Tick).0);
            ["a", "b", "c"].iter().for_each(|executor| facts.extend(world.report(executor, &[])));
        }
        let given = given(&facts, "b");
        let ended = end(&mut world, "b", STARTS_NOTHING);
        let told = ended.iter().flat_map(|what| project(&Fact { run: run(), what: what.clone() }));
        let mut told = told.filter(|event| matches!(event, RunEvent::AttemptLost { free: true, .. }));
        assert!(given == 0 || told.next().is_some());
        given
    };
    assert_eq!([wait(29), wait(1), wait(59), wait(1), wait(119), wait(1)], [0, 1, 0, 1, 0, 1]);
    let paid = world.state.runs[&run()].losses;
    assert_eq!(paid, 2, "trials cost nothing");
    world.restart();
    ["a", "b", "c"].iter().for_each(|executor| drop(world.report(executor, &[])));
    assert_eq!(
        given(&play(&mut world, &["a", "c"], 4, STARTS_NOTHING), "b"),
        0,
        "it is known after a restart"
    );
    for _ in 0..240 {
        world.now = world.now + Duration::from_secs(1);
        world.step(Event::Tick);
        ["a", "b", "c"].iter().for_each(|executor| drop(world.report(executor, &[])));
    }
    let back = end(&mut world, "b", |_, _| Some(Outcome::Passed));
    let told = back.iter().flat_map(|what| project(&Fact { run: run(), what: what.clone() }));
    assert!(told.collect::<Vec<_>>().contains(&RunEvent::ExecutorBack { executor: "b".parse().unwrap() }));
}

#[test]
fn a_standstill_of_the_scheduler_is_no_time_in_which_an_executor_gets_well() {
    let mut world = world(0, 60, &["b", "c"]);
    play(&mut world, &["b", "a", "c"], 4, STARTS_NOTHING);
    let pause = Duration::from_secs(60);
    world.now = world.now + pause;
    world.step(Event::Paused(pause));
    let mut given_in = |seconds| {
        let mut facts = Vec::new();
        for _ in 0..seconds {
            world.now = world.now + Duration::from_secs(1);
            facts.extend(world.step(Event::Tick).0);
            ["a", "b", "c"].iter().for_each(|executor| facts.extend(world.report(executor, &[])));
        }
        given(&facts, "b")
    };
    assert_eq!([given_in(29), given_in(1)], [0, 1]);
}

#[test]
fn on_trial_is_the_shortest_bundle_that_waits() {
    let sizes = [2; 30].into_iter().chain([1]).chain([2; 30]);
    let firsts = sizes.clone().scan(0, |next, size| Some(std::mem::replace(next, *next + size)));
    let bundles: Vec<_> = firsts.zip(sizes).map(|(first, size)| tests(first..first + size)).collect();
    let mut world = World::running_bundles(0, bundles, Vec::new());
    ["b", "c"].iter().for_each(|executor| drop(world.report(executor, &[])));
    play(&mut world, &["b", "a", "c"], 3, STARTS_NOTHING);
    assert!(world.state.runs[&run()].sick[&"b".parse().unwrap()].cordon.is_some());
    for _ in 0..29 {
        world.now = world.now + Duration::from_secs(1);
        ["a", "b", "c"].iter().for_each(|executor| drop(world.report(executor, &[])));
    }
    world.now = world.now + Duration::from_secs(1);
    let facts = world.step(Event::Tick).0;
    let sizes = facts.iter().filter_map(|what| match what {
        What::Assigned { executor, tests, .. } => Some((executor.as_str(), *tests)),
        _ => None,
    });
    assert_eq!(sizes.collect::<Vec<_>>(), [("b", 1)]);
}

#[test]
fn what_came_back_from_an_executor_may_be_its_trial() {
    let mut world = world(0, 3, &["b"]);
    let (mut facts, mut rounds) = (Vec::new(), 0);
    while world.state.runs[&run()].sick.values().all(|signs| signs.cordon.is_none()) {
        facts.extend(all_come_back(&mut world, "b"));
        rounds += 1;
        assert!(rounds < 9, "{facts:?}");
    }
    let pending = &world.state.runs[&run()].pending;
    let b = "b".parse().unwrap();
    assert!(
        pending.iter().all(|(_, bundle)| bundle.avoid.contains(&b)),
        "it has seen all that waits: {pending:?}"
    );
    let mut given_in = |seconds| {
        let mut facts = Vec::new();
        for _ in 0..seconds {
            world.now = world.now + Duration::from_secs(1);
            facts.extend(world.step(Event::Tick).0);
            ["a", "b"].iter().for_each(|executor| facts.extend(world.report(executor, &[])));
        }
        given(&facts, "b")
    };
    assert_eq!([given_in(29), given_in(1)], [0, 1]);
}

#[test]
fn an_executor_where_most_tests_fail_is_cordoned_if_that_is_no_chance() {
    let mut world = world(0, 100, &["b", "c", "d"]);
    let facts = play(&mut world, &["a", "b", "c", "d"], 40, FAILS);
    assert_eq!(cordoned(&facts), [("b", Sickness::TestsFail, 3)]);
    assert_eq!(world.state.runs[&run()].counts.failed, 6, "results are results");
}

#[test]
fn a_suite_that_is_red_everywhere_or_becomes_so_cordons_nobody() {
    let all = ["a", "b", "c", "d"];
    let mut red = world(1, 60, &all[1..]);
    assert_eq!(cordoned(&play(&mut red, &all, 100, |_, _| Some(Outcome::Failed))), []);
    let mut becomes_red = world(0, 200, &all[1..]);
    assert_eq!(cordoned(&play(&mut becomes_red, &all, 25, |_, _| Some(Outcome::Passed))), []);
    assert_eq!(cordoned(&play(&mut becomes_red, &all, 100, |_, _| Some(Outcome::Failed))), []);
    let third: Does = |_, test| Some(if test / 2 % 3 == 0 { Outcome::Failed } else { Outcome::Passed });
    let mut partly = world(0, 200, &all[1..]);
    assert_eq!(cordoned(&play(&mut partly, &all, 200, third)), []);
    let mut alone = world(0, 60, &[]);
    assert_eq!(cordoned(&play(&mut alone, &["a"], 100, |_, _| Some(Outcome::Failed))), []);
}

#[test]
fn retries_that_pass_elsewhere_show_it_and_what_has_not_started_there_is_asked_back() {
    let mut world = world(1, 5, &["b"]);
    for _ in 0..3 {
        end(&mut world, "b", FAILS);
    }
    assert_eq!(given(&world.report("b", &[]), "b"), 0, "not at once");
    world.now = world.now + Duration::from_secs(1);
    assert_eq!(given(&world.step(Event::Tick).0, "b"), 1);
    world.report("b", &[]);
    let (attempt, _) = world.state.runs[&run()].live_attempts().last().unwrap();
    assert_eq!(attempt, AttemptId(6));
    world.says("b", 6, AttemptState::Running(Some(TestIndex(8))));
    world.report("b", &[]);
    world.report("c", &[]);
    let facts = play(&mut world, &["c"], 6, FAILS);
    assert_eq!(cordoned(&facts), [("b", Sickness::TestsFail, 3)]);
    assert_eq!(asked_back(&facts), tests([9]), "it is at the other");
    let (generation, state) = (Generation(2), AttemptState::Running(Some(TestIndex(8))));
    let kept = Vec::new();
    world.executors.get_mut("b").unwrap().attempts =
        vec![AttemptReport { attempt: AttemptId(6), run: run(), generation, kept, state }];
    assert_eq!(given(&world.report("b", &[]), "c"), 1);
    let facts = end(&mut world, "c", FAILS);
    assert_eq!(decided(&facts), [(TestIndex(9), Verdict::Passed)]);
    assert!(world.state.runs[&run()].tests.iter().all(|test| test.losses == 0));
}
