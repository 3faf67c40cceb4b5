//! Sizes: what fits on an executor, what waits, and what gets a larger slot.

use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptState, Digest, Discovery, EndCause, Environment, EnvironmentNumber, Evidence,
    ExecutorId, Limits, Outcome, Record, RunSpec, Scope, Service, SlotIndex, TestCause, TestContainer,
    TestIndex, Verdict, Whereabouts,
};
use seagull_scheduler_core::What;

use crate::fixture::{self, spec};
use crate::world::{World, assigned, decided, plan, result, run, tests};

const LIMITED: EnvironmentNumber = EnvironmentNumber(1);

/// A run of bundles of one test each, whose containers have 100 KiB, on executors of so much memory and so many slots.
fn running(executors: &[(&'static str, u64, u16)], count: u32) -> World {
    running_beside(None, executors, &vec![10; count as usize])
}

/// The same of tests that take so many seconds, with a service of so many KiB that all of them share.
fn running_beside(shared: Option<u64>, executors: &[(&'static str, u64, u16)], seconds: &[u64]) -> World {
    let count = seconds.len() as u32;
    let limited = |memory_kib| Limits { memory_kib: Some(memory_kib), ..Limits::default() };
    let container = Some(TestContainer { limits: limited(100), ..TestContainer::default() });
    let mut spec = RunSpec { retries: 0, ..spec("r") };
    let services =
        shared.map(|kib| Service { limits: limited(kib), scope: Scope::Run, ..Service::default() });
    let services = services.map(|service| ("search".to_owned(), service));
    let named = services.iter().map(|(name, _)| name.clone()).collect();
    spec.suite.services.extend(services);
    let environment = Environment { container, services: named, ..Environment::default() };
    spec.suite.environments.insert("x".into(), environment);
    let mut world = World::of_spec(spec);
    for (executor, memory_kib, slots) in executors {
        let known = world.executors.entry(executor).or_default();
        (known.memory_kib, known.more_slots) = (Some(*memory_kib), slots - 1);
        world.report(executor, &[]);
    }
    let first = executors[0].0;
    let discovery = Discovery { manifest: Digest([7; 32]), tests: count };
    world.says(first, 1, AttemptState::Ended(EndCause::Discovered(discovery)));
    world.report(first, &[]);
    let mut plan = plan((0..count).map(|test| tests([test])).collect(), Vec::new(), 0);
    plan.environments = vec![LIMITED; count as usize];
    plan.predicted_us = seconds.iter().map(|seconds| seconds * 1_000_000).collect();
    world.plans(plan);
    world
}

fn live(world: &World) -> Vec<(AttemptId, ExecutorId, SlotIndex, bool)> {
    let live = world.state.runs[&run()].live_attempts();
    live.map(|(id, attempt)| (id, attempt.executor.clone(), attempt.slot, attempt.larger)).collect()
}

fn over_memory(test: u32) -> Record {
    let cause = Some(TestCause::OverMemory);
    let message = "over its memory limit".to_owned();
    Record::Result(seagull_domain::TestResult { cause, message, ..fixture::result(test, Outcome::Failed) })
}

/// The executor's attempt came to this.
fn comes_to(world: &mut World, executor: &'static str, attempt: AttemptId, record: Record) -> Vec<What> {
    world.says(executor, attempt.0, AttemptState::Ended(EndCause::Completed));
    world.report(executor, &[(1, record)])
}

#[test]
fn an_executor_is_given_no_more_than_it_has() {
    let mut world = running(&[("a", 250, 4)], 4);
    let begun = live(&world);
    assert_eq!(begun.len(), 2, "{begun:?}");
    let facts = comes_to(&mut world, "a", begun[0].0, result(0, Outcome::Passed));
    assert_eq!(assigned(&facts).len(), 1, "what it had is free: {facts:?}");
}

#[test]
fn what_its_workers_share_is_counted_once() {
    let begun = |memory_kib| live(&running_beside(Some(50), &[("a", memory_kib, 4)], &[10; 4])).len();
    assert_eq!([149, 150, 249, 250, 350].map(begun), [0, 1, 1, 2, 3]);
}

#[test]
fn what_fits_nowhere_waits_and_it_is_said() {
    let mut world = running(&[("a", 99, 2)], 1);
    assert_eq!(live(&world), []);
    let waits = world.state.whereabouts(world.now, &run(), TestIndex(0));
    assert_eq!(waits, Some(Whereabouts::Queued { behind: 0, slots: 0, avoided: 0, runs: 0 }));
    world.executors.entry("b").or_default().memory_kib = Some(100);
    let facts = world.report("b", &[]);
    assert_eq!(assigned(&facts)[0].0, "b", "until an executor comes that is large enough");
}

#[test]
fn a_larger_try_is_not_taken_back_where_who_is_idle_is_too_small_or_avoided() {
    // What is short has room behind it already.
    let mut world = running_beside(None, &[("a", 300, 1), ("b", 300, 1)], &[10, 0]);
    let (long, short) = (live(&world)[0].clone(), live(&world)[1].clone());
    let (over, other) = if long.1.as_str() == "a" { ("a", "b") } else { ("b", "a") };
    world.says(other, short.0.0, AttemptState::Running(Some(TestIndex(1))));
    world.report(other, &[]);
    comes_to(&mut world, over, long.0, over_memory(0));
    let larger = live(&world).into_iter().find(|(.., larger)| *larger).expect("it is given out");
    assert_eq!(larger.1.as_str(), other, "not where it was over its memory");
    // It takes longer than was thought.
    world.now = world.now + Duration::from_secs(2);
    world.executors.entry("c").or_default().memory_kib = Some(150);
    let facts = world.report("c", &[]);
    assert!(!facts.iter().any(|what| matches!(what, What::TakeBack { .. })), "{facts:?}");
}

#[test]
fn what_is_over_its_memory_gets_one_try_with_twice_as_much() {
    let mut world = running(&[("a", 150, 1), ("b", 200, 1)], 1);
    let (first, executor, ..) = live(&world)[0].clone();
    let executor = if executor.as_str() == "a" { "a" } else { "b" };
    let facts = comes_to(&mut world, executor, first, over_memory(0));
    let evidence = facts.iter().find_map(|what| match what {
        What::Recorded { records, .. } => records[0].1,
        _ => None,
    });
    assert_eq!((evidence, decided(&facts)), (Some(Evidence::FirstMemoryKill), vec![]));
    let (second, executor, _, larger) = live(&world)[0].clone();
    assert_eq!((executor.as_str(), larger), ("b", true), "the only one that has as much");
    world.restart();
    world.report("b", &[]);
    let facts = comes_to(&mut world, "b", second, over_memory(0));
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Failed)]);
    let recorded = facts.iter().any(|what| {
        let message =
            |record: &Record| matches!(record, Record::Result(of) if !of.message.contains("another try"));
        matches!(what, What::Recorded { records, .. } if message(&records[0].0))
    });
    assert!(recorded, "{facts:?}");
}

#[test]
fn what_is_over_its_disk_gets_one_try_with_twice_as_much() {
    let mut world = running(&[("a", 200, 1)], 1);
    let over_disk = || match over_memory(0) {
        Record::Result(result) => {
            Record::Result(seagull_domain::TestResult { cause: Some(TestCause::OverDisk), ..result })
        }
        other => other,
    };
    let (first, ..) = live(&world)[0].clone();
    let facts = comes_to(&mut world, "a", first, over_disk());
    let evidence = facts.iter().find_map(|what| match what {
        What::Recorded { records, .. } => records[0].1,
        _ => None,
    });
    assert_eq!((evidence, decided(&facts)), (Some(Evidence::FirstDiskKill), vec![]));
    world.report("a", &[]);
    let (second, _, _, larger) = live(&world)[0].clone();
    assert!(larger);
    let facts = comes_to(&mut world, "a", second, over_disk());
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Failed)]);
}

#[test]
fn where_there_is_no_larger_slot_the_failure_stands_and_says_so() {
    let mut world = running(&[("a", 150, 1)], 1);
    let (first, ..) = live(&world)[0].clone();
    let facts = comes_to(&mut world, "a", first, over_memory(0));
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Failed)]);
    let message = facts.iter().find_map(|what| match what {
        What::Recorded { records, .. } => match &records[0].0 {
            Record::Result(result) => Some(result.message.clone()),
            _ => None,
        },
        _ => None,
    });
    let expected = "over its memory limit; no executor has the memory for another try with twice as much";
    assert_eq!(message.as_deref(), Some(expected));
}

#[test]
fn what_needs_a_larger_slot_is_not_taken_back_for_one_that_is_not() {
    // The long one is to be where there is no larger slot: who gets which is not what this is about.
    let long = |world: &World, on: &str| {
        let (attempt, ..) =
            live(world).into_iter().find(|(_, executor, ..)| executor.as_str() == on).unwrap();
        let (test, _) = *world.state.runs[&run()].attempts[&attempt].left.values().next().unwrap();
        (test == TestIndex(0)).then_some((attempt, on == "a"))
    };
    let places = [("a", [("a", 150, 1), ("b", 200, 1)]), ("b", [("a", 200, 1), ("b", 150, 1)])];
    let worlds = places.map(|(small, of)| (small, running_beside(None, &of, &[10, 1])));
    let meant = worlds.into_iter().find(|(small, world)| long(world, small).is_some());
    let (small, mut world) = meant.expect("one of them has it");
    let (attempt, is_a) = long(&world, small).unwrap();
    let small = if is_a { "a" } else { "b" };
    let facts = comes_to(&mut world, small, attempt, over_memory(0));
    assert_ne!(assigned(&facts)[0].0, small, "behind the short one: {facts:?}");
    world.executors.get_mut(small).unwrap().attempts.clear();
    for _ in 0..3 {
        world.now = world.now + std::time::Duration::from_millis(100);
        let facts = world.report(small, &[]);
        assert!(!facts.iter().any(|what| matches!(what, What::TakeBack { .. })), "{facts:?}");
    }
}
