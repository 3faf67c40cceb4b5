//! Suspects: what ran when its executor was lost.

use std::time::Duration;

use seagull_domain::{
    Alone, AttemptId, AttemptState, EndCause, InfraCause, NotExecuted, Outcome, Relation, Role, RunEvent,
    RunSpec, TestCause, TestIndex, Verdict,
};
use seagull_scheduler_core::{Call, Event, Fact, Losses, Phase, What, project};

use crate::fixture::spec;
use crate::world::*;

/// Longer than any lease.
const LOST: Duration = Duration::from_secs(20);

/// Loses an executor while others live.
pub fn lose(world: &mut World, executor: &'static str, others: &[&'static str]) -> Vec<What> {
    world.executors.remove(executor);
    let mut facts = Vec::new();
    for _ in 0..4 {
        world.now = world.now + LOST / 4;
        for other in others {
            facts.extend(world.report(other, &[]));
        }
    }
    facts.extend(world.step(Event::Tick).0);
    facts
}

fn alone(facts: &[What]) -> Vec<(Vec<u32>, Vec<&str>)> {
    let alone = facts.iter().filter_map(|what| match what {
        What::Bundled { entries, avoid, alone: true, .. } => {
            let tests = entries.iter().map(|(test, _)| test.0).collect();
            Some((tests, avoid.iter().map(|executor| executor.as_str()).collect()))
        }
        _ => None,
    });
    alone.collect()
}

/// The given attempt runs its bundle to the end.
pub fn completes(world: &mut World, executor: &'static str, attempt: u64, left: &[u32]) -> Vec<What> {
    let results: Vec<_> =
        (1..).zip(left).map(|(batch, test)| (batch, result(*test, Outcome::Passed))).collect();
    world.says(executor, attempt, AttemptState::Ended(EndCause::Completed));
    world.report(executor, &results)
}

#[test]
fn what_an_executor_never_had_costs_nothing() {
    let mut world = World::running_bundles(0, vec![tests(0..1), tests(1..2)], Vec::new());
    assert_eq!(assigned(&world.report("b", &[])), [("b", AttemptId(3))]);
    let facts = lose(&mut world, "b", &["a"]);
    let lost = facts.iter().find_map(|what| match what {
        What::AttemptLost { attempt, had, charged, suspect, .. } => {
            Some((*attempt, *had, *charged, *suspect))
        }
        _ => None,
    });
    assert_eq!(lost, Some((AttemptId(3), false, None, None)));
}

#[test]
fn what_was_in_flight_runs_alone_and_last_and_not_where_it_was() {
    let mut world = World::running(0, 3, Vec::new());
    world.report("b", &[]);
    let facts = lose(&mut world, "a", &["b"]);
    assert_eq!(alone(&facts), [(vec![0], vec!["a"])]);
    assert_eq!(assigned(&facts), [("b", AttemptId(3))], "the rest goes first");
    world.says("b", 3, AttemptState::Running(None));
    world.report("b", &[]);
    assert_eq!(
        assigned(&world.report("a", &[])),
        [],
        "it keeps away from where it was while there is another"
    );
    let facts = completes(&mut world, "b", 3, &[1, 2]);
    assert_eq!(assigned(&facts), [("b", AttemptId(4))]);
    assert!(world.state.executors[&"b".parse().unwrap()].room.is_empty(), "nothing runs beside it or next");
    let facts = completes(&mut world, "b", 4, &[0]);
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Passed)]);
}

/// One that kills what runs it, until it has killed so many.
fn killer(deaths: usize, relation: Vec<Relation>, tests: u32) -> (World, Vec<What>) {
    let mut world = World::running(1, tests, relation);
    // The fleet is there for a while.
    for _ in 0..60 {
        world.now = world.now + Duration::from_secs(10);
        ["a", "b", "c", "d"].iter().for_each(|executor| drop(world.report(executor, &[])));
    }
    let mut facts = lose(&mut world, "a", &["b", "c", "d"]);
    for executor in ["b", "c"].into_iter().take(deaths) {
        let attempt = world.state.next_attempt.0 - 1;
        let known = &world.state.runs[&run()].attempts[&AttemptId(attempt)];
        assert_eq!((known.executor.as_str(), known.alone), (executor, true));
        world.says(executor, attempt, AttemptState::Running(Some(TestIndex(0))));
        world.report(executor, &[]);
        let others: Vec<_> = ["b", "c", "d"].into_iter().filter(|of| *of > executor).collect();
        facts = lose(&mut world, executor, &others);
    }
    (world, facts)
}

#[test]
fn two_executors_lost_with_it_alone_condemn_a_test() {
    let (world, facts) = killer(1, Vec::new(), 1);
    assert_eq!(alone(&facts), [(vec![0], vec!["a", "b"])]);
    assert_eq!(decided(&facts), []);
    drop(world);

    let (world, facts) = killer(2, Vec::new(), 1);
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Failed)], "though a retry is left");
    let condemned = facts.iter().find(|what| matches!(what, What::Condemned { .. })).unwrap().clone();
    let told = project(&Fact { run: run(), what: condemned });
    let [RunEvent::TestFinished { result, executor, evidence: None, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(
        (result.outcome, result.cause, executor.as_str()),
        (Outcome::Failed, Some(TestCause::Poison), "c")
    );
    assert_eq!(result.message, "each executor that ran it alone was lost: b within 20.0 s, c within 20.0 s");
    assert!(matches!(world.state.runs[&run()].phase, Phase::Ended { exit_code: 100, .. }));
    assert_eq!(world.state.losses.count, 0, "these say nothing of how often executors are lost by chance");
}

#[test]
fn what_ran_where_nobody_was_heard_of_after_a_restart_is_suspect() {
    let mut world = World::running(0, 2, Vec::new());
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    world.restart();
    world.executors.insert("a", Executor { boot: 1, ..Executor::default() });
    assert_eq!(alone(&world.report("a", &[])), [(vec![0], vec!["a"])]);
}

#[test]
fn what_was_lost_before_a_restart_condemns_nobody() {
    let (mut world, _) = killer(1, Vec::new(), 1);
    world.restart();
    let attempt = world.state.next_attempt.0 - 1;
    world.says("c", attempt, AttemptState::Running(Some(TestIndex(0))));
    world.report("c", &[]);
    let facts = lose(&mut world, "c", &["d"]);
    let lost = Verdict::NotExecuted(NotExecuted::Infra(InfraCause::ExecutorLost));
    assert_eq!(decided(&facts), [(TestIndex(0), lost)]);
}

#[test]
fn where_executors_are_lost_all_the_time_nobody_is_blamed() {
    let mut world = World::running(0, 1, Vec::new());
    // Other runs have lost one every two minutes.
    world.state.losses = Losses { count: 15, lived: Duration::from_secs(1800) };
    let mut facts = Vec::new();
    world.report("b", &[]);
    world.report("c", &[]);
    for executor in ["a", "b", "c"] {
        let attempt = world.state.next_attempt.0 - 1;
        world.says(executor, attempt, AttemptState::Running(Some(TestIndex(0))));
        world.report(executor, &[]);
        let others: Vec<_> = ["b", "c", "d"].into_iter().filter(|of| *of > executor).collect();
        facts = lose(&mut world, executor, &others);
    }
    assert_eq!(world.state.runs[&run()].test(TestIndex(0)).deaths.len(), 2);
    let told = facts.iter().flat_map(|what| project(&Fact { run: run(), what: what.clone() }));
    let alone = told.into_iter().find_map(|event| match event {
        RunEvent::AttemptLost { alone, .. } => alone,
        _ => None,
    });
    let Alone { ms: Some(20_000), chance } = alone.unwrap() else { panic!("{alone:?}") };
    assert!(chance >= Alone::CHANCE, "it says why: {chance}");
    let infra = NotExecuted::Infra(InfraCause::ExecutorLost);
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::NotExecuted(infra))]);
}

/// Executors run a suspect until they are lost, within a minute or two; others have lived for so long before and were
/// never lost. For how long each ran it alone, and what that comes to.
fn lost_alone(lived: u64, closes_after: Option<u64>) -> (Vec<Option<u64>>, Vec<(TestIndex, Verdict)>) {
    let mut world = World::running(0, 1, Vec::new());
    world.state.losses = Losses { count: 0, lived: Duration::from_secs(lived) };
    let mut facts = Vec::new();
    world.report("b", &[]);
    world.report("c", &[]);
    for executor in ["a", "b", "c"] {
        let attempt = world.state.next_attempt.0 - 1;
        world.says(executor, attempt, AttemptState::Running(Some(TestIndex(0))));
        world.report(executor, &[]);
        if let Some(seconds) = closes_after {
            world.now = world.now + Duration::from_secs(seconds);
            let (boot, sequence) = ("b0".parse().unwrap(), world.executors[executor].sequence);
            world.step(Event::Disconnected { executor: executor.parse().unwrap(), boot, sequence });
        }
        let others: Vec<_> = ["b", "c", "d"].into_iter().filter(|of| *of > executor).collect();
        facts = lose(&mut world, executor, &others);
    }
    let deaths = &world.state.runs[&run()].test(TestIndex(0)).deaths;
    (deaths.iter().map(|death| death.alone_ms).collect(), decided(&facts))
}

#[test]
fn a_product_below_one_in_a_hundred_is_a_chance_above_it() {
    // Twenty seconds, twice, of 275 in which one loss is to be expected: 0.5 % as a product.
    let lost = Verdict::NotExecuted(NotExecuted::Infra(InfraCause::ExecutorLost));
    assert_eq!(lost_alone(100, None).1, [(TestIndex(0), lost)]);
    assert_eq!(lost_alone(3600, None).1, [(TestIndex(0), Verdict::Failed)]);
}

#[test]
fn an_executor_ran_a_suspect_until_its_connection_closed() {
    let (alone_ms, decided) = lost_alone(0, Some(1));
    assert_eq!(alone_ms, [Some(1000); 2]);
    assert_eq!(decided, [(TestIndex(0), Verdict::Failed)]);
}

#[test]
fn what_needs_a_suspect_before_it_waits_until_that_has_a_result() {
    let (mut world, facts) = killer(0, ordered(0..3), 3);
    assert_eq!(alone(&facts), [(vec![0], vec!["a"])]);
    let follows = [(0, Role::Predecessor), (1, Role::Run), (2, Role::Run)];
    assert_eq!(bundles(&facts)[1..], [follows]);
    assert_eq!(assigned(&facts), [("b", AttemptId(3))]);
    let facts = completes(&mut world, "b", 3, &[0]);
    assert_eq!(assigned(&facts).len(), 1, "they may run now");
    assert_eq!(world.state.runs[&run()].pending.len(), 0);
}

#[test]
fn poison_in_an_ordered_relation_is_found_and_what_needs_it_never_runs() {
    let (world, facts) = killer(2, ordered(0..2), 2);
    let infra = Verdict::NotExecuted(NotExecuted::Infra(InfraCause::ExecutorLost));
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Failed), (TestIndex(1), infra)]);
    assert!(matches!(world.state.runs[&run()].phase, Phase::Ended { exit_code: 100, .. }));
}

#[test]
fn an_executor_is_emptied_for_a_suspect_though_another_run_would_fill_it() {
    let mut world = World::running(0, 3, Vec::new());
    world.report("b", &[]);
    let facts = lose(&mut world, "a", &["b"]);
    assert_eq!(assigned(&facts), [("b", AttemptId(3))]);
    let urgent = RunSpec { priority: 9, ..spec("urgent") };
    world.step(Event::Submit { request: Call(2000), spec: Box::new(urgent) });
    let facts = completes(&mut world, "b", 3, &[1, 2]);
    assert_eq!(assigned(&facts), [("b", AttemptId(4))]);
    assert!(world.state.runs[&run()].attempts[&AttemptId(4)].alone);
    assert_eq!(world.state.executors[&"b".parse().unwrap()].alone_since, Some(world.now));
    let facts = completes(&mut world, "b", 4, &[0]);
    assert_eq!(assigned(&facts), [("b", AttemptId(5))], "the other run has it back");
}

#[test]
fn idle_slots_help_the_others_of_an_executor_before_it_is_emptied_for_a_suspect() {
    let mut world = World::running(0, 6, Vec::new());
    world.report("b", &[]);
    world.executors.get_mut("b").unwrap().more_slots = 1;
    let facts = lose(&mut world, "a", &["b"]);
    assert_eq!(assigned(&facts), [("b", AttemptId(3))]);
    assert_eq!(asked_back(&facts), tests([4, 5]));
}

#[test]
fn as_many_executors_are_emptied_as_are_the_run_s_share() {
    let pair = |index: u32| tests([2 * index, 2 * index + 1]);
    let relations = (0..7).map(|index| Relation { ordered: true, tests: pair(index) }).collect();
    let mut world = World::running_bundles(0, (0..7).map(pair).collect(), relations);
    for (attempt, executor) in (3..).zip(["b", "c", "d", "e", "f", "g"]) {
        assert_eq!(assigned(&world.report(executor, &[])), [(executor, AttemptId(attempt))]);
        world.says(executor, attempt, AttemptState::Running(None));
        world.report(executor, &[]);
    }
    let facts = lose(&mut world, "a", &["d", "e", "f", "g"]);
    assert_eq!(alone(&facts).len(), 3, "of three executors that fell silent");
    let urgent = RunSpec { priority: 9, ..spec("urgent") };
    world.step(Event::Submit { request: Call(2000), spec: Box::new(urgent) });
    for (attempt, executor) in (5..).zip(["d", "e", "f"]) {
        let left = world.state.runs[&run()].attempts[&AttemptId(attempt)].left.values();
        let left: Vec<_> = left.map(|(test, _)| test.0).collect();
        let facts = completes(&mut world, executor, attempt, &left);
        assert_eq!(assigned(&facts), [(executor, AttemptId(attempt + 4))]);
        let suspect = world.state.runs[&run()].attempts.get(&AttemptId(attempt + 4));
        assert_eq!(suspect.is_some_and(|attempt| attempt.alone), executor < "f", "two of four for each run");
    }
}

#[test]
fn nothing_is_alone_beside_what_an_executor_that_came_back_still_runs() {
    let mut world = World::running(0, 2, Vec::new());
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    world.report("b", &[]);
    lose(&mut world, "a", &["b"]);
    world.says("b", 3, AttemptState::Running(Some(TestIndex(1))));
    world.report("b", &[]);
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    let facts = lose(&mut world, "b", &["a"]);
    assert_eq!((alone(&facts).len(), assigned(&facts)), (1, vec![]));
    world.executors.get_mut("a").unwrap().attempts.clear();
    assert_eq!(assigned(&world.report("a", &[])), [("a", AttemptId(4))]);
}

#[test]
fn a_test_and_a_run_are_given_up_after_so_many_losses() {
    let lost = |test: Option<u32>, run: Option<u32>| {
        let mut world = World::running(0, 2, Vec::new());
        let spec = &mut world.state.runs.get_mut(&crate::world::run()).unwrap().spec;
        (spec.test_losses, spec.run_losses) = (test, run);
        world.report("b", &[]);
        decided(&lose(&mut world, "a", &["b"]))
    };
    let infra = Verdict::NotExecuted(NotExecuted::Infra(InfraCause::ExecutorLost));
    assert_eq!(lost(None, None), []);
    assert_eq!(lost(Some(1), None), [(TestIndex(0), infra)]);
    assert_eq!(lost(None, Some(1)), [(TestIndex(0), infra), (TestIndex(1), infra)]);
}

#[test]
fn a_large_run_may_lose_more() {
    let world = World::running(0, 2, Vec::new());
    assert_eq!(world.state.runs[&run()].loss_budget(), 100);
    let large = World::running(0, 10_000, Vec::new());
    assert_eq!(large.state.runs[&run()].loss_budget(), 500);
}
