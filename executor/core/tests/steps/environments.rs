//! Environments: a worker for each, and what becomes of tests whose services end under them.

use seagull_domain::{
    AttemptId, AttemptState, BundleContents, EndCause, EnvironmentNumber, Hold, ImageUsed, InfraCause,
    Isolation, Kind, Leftover, Record, Resources, SlotIndex, TestCause, TestIndex, TestResult, Used,
};
use seagull_executor_core::{Effect, Event, Exit, Over, Renewal, Settings, State, WorkerEvent, WorkerId};

use crate::world::{World, contents, entry, exited, feed, finish, gave_back, passed, wanted};

const BROKE: &str = "db ended while tests used it: exit code 1";

fn broke() -> WorkerEvent {
    WorkerEvent::SandboxBroke(InfraCause::SandboxFailed, BROKE.into())
}

#[test]
fn an_attempt_of_another_environment_gets_a_worker_of_its_own_when_the_other_is_gone() {
    let mut world = World::running(&[entry(0, 0)]);
    let mut next = wanted(2, Kind::Run, 0);
    next.surroundings.environment = EnvironmentNumber(3);
    world.desired.push(next);
    world.answer(Vec::new());
    world.contents(2, 1, &[entry(1, 0)]);
    world.starts(0);
    let next = world.state.needs_next(SlotIndex(0)).map(|(_, of)| of.environment);
    assert_eq!(next, Some(EnvironmentNumber(3)), "it can be made meanwhile");
    assert_eq!(
        world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 }),
        [],
        "the next test is for another worker"
    );
    assert_eq!(world.worker(1, passed(0)), [finish(1)]);
    let effects = world.worker(1, exited());
    assert!(
        matches!(&effects[..], [Effect::Start(start)] if start.surroundings.environment == EnvironmentNumber(3))
    );
    assert_eq!(world.worker(2, WorkerEvent::Ready { grace_ms: 1000 }), [feed(2, 2, &[1])]);
}

#[test]
fn a_service_that_ends_under_a_test_is_no_failure_of_the_test() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    assert!(matches!(world.worker(1, broke())[..], [Effect::Kill { dump_stacks: false, .. }]));
    assert_eq!(world.worker(1, broke()), [], "once");
    world.worker(1, exited());
    assert_eq!((world.failures(), world.suite_errors()), (vec![], vec![]));
    assert_eq!(world.report(1).state, gave_back(BROKE));
}

#[test]
fn what_ran_before_its_service_ended_keeps_its_result_and_what_waits_behind_goes_on() {
    let mut world = World::running(&[entry(0, 0), entry(1, 7), entry(2, 7)]);
    world.desired.push(wanted(2, Kind::Run, 0));
    world.answer(Vec::new());
    world.contents(2, 1, &[entry(3, 0)]);
    world.starts(0);
    world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 });
    world.worker(1, passed(0));
    world.starts(1);
    world.worker(1, broke());
    let effects = world.worker(1, exited());
    assert!(matches!(effects[..], [Effect::Start(_)]), "for the next attempt");
    assert_eq!(world.records().len(), 1);
    assert_eq!(world.report(1).state, gave_back(BROKE), "also where a relation has begun");
    assert_eq!(world.report(2).state, AttemptState::Waiting);
}

#[test]
fn a_test_that_takes_more_memory_than_its_sandbox_has_is_charged_with_that() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    let how = "over its memory limit of 64 MiB";
    let exit = Exit { over: Some(Over::Memory(99)), ..Exit::of(how) };
    let effects = world.worker(1, WorkerEvent::Exited(exit));
    assert!(matches!(effects[..], [Effect::Start(_)]), "for the next test");
    assert_eq!(world.failures(), [(0, Some(TestCause::OverMemory))]);
    let Some(Record::Result(result)) = world.records().into_iter().next() else { panic!("no result") };
    assert_eq!(result.message, how);
}

#[test]
fn a_test_that_writes_more_than_its_sandbox_may_is_charged_with_that() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    let exit = Exit { over: Some(Over::Disk), ..Exit::of("over its disk limit") };
    world.worker(1, WorkerEvent::Exited(exit));
    assert_eq!(world.failures(), [(0, Some(TestCause::OverDisk))]);
}

#[test]
fn a_machine_without_memory_is_no_failure_of_the_test() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.worker(1, WorkerEvent::SandboxBroke(InfraCause::MachineOutOfMemory, "none left".into()));
    world.worker(1, exited());
    assert_eq!(world.failures(), []);
    let cause = EndCause::GaveBack(InfraCause::MachineOutOfMemory, "none left".into());
    assert_eq!(world.report(1).state, AttemptState::Ended(cause));
}

#[test]
fn services_are_made_clean_between_two_attempts_or_replaced() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.worker(1, WorkerEvent::Renews(Renewal { resets: true, ..Renewal::default() }));
    world.desired.push(wanted(2, Kind::Run, 0));
    world.answer(Vec::new());
    world.contents(2, 1, &[entry(2, 0), entry(3, 0)]);
    world.starts(0);
    let next = WorkerEvent::Next { failed: false, peak_kib: 0 };
    assert_eq!(world.worker(1, next.clone()), [feed(1, 1, &[1])], "of the same attempt");
    world.worker(1, passed(0));
    world.starts(1);
    assert_eq!(world.worker(1, next.clone()), [], "its fixtures come down first");
    let reset = Effect::Reset { slot: SlotIndex(0), worker: WorkerId(1) };
    assert_eq!(world.worker(1, passed(1)), [reset]);
    assert_eq!(world.worker(1, next), [], "it waits");
    let (mut replaced, mut cancelled) = (world.clone(), world.clone());
    assert_eq!(world.worker(1, WorkerEvent::Reset { clean: true }), [feed(1, 2, &[2, 3])]);
    assert_eq!(replaced.worker(1, WorkerEvent::Reset { clean: false }), [finish(1)]);
    let effects = replaced.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(start)] if start.attempt == AttemptId(2)), "{effects:?}");
    assert_eq!(replaced.report(2).state, AttemptState::Waiting, "it is not given back");
    cancelled.desired.clear();
    cancelled.runs.clear();
    cancelled.answer(Vec::new());
    assert_eq!(cancelled.worker(1, WorkerEvent::Reset { clean: true }), []);
}

#[test]
fn a_discovery_whose_service_ends_is_given_back() {
    let mut world = World::wanting(Kind::Discover);
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.worker(1, broke());
    world.worker(1, exited());
    let cause = EndCause::GaveBack(InfraCause::SandboxFailed, BROKE.into());
    assert_eq!(world.report(1).state, AttemptState::Ended(cause));
}

#[test]
fn a_sandbox_for_one_bundle_ends_with_it_also_where_tests_have_processes_of_their_own() {
    for batches in [false, true] {
        let mut world = World::new();
        world.desired = vec![wanted(1, Kind::Run, 0), wanted(2, Kind::Run, 0)];
        world.answer(Vec::new());
        world.contents(1, 1, &[entry(0, 0)]);
        world.contents(2, 1, &[entry(1, 0)]);
        if batches {
            world.worker(1, WorkerEvent::Batches { micros: 10_000_000 });
        }
        world.worker(1, WorkerEvent::Renews(Renewal { sandbox: Isolation::Bundle, ..Renewal::default() }));
        let effects = world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
        assert_eq!(effects[0], feed(1, 1, &[0]), "{batches}");
        world.starts(0);
        assert!(world.state.needs_next(SlotIndex(0)).is_some());
        let (mut drained, mut cancelled) = (world.clone(), world.clone());
        drained.leave(60);
        cancelled.desired.clear();
        cancelled.answer(Vec::new());
        for gone in [drained, cancelled] {
            assert_eq!(gone.state.needs_next(SlotIndex(0)), None);
        }
        world.worker(1, passed(0));
        let effects = world.worker(1, exited());
        assert!(matches!(effects[..], [Effect::Start(_)]), "{batches}: {effects:?}");
    }
}

#[test]
fn a_worker_waits_until_there_is_room_for_it_and_those_with_nothing_to_do_make_room() {
    let mut world = World::new();
    world.state = State::new("e".parse().unwrap(), "b".parse().unwrap(), 2, Settings::default());
    world.state.capacity = Resources { memory_kib: 100, millicpus: u64::MAX };
    let sized = |attempt: u64, slot: u16, memory_kib: u64| {
        let mut wanted = wanted(attempt, Kind::Run, u32::from(slot));
        wanted.slot = SlotIndex(slot);
        wanted.surroundings.needs = Resources { memory_kib, millicpus: 0 };
        wanted
    };
    world.desired = vec![sized(1, 0, 60), sized(2, 1, 50)];
    world.answer(Vec::new());
    let contents_of = |attempt: u64, test: u32| {
        let contents: BundleContents = contents(1, &[entry(test, 0)]);
        Event::Contents { attempt: AttemptId(attempt), contents }
    };
    assert!(matches!(world.step(contents_of(1, 0))[..], [Effect::Start(_)]));
    assert_eq!(world.step(contents_of(2, 1)), [], "60 and 50 are more than 100");
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.starts(0);
    assert_eq!(world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 }), [], "it is at a test");
    assert_eq!(world.worker(1, passed(0)), [finish(1)], "it has nothing to do");
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(start)] if start.slot == SlotIndex(1)), "{effects:?}");
    let ready = WorkerEvent::Ready { grace_ms: 1000 };
    let effects = world.step(Event::Worker { slot: SlotIndex(1), worker: WorkerId(2), event: ready });
    assert!(matches!(&effects[..], [Effect::Feed { .. }]), "{effects:?}");
}

#[test]
fn what_workers_of_a_run_and_an_environment_share_is_counted_once() {
    let begins = |environments: [u16; 2]| {
        let mut world = World::new();
        world.state = State::new("e".parse().unwrap(), "b".parse().unwrap(), 2, Settings::default());
        world.state.capacity = Resources { memory_kib: 100, millicpus: u64::MAX };
        let sized = |slot: u16| {
            let mut wanted = wanted(u64::from(slot) + 1, Kind::Run, u32::from(slot));
            wanted.slot = SlotIndex(slot);
            wanted.surroundings.environment = EnvironmentNumber(environments[usize::from(slot)]);
            wanted.surroundings.needs = Resources { memory_kib: 10, millicpus: 0 };
            wanted.surroundings.shared = Resources { memory_kib: 60, millicpus: 0 };
            wanted
        };
        world.desired = vec![sized(0), sized(1)];
        world.answer(Vec::new());
        let begins = |attempt: u32| {
            let contents = contents(1, &[entry(attempt, 0)]);
            let event = Event::Contents { attempt: AttemptId(attempt.into()), contents };
            matches!(world.step(event)[..], [Effect::Start(_)])
        };
        [1, 2].map(begins)
    };
    assert_eq!(begins([1, 1]), [true, true], "80 of 100");
    assert_eq!(begins([1, 2]), [true, false], "140 of 100");
}

#[test]
fn what_a_sandbox_was_made_of_is_told_before_what_runs_there_and_again_where_it_is_another() {
    let images = |id: &str| vec![ImageUsed { image: "db:1".into(), id: id.into(), digest: String::new() }];
    let mut world = World::wanting(Kind::Run);
    world.contents(1, 1, &[entry(0, 0), entry(1, 0), entry(2, 0)]);
    world.worker(1, WorkerEvent::Images(images("a")));
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    for test in [0, 1] {
        world.starts(test);
        world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 });
        world.worker(1, passed(test));
    }
    world.starts(2);
    // The worker ends under the next test, and another attempt is in a sandbox of other images.
    world.worker(1, exited());
    world.desired.push(wanted(2, Kind::Run, 0));
    world.answer(Vec::new());
    world.contents(2, 1, &[entry(3, 0)]);
    world.worker(2, WorkerEvent::Images(images("b")));
    world.worker(2, WorkerEvent::Ready { grace_ms: 1000 });
    let records = |attempt| world.state.attempts[&AttemptId(attempt)].records.clone();
    let told: Vec<_> = records(1).iter().map(|record| matches!(record, Record::Images(_))).collect();
    assert_eq!(told, [true, false, false, false], "once, and first");
    assert_eq!(records(1)[0], Record::Images(images("a")));
    assert_eq!(records(2), [Record::Images(images("b"))]);
}

#[test]
fn what_was_left_running_is_told_in_the_attempt_that_its_worker_was_at_last() {
    let mut world = World::wanting(Kind::Run);
    world.contents(1, 1, &[entry(0, 0)]);
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.starts(0);
    world.worker(1, passed(0));
    let phase = "call".to_owned();
    let left = Leftover { command: "sleep 9".into(), processes: 1, ports: Vec::new(), phase };
    // Of a test that it had in an attempt before.
    let test = Some(TestIndex(7));
    world.worker(1, WorkerEvent::Left { test, left: left.clone() });
    assert_eq!(world.records().last(), Some(&Record::Left { test, left }));
}

#[test]
fn what_an_attempt_took_is_told_at_its_end() {
    let took = |cpu_us, peak_kib, whole| Used { cpu_us, peak_kib, whole };
    let mut world = World::wanting(Kind::Run);
    world.contents(1, 1, &[entry(0, 0), entry(1, 0)]);
    world.desired.push(wanted(2, Kind::Run, 0));
    world.answer(Vec::new());
    world.contents(2, 1, &[entry(2, 0), entry(3, 0)]);
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    let told = |world: &World, attempt| {
        let records = &world.state.attempts[&AttemptId(attempt)].records;
        let used = records.iter().filter_map(|record| match record {
            Record::Used(used) => Some(*used),
            _ => None,
        });
        used.collect::<Vec<_>>()
    };
    for (test, cpu_us) in [(0, 30), (1, 50)] {
        world.starts(test);
        assert_eq!(told(&world, 1), [], "it goes on");
        world.worker(1, WorkerEvent::Used(took(cpu_us, 100 + cpu_us, true)));
        world.worker(1, passed(test));
    }
    assert_eq!(told(&world, 1), [took(50, 150, true)]);
    // Of the next one only what is more; and where it ends under a test, all of it.
    world.starts(2);
    world.worker(1, WorkerEvent::Used(took(60, 150, true)));
    world.worker(1, passed(2));
    world.starts(3);
    world.worker(1, WorkerEvent::Exited(Exit { used: Some(took(90, 900, true)), ..Exit::of("signal 9") }));
    assert_eq!(told(&world, 2), [took(40, 900, true)]);
    assert_eq!(told(&world, 1), [took(50, 150, true)]);
}

#[test]
fn where_nothing_is_counted_an_attempt_took_what_its_tests_did() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    for (test, peak_kib) in [(0, 300), (1, 200)] {
        world.starts(test);
        let WorkerEvent::Finished(result) = passed(test) else { unreachable!("it has passed") };
        world.worker(1, WorkerEvent::Finished(TestResult { cpu_us: 7, peak_kib, ..result }));
    }
    let expected = Record::Used(Used { cpu_us: 14, peak_kib: 300, whole: false });
    assert_eq!(world.records().last(), Some(&expected));
}

#[test]
fn where_a_sandbox_stays_as_a_failed_test_left_it_nothing_more_runs() {
    let mut world = World::wanting(Kind::Run);
    world.contents(1, 1, &[entry(0, 0), entry(1, 0)]);
    world.worker(1, WorkerEvent::FailsFast);
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.starts(0);
    let hold = Hold { environment: "db".into(), sandbox: "s-gw0-1".into(), until: 9 };
    world.worker(1, WorkerEvent::Held { test: Some(TestIndex(0)), hold: hold.clone() });
    assert_eq!(world.worker(1, passed(0)), [finish(1)], "the next is for another worker");
    let test = Some(TestIndex(0));
    assert_eq!(world.records()[0], Record::Held { test, hold });
    let effects = world.worker(1, exited());
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Start(_))), "{effects:?}");
}
