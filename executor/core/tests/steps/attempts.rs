//! Attempts: what is fed to workers, what comes of it, and what is given back.

use std::time::Duration;

use seagull_domain::{
    AttemptId, AttemptState, BundleContents, EndCause, Epoch, Generation, InfraCause, Kind, Outcome,
    SlotNumber, TestCause, TestIndex,
};
use seagull_executor_core::{Effect, Event, Failure, WorkerEvent, WorkerId};

use crate::world::{World, contents, entry, exited, feed, finish, interrupt, kill, passed, run, wanted};

#[test]
fn an_attempt_goes_from_its_contents_to_its_end() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    assert_eq!(world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 }), [feed(1, 1, &[1])]);
    world.worker(1, passed(0));
    world.starts(1);
    world.worker(1, passed(1));
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Completed));
    world.desired.clear();
    world.answer(vec![(AttemptId(1), 1)]);
    assert!(
        world.state.attempts.contains_key(&AttemptId(1)),
        "its worker's last words would have nowhere to go"
    );
}

#[test]
fn an_attempt_that_has_ended_waits_for_its_results() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.worker(1, passed(0));
    let unclosed = world.state.next_report();
    world.state.close_batches();
    let withheld = world.state.report_without_results();
    for report in [unclosed, withheld] {
        assert!(report.batches.is_empty() && matches!(report.attempts[0].state, AttemptState::Running(_)));
    }
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Completed));
    assert_eq!(world.records().len(), 1);
}

#[test]
fn a_crash_fails_the_test_that_ran_and_the_rest_goes_on_in_a_new_worker() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(start)] if start.worker == WorkerId(2)), "{effects:?}");
    assert_eq!(world.failures(), [(0, Some(TestCause::Crashed))]);
    assert_eq!(world.worker(2, WorkerEvent::Ready { grace_ms: 1000 }), [feed(2, 1, &[1])]);
}

#[test]
fn what_is_left_of_a_relation_does_not_go_on_in_another_worker() {
    let mut world = World::running(&[entry(0, 7), entry(1, 7)]);
    world.starts(0);
    assert_eq!(world.worker(1, exited()), [], "its second test needs the first in the same worker");
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Completed));
    assert_eq!(world.failures(), [(0, Some(TestCause::Crashed))]);
}

#[test]
fn a_relation_that_was_only_fed_ahead_goes_on_in_another_worker() {
    let mut world = World::running(&[entry(0, 0), entry(1, 7), entry(2, 7)]);
    world.starts(0);
    world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 });
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(_)]), "{effects:?}");
    assert_eq!(world.worker(2, WorkerEvent::Ready { grace_ms: 1000 }), [feed(2, 1, &[1])]);
}

#[test]
fn a_worker_of_another_number_is_not_used() {
    let mut world = World::finishing();
    world.worker(1, WorkerEvent::Ended { exit: None });
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(start)] if start.number == SlotNumber(5)), "{effects:?}");
}

#[test]
fn a_warm_worker_does_not_stand_in_the_way_of_a_discovery() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.worker(1, passed(0));
    world.desired = vec![wanted(2, Kind::Discover, 0)];
    assert_eq!(world.answer(vec![(AttemptId(1), 1)]), [finish(1)]);
    world.worker(1, WorkerEvent::Ended { exit: None });
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(start)] if start.discover), "{effects:?}");
}

#[test]
fn a_test_taken_back_is_kept_if_it_has_started() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0), entry(2, 0)]);
    world.starts(0);
    world.desired[0].generation = Generation(2);
    assert!(matches!(world.answer(Vec::new())[..], [Effect::Fetch { generation: Generation(2), .. }]));
    world.contents(1, 2, &[entry(1, 0)]);
    let report = world.report(1);
    assert_eq!((report.generation, report.kept), (Generation(2), vec![TestIndex(0)]));
}

#[test]
fn only_what_is_surely_there_is_looked_for_in_a_whole_collection() {
    for anticipated in [true, false] {
        let mut world = World::wanting(Kind::Run);
        let contents = BundleContents { anticipated, ..contents(1, &[entry(0, 0), entry(1, 0)]) };
        world.step(Event::Contents { attempt: AttemptId(1), contents });
        world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
        let reason = "not among the tests of its file".to_owned();
        let effects = world.worker(1, WorkerEvent::Missing { test: TestIndex(0), reason });
        assert_eq!(effects, [feed(1, 1, &[1])]);
        world.starts(1);
        let expected = if anticipated { vec![] } else { vec![finish(1)] };
        assert_eq!(world.worker(1, passed(1)), expected);
        let has_ended = world.report(1).state == AttemptState::Ended(EndCause::Completed);
        assert_eq!(has_ended, anticipated, "its scheduler knows better than to look for it");
    }
}

#[test]
fn a_relation_that_has_started_goes_before_what_needs_a_whole_collection() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.desired.push(wanted(2, Kind::Run, 0));
    world.answer(Vec::new());
    world.contents(2, 1, &[entry(2, 7), entry(3, 7)]);
    world.worker(1, WorkerEvent::Missing { test: TestIndex(0), reason: String::new() });
    world.starts(1);
    assert_eq!(world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 }), [feed(1, 2, &[2])]);
    assert_eq!(world.worker(1, passed(1)), [feed(1, 2, &[3])]);
    world.starts(2);
    assert_eq!(world.worker(1, passed(2)), []);
    world.starts(3);
    assert_eq!(world.worker(1, passed(3)), [finish(1)]);
    world.worker(1, WorkerEvent::Ended { exit: None });
    assert!(matches!(&world.worker(1, exited())[..], [Effect::Start(start)] if start.whole));
}

#[test]
fn an_index_that_may_mean_two_tests_is_at_a_worker_once_at_a_time() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.desired.push(wanted(2, Kind::Run, 0));
    world.answer(Vec::new());
    world.contents(2, 1, &[entry(0, 0)]);
    assert_eq!(world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 }), []);
    assert_eq!(world.worker(1, passed(0)), [feed(1, 2, &[0])]);
}

#[test]
fn an_attempt_that_needs_another_environment_is_given_back_before_anything_of_it_runs() {
    let mut world = World::wanting(Kind::Run);
    assert!(matches!(world.contents(1, 1, &[entry(0, 0)])[..], [Effect::Start(_)]));
    assert_eq!(world.worker(1, WorkerEvent::EnvironmentDiffers), []);
    assert_eq!(world.worker(1, WorkerEvent::Ready { grace_ms: 1000 }), []);
    let cause = EndCause::GaveBack(InfraCause::EnvironmentDiffers, String::new());
    assert_eq!(world.report(1).state, AttemptState::Ended(cause));
}

#[test]
fn so_is_whatever_else_is_expected_in_that_slot_but_not_what_is_known() {
    let mut world = World::wanting(Kind::Run);
    world.contents(1, 1, &[entry(0, 0)]);
    world.desired = vec![wanted(2, Kind::Run, 0), wanted(3, Kind::Run, 0), wanted(4, Kind::Run, 0)];
    world.answer(Vec::new());
    world.expected(2, &[entry(1, 0)]);
    world.worker(1, WorkerEvent::EnvironmentDiffers);
    world.expected(3, &[entry(2, 0)]);
    world.contents(4, 1, &[entry(3, 0)]);
    assert_eq!(world.worker(1, WorkerEvent::Ready { grace_ms: 1000 }), [feed(1, 4, &[3])]);
    let cause = EndCause::GaveBack(InfraCause::EnvironmentDiffers, String::new());
    for attempt in [2, 3] {
        assert_eq!(world.report(attempt).state, AttemptState::Ended(cause.clone()));
    }
}

#[test]
fn contents_that_cannot_be_had_end_only_an_attempt_that_has_none() {
    let gone = || Event::NoContents { attempt: AttemptId(1), message: "gone".into() };
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    assert_eq!(world.step(gone()), []);
    let mut world = World::wanting(Kind::Run);
    world.step(gone());
    let cause = EndCause::GaveBack(InfraCause::ArtifactUnavailable, "gone".into());
    assert_eq!(world.report(1).state, AttemptState::Ended(cause));
}

#[test]
fn contents_are_asked_for_again_when_the_scheduler_has_restarted() {
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Run, 0)];
    assert_eq!(world.answer(Vec::new()).len(), 1);
    assert_eq!(world.answer(Vec::new()), [], "they are on their way");
    (world.epoch, world.version) = (Epoch(2), 0);
    let again = Effect::Fetch { run: run(), attempt: AttemptId(1), generation: Generation(1) };
    assert_eq!(world.answer(Vec::new()), [again]);
}

#[test]
fn an_older_answer_changes_nothing() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    (world.epoch, world.version) = (Epoch(0), 100);
    world.desired.clear();
    assert_eq!(world.answer(Vec::new()), []);
    assert!(world.state.attempts[&AttemptId(1)].desired);
}

#[test]
fn what_does_not_count_is_not_followed_by_anything_in_the_same_worker() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.worker(1, passed(0));
    // It has ended here, and the scheduler wants it cancelled: it was a plan's that does not hold.
    world.desired[0].cancel = true;
    assert_eq!(world.answer(Vec::new()), [finish(1)]);
    world.desired = vec![wanted(2, Kind::Run, 0)];
    world.answer(vec![(AttemptId(1), 1)]);
    assert_eq!(world.contents(2, 1, &[entry(0, 0)]), []);
    world.worker(1, WorkerEvent::Ended { exit: None });
    assert!(matches!(&world.worker(1, exited())[..], [Effect::Start(start)] if start.worker == WorkerId(2)));
}

#[test]
fn a_superseded_attempt_is_interrupted_and_that_it_hangs_is_no_error() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    (world.desired[0].cancel, world.desired[0].superseded) = (true, true);
    assert_eq!(world.answer(Vec::new()), [interrupt(1)]);
    world.wait(Duration::from_millis(1500));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, exited());
    assert_eq!(world.suite_errors(), [""; 0]);
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Cancelled));
}

#[test]
fn a_superseded_attempt_that_has_ended_counts_and_so_does_its_worker() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.worker(1, passed(0));
    (world.desired[0].cancel, world.desired[0].superseded) = (true, true);
    assert_eq!(world.answer(Vec::new()), []);
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Completed));
    world.desired = vec![wanted(2, Kind::Run, 0)];
    world.answer(vec![(AttemptId(1), 1)]);
    assert_eq!(world.contents(2, 1, &[entry(1, 0)]), [feed(1, 2, &[1])]);
}

#[test]
fn a_test_that_was_interrupted_for_us_is_not_failed_however_late_it_says_so() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.desired[0].cancel = true;
    world.answer(Vec::new());
    world.wait(Duration::from_millis(1500));
    world.step(Event::Tick);
    world.worker(1, WorkerEvent::Interrupted { test: Some(TestIndex(0)), failure: Failure::default() });
    world.worker(1, exited());
    assert_eq!(world.failures(), []);
}

#[test]
fn nothing_begins_after_a_failure_that_may_end_the_run_before_the_scheduler_has_heard_of_it() {
    let mut world = World::wanting(Kind::Run);
    world.contents(1, 1, &[entry(0, 0), entry(1, 0), entry(2, 0)]);
    world.worker(1, WorkerEvent::FailsFast);
    assert_eq!(world.worker(1, WorkerEvent::Ready { grace_ms: 1000 }), [feed(1, 1, &[0])]);
    world.starts(0);
    assert_eq!(world.worker(1, passed(0)), [feed(1, 1, &[1])], "no failure waits for anybody");
    world.starts(1);
    assert_eq!(world.worker(1, WorkerEvent::Next { failed: true, peak_kib: 1 }), []);
    let WorkerEvent::Finished(mut failed) = passed(1) else { unreachable!("it says so") };
    failed.outcome = Outcome::Failed;
    assert_eq!(world.worker(1, WorkerEvent::Finished(failed)), []);
    assert_eq!(world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 1 }), []);
    assert_eq!(world.answer(Vec::new()), []);
    let batches = world.next_report().batches.len() as u32;
    assert_eq!(world.answer(vec![(AttemptId(1), batches)]), [feed(1, 1, &[2])]);
}
