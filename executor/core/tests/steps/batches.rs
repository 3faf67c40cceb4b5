//! Workers that run several tests in one go: what they get at a time, and who is blamed.

use std::time::Duration;

use seagull_domain::{Kind, Record, TestCause, TestIndex};
use seagull_executor_core::{Effect, Event, WorkerEvent};

use crate::world::{World, entry, exited, feed, kill, passed};

/// Tests of a second each, for a worker that runs three seconds' worth in one go.
fn world_of(tests: u32) -> World {
    let mut world = World::wanting(Kind::Run);
    let entries: Vec<_> = (0..tests).map(|test| entry(test, 0)).collect();
    world.contents(1, 1, &entries);
    world
}

fn ready(world: &mut World, worker: u64) -> Vec<Effect> {
    assert_eq!(world.worker(worker, WorkerEvent::Batches { micros: 3_000_000 }), []);
    world.worker(worker, WorkerEvent::Ready { grace_ms: 1000 })
}

fn passes(world: &mut World, test: u32) -> Vec<Effect> {
    world.worker(1, WorkerEvent::Started(TestIndex(test)));
    let WorkerEvent::Finished(mut result) = passed(test) else { unreachable!() };
    result.phases = [0, 1_000_000, 0];
    world.worker(1, WorkerEvent::Finished(result))
}

#[test]
fn a_batch_is_fed_when_the_one_before_is_done_whatever_its_order() {
    let mut world = world_of(7);
    assert_eq!(ready(&mut world, 1), [feed(1, 1, &[0, 1, 2])]);
    for test in [1, 0] {
        assert_eq!(passes(&mut world, test), []);
    }
    assert_eq!(passes(&mut world, 2), [feed(1, 1, &[3, 4, 5])]);
    assert_eq!(world.records().len(), 3);
}

#[test]
fn what_is_named_missing_ends_a_batch_too() {
    let mut world = world_of(7);
    ready(&mut world, 1);
    for test in [0, 1] {
        passes(&mut world, test);
    }
    world.worker(1, WorkerEvent::Started(TestIndex(2)));
    let missing = WorkerEvent::Missing { test: TestIndex(2), reason: "not named".into() };
    assert_eq!(world.worker(1, missing), [feed(1, 1, &[3, 4, 5])]);
}

#[test]
fn what_a_batch_does_not_name_is_missing_without_another_worker() {
    let mut world = world_of(1);
    ready(&mut world, 1);
    world.worker(1, WorkerEvent::Started(TestIndex(0)));
    let missing = WorkerEvent::Missing { test: TestIndex(0), reason: "not named".into() };
    assert_eq!(world.worker(1, missing), []);
    assert!(matches!(world.records()[..], [Record::Missing { test: TestIndex(0), .. }]));
}

#[test]
fn of_a_batch_that_dies_or_hangs_each_test_runs_alone_and_only_the_culprit_fails() {
    for hangs in [false, true] {
        let mut world = world_of(7);
        ready(&mut world, 1);
        world.starts(0);
        if hangs {
            // Its limit of ten seconds, and the three of the batch.
            world.wait(Duration::from_millis(12_999));
            assert_eq!(world.step(Event::Tick), []);
            world.wait(Duration::from_millis(2));
            assert_eq!(world.step(Event::Tick), [kill(1)]);
        }
        world.worker(1, exited());
        assert_eq!(world.failures(), []);
        assert_eq!(ready(&mut world, 2), [feed(2, 1, &[0])]);
        world.worker(2, WorkerEvent::Started(TestIndex(0)));
        assert_eq!(world.worker(2, passed(0)), [feed(2, 1, &[1])]);
        world.worker(2, WorkerEvent::Started(TestIndex(1)));
        if hangs {
            world.wait(Duration::from_millis(10_000));
            assert_eq!(world.step(Event::Tick), [kill(2)]);
        }
        world.worker(2, exited());
        let cause = if hangs { TestCause::TimedOut } else { TestCause::Crashed };
        assert_eq!(world.failures(), [(1, Some(cause))]);
        assert_eq!(world.suite_errors(), [""; 0]);
        assert_eq!(ready(&mut world, 3), [feed(3, 1, &[2])]);
        world.worker(3, WorkerEvent::Started(TestIndex(2)));
        let next = world.worker(3, passed(2));
        assert!(matches!(&next[..], [Effect::Feed { tests, .. }] if tests.len() > 1), "{next:?}");
    }
}

/// Runs all there is in the second worker, and says which suite errors there are before the last test and after it.
fn pass_all(world: &mut World) -> [Vec<String>; 2] {
    let mut before = Vec::new();
    let mut effects = ready(world, 2);
    while let Some(Effect::Feed { tests, .. }) = effects.pop() {
        for test in tests {
            before = world.suite_errors();
            world.worker(2, WorkerEvent::Started(test));
            effects = world.worker(2, passed(test.0));
        }
    }
    [before, world.suite_errors()]
}

#[test]
fn a_death_in_a_batch_that_does_not_come_again_is_a_suite_error_but_a_hang_is_none() {
    let mut world = world_of(7);
    ready(&mut world, 1);
    world.starts(0);
    world.worker(1, exited());
    assert_eq!(pass_all(&mut world), [vec![], vec!["signal 11".to_owned()]]);
    assert_eq!(world.failures(), []);

    let mut world = world_of(7);
    ready(&mut world, 1);
    world.starts(0);
    world.wait(Duration::from_millis(13_001));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, exited());
    assert_eq!(pass_all(&mut world), [vec![], Vec::<String>::new()]);
}

#[test]
fn a_worker_that_runs_batches_is_not_said_to_collect() {
    let mut world = world_of(1);
    assert_eq!(ready(&mut world, 1), [feed(1, 1, &[0])]);
    world.worker(1, exited());
    let records = world.records();
    let [Record::Result(result)] = &records[..] else { panic!("{records:?}") };
    assert_eq!(result.message, "crashed: the worker ended with signal 11");
}
