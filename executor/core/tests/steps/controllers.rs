//! Controllers: when they start and end, what workers wait for, and what is said of one that fails.

use std::time::Duration;

use seagull_domain::{AttemptId, Kind, Record, SlotNumber, SuiteError, Surroundings};
use seagull_executor_core::{Effect, Event, NodeOrder, Start, WorkerEvent, WorkerId};

use crate::world::{SLOT, World, entry, exited, feed, finish, interrupt, kill, run, wanted};

const NUMBER: SlotNumber = SlotNumber(0);

fn node(worker: u64, order: NodeOrder) -> Effect {
    Effect::Node { worker: WorkerId(worker), order }
}

fn input(worker: u64, text: Option<&str>) -> Effect {
    node(worker, NodeOrder::Input(text.map(str::to_owned)))
}

fn given(text: &str) -> WorkerEvent {
    WorkerEvent::NodeInput { number: NUMBER, input: text.into() }
}

fn error(title: &str) -> WorkerEvent {
    WorkerEvent::SuiteError(SuiteError { title: title.into(), message: "no".into(), text: None })
}

/// Up to the first worker, which waits for the controller that has been started for it.
fn waiting(kind: Kind) -> World {
    let mut world = World::wanting(kind);
    if kind == Kind::Run {
        world.contents(1, 1, &[entry(0, 0), entry(1, 0)]);
    }
    let (slot, worker, attempt) = (SLOT, WorkerId(2), AttemptId(1));
    let (number, slots, run, controller) = (NUMBER, 1, run(), true);
    let (discover, whole, surroundings) = (false, false, Surroundings::default());
    let start = Start {
        slot,
        worker,
        run,
        attempt,
        number,
        slots,
        surroundings,
        discover,
        died: None,
        whole,
        controller,
    };
    assert_eq!(world.worker(1, WorkerEvent::NodeWaits), [Effect::Start(start)]);
    world
}

/// Up to the first worker, which has what the controller had for it, and runs its first test.
fn running() -> World {
    let mut world = waiting(Kind::Run);
    let configure = node(2, NodeOrder::Configure { number: NUMBER });
    assert_eq!(world.worker(2, WorkerEvent::Ready { grace_ms: 1000 }), [configure]);
    assert_eq!(world.worker(2, given("db")), [input(1, Some("db"))]);
    let ready = node(2, NodeOrder::Ready { number: NUMBER });
    assert_eq!(world.worker(1, WorkerEvent::Ready { grace_ms: 1000 }), [feed(1, 1, &[0])]);
    assert_eq!(world.worker(1, WorkerEvent::NodeReady), [ready]);
    world.starts(0);
    world
}

/// Up to the end of the run's last worker.
fn over() -> World {
    let mut world = running();
    world.desired.clear();
    world.runs.clear();
    assert_eq!(world.answer(Vec::new()), [interrupt(1)]);
    world.worker(1, WorkerEvent::NodeOutput("left".into()));
    world.worker(1, WorkerEvent::Ended { exit: None });
    let output = Some("left".to_owned());
    let down = node(2, NodeOrder::Down { number: NUMBER, error: None, output });
    assert_eq!(world.worker(1, exited()), [down, finish(2)]);
    world
}

fn errors(world: &mut World) -> Vec<(String, String)> {
    let errors = world.records().into_iter().filter_map(|record| match record {
        Record::SuiteError(error) => Some((error.title, error.message)),
        _ => None,
    });
    errors.collect()
}

#[test]
fn a_controller_lives_until_the_last_worker_is_gone_and_the_run_until_it_is() {
    let mut world = over();
    assert_eq!(world.next_report().workers.len(), 1, "the run has not ended");
    world.worker(2, WorkerEvent::Ended { exit: None });
    assert_eq!(world.worker(2, exited()), []);
    assert!(world.next_report().workers.is_empty());
    assert_eq!(errors(&mut world), []);
    assert!(world.state.controllers.is_empty() && world.state.attempts.is_empty());
}

#[test]
fn a_run_that_goes_on_elsewhere_keeps_its_controller() {
    let mut world = running();
    world.desired.clear();
    world.worker(1, exited());
    assert_eq!(world.state.controllers.len(), 1);
    assert_eq!(world.step(Event::Tick), []);
}

#[test]
fn what_a_worker_was_to_have_that_is_gone_is_not_the_next_ones() {
    let mut world = waiting(Kind::Run);
    let configure = node(2, NodeOrder::Configure { number: NUMBER });
    assert_eq!(world.worker(2, WorkerEvent::Ready { grace_ms: 1000 }), std::slice::from_ref(&configure));
    assert!(matches!(world.worker(1, exited())[..], [Effect::Node { .. }]));
    world.desired = vec![wanted(2, Kind::Run, 0)];
    world.answer(Vec::new());
    assert!(matches!(world.contents(2, 1, &[entry(2, 0)])[..], [Effect::Start(_)]));
    assert_eq!(world.worker(3, WorkerEvent::NodeWaits), [configure]);
    assert_eq!(world.worker(2, given("of the first")), []);
    assert_eq!(world.worker(2, given("of the second")), [input(3, Some("of the second"))]);
}

#[test]
fn a_worker_that_follows_is_a_node_of_the_same_controller() {
    let mut world = running();
    let effects = world.worker(1, exited());
    let down = NodeOrder::Down { number: NUMBER, error: Some("signal 11".into()), output: None };
    assert!(effects.contains(&node(2, down)), "{effects:?}");
    assert_eq!(world.worker(3, WorkerEvent::NodeWaits), [node(2, NodeOrder::Configure { number: NUMBER })]);
    assert_eq!(world.worker(2, given("again")), [input(3, Some("again"))]);
}

#[test]
fn a_controller_that_fails_is_told_of_once_and_workers_go_on_without() {
    let mut world = waiting(Kind::Run);
    world.worker(2, error("session start"));
    world.worker(2, WorkerEvent::Ended { exit: None });
    assert_eq!(world.worker(2, exited()), [input(1, None)]);
    assert_eq!(world.worker(1, WorkerEvent::Ready { grace_ms: 1000 }), [feed(1, 1, &[0])]);
    world.starts(0);
    world.worker(1, exited());
    assert_eq!(world.worker(3, WorkerEvent::NodeWaits), [input(3, None)]);
    let told = ("the controller on e: session start".to_owned(), "no".to_owned());
    assert_eq!(errors(&mut world), [told]);
}

#[test]
fn a_controller_that_dies_is_told_of_and_the_tests_go_on() {
    let mut world = running();
    assert_eq!(world.worker(2, exited()), []);
    let told = ("the controller on e: it ended before the workers did".to_owned(), "signal 11".to_owned());
    assert_eq!(errors(&mut world), [told]);
    assert_eq!(world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 }), [feed(1, 1, &[1])]);
}

#[test]
fn a_worker_is_not_to_blame_for_a_controller_that_takes_too_long() {
    for starts in [false, true] {
        let mut world = waiting(Kind::Discover);
        if starts {
            world.wait(Duration::from_secs(400));
            world.worker(2, WorkerEvent::Ready { grace_ms: 1000 });
        }
        world.wait(Duration::from_secs(600));
        assert_eq!(world.step(Event::Tick), [kill(2), input(1, None)]);
        world.worker(2, exited());
        let told = (
            "the controller on e: it hung".to_owned(),
            "killed after 600 s, its limit; --start-limit sets it".to_owned(),
        );
        assert_eq!(errors(&mut world), [told]);
        assert_eq!(world.state.next_deadline(), Some(world.now + Duration::from_secs(600)), "a start");
    }
}

#[test]
fn a_controller_that_does_not_end_is_killed_and_at_the_grace_where_its_run_is_cancelled() {
    let mut world = over();
    world.wait(Duration::from_secs(599));
    assert_eq!(world.step(Event::Tick), []);
    world.wait(Duration::from_secs(1));
    assert_eq!(world.step(Event::Tick), [kill(2)]);
    world.worker(2, exited());
    let title = "the controller on e: its session did not end within its limit".to_owned();
    let limit = "killed after 600 s, its limit; --start-limit sets it".to_owned();
    assert_eq!(errors(&mut world), [(title, limit)]);
    assert!(world.state.controllers.is_empty());

    let mut world = over();
    world.cancelled = vec![run()];
    assert_eq!(world.answer(Vec::new()), []);
    world.wait(Duration::from_secs(1));
    assert_eq!(world.step(Event::Tick), [kill(2)]);
    world.worker(2, exited());
    let title = "the controller on e: it did not stop within the grace and was killed".to_owned();
    assert_eq!(errors(&mut world), [(title, "after 1 s; --grace sets how long".to_owned())]);
}

#[test]
fn a_controller_of_which_no_worker_had_anything_is_interrupted() {
    let mut world = waiting(Kind::Discover);
    world.desired[0].cancel = true;
    world.runs.clear();
    assert_eq!(world.answer(Vec::new()), [interrupt(1)]);
    assert_eq!(world.worker(1, exited()), [interrupt(2)]);
    world.worker(2, exited());
    assert_eq!(errors(&mut world), []);
    assert!(world.next_report().workers.is_empty());
}

#[test]
fn what_was_said_in_an_attempt_that_does_not_count_is_said_again() {
    let mut world = running();
    world.worker(2, error("pytest_configure_node"));
    assert_eq!(errors(&mut world).len(), 1);
    world.desired[0].cancel = true;
    world.desired.push(wanted(2, Kind::Run, 0));
    let effects = world.answer(vec![(AttemptId(1), 1)]);
    assert!(effects.contains(&feed(2, 2, &[])), "its log is another's from now on: {effects:?}");
    let batches = world.next_report().batches;
    let of: Vec<_> = batches.iter().map(|batch| (batch.attempt, batch.records.len())).collect();
    assert_eq!(of, [(AttemptId(2), 1)]);
}

#[test]
fn an_executor_leaves_when_its_controller_is_gone() {
    let mut world = running();
    assert_eq!(world.leave(6), [interrupt(1)], "there is just time for the grace");
    world.worker(1, WorkerEvent::Ended { exit: None });
    world.desired.clear();
    assert!(world.worker(1, exited()).contains(&finish(2)));
    world.answer(vec![(AttemptId(1), 1)]);
    assert!(!world.next_report().workers.is_empty());
    world.worker(2, WorkerEvent::Ended { exit: None });
    world.worker(2, exited());
    assert!(world.next_report().workers.is_empty());
}

#[test]
fn what_is_said_out_of_turn_changes_nothing() {
    let mut world = running();
    assert_eq!(world.worker(1, WorkerEvent::NodeWaits), [], "it has started");
    assert_eq!(world.worker(1, given("forged")), [], "it is no controller");
    let unknown = WorkerEvent::NodeInput { number: SlotNumber(7), input: String::new() };
    assert_eq!(world.worker(2, unknown), []);
    assert_eq!(world.worker(2, given("twice")), []);
}
