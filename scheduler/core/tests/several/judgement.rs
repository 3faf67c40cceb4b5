//! Judgement: a run whose client judges ends with that client's word.

use std::time::Duration;

use seagull_domain::{
    AttemptState, EndCause, Outcome, Record, RunEvent, RunSpec, RunVerdict, SuiteError, TestIndex,
};
use seagull_scheduler_core::{Call, Effect, Event, Fact, Phase, What, project};

use crate::fixture::spec;
use crate::world::*;

/// A run of one test whose client has said that it judges.
fn judged() -> World {
    let mut world = World::running(0, 1, Vec::new());
    assert_eq!(attach(&mut world), [What::JudgeFound]);
    world
}

fn attach(world: &mut World) -> Vec<What> {
    let spec = RunSpec { awaits_judgement: true, ..spec("r") };
    world.step(Event::Submit { request: Call(900), spec: Box::new(spec) }).0
}

/// Its test comes to this, and its worker ends.
fn decide(world: &mut World, record: Record) -> Vec<What> {
    world.says("a", 2, AttemptState::Ended(EndCause::Completed));
    world.report("a", &[(1, record)]);
    world.executors.get_mut("a").unwrap().attempts.clear();
    world.report("a", &[])
}

fn passes(world: &mut World) {
    let awaited = What::JudgementAwaited { verdict: RunVerdict::Passed };
    assert_eq!(ends(&decide(world, result(0, Outcome::Passed))), [awaited]);
}

/// What the facts say of the run as a whole.
fn ends(facts: &[What]) -> Vec<What> {
    let of_run = |what: &&What| {
        matches!(what, What::JudgementAwaited { .. } | What::Judged { .. } | What::Ended { .. })
    };
    facts.iter().filter(of_run).cloned().collect()
}

fn says(world: &mut World, word: Option<Vec<SuiteError>>) -> Vec<What> {
    let (facts, effects) = world.step(Event::Judge { request: Call(901), run: run(), word });
    assert!(effects.contains(&Effect::Heard { request: Call(901) }), "{effects:?}");
    facts
}

fn too_little() -> SuiteError {
    SuiteError { title: "coverage".into(), message: "too little".into(), text: None }
}

fn phase(world: &World) -> Phase {
    world.state.runs[&run()].phase
}

const PASSED: Phase = Phase::Ended { verdict: RunVerdict::Passed, exit_code: 0 };
const FAILED: Phase = Phase::Ended { verdict: RunVerdict::Failed, exit_code: 100 };

/// Time passes, and the executor stays.
fn wait(world: &mut World, seconds: u64) -> Vec<What> {
    let mut facts = Vec::new();
    for _ in 0..seconds / 5 {
        world.now = world.now + Duration::from_secs(5);
        world.report("a", &[]);
        facts.extend(world.step(Event::Tick).0);
    }
    facts
}

#[test]
fn it_fails_by_what_its_client_says_and_by_that_once() {
    let mut world = judged();
    passes(&mut world);
    assert_eq!(says(&mut world, None), []);
    let facts = says(&mut world, Some(vec![too_little()]));
    assert_eq!(facts[0], What::Judged { errors: vec![too_little()] });
    let told = project(&Fact { run: run(), what: facts[0].clone() });
    assert_eq!(told, [RunEvent::SuiteError { error: too_little(), executor: None }]);
    assert_eq!(phase(&world), FAILED);
    assert_eq!(says(&mut world, Some(Vec::new())), [], "the first word stands");
    assert_eq!(phase(&world), FAILED);
    assert_eq!(attach(&mut world), []);
}

#[test]
fn it_passes_where_there_is_nothing_to_say() {
    let mut world = judged();
    assert_eq!(says(&mut world, Some(vec![too_little()])), [], "it was not asked for");
    passes(&mut world);
    says(&mut world, Some(Vec::new()));
    assert_eq!(phase(&world), PASSED);
}

#[test]
fn a_client_is_waited_for_as_long_as_it_is_heard_from() {
    let mut world = judged();
    passes(&mut world);
    for _ in 0..10 {
        assert_eq!(wait(&mut world, 115), []);
        assert_eq!(says(&mut world, None), []);
    }
    // Nobody could be heard while the scheduler stood still.
    world.step(Event::Paused(Duration::from_secs(60)));
    assert_eq!(wait(&mut world, 175), []);
    let facts = wait(&mut world, 5);
    let Some(What::Judged { errors }) = facts.first() else { panic!("{facts:?}") };
    assert!(errors[0].message.starts_with("the coverage was not judged: its client was lost\nhint: "));
    assert_eq!(phase(&world), FAILED);
}

#[test]
fn a_run_that_lost_tests_does_not_fail_by_the_loss_of_its_client() {
    let mut world = judged();
    let facts = decide(&mut world, Record::Missing { test: TestIndex(0), reason: "gone".into() });
    assert_eq!(ends(&facts), [What::JudgementAwaited { verdict: RunVerdict::Incomplete }]);
    wait(&mut world, 120);
    assert_eq!(phase(&world), Phase::Ended { verdict: RunVerdict::Incomplete, exit_code: 101 });
}

#[test]
fn it_is_cancelled_while_it_waits() {
    let mut world = judged();
    passes(&mut world);
    world.step(Event::Cancel { request: Call(9), run: run() });
    assert_eq!(phase(&world), Phase::Ended { verdict: RunVerdict::Cancelled, exit_code: 130 });
    assert_eq!(wait(&mut world, 300), []);
}

#[test]
fn a_scheduler_that_starts_again_waits_anew() {
    let mut world = judged();
    passes(&mut world);
    wait(&mut world, 115);
    world.restart();
    assert_eq!(wait(&mut world, 115), []);
    says(&mut world, Some(Vec::new()));
    assert_eq!(phase(&world), PASSED);
}

#[test]
fn without_a_judge_or_anything_to_judge_it_just_ends() {
    let mut world = World::running(0, 1, Vec::new());
    decide(&mut world, result(0, Outcome::Passed));
    assert_eq!(phase(&world), PASSED);
    let mut world = judged();
    world.state.runs.get_mut(&run()).unwrap().to_judge = false;
    decide(&mut world, result(0, Outcome::Passed));
    assert_eq!(phase(&world), PASSED);
}
