//! Workers: how they start, wait, hang and end, and which limit kills them.

use std::time::Duration;

use seagull_domain::{
    Attachment, AttemptId, AttemptState, Digest, Discovery, EndCause, InfraCause, Kind, Record, TestCause,
    TestIndex, TextRef,
};
use seagull_executor_core::{Effect, Event, Exit, Failure, WorkerEvent};

use crate::world::{World, entry, exited, feed, finish, gave_back, interrupt, kill, passed, run, wanted};

#[test]
fn only_the_test_that_was_past_its_limit_timed_out() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.starts(0);
    world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 });
    world.wait(Duration::from_millis(10_001));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    // It ended after all, and the next one had begun, before the kill arrived.
    world.worker(1, passed(0));
    world.starts(1);
    world.worker(1, exited());
    assert_eq!(world.failures(), []);
    assert_eq!(world.worker(2, WorkerEvent::Ready { grace_ms: 1000 }), [feed(2, 1, &[1])]);
}

#[test]
fn a_request_that_crossed_with_a_test_on_its_way_takes_no_other() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    assert_eq!(world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 }), []);
    world.starts(0);
    assert_eq!(world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 }), [feed(1, 1, &[1])]);
}

#[test]
fn a_test_that_hangs_is_killed_but_not_for_a_standstill_of_the_executor() {
    // One that ends before the limit, and one that ends long after it.
    for pause in [7, 60].map(Duration::from_secs) {
        let mut world = World::running(&[entry(0, 0)]);
        world.starts(0);
        world.wait(Duration::from_secs(5));
        world.step(Event::Tick);
        world.wait(pause);
        assert_eq!(world.state.stood_still(world.now), Some(pause));
        assert_eq!(world.step(Event::Paused(pause)), [], "the test perhaps stood still, too");
        assert_eq!(world.state.next_deadline(), Some(world.now + Duration::from_secs(5)));
        world.wait(Duration::from_secs(5));
        assert_eq!(world.step(Event::Tick), [kill(1)]);
        world.worker(1, exited());
        assert_eq!(world.failures(), [(0, Some(TestCause::TimedOut))]);
    }
}

#[test]
fn whoever_steps_in_time_did_not_stand_still() {
    let mut world = World::running(&[entry(0, 0)]);
    world.step(Event::Tick);
    let by = world.state.steps_by();
    assert_eq!(world.state.stood_still(by + Duration::from_secs(1)), None);
    assert_eq!(world.state.stood_still(by + Duration::from_millis(1001)), Some(Duration::from_millis(2001)));
}

#[test]
fn a_session_that_nobody_cancelled_may_take_as_long_to_end_as_to_start() {
    let mut world = World::finishing();
    world.wait(Duration::from_secs(599));
    assert_eq!(world.step(Event::Tick), []);
    world.wait(Duration::from_secs(1));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, exited());
    assert_eq!(world.suite_errors(), ["killed after 600 s, its limit; --start-limit sets it"]);
}

#[test]
fn a_process_whose_session_is_over_has_only_the_grace() {
    let mut world = World::finishing();
    world.wait(Duration::from_secs(60));
    world.worker(1, WorkerEvent::Ended { exit: None });
    world.wait(Duration::from_secs(1));
    assert!(matches!(world.step(Event::Tick)[..], [Effect::Kill { .. }]));
    world.worker(1, exited());
    assert_eq!(world.suite_errors(), [""; 0]);
}

#[test]
fn a_run_that_is_cancelled_while_its_sessions_end_leaves_them_the_grace() {
    for before in [true, false] {
        let mut world = World::running(&[entry(0, 0)]);
        world.starts(0);
        world.worker(1, passed(0));
        world.desired.clear();
        world.runs.clear();
        world.cancelled = if before { vec![run()] } else { Vec::new() };
        assert_eq!(world.answer(vec![(AttemptId(1), 1)]), [finish(1)]);
        world.wait(Duration::from_secs(if before { 0 } else { 60 }));
        world.cancelled = vec![run()];
        assert_eq!(world.answer(Vec::new()), []);
        world.wait(Duration::from_secs(1));
        assert_eq!(world.step(Event::Tick), [kill(1)]);
        world.worker(1, exited());
        assert_eq!(world.suite_errors(), ["after 1 s; --grace sets how long"]);
    }
}

#[test]
fn a_worker_that_is_interrupted_before_it_is_ready_may_end_without_a_word() {
    for end in [exited(), WorkerEvent::NotStarted(InfraCause::ArtifactUnavailable, "stopped".into())] {
        let mut world = World::wanting(Kind::Discover);
        world.desired[0].cancel = true;
        assert_eq!(world.answer(Vec::new()), [interrupt(1)]);
        world.worker(1, end);
        assert_eq!(world.suite_errors(), [""; 0]);
        assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::Cancelled));
    }
}

#[test]
fn a_start_that_takes_long_holds_up_neither_a_cancelled_run_nor_an_executor_that_leaves() {
    for cancelled in [true, false] {
        let mut world = World::wanting(Kind::Run);
        world.contents(1, 1, &[entry(0, 0)]);
        let effects = if cancelled {
            world.desired[0].cancel = true;
            world.runs.clear();
            world.answer(Vec::new())
        } else {
            world.leave(600)
        };
        assert_eq!(effects, [interrupt(1)]);
        world.wait(Duration::from_secs(10));
        assert_eq!(world.step(Event::Tick), [kill(1)]);
        world.worker(1, exited());
        assert_eq!(world.suite_errors(), [""; 0], "there was no session that could have had one");
        assert!(world.next_report().workers.is_empty());
    }
}

#[test]
fn a_worker_that_starts_is_kept_while_its_run_lives_or_its_discovery_is_wanted() {
    let mut world = World::wanting(Kind::Run);
    world.contents(1, 1, &[entry(0, 0)]);
    world.desired[0].cancel = true;
    assert_eq!(world.answer(Vec::new()), [], "the next attempt of the run finds it started");
    let mut world = World::new();
    world.desired = vec![wanted(1, Kind::Discover, 0), wanted(2, Kind::Run, 5)];
    world.answer(Vec::new());
    assert_eq!(world.contents(2, 1, &[entry(0, 0)]), []);
}

#[test]
fn a_discovery_that_is_being_stored_has_no_limit() {
    let mut world = World::wanting(Kind::Discover);
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.worker(1, WorkerEvent::Collected);
    world.wait(Duration::from_secs(3600));
    assert_eq!(world.step(Event::Tick), [], "the scheduler may be away");
}

#[test]
fn a_worker_that_had_ended_was_not_killed_at_the_grace() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    world.desired[0].cancel = true;
    world.answer(Vec::new());
    world.wait(Duration::from_millis(1500));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, WorkerEvent::Ended { exit: None });
    world.worker(1, exited());
    assert_eq!(world.suite_errors(), [""; 0]);
}

#[test]
fn a_process_that_ends_in_another_way_than_its_session_is_a_suite_error() {
    for (how, expected) in
        [("exit code 1", vec![]), ("exit code 3", vec!["exit code 3"]), ("signal 2", vec![])]
    {
        let mut world = World::running(&[entry(0, 0)]);
        world.starts(0);
        world.worker(1, passed(0));
        world.worker(1, WorkerEvent::Ended { exit: Some(1) });
        world.worker(1, WorkerEvent::Exited(Exit::of(how)));
        assert_eq!(world.suite_errors(), expected, "{how}");
    }
}

#[test]
fn a_session_that_ends_itself_between_tests_is_a_suite_error_and_the_rest_goes_on() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0), entry(2, 0)]);
    world.starts(0);
    world.worker(1, passed(0));
    world.worker(1, WorkerEvent::Interrupted { test: None, failure: Failure::from("enough".to_owned()) });
    world.worker(1, WorkerEvent::Ended { exit: None });
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(_)]), "{effects:?}");
    assert_eq!((world.suite_errors(), world.failures()), (vec!["enough".to_owned()], vec![]));
    // A worker that comes to no test at all would be followed by another for ever.
    world.worker(2, WorkerEvent::Ready { grace_ms: 1000 });
    world.worker(2, WorkerEvent::Interrupted { test: None, failure: Failure::default() });
    world.worker(2, WorkerEvent::Ended { exit: None });
    assert_eq!(world.worker(2, exited()), []);
    assert_eq!(world.failures(), []);
    assert_eq!(world.report(1).state, gave_back("the worker ended before it ran any test: interrupted"));
}

#[test]
fn a_worker_that_dies_before_it_comes_to_a_test_gives_all_back() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    assert_eq!(world.worker(1, exited()), [], "another would not fare better");
    assert_eq!(world.records(), []);
    assert_eq!(world.report(1).state, gave_back("the worker ended before it ran any test: signal 11"));
}

#[test]
fn a_worker_that_comes_to_no_test_within_the_limit_gives_all_back() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.wait(Duration::from_secs(600));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, exited());
    assert_eq!(world.records(), []);
    let state = gave_back(
        "the worker ended before it ran any test: killed after 600 s, its limit; --start-limit sets it",
    );
    assert_eq!(world.report(1).state, state);
}

#[test]
fn a_test_is_to_blame_while_its_file_is_collected() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    world.wait(Duration::from_secs(590));
    world.worker(1, WorkerEvent::Collecting);
    assert!(matches!(world.worker(1, exited())[..], [Effect::Start(_)]));
    assert_eq!(world.failures(), [(0, Some(TestCause::Crashed))]);
    assert_eq!(world.worker(2, WorkerEvent::Ready { grace_ms: 1000 }), [feed(2, 1, &[1])]);
    world.wait(Duration::from_secs(590));
    world.worker(2, WorkerEvent::Collecting);
    world.wait(Duration::from_secs(600));
    assert_eq!(world.step(Event::Tick), [kill(2)]);
    world.worker(2, exited());
    assert_eq!(world.failures(), [(0, Some(TestCause::Crashed)), (1, Some(TestCause::TimedOut))]);
}

#[test]
fn a_worker_that_has_worked_and_dies_between_two_tests_is_a_suite_error_and_the_rest_goes_on() {
    for hangs in [false, true] {
        let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
        world.worker(1, WorkerEvent::Collecting);
        world.worker(1, WorkerEvent::FileCollected);
        world.starts(0);
        world.worker(1, WorkerEvent::Next { failed: false, peak_kib: 0 });
        world.worker(1, passed(0));
        if hangs {
            world.wait(Duration::from_secs(600));
            assert_eq!(world.step(Event::Tick), [kill(1)]);
        }
        assert!(matches!(world.worker(1, exited())[..], [Effect::Start(_)]));
        let error = if hangs { "killed after 600 s, its limit; --start-limit sets it" } else { "signal 11" };
        assert_eq!((world.suite_errors(), world.failures()), (vec![error.to_owned()], vec![]));
        assert_eq!(world.worker(2, WorkerEvent::Ready { grace_ms: 1000 }), [feed(2, 1, &[1])]);
    }
}

#[test]
fn workers_that_end_while_the_scheduler_is_away_do_not_fill_the_report() {
    let entries: Vec<_> = (0..10).map(|test| entry(test, 0)).collect();
    let mut world = World::running(&entries);
    for worker in 1..10 {
        world.worker(worker, WorkerEvent::Started(TestIndex(worker as u32 - 1)));
        world.worker(worker, exited());
        world.worker(worker + 1, WorkerEvent::Ready { grace_ms: 1000 });
    }
    assert_eq!(world.failures().len(), 9);
    assert_eq!(world.next_report().workers.len(), 2, "one that lives, and those that are gone");
}

#[test]
fn a_worker_that_cannot_collect_gives_all_back_in_the_frameworks_words() {
    let mut world = World::running(&[entry(0, 0), entry(1, 0)]);
    let lines =
        |numbers: std::ops::Range<u32>| numbers.map(|number| format!("\n{number}")).collect::<String>();
    world.worker(1, WorkerEvent::DiscoveryFailed(format!("no module named x{}", lines(0..20))));
    world.worker(1, WorkerEvent::Ended { exit: None });
    assert_eq!(world.worker(1, exited()), [], "another worker would not fare better");
    assert_eq!(world.records(), []);
    let last = format!("the worker ended before it ran any test: no module named x{}", lines(12..20));
    let state = gave_back(&last);
    assert_eq!(world.report(1).state, state);
}

#[test]
fn a_worker_that_ends_before_it_is_ready_says_why() {
    let failed = |events: Vec<WorkerEvent>| {
        let mut world = World::wanting(Kind::Run);
        world.contents(1, 1, &[entry(0, 0)]);
        for event in events {
            world.worker(1, event);
        }
        match world.report(1).state {
            AttemptState::Ended(EndCause::GaveBack(cause, message)) => (cause, message),
            state => panic!("{state:?}"),
        }
    };
    let broken = WorkerEvent::DiscoveryFailed("usage: no such option".into());
    let (cause, message) = failed(vec![broken, WorkerEvent::Ended { exit: None }, exited()]);
    assert_eq!(cause, InfraCause::SandboxFailed);
    assert_eq!(message, "the worker ended before it was ready: usage: no such option");
    assert_eq!(failed(vec![exited()]).1, "the worker ended before it was ready: signal 11");
    let words = Exit { words: "Fatal Python error\n".into(), ..Exit::of("signal 6") };
    let (cause, message) = failed(vec![WorkerEvent::Connected, WorkerEvent::Exited(words)]);
    assert_eq!(cause, InfraCause::SandboxFailed);
    assert_eq!(message, "the worker ended before it was ready: signal 6\nFatal Python error");
    let absent = WorkerEvent::NotStarted(InfraCause::ArtifactUnavailable, "gone".into());
    assert_eq!(failed(vec![absent]), (InfraCause::ArtifactUnavailable, "gone".into()));
}

#[test]
fn a_worker_that_does_not_start_is_killed_at_a_limit_that_is_named() {
    let mut world = World::wanting(Kind::Discover);
    world.wait(Duration::from_secs(600));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, exited());
    let state = gave_back(
        "the worker ended before it was ready: killed after 600 s, its limit; --start-limit sets it",
    );
    assert_eq!(world.report(1).state, state);
}

#[test]
fn a_run_may_say_how_long_its_workers_may_take_to_start() {
    let mut world = World::wanting(Kind::Discover);
    world.worker(1, WorkerEvent::StartLimit(Duration::from_millis(1500)));
    world.wait(Duration::from_millis(1500));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, exited());
    let words = "the worker ended before it was ready: killed after 1.5 s, its limit; --start-limit sets it";
    assert_eq!(world.report(1).state, gave_back(words));
}

#[test]
fn files_that_do_not_come_within_the_limit_are_given_up_with_its_name() {
    let mut world = World::wanting(Kind::Discover);
    world.wait(Duration::from_secs(600));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, WorkerEvent::NotStarted(InfraCause::ArtifactUnavailable, "no files".into()));
    let message = "killed after 600 s, its limit; --start-limit sets it: no files".to_owned();
    let cause = EndCause::GaveBack(InfraCause::ArtifactUnavailable, message);
    assert_eq!(world.report(1).state, AttemptState::Ended(cause));
}

#[test]
fn a_discovery_that_hangs_is_killed_at_a_limit_that_is_named() {
    let mut world = World::wanting(Kind::Discover);
    world.wait(Duration::from_secs(5));
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.wait(Duration::from_secs(600));
    assert_eq!(world.state.next_deadline(), Some(world.now));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    world.worker(1, exited());
    let cause = EndCause::DiscoveryFailed(
        "discovery took longer than its limit of 600 s; --start-limit sets it".into(),
    );
    assert_eq!(world.report(1).state, AttemptState::Ended(cause));
}

#[test]
fn a_discovery_that_dies_is_tried_once_more() {
    let mut world = World::wanting(Kind::Discover);
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    let effects = world.worker(1, exited());
    assert!(matches!(&effects[..], [Effect::Start(start)] if start.discover), "{effects:?}");
    assert_eq!(world.suite_errors(), [""; 0]);
    world.worker(2, WorkerEvent::Ready { grace_ms: 1000 });
    world.worker(2, exited());
    let state = world.report(1).state;
    let AttemptState::Ended(EndCause::DiscoveryFailed(words)) = &state else { panic!("{state:?}") };
    assert!(words.starts_with("the framework ended during discovery with"), "{words}");
}

#[test]
fn what_ends_a_discovery_before_the_framework_is_ready_may_be_the_suite_and_is_told() {
    let mut world = World::wanting(Kind::Discover);
    let died = || Exit { words: "Fatal Python error\n".into(), ..Exit::of("signal 11") };
    world.worker(1, WorkerEvent::Connected);
    let effects = world.worker(1, WorkerEvent::Exited(died()));
    assert!(matches!(&effects[..], [Effect::Start(start)] if start.discover), "{effects:?}");
    world.worker(2, WorkerEvent::Connected);
    world.worker(2, WorkerEvent::Exited(died()));
    let told = "the framework ended during discovery with signal 11\nFatal Python error";
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::DiscoveryFailed(told.into())));

    let mut world = World::wanting(Kind::Discover);
    world.worker(1, WorkerEvent::Connected);
    world.wait(Duration::from_secs(600));
    assert_eq!(world.step(Event::Tick), [kill(1)]);
    let hung = Exit { importing: "conftest.py".into(), words: "in sleep".into(), ..Exit::of("signal 9") };
    world.worker(1, WorkerEvent::Exited(hung));
    let told = "discovery took longer than its limit of 600 s, the last of it at conftest.py; --start-limit sets \
                it\nin sleep";
    assert_eq!(world.report(1).state, AttemptState::Ended(EndCause::DiscoveryFailed(told.into())));
}

#[test]
fn a_worker_that_has_discovered_may_wait_as_long_as_it_takes() {
    let mut world = World::wanting(Kind::Discover);
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    let discovery = Discovery { manifest: Digest([1; 32]), tests: 1 };
    world.worker(1, WorkerEvent::Discovered(discovery));
    assert_eq!(world.state.next_deadline(), None);
}

#[test]
fn a_discovery_that_cannot_be_stored_is_given_back() {
    let mut world = World::wanting(Kind::Discover);
    world.worker(1, WorkerEvent::Ready { grace_ms: 1000 });
    world.worker(1, WorkerEvent::NotStored("disk full".into()));
    let cause = EndCause::GaveBack(InfraCause::ArtifactUnavailable, "disk full".into());
    assert_eq!(world.report(1).state, AttemptState::Ended(cause));
}

#[test]
fn what_a_worker_covered_is_delivered_though_it_tells_so_as_it_ends() {
    let mut world = World::finishing();
    let data = TextRef { log: AttemptId(1), offset: 0, length: 9 };
    world.worker(1, WorkerEvent::Coverage(data));
    world.worker(1, WorkerEvent::Ended { exit: None });
    world.worker(1, exited());
    assert_eq!(world.records().last(), Some(&Record::Coverage(data)));
}

#[test]
fn what_is_left_is_of_the_attempt_that_has_its_test_and_else_of_no_test() {
    let mut world = World::running(&[entry(0, 0)]);
    world.starts(0);
    let file = Attachment { name: "core.1".into(), bytes: 5, blob: None };
    for test in [Some(TestIndex(0)), Some(TestIndex(99)), None] {
        world.worker(1, WorkerEvent::Attached { test, file: file.clone() });
    }
    let left = |test| Record::Attached { test, file: file.clone() };
    assert_eq!(world.records(), [left(Some(TestIndex(0))), left(None), left(None)]);
}
