//! Leaving: what goes on, what goes back, and when it is over.

use std::time::Duration;

use seagull_domain::{
    AttemptState, Digest, Discovery, EndCause, Generation, InfraCause, Instant, Kind, TestIndex,
};
use seagull_executor_core::{Effect, Event, Failure, Notice, WorkerEvent};

use crate::world::{World, entry, exited, finish, interrupt, passed, wanted};

fn drained() -> AttemptState {
    AttemptState::Ended(EndCause::GaveBack(InfraCause::Drained, "a signal".into()))
}

fn killed(effects: &[Effect]) -> bool {
    matches!(effects, [Effect::Kill { dump_stacks: false, .. }])
}

/// At the first of three tests, when it hears that it has so many seconds.
fn leaving(seconds: u64) -> World {
    let mut world = World::running(&[entry(0, 0), entry(1, 0), entry(2, 0)]);
    world.starts(0);
    assert_eq!(world.leave(seconds), []);
    world
}

#[test]
fn what_runs_goes_on_and_what_has_not_started_goes_back_at_once() {
    let mut world = leaving(60);
    let report = world.next_report();
    assert_eq!(report.draining.unwrap().cause, InfraCause::Drained);
    assert_eq!(report.attempts[0].state, AttemptState::Running(Some(TestIndex(0))));
    // Nothing need be fetched to know that all but that is given back.
    world.desired[0].generation = Generation(2);
    world.desired.push(wanted(2, Kind::Run, 0));
    assert_eq!(world.answer(Vec::new()), []);
    let report = world.report(1);
    assert_eq!((report.generation, report.kept), (Generation(2), vec![TestIndex(0)]));
    assert_eq!(world.report(2).state, drained(), "nothing new is taken");
    world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 });
    assert_eq!(world.worker(1, passed(0)), [finish(1)]);
    assert_eq!(world.report(1).state, drained());
    world.worker(1, WorkerEvent::Ended { exit: None });
    world.worker(1, exited());
    assert_eq!((world.failures(), world.suite_errors()), (vec![], vec![]));
}

#[test]
fn what_was_asked_back_before_the_notice_is_given_back_with_it() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0), entry(2, 0)]);
    world.starts(0);
    world.desired[0].generation = Generation(2);
    assert!(matches!(world.answer(Vec::new())[..], [Effect::Fetch { .. }]));
    world.leave(60);
    let report = world.report(1);
    assert_eq!((report.generation, report.kept), (Generation(2), vec![TestIndex(0)]));
    assert_eq!(world.contents(1, 2, &[entry(0, 0), entry(1, 0)]), [], "they come too late");
    assert_eq!(world.report(1).kept, [TestIndex(0)]);
}

#[test]
fn what_does_not_end_in_time_is_interrupted_then_killed_and_blamed_for_nothing() {
    // Of 13 s the last five are to deliver what was said, and one is the grace.
    let mut world = leaving(13);
    assert_eq!(world.state.next_deadline(), Some(Instant(7000)));
    world.wait(Duration::from_secs(7));
    assert_eq!(world.step(Event::Tick), [interrupt(1)]);
    assert_eq!(world.state.next_deadline(), Some(Instant(8000)));
    world.wait(Duration::from_secs(1));
    assert!(killed(&world.step(Event::Tick)));
    world.worker(1, exited());
    assert_eq!(world.report(1).state, drained());
    assert_eq!((world.failures(), world.suite_errors()), (vec![], vec![]));
}

#[test]
fn what_is_predicted_not_to_end_in_time_goes_back_at_once() {
    // Of 60 s the last five are to deliver what was said, and one is the grace.
    let leaves = |predicted_s: u64, after_s: u64| {
        let mut long = entry(0, 0);
        long.predicted_us = predicted_s * 1_000_000;
        let mut world = World::running(&[long, entry(1, 0)]);
        world.starts(0);
        world.wait(Duration::from_secs(after_s));
        world.leave(60)
    };
    assert_eq!(leaves(55, 0), [interrupt(1)]);
    assert_eq!(leaves(54, 0), []);
    assert_eq!(leaves(57, 3), [], "3 s of it are over");
    assert_eq!(leaves(2, 3), [], "it may end at any time");
}

#[test]
fn a_worker_that_is_at_its_end_gets_no_more_time_than_there_is() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.worker(1, WorkerEvent::Ready { grace_ms: 60_000 });
    world.worker(1, passed(0));
    assert_eq!(world.leave(60), [finish(1)]);
    world.wait(Duration::from_secs(55));
    assert!(killed(&world.step(Event::Tick)));
    world.worker(1, exited());
    assert_eq!(world.suite_errors(), [""; 0], "its session may have had more to do, and no time");
}

#[test]
fn of_several_notices_the_one_with_least_time_holds() {
    let mut world = leaving(600);
    world.leave(700);
    assert_eq!(world.state.leaving.as_ref().unwrap().last, Instant(595_000));
    world.step(Event::Leave(Notice::spot("EC2", Duration::from_secs(6))));
    assert_eq!(world.next_report().draining.unwrap().cause, InfraCause::SpotNotice);
    world.worker(1, exited());
    let taken = EndCause::GaveBack(InfraCause::SpotNotice, "EC2".into());
    assert_eq!(world.report(1).state, AttemptState::Ended(taken));
}

#[test]
fn a_notice_without_any_time_kills() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    assert_eq!(world.leave(0), [interrupt(1)]);
    assert!(killed(&world.step(Event::Tick)));
}

#[test]
fn what_is_not_wanted_any_more_does_not_go_on_because_its_executor_leaves() {
    let mut world = leaving(600);
    world.desired[0].cancel = true;
    assert_eq!(world.answer(Vec::new()), [interrupt(1)]);
    let mut world = leaving(600);
    world.desired.clear();
    assert_eq!(world.answer(Vec::new()), [interrupt(1)], "it was lost, and its tests run elsewhere");
}

#[test]
fn an_operators_wish_comes_with_what_is_desired_and_is_heard_once() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    world.drain_ms = Some(60_000);
    assert_eq!(world.answer(Vec::new()), []);
    assert_eq!(world.next_report().draining.unwrap().why, "an operator");
    world.wait(Duration::from_secs(5));
    world.answer(Vec::new());
    assert_eq!(world.state.leaving.as_ref().unwrap().last, Instant(55_000), "its time began at first");
}

#[test]
fn a_discovery_under_way_may_come_to_its_end() {
    let found = || Discovery { manifest: Digest([7; 32]), tests: 3 };
    let mut world = World::wanting(Kind::Discover);
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    assert_eq!(world.leave(60), []);
    assert_eq!(world.worker(1, WorkerEvent::Discovered(found())), [finish(1)]);
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Discovered(found())));

    let mut world = World::wanting(Kind::Discover);
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.leave(10);
    world.wait(Duration::from_secs(4));
    assert_eq!(world.step(Event::Tick), [interrupt(1)]);
    world.worker(1, WorkerEvent::DiscoveryFailed("KeyboardInterrupt".into()));
    assert_eq!(world.report(1).state, drained());

    let mut world = World::wanting(Kind::Discover);
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.leave(60);
    assert_eq!(world.worker(1, exited()), [], "it is tried once more elsewhere");
    assert_eq!((world.report(1).state, world.suite_errors()), (drained(), Vec::new()));

    let mut world = World::wanting(Kind::Discover);
    assert_eq!(world.leave(60), [interrupt(1)], "what only starts may start elsewhere");
}

#[test]
fn an_executor_leaves_when_the_scheduler_has_heard_that_it_has_nothing() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    assert_eq!(world.leave(6), [interrupt(1)]);
    world.worker(1, WorkerEvent::Interrupted { test: Some(TestIndex(0)), failure: Failure::default() });
    world.worker(1, WorkerEvent::Ended { exit: None });
    world.worker(1, exited());
    assert_eq!(world.report(1).state, drained());
    world.desired.clear();
    assert_eq!(world.answer(Vec::new()), [], "that it has nothing any more is not told yet");
    let report = world.next_report();
    assert!(report.draining.is_some() && report.attempts.is_empty() && report.workers.is_empty());
    assert_eq!(world.answer(Vec::new()), [Effect::Left]);
}

#[test]
fn an_executor_leaves_at_its_limit_though_nobody_takes_what_it_has_to_say() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.leave(60);
    world.worker(1, passed(0));
    world.worker(1, WorkerEvent::Ended { exit: None });
    assert_eq!(world.worker(1, exited()), []);
    assert_eq!(world.state.next_deadline(), Some(Instant(60_000)));
    world.wait(Duration::from_secs(59));
    assert_eq!(world.step(Event::Tick), [], "it may still be heard");
    world.wait(Duration::from_secs(1));
    assert_eq!(world.step(Event::Tick), [Effect::Left]);
}

#[test]
fn an_executor_leaves_though_nobody_hears() {
    let mut world = World::new();
    assert_eq!(world.leave(60), []);
    world.wait(Duration::from_secs(3));
    assert_eq!(world.state.next_deadline(), Some(world.now));
    assert_eq!(world.step(Event::Tick), [Effect::Left]);
}
