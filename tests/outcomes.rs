//! The table of outcomes: what a test, a file or a suite may come to, with the verdicts and the exit code of each.

use crate::harness::{Packages, Suite, text};

#[test]
fn a_discovery_that_dies_names_the_file_that_it_was_at() {
    let suite =
        Suite::of(&[("test_a.py", "def test_a(): pass\n"), ("test_b.py", "import os\nos._exit(0)\n")]);
    let run = suite.run(&[]);
    run.expect(100, &[]);
    let failed = text(run.one("discovery_failed"), "message");
    assert!(failed.ends_with("exit code 0 while it imported test_b.py"), "{failed}");
}

#[test]
fn wrong_usage_of_pytest_is_told_in_its_words_alone() {
    let suite = Suite::of(&[("test_a.py", "def test_a(): pass\n")]);
    let message = |arguments: &[&str]| {
        let run = suite.run(arguments);
        run.expect(101, &[]);
        text(run.one("discovery_failed"), "message").to_owned()
    };
    let nope = message(&["test_a.py::test_nope"]);
    assert!(nope.starts_with("not found: ") && nope.lines().count() <= 2, "{nope}");
    let package = message(&["pluggy"]);
    let hint = "file or directory not found: pluggy; it is the name of an installed package, whose tests run by: -- --pyargs pluggy";
    assert_eq!(package, hint);
    let unknown = message(&["--", "--cov=shop", "--cov-report=xml"]);
    let cov = "unrecognized arguments: --cov=shop --cov-report=xml; --cov is of pytest-cov, which is not installed for ";
    assert!(unknown.starts_with(cov) && !unknown.contains("_pytest"), "{unknown}");
}

#[test]
fn every_outcome_of_a_test_has_its_verdict() {
    let run = Suite::named("outcomes").run(&[]);
    run.expect(
        100,
        &[
            ("test_phases.py::test_pass", "passed"),
            ("test_phases.py::test_fail", "failed"),
            ("test_phases.py::test_raise", "failed"),
            ("test_phases.py::test_setup_error", "failed"),
            ("test_phases.py::test_teardown_error", "failed"),
            ("test_phases.py::test_fail_and_teardown_error", "failed"),
            ("test_phases.py::test_skip", "skipped"),
            ("test_phases.py::test_skip_in_setup", "skipped"),
            ("test_phases.py::test_skip_mark", "skipped"),
            ("test_phases.py::test_xfail", "skipped"),
            ("test_phases.py::test_xpass", "passed"),
            ("test_phases.py::test_xpass_strict", "failed"),
            ("test_classes.py::Cases::test_subtests_pass", "passed"),
            ("test_classes.py::Cases::test_a_subtest_fails", "failed"),
            ("test_classes.py::Cases::test_expected", "skipped"),
            ("test_classes.py::Cases::test_unexpected", "failed"),
            ("test_classes.py::Cases::test_skip", "skipped"),
            ("test_classes.py::BrokenClass::test_one", "failed"),
            ("test_classes.py::BrokenClass::test_two", "failed"),
            ("test_subtests.py::test_all_pass", "passed"),
            ("test_subtests.py::test_one_fails", "failed"),
        ],
    );
    // Detail and cause, of those where they say more than the outcome.
    let table = [
        ("test_phases.py::test_fail", "", Some("assertion"), "assert (1 + 1) == 3"),
        ("test_phases.py::test_raise", "", Some("error"), "ValueError: no assertion"),
        (
            "test_phases.py::test_setup_error",
            "error at setup",
            Some("error"),
            "RuntimeError: setup is broken",
        ),
        (
            "test_phases.py::test_teardown_error",
            "error at teardown",
            Some("error"),
            "RuntimeError: teardown is broken",
        ),
        ("test_phases.py::test_xfail", "xfailed", None, "known"),
        ("test_phases.py::test_xpass", "xpassed", None, ""),
        ("test_phases.py::test_skip", "", None, "not today"),
    ];
    for (test, detail, cause, message) in table {
        let result = run.result(test);
        assert_eq!(text(result, "detail"), detail, "{result}");
        assert_eq!(result["cause"].as_str(), cause, "{result}");
        assert!(text(result, "message").contains(message), "{result}");
    }
    assert_eq!(text(run.result("test_phases.py::test_raise"), "location"), "test_phases.py:31");
    assert!(run.all("suite_error").is_empty());
}

#[test]
fn a_module_that_is_skipped_whole_has_no_test_and_is_listed() {
    let run = Suite::named("module_skip").run(&[]);
    run.expect(0, &[("test_here.py::test_here", "passed")]);
    let skipped = run.one("manifest_confirmed")["skipped_modules"].as_array().unwrap().clone();
    let mut paths: Vec<_> = skipped.iter().map(|module| text(module, "path")).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["test_optional.py", "test_windows.py"]);
    assert!(skipped.iter().any(|module| text(module, "reason").contains("needs Windows")), "{skipped:?}");
}

#[test]
fn a_file_that_cannot_be_collected_is_one_entry_that_failed() {
    let run = Suite::named("broken_file").run(&[]);
    run.expect(
        100,
        &[
            ("test_good.py::test_one", "passed"),
            ("test_good.py::test_two", "passed"),
            ("test_import.py", "failed"),
            ("test_syntax.py", "failed"),
        ],
    );
    assert!(text(run.result("test_import.py"), "message").contains("no_such_module_anywhere"));
    assert!(text(run.result("test_syntax.py"), "message").contains("SyntaxError"));
}

#[test]
fn a_broken_conftest_is_incomplete_and_its_traceback_is_shown() {
    let run = Suite::named("broken_conftest").run(&[]);
    run.expect(101, &[]);
    let shown = format!("{}{}", run.one("discovery_failed"), run.stderr);
    assert!(shown.contains("this conftest is broken"), "{shown}");
    assert!(shown.contains("conftest.py"), "{shown}");
    assert!(shown.contains("RuntimeError"), "{shown}");
}

#[test]
fn a_conftest_that_ends_or_hangs_its_process_is_incomplete_and_shown() {
    let tests = ("test_a.py", "def test_a(): pass\n");
    let dies = "import ctypes\ndef read_nothing(): ctypes.string_at(0)\nread_nothing()\n";
    let hangs = "import threading\ndef wait_for_ever(): threading.Event().wait()\nwait_for_ever()\n";
    for (conftest, expected) in [
        (dies, ["ended during discovery with signal 11", "in read_nothing"]),
        (hangs, ["limit of 5 s", "in wait_for_ever"]),
    ] {
        let run = Suite::of(&[("conftest.py", conftest), tests]).run(&["--start-limit", "5s"]);
        run.expect(101, &[]);
        let message = text(run.one("discovery_failed"), "message");
        assert!(expected.iter().all(|words| message.contains(words)), "{message}");
        assert!(run.all("attempt_lost").is_empty(), "it is no fault of the machine");
    }
}

#[test]
fn a_plugin_that_needs_a_controller_is_told_of_by_what_starts_one() {
    let source = "def given(config): return config.workerinput\n\
                  def pytest_configure(config): given(config)['stash']\n";
    let plugin = ("plugin.py", source);
    let ini = ("pytest.ini", "[pytest]\naddopts = -p plugin\npythonpath = .\n");
    let without = ("seagull.toml", "[pytest]\ncontroller = false\n");
    let run = Suite::of(&[plugin, ini, without, ("test_a.py", "def test_a(): pass\n")]).run(&[]);
    run.expect(101, &[]);
    let message = text(run.one("discovery_failed"), "message");
    assert!(message.contains("controller = true in seagull.toml"), "{message}");
}

#[test]
fn no_tests_at_all_is_incomplete() {
    let run = Suite::named("no_tests").run(&[]);
    run.expect(101, &[]);
    assert_eq!(run.one("run_finished")["verdict"], "incomplete");
    let run = Suite::named("retries").run(&["--", "-k", "typo"]);
    run.expect(101, &[]);
    let warnings = &run.one("manifest_confirmed")["warnings"];
    assert_eq!(*warnings, serde_json::json!(["no tests were found (2 deselected)"]));
}

#[test]
fn a_wrong_argument_of_the_framework_is_incomplete_and_said() {
    let run = Suite::named("retries").run(&["--", "--no-such-option"]);
    run.expect(101, &[]);
    let failed = run.one("discovery_failed");
    assert!(text(failed, "message").contains("--no-such-option"), "{failed}");
}

#[test]
fn an_id_that_occurs_twice_runs_once_and_is_warned_of() {
    let run = Suite::named("duplicates").run(&[]);
    run.expect(0, &[("test_a.py::test_a", "passed"), ("test_a.py::test_c", "passed")]);
    let warnings = run.one("manifest_confirmed")["warnings"].to_string();
    assert!(warnings.contains("test_a.py::test_a"), "{warnings}");
}

#[test]
fn ids_that_change_between_discovery_and_run_are_not_executed() {
    // The retry in a second worker needs ids that are other ones there.
    let run = Suite::named("unstable").run(&["--slots", "1", "--retries", "1"]);
    run.expect_counts(101, &[("flaky", 1), ("passed", 1), ("not_executed: unstable id", 3)]);
    assert_eq!(run.verdicts()["test_a.py::test_once"], "flaky");
    assert_eq!(run.verdicts()["test_a.py::test_stable"], "passed");
    assert!(!run.all("test_missing").is_empty());
}

#[test]
fn an_id_that_only_a_whole_collection_has_is_found_by_one() {
    // The worker after the crash has not imported test_a.py when it comes to test_z.py.
    let run = Suite::named("whole_only").run(&["--slots", "1", "--retries", "1"]);
    run.expect(
        0,
        &[
            ("test_a.py::test_once", "flaky"),
            ("test_z.py::test_name[own]", "passed"),
            ("test_z.py::test_name[added]", "passed"),
        ],
    );
}

#[test]
fn a_manifest_that_shrank_is_warned_of() {
    let suite = Suite::of(&[]);
    let source = |tests| {
        format!("import pytest\n@pytest.mark.parametrize('n', range({tests}))\ndef test_n(n): pass\n")
    };
    suite.write("test_a.py", &source(100));
    assert_eq!(suite.run(&[]).one("manifest_confirmed")["warnings"], serde_json::json!([]));
    suite.write("test_a.py", &source(90));
    let run = suite.run(&[]);
    run.expect_counts(0, &[("passed", 90)]);
    let warnings = run.one("manifest_confirmed")["warnings"].to_string();
    assert!(warnings.contains("100") && warnings.contains("90"), "{warnings}");
}

#[test]
fn a_session_fixture_that_cannot_tear_down_is_a_suite_error() {
    let run = Suite::named("session_teardown").run(&["--slots", "1"]);
    run.expect(100, &[("test_a.py::test_one", "passed"), ("test_a.py::test_two", "passed")]);
    let error = run.one("suite_error");
    assert!(text(error, "message").contains("the database would not stop"), "{error}");
}

#[test]
fn a_test_that_ends_its_worker_fails_alone() {
    let suite = Suite::named("crashes");
    let report = suite.beside("report.xml");
    let run = suite.run(&["--junit", report.to_str().unwrap()]);
    run.expect(
        100,
        &[
            ("test_killed.py::test_before", "passed"),
            ("test_killed.py::test_killed_as_for_its_memory", "failed"),
            ("test_killed.py::test_after", "passed"),
            ("test_segfault.py::test_before", "passed"),
            ("test_segfault.py::test_segfault", "failed"),
            ("test_segfault.py::test_after", "passed"),
            ("test_exit.py::test_before", "passed"),
            ("test_exit.py::test_exit", "failed"),
            ("test_exit.py::test_after", "passed"),
            ("test_parent.py::test_before", "passed"),
            ("test_parent.py::test_kills_its_parent", "failed"),
            ("test_parent.py::test_after", "passed"),
            ("test_supervisor.py::test_terminates_its_parent", "passed"),
            ("test_supervisor.py::test_kills_its_parent_and_ends", "failed"),
            ("test_supervisor.py::test_after[0]", "passed"),
            ("test_supervisor.py::test_after[1]", "passed"),
            ("test_supervisor.py::test_after[2]", "passed"),
            ("test_supervisor.py::test_after[3]", "passed"),
            ("test_supervisor.py::test_after[4]", "passed"),
            ("test_supervisor.py::test_after[5]", "passed"),
            ("test_supervisor.py::test_after[6]", "passed"),
            ("test_supervisor.py::test_after[7]", "passed"),
            ("test_supervisor.py::test_after[8]", "passed"),
            ("test_pytest_exit.py::test_before", "passed"),
            ("test_pytest_exit.py::test_pytest_exit", "failed"),
            ("test_pytest_exit.py::test_after", "passed"),
            ("test_interrupts.py::test_before", "passed"),
            ("test_interrupts.py::test_raises_keyboard_interrupt", "failed"),
            ("test_interrupts.py::test_raises_system_exit", "failed"),
            ("test_interrupts.py::test_interrupts_itself", "failed"),
            ("test_interrupts.py::test_terminates_itself", "failed"),
            ("test_interrupts.py::test_after", "passed"),
            ("test_descriptors.py::test_before", "passed"),
            ("test_descriptors.py::test_closes_everything", "failed"),
            ("test_descriptors.py::test_after", "passed"),
        ],
    );
    for test in [
        "test_segfault.py::test_segfault",
        "test_exit.py::test_exit",
        "test_killed.py::test_killed_as_for_its_memory",
        "test_parent.py::test_kills_its_parent",
        "test_supervisor.py::test_kills_its_parent_and_ends",
    ] {
        assert_eq!(run.result(test)["cause"], "crashed", "{}", run.result(test));
    }
    assert_eq!(run.result("test_pytest_exit.py::test_pytest_exit")["cause"], "error");
    let interrupted = run.result("test_interrupts.py::test_raises_keyboard_interrupt");
    assert_eq!(text(interrupted, "message"), "KeyboardInterrupt");
    assert_eq!(text(interrupted, "location"), "test_interrupts.py:10");
    // faulthandler's stack is with the test that crashed.
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("Segmentation fault") && report.contains("in test_segfault"), "{report}");
    assert!(run.all("executor_lost").is_empty() && run.all("attempt_lost").is_empty());
}

#[test]
fn a_test_that_hangs_is_killed_at_its_limit_with_its_stack() {
    let suite = Suite::named("hang");
    let report = suite.beside("report.xml");
    let arguments = ["--slots", "1", "--test-limit", "2s", "--junit", report.to_str().unwrap()];
    let run = suite.run(&arguments);
    run.expect(
        100,
        &[
            ("test_hang.py::test_before", "passed"),
            ("test_hang.py::test_hangs", "failed"),
            ("test_hang.py::test_after", "passed"),
        ],
    );
    let result = run.result("test_hang.py::test_hangs");
    assert_eq!(result["cause"], "timed out", "{result}");
    assert!(text(result, "message").contains("--test-limit"), "{result}");
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("in test_hangs"), "{report}");
    suite.marked().all_gone_within(std::time::Duration::from_secs(1));
}

#[test]
fn what_waits_behind_a_test_that_hangs_runs_elsewhere() {
    // The first test waits for the last of its file. No test is predicted to be worth a move.
    let source = "\
import pytest
def test_first(meet): meet('first', 'last')
@pytest.mark.parametrize('n', range(8))
def test_short(n): pass
def test_last(meet): meet('last', 'first')
";
    let suite = Suite::named("both_slots");
    suite.write("test_a.py", source);
    suite.write("test_b.py", "def test_b(): pass\n");
    let run = suite.run(&[]);
    run.expect_counts(0, &[("passed", 11)]);
    assert!(!run.all("taken_back").is_empty());
}

#[test]
fn nothing_that_starts_is_no_verdict_on_the_suite() {
    let suite = Suite::named("hang");
    suite.write("seagull.toml", "[pytest]\npython = '/nowhere/python'\n");
    let run = suite.run(&[]);
    run.expect(102, &[]);
    let finished = run.one("run_finished");
    assert_eq!(finished["verdict"], "incomplete");
    assert!(
        run.stderr.contains("/nowhere/python")
            || run.events.iter().any(|event| event.to_string().contains("/nowhere/python"))
    );
}

#[test]
fn a_slot_whose_worker_dies_as_its_session_starts_fails_no_test() {
    let conftest = "\
import os
def pytest_sessionstart():
    if os.environ.get('PYTEST_XDIST_WORKER') == 'gw1': os._exit(3)
";
    let tests = "import pytest\n@pytest.mark.parametrize('n', range(10))\ndef test_n(n): pass\n";
    let run = Suite::of(&[("conftest.py", conftest), ("test_a.py", tests), ("test_b.py", tests)]).run(&[]);
    run.expect_counts(0, &[("passed", 20)]);
    let given_back = run.all("attempt_lost");
    assert!(!given_back.is_empty() && run.all("suite_error").is_empty());
    for lost in given_back {
        let message = text(lost, "message");
        assert_eq!(message, "the worker ended before it ran any test: exit code 3", "{lost}");
    }
}

#[test]
fn a_file_that_kills_the_discovery_is_a_suite_error() {
    let run = Suite::of(&[("test_a.py", "import ctypes\nctypes.string_at(0)\n")]).run(&[]);
    run.expect(100, &[]);
    let failed = run.one("discovery_failed");
    assert!(text(failed, "message").contains("signal 11"), "{failed}");
    // The stack is with it.
    assert!(run.one("suite_error")["text"].is_object());
}

#[test]
fn a_session_that_does_not_end_is_killed_after_its_limit_and_is_a_suite_error() {
    let source = "\
import pytest, threading
@pytest.fixture(scope='session')
def service():
    yield
    threading.Event().wait()
def test_with_service(service): pass
";
    let suite = Suite::of(&[("test_a.py", source)]);
    let run = suite.run(&["--grace", "1s", "--start-limit", "10s"]);
    run.expect(100, &[("test_a.py::test_with_service", "passed")]);
    assert!(text(run.one("suite_error"), "title").contains("did not end within its limit"));
    suite.marked().all_gone_within(std::time::Duration::from_secs(1));
}

#[test]
fn a_retry_that_passes_is_flaky_and_good_unless_flaky_fails() {
    let flaky = [("test_retries.py::test_flaky", "flaky"), ("test_retries.py::test_good", "passed")];
    Suite::named("retries").run(&["--retries", "1"]).expect(0, &flaky);
    Suite::named("retries").run(&["--retries", "1", "--flaky", "fail"]).expect(100, &flaky);
    let failed = [("test_retries.py::test_flaky", "failed"), ("test_retries.py::test_good", "passed")];
    Suite::named("retries").run(&[]).expect(100, &failed);
}

#[test]
fn fail_fast_stops_the_rest() {
    let run = Suite::named("fail_fast").run(&["--fail-fast"]);
    run.expect_code(100);
    let verdicts = run.verdicts();
    assert_eq!(verdicts.len(), 61);
    assert_eq!(verdicts["test_fail_fast.py::test_fails"], "failed");
    let counts = run.counts();
    assert_eq!(counts["failed"], 1);
    // 60 tests of 0.1 s on two slots last 3 s; the failure is known long before.
    assert!(counts["not_executed: fail-fast"] > 30, "{counts:?}");
    assert_eq!(counts.values().sum::<usize>(), 61);
    run.one("stopping");
}

#[test]
fn fail_fast_runs_nothing_after_the_failure_in_its_slot() {
    let tests = "import pytest\n@pytest.mark.parametrize('n', range(30))\ndef test_n(n): assert n % 3 != 2\n";
    for (given, addopts) in [(&["--fail-fast=2", "--slots", "1"][..], ""), (&["--slots", "1"], "--maxfail=2")]
    {
        let ini = format!("[pytest]\naddopts = {addopts}\n");
        let run = Suite::of(&[("test_a.py", tests), ("pytest.ini", &ini)]).run(given);
        run.expect_counts(100, &[("passed", 4), ("failed", 2), ("not_executed: fail-fast", 24)]);
        assert_eq!(run.all("test_finished").last().unwrap()["outcome"], "failed");
    }
}

#[test]
fn fail_fast_counts_failed_tests_and_the_cap_bounds_bundles() {
    let source = "\
import pytest, time
@pytest.mark.parametrize('n', range(30))
def test_n(n):
    time.sleep(0.1)
    assert n % 3
";
    let suite = Suite::of(&[("test_a.py", source)]);
    let first = suite.run(&["--slots", "1"]);
    first.expect_counts(100, &[("failed", 10), ("passed", 20)]);
    // What they took is known now: three seconds, in bundles of at most one.
    let second = suite.run(&["--slots", "1", "--cap", "1s", "--fail-fast=2"]);
    second.expect_code(100);
    let plan = second.one("plan");
    assert!(plan["cap_seconds"].as_f64().unwrap() <= 1.0 && plan["bundles"].as_u64().unwrap() >= 3, "{plan}");
    let counts = second.counts();
    // Another may fail before the second is known.
    assert!((2..=3).contains(&counts["failed"]) && counts["not_executed: fail-fast"] > 15, "{counts:?}");
}

#[test]
fn older_versions_of_the_framework_have_the_same_verdicts() {
    for packages in [Packages::Pytest7, Packages::Pytest8] {
        let crashes = Suite::named("crashes").with(packages).run(&[]);
        crashes.expect_counts(100, &[("failed", 11), ("passed", 24)]);
        let broken = Suite::named("broken_file").with(packages).run(&[]);
        broken.expect_counts(100, &[("failed", 2), ("passed", 2)]);
        let flaky = Suite::named("retries").with(packages).run(&["--retries", "1"]);
        flaky.expect_counts(0, &[("flaky", 1), ("passed", 1)]);
        let teardown = Suite::named("session_teardown").with(packages).run(&["--slots", "1"]);
        teardown.expect_counts(100, &[("passed", 2)]);
        teardown.one("suite_error");
    }
}

#[test]
fn what_a_hook_keeps_of_the_whole_suite_is_there_in_every_worker() {
    let conftest = "\
import pytest
def pytest_collection_modifyitems(config, items):
    config.leaks = any(item.name == 'test_of_leaks' for item in items)
@pytest.fixture(autouse=True)
def leaks(request): assert request.config.leaks
";
    let tests =
        "import pytest, time\n@pytest.mark.parametrize('n', range(8))\ndef test_n(n): time.sleep(0.05)\n";
    let last = format!("{tests}def test_of_leaks(): pass\n");
    let suite = Suite::of(&[
        ("conftest.py", conftest),
        ("test_a.py", tests),
        ("test_b.py", tests),
        ("test_c.py", &last),
    ]);
    for _ in 0..2 {
        suite.run(&["--slots", "3"]).expect_counts(0, &[("passed", 25)]);
    }
}
