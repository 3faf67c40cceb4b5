//! Steps that take several executors, relations or take-backs: facts and effects compared as data.

mod drains;
mod environments;
#[path = "../fixture/mod.rs"]
mod fixture;
mod judgement;
mod late;
mod second_copies;
mod sick;
mod sizes;
mod split;
mod suspects;
mod tail;
mod whereabouts;
mod world;

use std::time::Duration;

use seagull_domain::{
    Attachment, AttemptId, AttemptReport, AttemptState, Digest, Discovery, EndCause, EnvironmentNumber,
    Generation, ImageUsed, InfraCause, Leftover, NotExecuted, Outcome, Record, Relation, Role, RunEvent,
    SlotIndex, SlotNumber, SuiteError, TestIndex, TextRef, Verdict,
};
use seagull_scheduler_core::{Call, Effect, Event, Fact, Plan, Signs, What, project};

use world::*;

#[test]
fn a_retry_goes_elsewhere_where_it_can() {
    let mut world = World::running(1, 2, Vec::new());
    world.report("b", &[]);
    let facts = world.report("a", &[(1, result(0, Outcome::Failed))]);
    assert_eq!(bundles(&facts), [[(0, Role::Run)]]);
    assert_eq!(assigned(&facts), [("b", AttemptId(3))]);
}

fn slots(facts: &[What]) -> Vec<SlotIndex> {
    let slot = |what: &What| match what {
        What::Assigned { slot, .. } => Some(*slot),
        _ => None,
    };
    facts.iter().filter_map(slot).collect()
}

#[test]
fn a_second_retry_goes_where_neither_failed() {
    let mut world = World::running(2, 1, Vec::new());
    world.executors.get_mut("a").unwrap().more_slots = 2;
    world.report("a", &[]);
    for (attempt, expected) in [(2, 1), (3, 2)] {
        world.says("a", attempt, AttemptState::Ended(EndCause::Completed));
        let facts = world.report("a", &[(1, result(0, Outcome::Failed))]);
        assert_eq!(slots(&facts), [SlotIndex(expected)]);
    }
}

#[test]
fn a_retry_on_the_same_executor_goes_to_another_slot_of_it() {
    for (more_slots, expected) in [(0, 0), (1, 1)] {
        let mut world = World::running(1, 1, Vec::new());
        world.executors.get_mut("a").unwrap().more_slots = more_slots;
        world.report("a", &[]);
        world.says("a", 2, AttemptState::Ended(EndCause::Completed));
        let facts = world.report("a", &[(1, result(0, Outcome::Failed))]);
        assert_eq!(slots(&facts), [SlotIndex(expected)]);
    }
}

/// A run submitted to two executors, of which the first was given the discovery, says that it failed, and goes on.
fn failed_discovery(words: &str) -> (World, Vec<What>) {
    let mut world = World::of(0);
    world.report("a", &[]);
    world.report("b", &[]);
    world.says("a", 1, AttemptState::Ended(EndCause::DiscoveryFailed(words.into())));
    let facts = world.report("a", &[]);
    (world, facts)
}

fn discovery_failed(facts: &[What]) -> Option<&str> {
    facts.iter().find_map(|what| match what {
        What::DiscoveryFailed { message } => Some(&**message),
        _ => None,
    })
}

#[test]
fn a_discovery_that_fails_is_tried_on_another_executor_and_nothing_more_goes_to_the_first() {
    let (mut world, facts) = failed_discovery("no pytest");
    assert_eq!((discovery_failed(&facts), assigned(&facts)), (None, vec![("b", AttemptId(2))]));
    let discovered = Discovery { manifest: Digest([7; 32]), tests: 2 };
    world.says("b", 2, AttemptState::Ended(EndCause::Discovered(discovered)));
    world.report("b", &[]);
    let facts = world.planned(vec![tests([0]), tests([1])], Vec::new(), 0);
    assert_eq!(assigned(&facts), [("b", AttemptId(3))]);
}

#[test]
fn two_executors_on_which_a_discovery_fails_are_believed() {
    for (words, expected) in [("a typo", "a typo"), ("no pytest", "a typo\non a: no pytest")] {
        let (mut world, _) = failed_discovery(words);
        world.says("b", 2, AttemptState::Ended(EndCause::DiscoveryFailed("a typo".into())));
        assert_eq!(discovery_failed(&world.report("b", &[])), Some(expected));
    }
}

#[test]
fn the_only_executor_is_believed_when_a_discovery_fails_there() {
    let mut world = World::of(0);
    world.report("a", &[]);
    world.says("a", 1, AttemptState::Ended(EndCause::DiscoveryFailed("a typo".into())));
    assert_eq!(discovery_failed(&world.report("a", &[])), Some("a typo"));
}

#[test]
fn what_goes_first_is_given_out_before_what_is_longer_and_so_is_its_retry() {
    let world = |first| World::running_in_turn(1, vec![tests([3]), tests(0..3)], Vec::new(), first);
    let had = |world: &World, attempt| {
        let attempt = &world.state.runs[&run()].attempts[&AttemptId(attempt)];
        attempt.left.values().map(|(test, _)| test.0).collect::<Vec<_>>()
    };
    assert_eq!(had(&world(0), 2), [0, 1, 2]);
    let mut world = world(1);
    assert_eq!(had(&world, 2), [3]);
    assert_eq!(bundles(&world.report("a", &[(1, result(3, Outcome::Failed))])), [[(3, Role::Run)]]);
    assert_eq!(had(&world, 3), [3]);
}

#[test]
fn unstarted_tests_are_taken_back_for_an_idle_executor_once_they_are_reported_gone() {
    let mut world = World::running(0, 5, Vec::new());
    let facts = world.report("b", &[]);
    assert_eq!(asked_back(&facts), tests([3, 4]));
    assert_eq!(assigned(&facts), []);
    let status = &mut world.executors.get_mut("a").unwrap().attempts[0];
    (status.generation, status.kept) = (Generation(2), tests([3]));
    let facts = world.report("a", &[]);
    assert_eq!(bundles(&facts), [[(4, Role::Run)]]);
    assert_eq!(assigned(&facts), [("b", AttemptId(3))]);
    assert_eq!(asked_back(&facts), [], "what stays is not asked for again");
}

#[test]
fn what_waits_behind_a_test_that_hangs_is_taken_back_whole() {
    let mut world = World::running(0, 4, Vec::new());
    for test in &mut world.state.runs.get_mut(&run()).unwrap().tests {
        test.predicted_us = 1000;
    }
    for attempt in world.state.runs.get_mut(&run()).unwrap().attempts.values_mut() {
        attempt.left_us = 1000 * attempt.left.len() as u64;
    }
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    assert_eq!(asked_back(&world.report("b", &[])), [], "it is not worth it yet");
    world.now = world.now + Duration::from_secs(2);
    world.report("a", &[]);
    assert_eq!(world.state.executors[&"a".parse().unwrap()].running.len(), 1);
    let attempt = &world.state.runs[&run()].attempts[&AttemptId(2)];
    assert_eq!(attempt.asked.iter().copied().collect::<Vec<_>>(), tests([1, 2, 3]));
}

#[test]
fn a_relation_whose_worker_ended_runs_again_with_all_that_comes_before() {
    let mut world = World::running(0, 3, ordered(0..3));
    world.says("a", 2, AttemptState::Ended(EndCause::Completed));
    let facts = world.report("a", &[(1, result(0, Outcome::Failed))]);
    let again = [(0, Role::Predecessor), (1, Role::Run), (2, Role::Run)];
    assert_eq!(bundles(&facts), [again]);
    assert_eq!(world.state.runs[&run()].test(TestIndex(1)).losses, 1, "its worker ended before it");
    assert_eq!(world.state.runs[&run()].test(TestIndex(0)).losses, 0);
}

#[test]
fn an_attempt_of_which_everything_is_asked_back_was_not_broken_off() {
    // The second bundle waits behind the first in the slot of `a`, until `b` is there and idle.
    let predicted_us = [10_000_000, 10_000_000, 500_000, 10_000_000, 10_000_000].into();
    let plan = plan(vec![tests(0..3), tests(3..5)], ordered(3..5), 1);
    let mut world = World::running_plan(0, Plan { predicted_us, ..plan });
    let facts = world.report("a", &[(1, result(0, Outcome::Passed)), (2, result(1, Outcome::Passed))]);
    assert_eq!(assigned(&facts), [("a", AttemptId(3))]);
    let facts = world.report("b", &[]);
    assert_eq!(asked_back(&facts), tests(3..5));
    let (attempt, run) = (AttemptId(3), run());
    let (generation, state) = (Generation(2), AttemptState::Ended(EndCause::Completed));
    let whole = AttemptReport { attempt, run, generation, kept: Vec::new(), state };
    world.executors.get_mut("a").unwrap().attempts.push(whole);
    let facts = world.report("a", &[]);
    assert!(facts.iter().any(|what| matches!(what, What::TakenBack { given: 2, .. })), "{facts:?}");
    assert_eq!(assigned(&facts), [("b", AttemptId(4))]);
    assert!(world.state.runs.values().flat_map(|run| &run.tests).all(|test| test.losses == 0));
}

#[test]
fn an_ordered_rest_that_never_runs_is_given_up() {
    let mut world = World::running(0, 2, ordered(0..2));
    world.says("a", 2, AttemptState::Ended(EndCause::Completed));
    let mut facts = world.report("a", &[(1, result(0, Outcome::Failed))]);
    for attempt in [3, 4] {
        assert_eq!(assigned(&facts), [("a", AttemptId(attempt))]);
        world.says("a", attempt, AttemptState::Ended(EndCause::Completed));
        facts = world.report("a", &[(1, result(0, Outcome::Failed))]);
    }
    let cause = NotExecuted::Infra(InfraCause::SandboxFailed);
    assert_eq!(decided(&facts), [(TestIndex(1), Verdict::NotExecuted(cause))]);
}

#[test]
fn an_executor_that_was_lost_and_comes_back_is_sent_newer_versions() {
    let mut world = World::running(0, 1, Vec::new());
    let known = world.executors["a"].known;
    world.now = world.now + Duration::from_secs(15);
    let (facts, _) = world.step(Event::Tick);
    assert!(facts.iter().any(|what| matches!(what, What::AttemptLost { .. })), "{facts:?}");
    world.report("a", &[]);
    assert!(world.executors["a"].known > known, "it would take the answer for an old one");
}

#[test]
fn an_id_that_is_missing_twice_on_one_executor_is_still_tried_on_another() {
    let missing = || Record::Missing { test: TestIndex(0), reason: "gone".into() };
    let mut world = World::running(0, 2, Vec::new());
    world.report("b", &[]);
    world.executors.get_mut("b").unwrap().draining = Some(InfraCause::Drained);
    world.report("b", &[]);
    let facts = world.report("a", &[(1, missing())]);
    let unstable = Verdict::NotExecuted(NotExecuted::UnstableId);
    assert_eq!(decided(&facts), [(TestIndex(0), unstable)], "one that leaves is no hope");

    let mut world = World::running(0, 2, Vec::new());
    world.report("b", &[]);
    let facts = world.report("a", &[(1, missing())]);
    assert_eq!((decided(&facts), assigned(&facts)), (vec![], vec![("b", AttemptId(3))]));
    world.says("b", 3, AttemptState::Ended(EndCause::Completed));
    let facts = world.report("b", &[(1, missing())]);
    assert_eq!(decided(&facts), [(TestIndex(0), unstable)], "`a` itself discovered it");
}

#[test]
fn an_id_that_others_than_its_discoverer_cannot_collect_shows_that_environments_differ() {
    let missing = || Record::Missing { test: TestIndex(0), reason: "gone".into() };
    let mut world = World::running(0, 1, Vec::new());
    world.report("b", &[]);
    world.report("c", &[]);
    world.says("a", 2, AttemptState::Ended(EndCause::GaveBack(InfraCause::Drained, String::new())));
    world.executors.get_mut("a").unwrap().draining = Some(InfraCause::Drained);
    assert_eq!(assigned(&world.report("a", &[])), [("b", AttemptId(3))]);
    world.says("b", 3, AttemptState::Ended(EndCause::Completed));
    assert_eq!(assigned(&world.report("b", &[(1, missing())])), [("c", AttemptId(4))]);
    world.says("c", 4, AttemptState::Ended(EndCause::Completed));
    let facts = world.report("c", &[(1, missing())]);
    let differs = NotExecuted::Infra(InfraCause::EnvironmentDiffers);
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::NotExecuted(differs))]);
}

#[test]
fn what_is_missing_does_not_wait_for_an_executor_that_is_held_back() {
    let mut world = World::running(0, 1, Vec::new());
    world.report("b", &[]);
    let of_slot = [(EnvironmentNumber::default(), 2)].into();
    let not_started = [(seagull_domain::SlotIndex(0), of_slot)].into();
    let signs = Signs { not_started, ..Signs::default() };
    world.state.runs.get_mut(&run()).unwrap().sick = [("b".parse().unwrap(), signs)].into();
    world.says("a", 2, AttemptState::Ended(EndCause::Completed));
    let missing = Record::Missing { test: TestIndex(0), reason: String::new() };
    let facts = world.report("a", &[(1, missing)]);
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::NotExecuted(NotExecuted::UnstableId))]);
}

#[test]
fn a_boot_that_was_replaced_has_no_say_while_the_newer_one_is_there() {
    let mut world = World::running(0, 1, Vec::new());
    let mut older = world.executors["a"].clone();
    older.sequence += 1;
    world.executors.insert("a", Executor { boot: 1, ..Executor::default() });
    assert_eq!(assigned(&world.report("a", &[])), [("a", AttemptId(3))]);

    let newer = world.executors.insert("a", older.clone()).unwrap();
    let refused = world.send("a", &[]);
    assert_eq!(refused, (vec![], vec![Effect::Drop { call: Call(world.calls) }]), "the newer may be dead");
    world.executors.insert("a", newer);
    world.says("a", 3, AttemptState::Running(None));
    world.report("a", &[]);
    world.executors.insert("a", older);
    let refused = world.send("a", &[]);
    assert_eq!(refused, (vec![], vec![Effect::Displaced { call: Call(world.calls) }]));

    world.now = world.now + Duration::from_secs(15);
    world.step(Event::Tick);
    world.executors.get_mut("a").unwrap().attempts.clear();
    assert_eq!(assigned(&world.report("a", &[])), [("a", AttemptId(4))], "nobody has the name");
}

/// A message of a boot of `a` that the journal knows, in the scheduler's next life.
fn of_an_earlier_life(earlier: &Executor, newer: &Executor, first_heard: bool) -> (World, Vec<Effect>) {
    let mut world = World::running(0, 1, Vec::new());
    world.executors.insert("a", newer.clone());
    assert_eq!(assigned(&world.report("a", &[])), [("a", AttemptId(3))]);
    world.restart();
    if first_heard {
        world.says("a", 3, AttemptState::Running(None));
        world.report("a", &[]);
    }
    let newer = world.executors.insert("a", Executor { sequence: 1000, ..earlier.clone() });
    let (facts, effects) = world.send("a", &[]);
    assert_eq!(facts, []);
    world.executors.insert("a", newer.expect("it was there"));
    (world, effects)
}

#[test]
fn a_late_message_of_a_boot_that_only_the_journal_knows_does_not_take_the_name() {
    let (earlier, newer) = (Executor::default(), Executor { boot: 1, ..Executor::default() });
    for first_heard in [true, false] {
        let (mut world, refused) = of_an_earlier_life(&earlier, &newer, first_heard);
        assert_eq!(refused, [Effect::Drop { call: Call(world.calls) }], "heard of the newer: {first_heard}");
        world.says("a", 3, AttemptState::Ended(EndCause::Completed));
        let facts = world.report("a", &[(1, result(0, Outcome::Passed))]);
        assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Passed)]);
    }
    let (mut world, _) = of_an_earlier_life(&earlier, &newer, true);
    world.now = world.now + Duration::from_secs(15);
    world.step(Event::Tick);
    world.executors.insert("a", Executor { sequence: 2000, ..earlier });
    assert_eq!(assigned(&world.report("a", &[])), [("a", AttemptId(4))], "nobody has the name");
}

#[test]
fn an_executor_that_does_nothing_of_what_it_is_given_spends_the_budget() {
    for end in [EndCause::Completed, EndCause::Cancelled] {
        let mut world = World::running(0, 1, Vec::new());
        let mut facts = Vec::new();
        for attempt in [2, 3, 4] {
            world.says("a", attempt, AttemptState::Ended(end.clone()));
            facts = world.report("a", &[]);
        }
        let given_up = Verdict::NotExecuted(NotExecuted::Infra(InfraCause::SandboxFailed));
        assert_eq!(decided(&facts), [(TestIndex(0), given_up)]);
    }
}

#[test]
fn what_is_left_of_an_attempt_that_came_to_something_costs_nothing() {
    let mut world = World::running(0, 2, vec![Relation { ordered: false, tests: tests(0..2) }]);
    world.says("a", 2, AttemptState::Ended(EndCause::Completed));
    let facts = world.report("a", &[(1, result(0, Outcome::Failed))]);
    assert_eq!(bundles(&facts), [[(1, Role::Run)]]);
    assert_eq!(world.state.runs[&run()].test(TestIndex(1)).losses, 0);
}

#[test]
fn contents_are_told_of_live_attempts_in_their_generation() {
    let mut world = World::running(0, 5, Vec::new());
    let contents = |world: &World, generation| {
        let contents = world.state.runs[&run()].contents(AttemptId(2), Generation(generation));
        contents.map(|contents| contents.entries.iter().map(|entry| entry.test).collect::<Vec<_>>())
    };
    assert_eq!(contents(&world, 1), Some(tests(0..5)));
    assert_eq!(asked_back(&world.report("b", &[])), tests([3, 4]));
    assert_eq!((contents(&world, 1), contents(&world, 2)), (None, Some(tests(0..3))));
    world.now = world.now + Duration::from_secs(15);
    world.step(Event::Tick);
    assert_eq!(contents(&world, 2), None);
}

#[test]
fn a_slot_whose_worker_does_not_start_gets_nothing_while_another_may_do_better() {
    let bundles = (0..8).step_by(2).map(|first| tests(first..first + 2)).collect();
    let mut world = World::running_bundles(0, bundles, Vec::new());
    assert_eq!(assigned(&world.report("b", &[])), [("b", AttemptId(3))]);
    world.says("b", 3, came_back());
    assert_eq!(assigned(&world.report("b", &[])), [("b", AttemptId(4))], "once may be chance");
    world.says("b", 4, came_back());
    // What a session says as it breaks is no test that was executed.
    let error = SuiteError { title: "interrupted".into(), message: "no such database".into(), text: None };
    let facts = world.report("b", &[(1, Record::SuiteError(error))]);
    assert_eq!((assigned(&facts), asked_back(&facts)), (vec![], vec![]));
    assert_eq!(assigned(&world.report("c", &[])), [("c", AttemptId(5))]);

    for good in ["a", "c"] {
        world.executors.get_mut(good).unwrap().draining = Some(InfraCause::Drained);
        world.report(good, &[]);
    }
    let run_state = &world.state.runs[&run()];
    let (last, attempt) = run_state.live_attempts().last().unwrap();
    assert_eq!(attempt.executor.as_str(), "b", "there is no other");
    let (first, _) = attempt.left[&0];
    world.says("b", last.0, AttemptState::Running(None));
    world.report("b", &[(1, result(first.0, Outcome::Passed))]);
    let signs = &world.state.runs[&run()].sick[&"b".parse().unwrap()];
    assert!(signs.not_started.is_empty(), "it does start");
}

#[test]
fn what_was_covered_is_passed_on_and_is_no_test_that_was_executed() {
    let mut world = World::running(0, 1, Vec::new());
    let data = TextRef { log: AttemptId(2), offset: 5, length: 7 };
    let mut facts = world.report("a", &[(1, Record::Coverage(data))]);
    let what = facts.pop().filter(|_| facts.is_empty()).expect("it is all that was learned");
    let executor = "a".parse().unwrap();
    let told = project(&Fact { run: run(), what });
    assert_eq!(told, [RunEvent::Coverage { data, executor, slot: SlotNumber(0) }]);
    assert_eq!(world.state.runs[&run()].suite_errors, 0);
}

#[test]
fn what_was_left_is_passed_on_with_its_test_if_there_is_such_a_one() {
    let mut world = World::running(0, 1, Vec::new());
    let file = Attachment { name: "shots/1.png".into(), bytes: 5, blob: Some(Digest([3; 32])) };
    let left = |test| Record::Attached { test, file: file.clone() };
    let facts = world.report("a", &[(1, left(Some(TestIndex(0)))), (2, left(Some(TestIndex(99))))]);
    let told = facts.into_iter().flat_map(|what| project(&Fact { run: run(), what }));
    let tests: Vec<_> = told
        .map(|event| match event {
            RunEvent::Attached { test, file: told, attempt: AttemptId(_), .. } if told == file => test,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(tests, [Some(TestIndex(0)), None]);
    assert_eq!(world.state.runs[&run()].suite_errors, 0);
}

#[test]
fn what_was_left_running_is_passed_on_and_changes_nothing() {
    let mut world = World::running(0, 1, Vec::new());
    let (command, phase) = ("sleep 9".to_owned(), "call".to_owned());
    let found = Leftover { command, processes: 2, ports: vec![8080], phase };
    let left = |test| Record::Left { test, left: found.clone() };
    let facts = world.report("a", &[(1, left(Some(TestIndex(0)))), (2, left(Some(TestIndex(99))))]);
    let told: Vec<_> = facts.into_iter().flat_map(|what| project(&Fact { run: run(), what })).collect();
    let of = |told: &RunEvent| match told {
        RunEvent::Left { test, left, attempt: AttemptId(_), .. } if *left == found => *test,
        other => panic!("{other:?}"),
    };
    assert_eq!(told.iter().map(of).collect::<Vec<_>>(), [Some(TestIndex(0)), None]);
    assert_eq!(world.state.runs[&run()].suite_errors, 0);
}

#[test]
fn what_a_sandbox_was_made_of_is_passed_on_and_is_no_test_that_was_executed() {
    let mut world = World::running(0, 1, Vec::new());
    let images = vec![ImageUsed { image: "db:1".into(), id: "sha256:1a".into(), digest: String::new() }];
    let facts = world.report("a", &[(1, Record::Images(images.clone()))]);
    let told: Vec<_> = facts.into_iter().flat_map(|what| project(&Fact { run: run(), what })).collect();
    let (attempt, executor) = (AttemptId(2), "a".parse().unwrap());
    assert_eq!(told, [RunEvent::Images { images, attempt, executor, slot: SlotNumber(0) }]);
    assert!(
        !world.state.runs[&run()].attempts[&attempt].started,
        "its executor may still have done nothing of it"
    );
}
