//! Executors that leave: what is taken back from them, who is told, and whom an operator's wish reaches.

use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptState, BootId, DrainState, EndCause, ExecutorId, Generation, InfraCause, Outcome,
    Recall, RunEvent, TestIndex, Verdict,
};
use seagull_scheduler_core::{Call, Effect, Event, Fact, What, project};

use crate::world::*;

fn id(executor: &str) -> ExecutorId {
    executor.parse().unwrap()
}

fn recalled(facts: &[What]) -> Vec<(Vec<TestIndex>, Recall)> {
    let recalled = facts.iter().filter_map(|what| match what {
        What::TakeBack { tests, why, .. } => Some((tests.clone(), *why)),
        _ => None,
    });
    recalled.collect()
}

fn told(facts: &[What]) -> Vec<(&str, InfraCause)> {
    let told = facts.iter().filter_map(|what| match what {
        What::ExecutorDrained { executor, cause, .. } => Some((executor.as_str(), *cause)),
        _ => None,
    });
    told.collect()
}

/// `a` is at the first of four tests and begins to drain.
fn draining(cause: InfraCause) -> (World, Vec<What>) {
    let mut world = World::running(0, 4, Vec::new());
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    world.executors.get_mut("a").unwrap().draining = Some(cause);
    let facts = world.report("a", &[]);
    (world, facts)
}

/// What has lost something for which it was charged.
fn charged(world: &World) -> usize {
    let run = &world.state.runs[&run()];
    run.losses as usize + run.tests.iter().filter(|test| test.losses > 0 || test.suspect).count()
}

#[test]
fn what_has_not_started_goes_elsewhere_while_the_test_that_runs_goes_on() {
    let (mut world, facts) = draining(InfraCause::Drained);
    assert_eq!(told(&facts), [("a", InfraCause::Drained)]);
    assert_eq!(recalled(&facts), [(tests(1..4), Recall::Drained)]);
    assert_eq!(told(&world.report("a", &[])), [], "it is told once");
    assert_eq!(assigned(&world.report("b", &[])), [], "nothing is given back yet");

    let status = &mut world.executors.get_mut("a").unwrap().attempts[0];
    (status.generation, status.kept) = (Generation(2), tests([0]));
    let facts = world.report("a", &[]);
    let given = |what: &What| matches!(what, What::TakenBack { given: 3, why: Recall::Drained, .. });
    assert!(facts.iter().any(given), "{facts:?}");
    assert_eq!(assigned(&facts), [("b", AttemptId(3))]);

    let gone = EndCause::GaveBack(InfraCause::Drained, "a signal".into());
    world.executors.get_mut("a").unwrap().attempts[0].state = AttemptState::Ended(gone);
    let facts = world.report("a", &[(1, result(0, Outcome::Passed))]);
    assert_eq!(decided(&facts), [(TestIndex(0), Verdict::Passed)]);
    let completed = |what: &What| matches!(what, What::AttemptEnded { cause: EndCause::Completed, .. });
    assert!(facts.iter().any(completed), "nothing of it was given up: {facts:?}");
    assert_eq!(charged(&world), 0);
}

#[test]
fn what_is_handed_back_half_way_runs_again_and_nobody_is_charged() {
    for cause in [InfraCause::Drained, InfraCause::SpotNotice] {
        let (mut world, _) = draining(cause);
        world.now = world.now + Duration::from_secs(20);
        let status = &mut world.executors.get_mut("a").unwrap().attempts[0];
        status.generation = Generation(2);
        status.state = AttemptState::Ended(EndCause::GaveBack(cause, "the time was up".into()));
        let facts = world.report("a", &[]);
        let lost = |what: &What| matches!(what, What::AttemptEnded { cause: EndCause::GaveBack(c, _), .. } if *c == cause);
        assert!(facts.iter().any(lost), "{facts:?}");
        let told = facts.into_iter().flat_map(|what| project(&Fact { run: run(), what }));
        let (test, attempt, executor) = (TestIndex(0), AttemptId(2), id("a"));
        let cut_off = RunEvent::TestCutOff { test, attempt, executor, ran_ms: 20_000, cause: Some(cause) };
        assert!(told.into_iter().any(|event| event == cut_off), "it is told what was interrupted");
        assert_eq!(world.state.runs[&run()].pending.len(), 2, "the rest, and what was interrupted");
        assert_eq!(charged(&world), 0);
    }
}

#[test]
fn a_machine_that_goes_after_its_notice_charges_nobody() {
    let (mut world, _) = draining(InfraCause::SpotNotice);
    world.now = world.now + Duration::from_secs(15);
    let (facts, _) = world.step(Event::Tick);
    let lost = |what: &What| match what {
        What::AttemptLost { cause, .. } | What::ExecutorLost { cause, .. } => Some(*cause),
        _ => None,
    };
    assert_eq!(facts.iter().filter_map(lost).collect::<Vec<_>>(), [InfraCause::SpotNotice; 2]);
    assert_eq!((charged(&world), world.state.losses.count), (0, 0));
}

#[test]
fn a_wish_is_told_until_it_is_heard_and_takes_effect_at_once() {
    let mut world = World::running(0, 4, Vec::new());
    world.report("a", &[]);
    let held = Call(world.calls);
    let asks = |limit_ms| Event::Drain { executors: vec![id("a"), id("z")], limit_ms };
    let (facts, effects) = world.step(asks(60_000));
    assert_eq!(answer(&effects, held).map(|desired| desired.drain_ms), Some(Some(60_000)));
    assert_eq!(recalled(&facts), [(tests(0..4), Recall::Drained)], "it may still have begun none");
    assert_eq!(world.state.drain_state(&id("a"), false), DrainState::Asked);
    assert_eq!(world.state.drain_state(&id("z"), true), DrainState::Unheard);
    assert_eq!(world.state.drain_state(&id("z"), false), DrainState::Absent);

    // The answer is lost. A longer limit changes nothing, a shorter one does.
    for (limit_ms, holds) in [(90_000, 60_000), (30_000, 30_000)] {
        world.step(asks(limit_ms));
        world.executors.get_mut("a").unwrap().known = Default::default();
        let (_, effects) = world.send("a", &[]);
        let told = answer(&effects, Call(world.calls)).map(|desired| desired.drain_ms);
        assert_eq!(told, Some(Some(holds)));
    }
    world.executors.get_mut("a").unwrap().draining = Some(InfraCause::Drained);
    assert_eq!(told(&world.report("a", &[])), [("a", InfraCause::Drained)]);
    assert_eq!(world.state.drain_state(&id("a"), false), DrainState::Draining);
}

#[test]
fn a_process_that_takes_the_name_of_one_that_was_to_leave_is_not_meant() {
    let mut world = World::running(0, 4, Vec::new());
    world.step(Event::Drain { executors: vec![id("a")], limit_ms: 60_000 });
    world.executors.insert("a", Executor { boot: 1, ..Executor::default() });
    let (facts, effects) = world.send("a", &[]);
    assert_eq!(assigned(&facts), [("a", AttemptId(3))]);
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Answer { desired, .. } => desired.drain_ms,
        _ => None,
    });
    assert_eq!(told.count(), 0);
    assert!(world.state.drains.is_empty());
}

#[test]
fn who_is_asked_before_it_is_heard_of_again_leaves_when_it_is() {
    let mut world = World::running(0, 4, Vec::new());
    world.restart();
    world.step(Event::Drain { executors: vec![id("a")], limit_ms: 1000 });
    assert_eq!(world.state.drain_state(&id("a"), true), DrainState::Unheard);
    let (_, effects) = world.send("a", &[]);
    assert_eq!(answer(&effects, Call(world.calls)).and_then(|desired| desired.drain_ms), Some(1000));
}

#[test]
fn a_run_that_knows_of_a_drain_is_not_told_again_after_a_restart() {
    let (mut world, _) = draining(InfraCause::Drained);
    let boot: BootId = "b0".parse().unwrap();
    assert_eq!(world.state.runs[&run()].drained.get(&id("a")), Some(&boot));
    world.restart();
    assert_eq!(told(&world.report("a", &[])), []);
    assert_eq!(world.state.drain_state(&id("a"), false), DrainState::Draining);
}

#[test]
fn a_bundle_past_twice_the_cap_gives_back_what_it_has_not_started() {
    let mut world = World::running(0, 4, Vec::new());
    world.says("a", 2, AttemptState::Running(Some(TestIndex(0))));
    world.report("a", &[]);
    let cap = Duration::from_millis(world.state.runs[&run()].spec.cap_ms);
    world.now = world.now + (cap * 2 - Duration::from_secs(1));
    assert_eq!(recalled(&world.report("a", &[])), []);
    world.now = world.now + Duration::from_secs(1);
    assert!(world.state.next_deadline().is_some_and(|at| at <= world.now));
    let (facts, _) = world.step(Event::Tick);
    assert_eq!(recalled(&facts), [(tests(1..4), Recall::PastCap)]);

    let status = &mut world.executors.get_mut("a").unwrap().attempts[0];
    (status.generation, status.kept) = (Generation(2), tests([1]));
    let facts = world.report("a", &[]);
    let given = |what: &What| matches!(what, What::TakenBack { given: 2, why: Recall::PastCap, .. });
    assert!(facts.iter().any(given), "{facts:?}");
    assert_eq!(recalled(&facts), [], "what stays is not asked for again");
    assert!(world.state.next_deadline().is_some_and(|at| at > world.now), "there is nothing to wait for");
    assert_eq!(assigned(&world.report("b", &[])), [("b", AttemptId(3))]);
    assert_eq!(charged(&world), 0);
}
