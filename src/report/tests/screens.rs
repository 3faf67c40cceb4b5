//! Everything a user sees, as approved texts.

use std::fs;

use indicatif::{InMemoryTerm, ProgressDrawTarget};
use seagull_domain::{
    AttemptId, Framework, InfraCause, Instant, NotExecuted, Outcome, Recall, RunEvent, RunSpec, Seq,
    StreamItem, SuiteCommands, SuiteError, TestCause, Verdict,
};

use super::script::{self, Step};
use super::{Paper, golden, json_output, output, plain_output, report};
use crate::report::human::{Human, frame};
use crate::report::plain::Plain;
use crate::report::summary::{HEAD_LINES, TAIL_LINES};
use crate::report::tally::Tally;
use crate::report::text::Paint;
use crate::report::{Report, Reporter, ci, html, junit};

/// Columns of a wide terminal.
const WIDE: usize = 110;

#[test]
fn that_tests_went_elsewhere_is_said_with_the_reason_and_the_setting() {
    let back = |why| script::event(RunEvent::TakenBack { attempt: AttemptId(1), tests: 2, why });
    let given_back = RunEvent::AttemptLost {
        attempt: AttemptId(1),
        executor: script::executor("e-1"),
        cause: InfraCause::SpotNotice,
        message: "the file /run/notice".into(),
        tests: 1,
        charged: vec![],
        suspect: None,
        alone: None,
        free: false,
    };
    let drained = RunEvent::ExecutorDrained {
        executor: script::executor("e-1"),
        cause: InfraCause::SpotNotice,
        why: "the file /run/notice".into(),
    };
    let script = vec![
        (0, script::event(RunEvent::RunStarted(Box::new(script::spec(0))))),
        (1, back(Recall::PastCap)),
        (2, script::event(drained)),
        (3, back(Recall::Drained)),
        (4, script::event(given_back)),
        (5, back(Recall::Cordoned)),
    ];
    let text = plain_output(&script, true);
    for line in [
        "BUNDLE PAST TWICE THE CAP of 10 min 0 s: 2 unstarted tests taken back; --cap sets it",
        "EXECUTOR DRAINS e-1: spot notice (the file /run/notice)",
        "2 unstarted tests given back by a slot that drains",
        "1 test given back by e-1 (spot notice)",
        "2 unstarted tests taken back from an executor that is cordoned",
    ] {
        assert!(text.lines().any(|said| said == line), "{line}: {text}");
    }
}

#[test]
fn that_tests_are_built_is_said_and_what_did_not_start_below_its_line() {
    let mut spec = script::spec(0);
    spec.suite.framework = Framework::Cargo;
    let lost = RunEvent::AttemptLost {
        attempt: AttemptId(1),
        executor: script::executor("e-1"),
        cause: InfraCause::SandboxFailed,
        message: "exit status 127\nsh: run.sh: not found".into(),
        tests: 2,
        charged: vec![],
        suspect: None,
        alone: None,
        free: false,
    };
    let script = vec![
        (0, script::event(RunEvent::RunStarted(Box::new(spec)))),
        (0, script::assigned(1, "e-1", 0, true)),
        (1, script::event(lost)),
    ];
    let text = plain_output(&script, true);
    assert!(text.contains("\nbuilding the tests, then discovering them on e-1\n"), "{text}");
    assert!(text.contains(": exit status 127\n    sh: run.sh: not found\n"), "{text}");
}

#[test]
fn plain_lines_and_summary() {
    golden::check("plain.txt", &plain_output(&script::whole(), true));
}

#[test]
fn the_logs_of_ci_services_get_annotations_and_folds() {
    let checkout = tempfile::tempdir().unwrap();
    fs::create_dir_all(checkout.path().join("suite/tests")).unwrap();
    fs::write(checkout.path().join("suite/tests/test_math.py"), "").unwrap();
    for (variable, name) in
        [("GITHUB_ACTIONS", "github.txt"), ("GITLAB_CI", "gitlab.txt"), ("JENKINS_URL", "jenkins.txt")]
    {
        let log = ci::tests::log(variable, checkout.path());
        let plain = |paper| -> Box<dyn Reporter> { Box::new(Plain::new(paper, Paint::PLAIN, log)) };
        golden::check(name, &output(&script::whole(), true, plain));
    }
}

#[test]
fn a_cancelled_run() {
    golden::check("plain-cancelled.txt", &plain_output(&script::cancelled(), true));
}

#[test]
fn a_failed_discovery() {
    golden::check("plain-undiscovered.txt", &plain_output(&script::undiscovered(), true));
}

#[test]
fn a_run_without_tests_says_where_to_look() {
    golden::check("plain-nothing.txt", &plain_output(&script::nothing(), true));
    let mut selected = script::nothing();
    spec_of(&mut selected).select = vec!["tests/gone".into()];
    spec_of(&mut selected).suite.python = "/venv/bin/python".into();
    let text = plain_output(&selected, true);
    assert!(text.contains("hint: look at --select, the paths"), "{text}");
    assert!(text.contains("what is discovered:     /venv/bin/python -m pytest "), "{text}");
}

#[test]
fn a_run_without_tests_speaks_of_its_own_framework() {
    let mut script = script::nothing();
    let mut said = |framework, arguments: &[&str]| {
        let spec = spec_of(&mut script);
        spec.suite.framework = framework;
        spec.arguments = arguments.iter().map(ToString::to_string).collect();
        plain_output(&script, true)
    };
    let cargo = said(Framework::Cargo, &["-p", "core"]);
    assert!(cargo.contains("     cargo test -p core -- --list\n") && !cargo.contains("pytest"), "{cargo}");
    let ignored = said(Framework::Cargo, &["--lib", "--", "--ignored"]);
    assert!(ignored.contains("     cargo test --lib -- --ignored --list\n"), "{ignored}");
    let commands = SuiteCommands {
        discover: vec!["list".into(), "{args}".into()],
        run: vec!["run".into()],
        id: "{name}".into(),
        batch_ms: 0,
    };
    let command = said(Framework::Command(Box::new(commands)), &["a b"]);
    assert!(command.contains("[command] discover") && !command.contains("pytest"), "{command}");
    assert!(command.contains("     list 'a b'\n"), "{command}");
}

/// The spec that a script begins with.
fn spec_of(script: &mut script::Script) -> &mut RunSpec {
    let spec = script.iter_mut().find_map(|(_, step)| match step {
        Step::Event(event) => match &mut **event {
            RunEvent::RunStarted(spec) => Some(&mut **spec),
            _ => None,
        },
        _ => None,
    });
    spec.unwrap()
}

#[test]
fn what_was_anticipated_is_part_of_the_makespan() {
    golden::check("plain-anticipated.txt", &plain_output(&script::anticipated(), true));
}

#[test]
fn both_bounds_are_of_the_plans_slots() {
    let mut script = script::green();
    for (_, step) in &mut script {
        if let Step::Event(event) = step
            && let RunEvent::Plan(plan) = &mut **event
        {
            (plan.slots, plan.total_ms, plan.longest_ms) = (2, 310, 160);
        }
    }
    let text = plain_output(&script, true);
    assert!(text.contains("at least    0.16 s         0.16 s\n"), "{text}");
}

#[test]
fn a_green_run_is_short_and_a_replayed_one_tells_no_durations() {
    golden::check("plain-green.txt", &plain_output(&script::green(), true));
    golden::check("plain-replayed.txt", &plain_output(&script::green(), false));
}

#[test]
fn a_stream_that_breaks_off_leaves_tests_without_a_verdict() {
    golden::check("plain-broken-off.txt", &plain_output(&script::first_half(), true));
}

#[test]
fn what_a_run_waits_for_whose_tests_are_all_decided_is_told_once() {
    let told = |script: &script::Script, live| {
        plain_output(script, live).matches("every test has its verdict; sessions of workers").count()
    };
    let mut script = script::green();
    let (ended, end) = script.pop().unwrap();
    script.push((ended + 9_000, end));
    assert_eq!(told(&script, true), 0);
    let (ended, end) = script.pop().unwrap();
    script.push((ended + 60_000, end));
    assert_eq!((told(&script, true), told(&script, false)), (1, 0));
    let (_, end) = script.pop().unwrap();
    script.push((ended, script::event(RunEvent::Stopping { reason: NotExecuted::Cancelled })));
    script.push((ended + 60_000, end));
    assert_eq!(told(&script, true), 0, "nobody waits for long");
}

#[test]
fn what_several_workers_tell_alike_is_told_once() {
    let mut script = script::green();
    let end = script.pop().unwrap();
    let lost = |attempt, message: &str| {
        script::event(RunEvent::AttemptLost {
            attempt: AttemptId(attempt),
            executor: script::executor("e-1"),
            cause: InfraCause::SandboxFailed,
            message: message.to_owned(),
            tests: 1,
            charged: vec![],
            suspect: None,
            alone: None,
            free: false,
        })
    };
    let error = |message: &str| {
        let error = SuiteError { title: "session finish".into(), message: message.to_owned(), text: None };
        script::event(RunEvent::SuiteError { error, executor: None })
    };
    let setup = "exit code 3 after 0.0 s:\nhi, 10:20:00.123 [7]\nno package foo\nhint: name it";
    let slower = setup.replace("0.0 s", "1.5 s").replace("00.123 [7]", "30.001 [12]");
    for step in [
        lost(1, setup),
        lost(2, &slower),
        lost(3, "exit code 4"),
        error("boom"),
        error("boom"),
        error("bang"),
    ] {
        script.push((900, step));
    }
    script.push(end);
    let text = plain_output(&script, true);
    let told = |part: &str| text.matches(part).count();
    assert_eq!(
        told(
            "result: exit code 3 after 0.0 s:\n    hi, 10:20:00.123 [7]\n    no package foo\n    hint: name it\n"
        ),
        1,
        "{text}"
    );
    assert_eq!((told("result: as before\n"), told("result: exit code 4\n")), (1, 1), "{text}");
    assert!(
        text.contains(
            "\n── 3 suite errors ──\nsession finish, 2 times\n    boom\nsession finish\n    bang\n"
        ),
        "{text}"
    );
}

#[test]
fn json_lines() {
    golden::check("events.jsonl", &json_output(&script::whole()));
}

#[test]
fn the_terminal_shows_what_happened_above_the_bar() {
    let terminal = InMemoryTerm::new(40, 110);
    let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
    let paper = Paper::default();
    let mut report = report(Human::new(target, || WIDE, paper.clone(), Paint { on: true }), true);
    script::play(&mut report, &script::first_half());
    report.tick(Instant(9500)).unwrap();
    golden::check("human-half.txt", &(terminal.contents() + "\n"));

    let rest = script::whole().split_off(script::first_half().len());
    script::play(&mut report, &rest);
    report.finish(Instant(24_600), &script::text).unwrap();
    golden::check("human-scrolled.txt", &(terminal.contents() + "\n"));
    golden::check("human-summary.txt", &paper.text().replace('\x1b', "␛"));
}

#[test]
fn a_slot_that_discovers_is_not_waiting() {
    let mut tally = Tally::new("r-7".parse().unwrap(), Instant(0), true);
    for assigned in [script::assigned(1, "e-1", 0, true), script::assigned(2, "e-1", 1, false)] {
        let Step::Event(event) = assigned else { unreachable!("it is an event") };
        tally.apply(&StreamItem { seq: Seq(1), event: *event });
    }
    tally.clock.now = Instant(3200);
    golden::check("frame-discovering.txt", &(frame(&tally, WIDE, Paint::PLAIN).join("\n") + "\n"));
}

#[test]
fn the_bar_has_what_the_words_leave_and_the_time_left_is_read() {
    let at: [fn() -> usize; 3] = [|| 56, || 45, || 38];
    let lines = at.map(|columns| {
        let terminal = InMemoryTerm::new(60, columns() as u16);
        let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let mut report = report(Human::new(target, columns, Paper::default(), Paint::PLAIN), true);
        script::play(&mut report, &script::first_half());
        report.tick(Instant(9500)).unwrap();
        let said = terminal.contents();
        said.lines().find(|line| line.contains(" %  ")).unwrap().to_owned()
    });
    let expected = [
        "━━────────  20 %  2/10, 1 failed, 9.5 s, about 18 s left",
        " 20 %  2/10, 1 failed, 9.5 s, about 18 s left",
        " 20 %  2/10, 1 failed, about 18 s left",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn more_slots_than_lines_are_counted() {
    let mut tally = Tally::new("r-7".parse().unwrap(), Instant(0), true);
    tally.manifest(script::manifest().into());
    for slot in 0..11 {
        let Step::Live(live) = script::runs("e-1", slot, slot % 9) else { unreachable!("runs() is live") };
        assert!(tally.live(&live));
        assert!(!tally.live(&live), "a repeat is no news");
    }
    tally.clock.now = Instant(75_000);
    golden::check("frame-many-slots.txt", &(frame(&tally, WIDE, Paint::PLAIN).join("\n") + "\n"));
}

/// The report of a script, written where Jenkins would look for it.
fn junit_of(script: &script::Script) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("build/reports/junit.xml");
    let paper = Paper::default();
    let mut report = report(Plain::new(paper.clone(), Paint::PLAIN, None), true);
    report.files.junit = Some(path.clone());
    script::play(&mut report, script);
    report.finish(Instant(24_600), &script::text).unwrap();
    assert!(paper.text().contains(&format!("JUnit report:           {}", path.display())));
    let left = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "the temporary file is gone");
    fs::read_to_string(path).unwrap()
}

#[test]
fn junit_has_a_testcase_for_each_test() {
    let xml = junit_of(&script::whole());
    assert_eq!(xml.matches("<testcase ").count(), script::manifest().len() + 1, "and one suite error");
    golden::check("junit.xml", &xml);
    let mut strict = script::whole();
    spec_of(&mut strict).flaky_fails = true;
    golden::check("junit-flaky-fails.xml", &junit_of(&strict));
    golden::check("junit-undiscovered.xml", &junit_of(&script::undiscovered()));
    golden::check("junit-broken-off.xml", &junit_of(&script::first_half()));
}

#[test]
fn the_html_report_is_one_page_with_every_test() {
    let page = |script: &script::Script| {
        let paper = Paper::default();
        let mut report = report(Plain::new(paper, Paint::PLAIN, None), true);
        script::play(&mut report, script);
        report.tally.clock.now = Instant(24_600);
        html::render(&report.tally, &script::text, "out/report.html".as_ref()).unwrap()
    };
    let whole = page(&script::whole());
    assert_eq!(whole.matches("<tr>").count(), script::manifest().len());
    assert!(!whole.contains("<script") && !whole.contains("http"), "{whole}");
    golden::check("report.html", &whole);
    golden::check("report-undiscovered.html", &page(&script::undiscovered()));
}

#[test]
fn a_junit_report_that_cannot_be_written_is_said_after_the_summary() {
    let directory = tempfile::tempdir().unwrap();
    let paper = Paper::default();
    let mut report = report(Plain::new(paper.clone(), Paint::PLAIN, None), true);
    // A directory stands where the file should.
    report.files.junit = Some(directory.path().join("taken"));
    fs::create_dir(directory.path().join("taken")).unwrap();
    script::play(&mut report, &script::green());
    let error = report.finish(Instant(1000), &script::text).unwrap_err();
    assert!(error.to_string().starts_with("cannot write the JUnit report "), "{error}");
    assert!(paper.text().ends_with("passed: 2 tests in 1.0 s (2 passed) on 1 slot\n"), "{}", paper.text());
    assert!(!paper.text().contains("JUnit"));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
}

/// A manifest of `tests` tests that all fail.
fn all_fail(tests: u32) -> script::Script {
    let suffixes = (0..tests).map(|test| format!("::t{test}")).collect();
    let files = vec![seagull_domain::FileTests { path: "t.py".into(), suffixes }];
    let manifest = seagull_domain::Manifest { files, ..Default::default() };
    let mut script = vec![
        (0, script::event(RunEvent::RunStarted(Box::new(script::spec(0))))),
        (0, Step::Manifest(manifest.clone())),
        (0, script::confirmed(&manifest)),
        (0, script::event(RunEvent::Plan(script::plan()))),
        (0, script::assigned(10, "e-1", 0, false)),
    ];
    for test in 0..tests {
        let failed = script::ran("e-1", 0, test, Outcome::Failed, 10);
        let at = u64::from(test) * 100;
        script.push((at, failed.because(TestCause::Assertion, "no", "t.py:1").text(0).step()));
        script.push((at, script::decided(test, Verdict::Failed)));
    }
    script
}

#[test]
fn a_run_in_which_everything_fails_stays_readable() {
    let text = plain_output(&all_fail(1000), true);
    let told = text.lines().take_while(|line| !line.starts_with("more is counted")).count();
    assert!(told < 700, "{told} lines before it stops telling");
    assert_eq!(text.matches("ZeroDivisionError").count(), 20, "so many are shown in full");
    let progress = text.lines().filter(|line| line.contains(" %  ")).count();
    assert_eq!(progress, 20, "each 5 %");
    assert!(text.contains("\n+500 more\n"));
}

#[test]
fn long_output_is_shown_by_its_ends() {
    let mut script = all_fail(1);
    let failed = script::ran("e-1", 0, 0, Outcome::Failed, 10).text(3);
    script.push((100, failed.step()));
    let text = plain_output(&script, true);
    let shown: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("    │ ")).collect();
    assert_eq!(shown.len(), HEAD_LINES + 1 + TAIL_LINES);
    assert_eq!(shown[HEAD_LINES - 1], format!("line {HEAD_LINES}"));
    assert_eq!(shown[HEAD_LINES], format!("… {} lines left out", 300 - HEAD_LINES - TAIL_LINES));
    assert_eq!(shown[HEAD_LINES + 1], format!("line {}", 300 - TAIL_LINES + 1));
    assert_eq!(shown.last(), Some(&"line 300"));
}

#[test]
fn only_texts_that_will_be_shown_are_asked_for() {
    let mut summary = report(Plain::new(Paper::default(), Paint::PLAIN, None), true);
    script::play(&mut summary, &all_fail(100));
    assert_eq!(summary.texts().len(), 20);
    summary.files.junit = Some("junit.xml".into());
    assert_eq!(summary.texts().len(), 100);
}

#[test]
fn slow_progress_is_told_every_ten_seconds() {
    let mut script = all_fail(1000);
    script.truncate(5);
    script.extend((0..4).map(|test| (u64::from(test) * 4000, script::decided(test, Verdict::Passed))));
    script.push((30_000, Step::Say("end")));
    let text = plain_output(&script, true);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(" %  ")).collect();
    assert_eq!(lines, ["  0 %  3/1000, 10 s, about 22 s left", "  0 %  4/1000, 20 s, about 22 s left"]);
}

#[test]
fn a_log_is_told_of_a_test_that_runs_on_each_time_it_has_doubled() {
    let mut script = script::first_half();
    script.push((10_000, script::runs("e-3", 2, 6)));
    script.push((150_000, Step::Say("end")));
    let text = plain_output(&script, true);
    let told: Vec<&str> =
        text.lines().filter(|line| line.contains("still running") && line.contains("e-3")).collect();
    assert_eq!(told.len(), 3, "{text}");
    assert!(
        told[0].starts_with("still running after 30 s: ") && told[2].contains("after 2 min 0 s: "),
        "{told:?}"
    );
}

#[test]
fn json_says_nothing_twice_about_a_slot_that_goes_on() {
    let mut script = script::first_half();
    script.push((9300, script::runs("e-3", 2, 6)));
    let started = |script| json_output(script).matches("test_started").count();
    assert_eq!(started(&script), started(&script::first_half()));
}

#[test]
fn junit_escapes_what_xml_cannot_hold() {
    let names = names_in_junit(&["::t[\u{0}\u{1b}[31m<\"'&>\u{fffe}]"]);
    assert_eq!(names, ["t[#x00#x1B[31m&lt;&quot;&apos;&amp;&gt;#xFFFE]"]);
}

/// A report of these tests of one file.
fn names_in_junit(suffixes: &[&str]) -> Vec<String> {
    let mut tally = Tally::new("r-7".parse().unwrap(), Instant(0), true);
    let suffixes = suffixes.iter().map(ToString::to_string).collect();
    let files = vec![seagull_domain::FileTests { path: "t.py".into(), suffixes }];
    tally.manifest(seagull_domain::Manifest { files, ..Default::default() }.into());
    let xml = junit::render(&tally, &script::text, "junit.xml".as_ref()).unwrap();
    let cases = xml.split("<testcase name=\"").skip(1);
    cases.map(|case| case.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn junit_gives_no_two_ids_one_name() {
    let ids =
        ["::t[a\nb]", r"::t[a\nb]", r"::t[a\x0ab]", r"::t[a\x5cx0ab]", "::t[\\\n]", "::t[\r\t]", r"::t[\\]"];
    let names = names_in_junit(&ids);
    let expected = [
        r"t[a\x0ab]",
        r"t[a\nb]",
        r"t[a\x5cx0ab]",
        r"t[a\x5cx5cx0ab]",
        r"t[\\x0a]",
        r"t[\x0d\x09]",
        r"t[\\]",
    ];
    assert_eq!(names, expected);
}

#[test]
fn settings_make_a_report_for_this_process() {
    use crate::report::{Color, Output, Settings};
    for output in [Output::Human, Output::Plain, Output::Json] {
        let settings = Settings {
            output,
            color: Color::Never,
            files: Default::default(),
            live: true,
            again: Default::default(),
        };
        let report = Report::new("r-7".parse().unwrap(), Instant(0), settings);
        assert!(report.texts().is_empty());
    }
}
