//! What is told of losses: who lost what, and what it did to tests and to the run.

use seagull_domain::{
    Alone, AttemptId, Discovering, InfraCause, NotExecuted, Outcome, Relation, RunEvent, Sickness, Silent,
    SlotNumber, Standing, TestCause, TestIndex, TextRef, Verdict, Whereabouts,
};

use super::around::{explained, explained_run, explained_tally, story, tally};
use super::plain_output;
use super::script::{self, Script, Step, executor};
use crate::report::{html, junit};

fn lost(attempt: u64, on: &str, cause: InfraCause, tests: u32, suspect: Option<u32>) -> Step {
    let suspect = suspect.map(TestIndex);
    script::event(RunEvent::AttemptLost {
        attempt: AttemptId(attempt),
        executor: executor(on),
        cause,
        message: String::new(),
        tests,
        charged: suspect.into_iter().collect(),
        suspect,
        alone: None,
        free: false,
    })
}

/// The same, and nobody pays for it.
fn came_back_free(attempt: u64, on: &str, cause: InfraCause) -> Step {
    let mut step = lost(attempt, on, cause, 1, None);
    if let Step::Event(event) = &mut step
        && let RunEvent::AttemptLost { free, .. } = &mut **event
    {
        *free = true;
    }
    step
}

fn gone(on: &str) -> Step {
    script::event(RunEvent::ExecutorLost { executor: executor(on), cause: InfraCause::ExecutorLost })
}

/// Two tests, `test_a.py::test_x` and `test_a.py::test_y`, and what happens to them.
fn with(steps: Vec<Step>) -> Script {
    let mut script = script::green();
    script.truncate(5);
    script.extend(steps.into_iter().map(|step| (900, step)));
    script
}

/// As [`with`], of a suite that measures its coverage; then it ends.
fn measuring(steps: Vec<Step>) -> Script {
    let mut script = with(steps);
    for (_, step) in &mut script {
        if let Step::Manifest(manifest) = step {
            manifest.asked.coverage = Some("python".into());
        }
    }
    script.extend(script::green().pop());
    script
}

fn covered(on: &str) -> Step {
    let data = TextRef { log: AttemptId(1), offset: 0, length: 1 };
    script::event(RunEvent::Coverage { data, executor: executor(on), slot: SlotNumber(0) })
}

fn last_line_of_losses(text: &str) -> &str {
    let (_, losses) = text.split_once("── lost ──\n").expect("something is lost");
    losses.split("\n\n").next().unwrap()
}

#[test]
fn who_lost_what_is_named_and_what_is_given_back_is_not_lost() {
    let text = plain_output(
        &with(vec![
            lost(10, "e-1", InfraCause::ExecutorLost, 2, Some(0)),
            gone("e-1"),
            lost(11, "e-1", InfraCause::ExecutorLost, 2, None),
            gone("e-1"),
            lost(12, "e-2", InfraCause::SandboxFailed, 2, None),
            lost(13, "e-2", InfraCause::SandboxFailed, 2, None),
            lost(14, "e-3", InfraCause::Drained, 2, None),
        ]),
        true,
    );
    assert_eq!(
        last_line_of_losses(&text),
        "e-1: executor lost, 2 times\n\
         e-2: 2 attempts lost (sandbox failed)\n\
         e-3: 1 attempt given back (drained)\n\
         4 attempts lost, which is no failure of a test"
    );
}

#[test]
fn a_test_that_is_given_up_or_condemned_is_counted_with_the_losses() {
    let poison = script::ran("e-1", 0, 0, Outcome::Failed, 0).because(TestCause::Poison, "it kills", "");
    let text = plain_output(
        &with(vec![
            lost(10, "e-1", InfraCause::ExecutorLost, 2, Some(0)),
            gone("e-1"),
            poison.step(),
            script::decided(0, Verdict::Failed),
            script::decided(1, Verdict::NotExecuted(NotExecuted::Infra(InfraCause::ExecutorLost))),
        ]),
        true,
    );
    assert!(
        last_line_of_losses(&text).ends_with(
            "1 attempt lost, which is no failure of a test; 1 test given up without a result; 1 test failed \
             as poison: executors are lost by it"
        ),
        "{text}"
    );
}

/// A run that stops for what it lost, or for what came back besides and cost nothing.
fn stopped(losses: u64, free: u64, most: Option<u32>) -> Script {
    let cause = InfraCause::ArtifactUnavailable;
    let mut steps: Vec<_> = (0..losses).map(|number| lost(20 + number, "e-2", cause, 1, None)).collect();
    steps.extend((0..free).map(|number| came_back_free(40 + number, "e-2", cause)));
    let why = NotExecuted::Infra(cause);
    steps.push(script::event(RunEvent::Stopping { reason: why }));
    steps.push(lost(10, "e-1", InfraCause::ExecutorLost, 1, Some(0)));
    steps.extend([0, 1].map(|test| script::decided(test, Verdict::NotExecuted(why))));
    let mut script = with(steps);
    for (_, step) in &mut script {
        if let Step::Event(event) = step
            && let RunEvent::RunStarted(spec) = &mut **event
        {
            spec.run_losses = most;
        }
    }
    script
}

#[test]
fn of_a_run_that_stops_the_limit_is_told_and_nothing_is_promised() {
    for (losses, free, most, limit) in [
        (8, 0, None, "nothing of it started any more"),
        (8, 0, Some(8), "it had 8 losses, as many as --run-losses allows"),
        (3, 5, Some(8), "nothing of it started any more"),
    ] {
        let script = stopped(losses, free, most);
        let text = plain_output(&script, true);
        assert!(text.contains(&format!("STOPPING artifact unavailable ({limit}): ")), "{text}");
        assert!(text.contains("test_x was in flight\n") && !text.contains("runs alone"), "{text}");
        assert!(last_line_of_losses(&text).ends_with(&format!("; the run stopped, for {limit}")), "{text}");
        assert!(!text.contains("given up"), "{text}");
        let because = format!(
            "because the run stopped before it had a result, for {limit}; the cause: artifact unavailable\n"
        );
        let text = explained(&story(&script, "test_y"));
        assert!(text.contains(&because), "{text}");
        let text = explained_run(&script);
        let why = format!("it stopped, and started nothing more: artifact unavailable, and {limit}\n");
        assert!(text.contains(&why), "{text}");
    }
}

#[test]
fn a_test_that_is_lost_too_often_is_told_apart_from_one_that_its_run_left() {
    let cause = InfraCause::ExecutorLost;
    let mut steps: Vec<_> = (1..4).map(|number| lost(number, "e-1", cause, 1, Some(0))).collect();
    steps.push(script::decided(0, Verdict::NotExecuted(NotExecuted::Infra(cause))));
    let text = explained(&story(&with(steps), "test_x"));
    let because =
        "because it was lost 3 times, as often as --test-losses allows; the last cause: executor lost\n";
    assert!(text.contains(because), "{text}");
}

#[test]
fn what_failed_only_on_a_sick_executor_is_told_of_as_that() {
    let cordoned = |sickness| RunEvent::ExecutorCordoned {
        executor: executor("e-1"),
        sickness,
        attempts: 4,
        elsewhere: 40,
    };
    let told = |sickness| {
        let failed = script::ran("e-1", 0, 0, Outcome::Failed, 10);
        let script = with(vec![
            failed.because(TestCause::Assertion, "no", "t.py:1").step(),
            script::event(cordoned(sickness)),
            script::ran("e-2", 1, 0, Outcome::Passed, 10).step(),
            script::decided(0, Verdict::Flaky),
            gone("e-1"),
        ]);
        (plain_output(&script, true), explained(&story(&script, "test_x")))
    };
    let (summary, test) = told(Sickness::TestsFail);
    let of_them = "1 of them failed only where an executor was cordoned (tests fail there): e-1\n";
    let line = "test_x: failed 1 of 2 runs (only where an executor was cordoned): no\n";
    assert!(summary.contains(of_them) && summary.contains(line), "{summary}");
    let because = "it failed once and passed once in this run; it failed only where an executor was cordoned, for \
                   tests failed there: e-1\n";
    assert!(test.contains(because), "{test}");
    let (summary, test) = told(Sickness::NothingStarts);
    assert!(!summary.contains("failed only") && !test.contains("failed only"), "{summary}\n{test}");
}

#[test]
fn a_discovery_that_fails_says_where() {
    let mut script = script::undiscovered();
    script.insert(1, (50, script::assigned(3, "e-2", 0, true)));
    script.insert(1, (50, script::assigned(2, "e-1", 0, true)));
    for text in [plain_output(&script, true), explained_run(&script)] {
        assert!(text.contains("── discovery failed ──\ntried on e-1 (2 times), e-2\n"), "{text}");
    }
}

#[test]
fn a_test_behind_a_suspect_waits_for_it_and_does_not_run_behind_poison() {
    let ordered = |mut script: Script| {
        for (_, step) in &mut script {
            if let Step::Manifest(manifest) = step {
                manifest.relations =
                    vec![Relation { ordered: true, tests: vec![TestIndex(0), TestIndex(1)] }];
            }
        }
        story(&script, "test_y")
    };
    let lost = lost(10, "e-1", InfraCause::ExecutorLost, 2, Some(0));
    let mut waits = ordered(with(vec![lost, gone("e-1")]));
    waits.whereabouts = Some(Whereabouts::Queued { behind: 0, slots: 1, avoided: 0, runs: 0 });
    let text = explained(&waits);
    assert!(text.contains("because it waits until test_a.py::test_x has a result, which it needs"), "{text}");
    let poison = script::ran("e-1", 0, 0, Outcome::Failed, 0).because(TestCause::Poison, "it kills", "");
    let not_executed = Verdict::NotExecuted(NotExecuted::Infra(InfraCause::ExecutorLost));
    let text = explained(&ordered(with(vec![poison.step(), script::decided(1, not_executed)])));
    assert!(text.contains("because it needs test_a.py::test_x before it, which is poison; the"), "{text}");
}

#[test]
fn what_was_lost_with_a_test_in_flight_is_told_of_one_that_is_given_up() {
    let not_executed = Verdict::NotExecuted(NotExecuted::Infra(InfraCause::ExecutorLost));
    let of = |alone: &[(&'static str, Option<Alone>)]| {
        let losses = alone.iter().map(|(on, alone)| lost_alone(on, *alone));
        with(losses.chain([script::decided(0, not_executed)]).collect())
    };
    let alone = |ms, chance| Some(Alone { ms, chance });
    let script = of(&[("e-1", None), ("e-2", alone(Some(500), 400)), ("e-3", alone(None, 34))]);
    let lost = "in flight when these were lost: e-1 (not alone), e-2 (alone, within 0.50 s), e-3 (alone); not called poison: so many \
                losses so soon may be chance, as often as executors are lost here (3.4 %; it takes less than 1.0 %)";
    let text = explained(&story(&script, "test_x"));
    assert!(text.contains(&format!("\n{lost}\n")), "{text}");
    let tally = tally(&script);
    assert_eq!(tally.why_none(TestIndex(0)), Some(format!("executor lost: {lost}")));
    let report = junit::render(&tally, &|_| None, "r".as_ref()).unwrap();
    assert!(report.contains("e-2 (alone, within 0.50 s)"), "{report}");
    let text = plain_output(&with_end(script), true);
    assert!(text.contains("test_a.py::test_x: in flight when these were lost: e-1"), "{text}");
    let young = of(&[("e-1", None), ("e-2", alone(Some(500), 1000)), ("e-3", alone(Some(400), 1000))]);
    let young = explained(&story(&young, "test_x"));
    assert!(
        young.contains("; not called poison: the scheduler had not been there for long enough"),
        "{young}"
    );
    let once = explained(&story(&of(&[("e-1", None), ("e-2", alone(Some(500), 10))]), "test_x"));
    assert!(once.contains("; not called poison: it takes 2 losses while it runs alone\n"), "{once}");
}

fn with_end(mut script: Script) -> Script {
    script.extend(script::green().pop());
    script
}

/// `test_x` was in flight when an executor was lost.
fn lost_alone(on: &'static str, is_alone: Option<Alone>) -> Step {
    let mut step = lost(10, on, InfraCause::ExecutorLost, 1, Some(0));
    if let Step::Event(event) = &mut step
        && let RunEvent::AttemptLost { alone, .. } = &mut **event
    {
        *alone = is_alone;
    }
    step
}

#[test]
fn a_test_that_was_cut_off_says_where_it_ran_and_why_it_has_no_result_of_that() {
    let cut_off = |on, cause| {
        let (test, attempt, ran_ms) = (TestIndex(0), AttemptId(10), 106_000);
        script::event(RunEvent::TestCutOff { test, attempt, executor: executor(on), ran_ms, cause })
    };
    let cause = InfraCause::SpotNotice;
    let why = "a file".to_owned();
    let drains = script::event(RunEvent::ExecutorDrained { executor: executor("e-1"), cause, why });
    let text = |steps| explained(&story(&with(steps), "test_x"));
    let handed_back = text(vec![drains, cut_off("e-1", Some(cause))]);
    let line = "\ncut off after 1 min 46 s, attempt 10 on e-1: spot notice (a file)\n";
    assert!(handed_back.contains(line), "{handed_back}");
    let mut broke = lost(10, "e-1", InfraCause::SandboxFailed, 1, None);
    if let Step::Event(event) = &mut broke
        && let RunEvent::AttemptLost { message, .. } = &mut **event
    {
        *message = "db ended while tests used it: exit code 3; it said last:\n  PANIC:  no space".to_owned();
    }
    let gone = text(vec![broke, cut_off("e-1", Some(InfraCause::SandboxFailed))]);
    let words = "attempt 10 on e-1: sandbox failed\n    db ended while tests used it: exit code 3; it said last:\n      PANIC:  no space\n";
    assert!(gone.contains(words), "{gone}");
    let slower = text(vec![cut_off("e-1", None)]);
    assert!(slower.contains(" on e-1: another attempt had its result\n"), "{slower}");
    let stopping = script::event(RunEvent::Stopping { reason: NotExecuted::FailFast });
    let stopped = text(vec![stopping, cut_off("e-1", None)]);
    assert!(stopped.contains(" on e-1: the run stopped: fail-fast\n"), "{stopped}");
    let paid = text(vec![lost_alone("e-1", None), cut_off("e-1", Some(InfraCause::ExecutorLost))]);
    assert!(paid.contains("executor lost, attempt 10 on e-1, after 1 min 46 s\n"), "{paid}");
    assert!(!paid.contains("cut off"), "it is told once: {paid}");
}

#[test]
fn a_run_under_way_says_what_it_is_at_and_why_an_executor_gets_nothing() {
    let full = script::event(RunEvent::AttemptLost {
        attempt: AttemptId(7),
        executor: executor("e-2"),
        cause: InfraCause::ArtifactUnavailable,
        message: "No space left on device".into(),
        tests: 1,
        charged: Vec::new(),
        suspect: None,
        alone: None,
        free: false,
    });
    let cordoned = script::event(RunEvent::ExecutorCordoned {
        executor: executor("e-2"),
        sickness: Sickness::NothingStarts,
        attempts: 3,
        elsewhere: 0,
    });
    let mut tally = tally(&with(vec![full, cordoned, script::decided(0, Verdict::Passed)]));
    tally.standing = Some(Standing {
        running: 1,
        queued: 3,
        suspects: 1,
        barred: 2,
        discovering: Some(Discovering { executor: executor("e-3"), millis: Some(12_000) }),
        silent: vec![Silent { executor: executor("e-4"), millis: 8000, left_ms: 7000 }],
        ..Standing::default()
    });
    assert!(!explained_tally(&tally).contains("disk is full"));
    tally.standing.as_mut().unwrap().disk_is_full = true;
    let text = explained_tally(&tally);
    assert!(text.contains("    its scheduler stands still, for its disk is full"), "{text}");
    let places = "; 1 running, 3 waiting for a slot (1 as suspects, 2 for an executor that is cordoned or does not start them)";
    assert!(text.contains(&format!("    1 of 2 tests have their verdicts{places}\n")), "{text}");
    assert!(text.contains("    e-3 discovers its tests for 12 s\n"), "{text}");
    assert!(
        text.contains("    e-4 was not heard of for 8.0 s: if that goes on it is lost in 7.0 s\n"),
        "{text}"
    );
    assert!(text.contains("e-2 gets nothing until it is tried again, for "), "{text}");
    assert!(text.contains("there: No space left on device\n"), "{text}");
}

#[test]
fn what_a_worker_measured_and_had_not_told_when_it_was_gone_is_lost() {
    let passed = |on, test| script::ran(on, 0, test, Outcome::Passed, 1).step();
    let dies = |on, test| {
        script::ran(on, 0, test, Outcome::Failed, 1).killed(TestCause::Crashed, "killed by signal 9").step()
    };
    let lost = |steps| tally(&measuring(steps)).coverage().unwrap().lost;
    let nothing: [&str; 0] = [];
    assert_eq!(lost(vec![passed("e-1", 0), passed("e-1", 1), covered("e-1")]), nothing);
    assert_eq!(
        lost(vec![passed("e-1", 0), gone("e-1"), passed("e-2", 1), covered("e-2")]),
        ["test_a.py::test_x"]
    );
    // A new worker in its place tells of its own tests; what ran once more elsewhere is there.
    assert_eq!(lost(vec![passed("e-1", 0), dies("e-1", 1), covered("e-1")]).len(), 2);
    let again = vec![passed("e-1", 0), gone("e-1"), passed("e-2", 0), passed("e-2", 1), covered("e-2")];
    assert_eq!(lost(again), nothing);
    assert_eq!(tally(&script::green()).coverage(), None);
}

#[test]
fn a_run_is_explained_with_what_became_of_its_coverage() {
    let passed = |on, test| script::ran(on, 0, test, Outcome::Passed, 1).step();
    let mut tally = tally(&measuring(vec![passed("e-1", 0), gone("e-1"), passed("e-2", 1), covered("e-2")]));
    let text = explained_tally(&tally);
    assert!(text.contains("\n    nobody judged its coverage: ") && text.contains("--run-id r-7\n"), "{text}");
    let partial =
        "\n    its coverage is partial: what 1 test covered is lost with their worker: test_a.py::test_x\n";
    assert!(text.contains(partial), "{text}");
    for report in
        [junit::render(&tally, &|_| None, "r".as_ref()), html::render(&tally, &|_| None, "r".as_ref())]
    {
        assert!(report.unwrap().contains("coverage is partial: what 1 test"));
    }
    tally.judged = true;
    assert!(!explained_tally(&tally).contains("nobody judged"));
}

#[test]
fn a_discovery_that_is_lost_has_no_tests() {
    let text = plain_output(&with(vec![lost(1, "e-1", InfraCause::SandboxFailed, 0, None)]), true);
    assert!(text.contains("ATTEMPT LOST on e-1 (sandbox failed)\n"), "{text}");
}
