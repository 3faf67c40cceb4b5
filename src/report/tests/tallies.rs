//! The arithmetic of the tally.

use std::time::Duration;

use seagull_domain::{
    AttemptId, Counts, Generation, InfraCause, Instant, PlanSummary, RunEvent, Seq, StreamItem, TestIndex,
    Verdict,
};

use super::script::{self, Step};
use crate::report::tally::Tally;

fn tally(script: &script::Script) -> Tally {
    let mut tally = Tally::new("r-7".parse().unwrap(), Instant(0), true);
    for (seq, (at, step)) in (1..).zip(script) {
        tally.clock.now = Instant(*at);
        match step {
            Step::Event(event) => tally.apply(&StreamItem { seq: Seq(seq), event: (**event).clone() }),
            Step::Manifest(manifest) => tally.manifest(manifest.clone().into()),
            Step::Live(live) => drop(tally.live(live)),
            Step::Expected(_) | Step::Printed(_) | Step::Say(_) => {}
        }
    }
    tally
}

#[test]
fn its_own_counts_are_those_the_run_ends_with() {
    for script in script::all() {
        let told = tally(&script).counts;
        let mut unfinished = script;
        unfinished.pop();
        assert_eq!(tally(&unfinished).counts, told);
    }
}

#[test]
fn a_second_verdict_changes_nothing() {
    let mut script = script::first_half();
    let before = tally(&script).counts;
    script.push((9001, script::decided(0, Verdict::Failed)));
    assert_eq!(tally(&script).counts, before);
    // Nor does one for a test that the manifest does not have.
    script.push((9002, script::decided(99, Verdict::Failed)));
    assert_eq!(tally(&script).counts, before);
}

#[test]
fn evidence_is_work_but_no_result() {
    let before = tally(&script::first_half());
    let without = tally(&script::first_half()[..script::first_half().len() - 1].iter().map(again).collect());
    assert_eq!(before.tests[0].runs.len(), 1);
    assert_eq!(before.work.total_us - without.work.total_us, 10_000);
}

fn again((at, step): &(u64, Step)) -> (u64, Step) {
    let step = match step {
        Step::Event(event) => Step::Event(event.clone()),
        Step::Manifest(manifest) => Step::Manifest(manifest.clone()),
        Step::Expected(manifest) => Step::Expected(manifest.clone()),
        Step::Live(live) => Step::Live(live.clone()),
        Step::Printed(printed) => Step::Printed(printed.clone()),
        Step::Say(text) => Step::Say(text),
    };
    (*at, step)
}

#[test]
fn the_slots_of_a_lost_executor_are_gone() {
    let half = tally(&script::first_half());
    let executors: Vec<&str> = half.slots.values().map(|slot| slot.executor.as_str()).collect();
    assert_eq!(executors, ["e-1", "e-3", "e-3"]);
    assert_eq!(
        half.slots.values().map(|slot| slot.test).collect::<Vec<_>>(),
        [Some(TestIndex(3)), Some(TestIndex(6)), None]
    );
}

#[test]
fn a_run_works_from_its_first_tests_on_that_count() {
    assert_eq!(tally(&script::anticipated()).clock.working, Some(Instant(200)));
    // Other tests were expected, and what ran before counts.
    let mut withdrawn = script::anticipated();
    let Step::Event(confirmed) = &mut withdrawn[4].1 else { unreachable!("the manifest is confirmed") };
    let RunEvent::ManifestConfirmed { generation, .. } = &mut **confirmed else { panic!("{confirmed:?}") };
    *generation = Generation(2);
    assert_eq!(tally(&withdrawn).clock.working, Some(Instant(200)));
    // It does not: nothing is heard of it.
    withdrawn.drain(8..10);
    assert_eq!(tally(&withdrawn).clock.working, Some(Instant(4100)));
}

#[test]
fn a_discovery_is_under_way_until_it_ends_whatever_way() {
    let beginning = |script: script::Script| {
        let discovering =
            |event: &RunEvent| matches!(event, RunEvent::AttemptAssigned { discovery: true, .. });
        let steps = script.iter().position(|(_, step)| matches!(step, Step::Event(e) if discovering(e)));
        script.into_iter().take(steps.unwrap() + 1).collect::<script::Script>()
    };
    let mut script = beginning(script::whole());
    assert!(tally(&script).discovering.is_some());
    let lost = RunEvent::AttemptLost {
        attempt: AttemptId(1),
        executor: script::executor("e-1"),
        cause: InfraCause::SandboxFailed,
        message: String::new(),
        tests: 0,
        charged: vec![],
        suspect: None,
        alone: None,
        free: false,
    };
    script.push((200, script::event(lost)));
    assert_eq!(tally(&script).discovering, None);
    for whole in [script::anticipated(), script::undiscovered()] {
        assert_eq!(tally(&whole).discovering, None);
    }
}

/// 100 tests, planned at 0 for 100 s on 2 slots, after `seconds`.
fn midway(done: u32, seconds: u64, work: u64, unknown: u32) -> Option<u64> {
    let mut tally = Tally::new("r-7".parse().unwrap(), Instant(0), true);
    let plan = PlanSummary { makespan_ms: 100_000, total_ms: 200_000, unknown, ..PlanSummary::default() };
    let Step::Event(assigned) = script::assigned(10, "e-1", 0, false) else { unreachable!("it is an event") };
    for event in [RunEvent::Plan(plan), *assigned] {
        tally.apply(&StreamItem { seq: Seq(1), event });
    }
    tally.counts = Counts { total: 100, passed: done, ..Counts::default() };
    tally.clock.now = Instant(seconds * 1000);
    tally.work.total_us = work * 1_000_000;
    tally.remaining().map(|left| (left + Duration::from_millis(1)).as_secs())
}

#[test]
fn the_rest_is_the_plans_corrected_by_progress() {
    assert_eq!(midway(0, 0, 0, 0), Some(100), "at first the plan is believed");
    assert_eq!(midway(50, 50, 100, 0), Some(50), "on time");
    assert_eq!(
        midway(10, 50, 100, 0),
        Some(50),
        "the long tests are done first: work says more than the count"
    );
    assert_eq!(midway(10, 50, 100, 80), Some(450), "but not where the work was guessed");
    assert_eq!(midway(4, 5, 100, 80), Some(96), "of which too little is done to go by its pace");
    assert_eq!(midway(50, 150, 100, 0), Some(75), "late");
    assert_eq!(midway(100, 90, 180, 0), None, "all is decided");
    assert_eq!(midway(50, 90, 900, 0), Some(1), "never nothing while tests are undone");
}
