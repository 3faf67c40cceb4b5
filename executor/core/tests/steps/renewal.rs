//! Renewal: what a worker lives for, and that nothing more runs in it then.

use seagull_domain::{
    AttemptState, Discovery, EndCause, Entry, Isolation, Kind, SuiteError, TestCause, TestIndex,
};
use seagull_executor_core::{Effect, Renewal, WorkerEvent};

use crate::world::{World, entry, exited, feed, finish, passed, wanted};

const LIMIT_KIB: u64 = 1000;

fn isolated(isolation: Isolation) -> Renewal {
    Renewal { isolation, ..Renewal::default() }
}

fn bounded() -> Renewal {
    Renewal { memory_kib: Some(LIMIT_KIB), ..Renewal::default() }
}

/// So short that many are given at a time.
fn short(test: u32, relation: u32) -> Entry {
    Entry { predicted_us: 100, ..entry(test, relation) }
}

fn world_of(entries: &[Entry]) -> World {
    let mut world = World::wanting(Kind::Run);
    world.contents(1, 1, entries);
    world
}

fn ready(world: &mut World, worker: u64, renewal: Renewal) -> Vec<Effect> {
    assert_eq!(world.worker(worker, WorkerEvent::Renews(renewal)), []);
    world.worker(worker, WorkerEvent::Ready { grace_ms: 1000 })
}

/// A test begins in a worker, and asks for the next.
fn asks(world: &mut World, worker: u64, test: u32, peak_kib: u64) -> Vec<Effect> {
    assert_eq!(world.worker(worker, WorkerEvent::Started(TestIndex(test))), []);
    world.worker(worker, WorkerEvent::Next { failed: false, peak_kib })
}

fn passes(world: &mut World, worker: u64, test: u32) -> Vec<Effect> {
    world.worker(worker, WorkerEvent::Started(TestIndex(test)));
    world.worker(worker, passed(test))
}

/// The session ends as it should, and the next worker starts.
#[track_caller]
fn is_followed(world: &mut World, worker: u64) {
    assert_eq!(world.worker(worker, WorkerEvent::Ended { exit: None }), []);
    let effects = world.worker(worker, exited());
    assert!(matches!(&effects[..], [Effect::Start(start)] if start.worker.0 == worker + 1), "{effects:?}");
    assert_eq!(world.suite_errors(), [""; 0]);
}

#[test]
fn a_worker_that_lives_for_a_test_is_given_one_and_told_that_it_is_the_last() {
    let mut world = world_of(&[short(0, 0), short(1, 0)]);
    for (worker, test) in [(1, 0), (2, 1)] {
        let effects = ready(&mut world, worker, isolated(Isolation::Test));
        assert_eq!(effects, [feed(worker, 1, &[test]), finish(worker)]);
        assert_eq!(passes(&mut world, worker, test), [], "it knows");
        if test == 0 {
            is_followed(&mut world, worker);
        }
    }
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Completed));
    assert_eq!(world.records().len(), 2);
}

#[test]
fn what_is_related_runs_in_one_worker_and_what_stands_between_in_another() {
    let mut world = world_of(&[short(0, 7), short(1, 0), short(2, 7)]);
    let renewal = isolated(Isolation::Test);
    assert_eq!(ready(&mut world, 1, renewal), [feed(1, 1, &[0])]);
    assert_eq!(asks(&mut world, 1, 0, 0), [feed(1, 1, &[2]), finish(1)]);
    world.worker(1, passed(0));
    passes(&mut world, 1, 2);
    is_followed(&mut world, 1);
    assert_eq!(ready(&mut world, 2, renewal), [feed(2, 1, &[1]), finish(2)]);
}

#[test]
fn what_began_in_an_earlier_worker_does_not_bind_the_next_one() {
    let mut world = world_of(&[short(0, 0), short(1, 7), short(2, 0), short(3, 7)]);
    let workers: [&[u32]; 3] = [&[0], &[1, 3], &[2]];
    // What the first three do not find, three look for that collect everything.
    for (worker, tests) in (1..).zip([workers, workers].concat()) {
        let mut effects = ready(&mut world, worker, isolated(Isolation::Test));
        for (place, &test) in tests.iter().enumerate() {
            let last = (place + 1 == tests.len()).then(|| finish(worker));
            assert_eq!(effects, [feed(worker, 1, &[test])].into_iter().chain(last).collect::<Vec<_>>());
            let missing = WorkerEvent::Missing { test: TestIndex(test), reason: String::new() };
            effects =
                if worker > 3 { passes(&mut world, worker, test) } else { world.worker(worker, missing) };
        }
        assert_eq!(effects, []);
        if worker < 6 {
            is_followed(&mut world, worker);
        }
    }
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Completed));
}

#[test]
fn a_worker_that_lives_for_a_bundle_ends_with_it() {
    let mut world = world_of(&[entry(0, 0), entry(1, 0)]);
    world.desired.push(wanted(2, Kind::Run, 0));
    world.answer(Vec::new());
    world.contents(2, 1, &[entry(2, 0)]);
    let renewal = isolated(Isolation::Bundle);
    assert_eq!(ready(&mut world, 1, renewal), [feed(1, 1, &[0])]);
    assert_eq!(asks(&mut world, 1, 0, 0), [feed(1, 1, &[1]), finish(1)]);
    world.worker(1, passed(0));
    assert_eq!(passes(&mut world, 1, 1), []);
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Completed));
    is_followed(&mut world, 1);
    assert_eq!(ready(&mut world, 2, renewal), [feed(2, 2, &[2]), finish(2)]);
}

#[test]
fn short_tests_of_one_bundle_are_given_at_a_time() {
    let mut world = world_of(&[short(0, 0), short(1, 0)]);
    let effects = ready(&mut world, 1, isolated(Isolation::Bundle));
    assert_eq!(effects, [feed(1, 1, &[0, 1]), finish(1)]);
}

#[test]
fn a_worker_that_has_discovered_lives_for_no_test() {
    for (isolation, effects) in [(Isolation::Slot, vec![]), (Isolation::Bundle, vec![finish(1)])] {
        let mut world = World::wanting(Kind::Discover);
        assert_eq!(ready(&mut world, 1, isolated(isolation)), []);
        let discovery = Discovery { manifest: seagull_domain::Digest([1; 32]), tests: 1 };
        assert_eq!(world.worker(1, WorkerEvent::Discovered(discovery)), effects);
    }
}

#[test]
fn a_worker_that_is_renewed_ends_as_any_other() {
    let mut world = world_of(&[entry(0, 0), entry(1, 0)]);
    ready(&mut world, 1, isolated(Isolation::Test));
    passes(&mut world, 1, 0);
    let error = SuiteError { title: "session finish".into(), message: "no".into(), text: None };
    world.worker(1, WorkerEvent::SuiteError(error));
    world.worker(1, WorkerEvent::Ended { exit: None });
    world.worker(1, exited());
    assert_eq!(world.suite_errors(), ["no"]);

    let mut world = world_of(&[entry(0, 0), entry(1, 0)]);
    ready(&mut world, 1, isolated(Isolation::Test));
    world.starts(0);
    assert!(matches!(world.worker(1, exited())[..], [Effect::Start(_)]));
    assert_eq!(world.failures(), [(0, Some(TestCause::Crashed))]);
}

#[test]
fn no_test_follows_one_after_which_a_worker_has_too_much_memory() {
    let mut world = world_of(&[short(0, 0), short(1, 0), short(2, 0)]);
    assert_eq!(ready(&mut world, 1, bounded()), [feed(1, 1, &[0])], "what it takes is not known yet");
    assert_eq!(asks(&mut world, 1, 0, LIMIT_KIB), [feed(1, 1, &[1])]);
    world.worker(1, passed(0));
    assert_eq!(asks(&mut world, 1, 1, LIMIT_KIB + 1), [finish(1)]);
    assert_eq!(world.worker(1, passed(1)), []);
    is_followed(&mut world, 1);
    assert_eq!(ready(&mut world, 2, bounded()), [feed(2, 1, &[2])]);
}

#[test]
fn a_question_that_crossed_with_a_test_is_not_answered_with_another() {
    let mut world = world_of(&[short(0, 0), short(1, 0)]);
    ready(&mut world, 1, bounded());
    assert_eq!(world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 1 }), []);
    assert_eq!(asks(&mut world, 1, 0, 1), [feed(1, 1, &[1])]);
}

#[test]
fn memory_that_is_known_only_after_a_test_counts_too() {
    let mut world = world_of(&[entry(0, 0), entry(1, 0)]);
    ready(&mut world, 1, bounded());
    world.starts(0);
    let WorkerEvent::Finished(mut result) = passed(0) else { unreachable!() };
    result.peak_kib = LIMIT_KIB + 1;
    assert_eq!(world.worker(1, WorkerEvent::Finished(result)), [finish(1)]);
    is_followed(&mut world, 1);
}

#[test]
fn too_much_memory_does_not_tear_apart_what_is_related() {
    let mut world = world_of(&[entry(0, 7), entry(1, 7), entry(2, 0)]);
    ready(&mut world, 1, bounded());
    assert_eq!(asks(&mut world, 1, 0, LIMIT_KIB + 1), [feed(1, 1, &[1]), finish(1)]);
    world.worker(1, passed(0));
    passes(&mut world, 1, 1);
    is_followed(&mut world, 1);
}

#[test]
fn what_starts_a_process_for_each_batch_is_isolated_by_its_batches() {
    for (isolation, batches) in [
        (Isolation::Slot, vec![feed(1, 1, &[0, 1]), feed(1, 2, &[2])]),
        (Isolation::Bundle, vec![feed(1, 1, &[0, 1])]),
        (Isolation::Test, vec![feed(1, 1, &[0])]),
    ] {
        let mut world = world_of(&[entry(0, 0), entry(1, 0)]);
        world.desired.push(wanted(2, Kind::Run, 0));
        world.answer(Vec::new());
        world.contents(2, 1, &[entry(2, 0)]);
        world.worker(1, WorkerEvent::Batches { micros: 10_000_000 });
        assert_eq!(ready(&mut world, 1, isolated(isolation)), batches);
        passes(&mut world, 1, 0);
        let next = passes(&mut world, 1, 1);
        assert_eq!(next.len(), usize::from(isolation != Isolation::Slot), "{next:?}");
        assert!(!next.contains(&finish(1)), "the worker stays");
    }
}
