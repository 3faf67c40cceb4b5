//! Corners of real suites: odd ids, output of every kind, rough tests, many tests and files, selection, plugins.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Finished, Packages, Running, Suite, text};

/// pytest escapes ids unless it is told not to.
const UNESCAPED: &str = "\
[pytest]
disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true
";

#[test]
fn ids_are_what_the_framework_calls_them() {
    let long = "x".repeat(10_000);
    let odd =
        ["a b", "a::b", "[x]", "é ü 汉", "a\nb", "a/b.py::c", "\\", "<&>\"'", "]]>", "\u{7f}\u{1}", &long];
    let list = serde_json::to_string(&odd).unwrap();
    let source = format!(
        "import json, pytest\nIDS = json.loads({})\n\n\
         @pytest.mark.parametrize('value', IDS, ids=IDS)\ndef test_id(value):\n    assert value != 'a::b'\n",
        serde_json::to_string(&list).unwrap()
    );
    let path = "a dir/é/test_ids.py";
    let suite = Suite::of(&[("pytest.ini", UNESCAPED), (path, &source)]);
    let report = suite.beside("report.xml");
    let run = suite.run(&["--junit", report.to_str().unwrap()]);
    let ids: Vec<_> = odd.iter().map(|id| format!("{path}::test_id[{id}]")).collect();
    let verdict = |id: &str| if id.contains("[a::b]") { "failed" } else { "passed" };
    let expected: Vec<_> = ids.iter().map(|id| (id.as_str(), verdict(id))).collect();
    run.expect(100, &expected);
    let report = std::fs::read_to_string(report).unwrap();
    assert_eq!(report.matches("<testcase").count(), odd.len(), "{report}");

    // A test can be asked for by its very id.
    for id in [&ids[1], &ids[4], &ids[10]] {
        suite.run(&["--select", id]).expect(if id.contains("a::b") { 100 } else { 0 }, &[(id, verdict(id))]);
    }
}

#[test]
fn output_of_every_kind_is_with_its_test_and_not_on_stdout() {
    let suite = Suite::named("output");
    let report = suite.beside("report.xml");
    // That standard output has nothing but events is checked by reading it.
    let run = suite.run(&["--junit", report.to_str().unwrap()]);
    run.expect(
        100,
        &[
            ("test_output.py::test_fails", "failed"),
            ("test_output.py::test_passes", "passed"),
            ("test_output.py::test_odd_bytes", "failed"),
        ],
    );
    let report = std::fs::read_to_string(report).unwrap();
    for line in [
        "from print",
        "from stderr",
        "from descriptor 1",
        "from descriptor 2",
        "from a child",
        "from a child on 2",
        "see the output",
        "end of odd bytes",
    ] {
        assert!(report.contains(line), "{line} is not in\n{report}");
    }
    for control in ['\0', '\u{1b}'] {
        assert!(!report.contains(control), "XML cannot hold {control:?}");
    }
}

#[test]
fn more_output_than_is_kept_keeps_its_ends() {
    let source = "\
def test_loud():
    print('the very first')
    for _ in range(100_000): print('x' * 99)
    print('the very last')
    assert False
";
    let suite = Suite::of(&[("test_a.py", source)]);
    let report = suite.beside("report.xml");
    suite.run(&["--junit", report.to_str().unwrap()]).expect(100, &[("test_a.py::test_loud", "failed")]);
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("the very last"));
    assert!((100_000..4_000_000).contains(&report.len()), "{} bytes of 10 MB", report.len());
}

#[test]
fn rough_tests_do_not_harm_the_others() {
    let suite = Suite::named("rough");
    let run = suite.run(&[]);
    let counts = run.counts();
    assert_eq!(counts.values().sum::<usize>(), 11, "{counts:?}");
    run.expect_counts(0, &[("passed", 11)]);
    suite.marked().all_gone_within(std::time::Duration::from_secs(1));
}

#[test]
fn a_thread_that_outlives_its_session_holds_up_nothing() {
    let source = "\
import threading
def test_leaves_a_thread():
    threading.Thread(target=threading.Event().wait).start()
";
    let suite = Suite::of(&[("test_a.py", source)]);
    suite.run(&["--grace", "1s"]).expect(0, &[("test_a.py::test_leaves_a_thread", "passed")]);
    suite.marked().all_gone_within(std::time::Duration::from_secs(1));
}

#[test]
fn three_thousand_tests_in_one_file() {
    let source = "import pytest\n@pytest.mark.parametrize('n', range(3000))\ndef test_n(n): pass\n";
    Suite::of(&[("test_many.py", source)]).run(&[]).expect_counts(0, &[("passed", 3000)]);
}

#[test]
fn one_test_in_each_of_a_thousand_files() {
    let suite = Suite::of(&[]);
    for number in 0..1000 {
        suite.write(&format!("d{}/test_{number}.py", number % 10), "def test_it(): pass\n");
    }
    suite.run(&[]).expect_counts(0, &[("passed", 1000)]);
}

#[test]
fn selections_by_path_id_glob_and_history() {
    let suite = Suite::named("select");
    let ids = |run: &Finished| run.verdicts().into_keys().collect::<BTreeSet<_>>();
    let all = suite.run(&[]);
    all.expect_counts(100, &[("passed", 6), ("failed", 1)]);

    let table: [(&[&str], &[&str]); 6] = [
        (&["--select", "whole"], &["whole/test_three.py::test_x"]),
        (&["--select", "unit/test_two.py::TestGroup::test_x"], &["unit/test_two.py::TestGroup::test_x"]),
        (&["--select", "unit/test_one.py::test_text[b*]"], &["unit/test_one.py::test_text[b*]"]),
        (&["--select", "*::test_x"], &["unit/test_two.py::TestGroup::test_x", "whole/test_three.py::test_x"]),
        (&["whole"], &["whole/test_three.py::test_x"]),
        (&["--", "-k", "test_y"], &["unit/test_two.py::TestGroup::test_y"]),
    ];
    for (arguments, expected) in table {
        let run = suite.run(arguments);
        run.expect_code(0);
        assert_eq!(ids(&run), expected.iter().map(|id| (*id).to_owned()).collect(), "{arguments:?}");
    }
    suite.run(&["--select", "nothing/of/that/name"]).expect(101, &[]);
}

#[test]
fn last_failed_is_what_failed_and_then_nothing() {
    let suite = Suite::named("select");
    let failing = "unit/test_one.py::test_fails_until_fixed";
    suite.run(&[]).expect_counts(100, &[("passed", 6), ("failed", 1)]);
    suite.run(&["--select", "last-failed"]).expect(100, &[(failing, "failed")]);
    suite.write("fixed", "");
    suite.run(&["--select", "last-failed"]).expect(0, &[(failing, "passed")]);
    let nothing = suite.run(&["--select", "last-failed"]);
    nothing.expect(0, &[]);
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let said = suite.seagull(&["run", "--state", &state, "--select", "last-failed"]).output().unwrap();
    assert_eq!(said.status.code(), Some(0));
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("nothing to run"), "a line says that nothing failed last time: {said}");
}

#[test]
fn where_no_test_failed_in_a_run_that_did_the_selection_of_failures_says_where_to_look() {
    let suite = Suite::named("session_teardown");
    suite.run(&["--slots", "1"]).expect_counts(100, &[("passed", 2)]);
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let said = suite.seagull(&["run", "--state", &state, "--select", "last-failed"]).output().unwrap();
    assert_eq!(said.status.code(), Some(101));
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("nothing to run: no test is selected by last-failed\nhint: "), "{said}");
    assert!(said.contains("seagull explain RUN says why") && !said.contains("seagull doctor"), "{said}");
    // Both lists say that something failed.
    let list = |arguments: &[&str]| {
        let output =
            suite.seagull(&[arguments, &["--state", &state, "--output", "json"]].concat()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let runs = list(&["runs"]);
    let first: Value = serde_json::from_str(runs.lines().last().unwrap()).unwrap();
    assert_eq!(first["suite_errors"], 1, "{runs}");
    let results = list(&["results", first["run"].as_str().unwrap()]);
    assert!(
        results.contains("\"suite_error\":") && results.contains("the database would not stop"),
        "{results}"
    );
}

#[test]
fn workers_present_xdists_identity_with_xdist_and_without() {
    for packages in [Packages::Xdist, Packages::Pytest] {
        let run = Suite::named("identity").with(packages).run(&[]);
        run.expect_counts(0, &[("passed", 6)]);
    }
}

#[test]
fn a_suite_configured_for_xdist_runs_on_our_slots() {
    let suite = Suite::named("both_slots");
    suite.write("pytest.ini", "[pytest]\naddopts = -n 3 --dist loadfile -x\n");
    let run = suite.run(&[]);
    run.expect(0, &[("test_a.py::test_a", "passed"), ("test_b.py::test_b", "passed")]);
    assert_eq!(slots(&run), [0, 1]);
}

#[test]
fn django_has_a_database_for_each_of_two_slots() {
    let run = Suite::named("django").with(Packages::Django).run(&[]);
    run.expect_counts(0, &[("passed", 14)]);
    assert_eq!(slots(&run), [0, 1]);
}

#[test]
fn a_suite_whose_warnings_are_errors_sees_none_of_ours() {
    let ini = "[pytest]\nfilterwarnings = error\naddopts = --strict-markers --strict-config\n";
    let source = "import gc\ndef test_a(tmp_path): gc.collect()\ndef test_b(): gc.collect()\n";
    let run = Suite::of(&[("pytest.ini", ini), ("test_a.py", source)]).run(&[]);
    run.expect(0, &[("test_a.py::test_a", "passed"), ("test_a.py::test_b", "passed")]);
}

#[test]
fn groups_stay_on_one_slot() {
    let mut source = "import pytest\n".to_owned();
    for number in 0..20 {
        writeln!(source, "@pytest.mark.xdist_group('g')\ndef test_{number}(worker_id): pass").unwrap();
    }
    let files = [("test_a.py", &*source), ("test_b.py", &source), ("test_c.py", &source)];
    let run = Suite::of(&files).run(&[]);
    run.expect_counts(0, &[("passed", 60)]);
    assert_eq!(slots(&run).len(), 1);
}

/// The slots that ran something.
fn slots(run: &Finished) -> Vec<u64> {
    let slots: BTreeSet<_> =
        run.all("test_finished").iter().map(|event| event["slot"].as_u64().unwrap()).collect();
    slots.into_iter().collect()
}

#[test]
fn ids_are_relative_to_the_root_and_tests_run_in_the_working_directory() {
    let suite = Suite::named("rootdir");
    let deep = suite.path().join("sub/deep");
    suite.run_in(&deep, &[]).expect(0, &[("sub/deep/test_deep.py::test_directory", "passed")]);
    suite.run_in(&deep, &["../test_top.py"]).expect(0, &[("sub/test_top.py::test_top", "passed")]);
    let id = "test_deep.py::test_directory";
    suite.run_in(&deep, &[id]).expect(0, &[("sub/deep/test_deep.py::test_directory", "passed")]);
}

#[test]
fn what_people_read_goes_to_stderr() {
    let suite = Suite::named("retries");
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    for form in ["human", "plain"] {
        let arguments = ["run", "--state", &state, "--slots", "1", "--retries", "1", "--output", form];
        let output = suite.seagull(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.lines().any(|line| line.starts_with("passed: 2 tests")), "{said}");
    }
}

#[test]
fn what_lists_the_tests_names_the_interpreter_that_was_found() {
    let suite = Suite::named("retries");
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let arguments = ["run", "--state", &state, "--slots", "1", "--output", "plain", "--", "-k", "typo"];
    let output = suite.seagull(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    let listing = format!("{} --collect-only -q -k typo", suite.python().with_file_name("pytest").display());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&listing), "{said}");
}

#[test]
fn what_cannot_be_kept_beside_the_suite_is_kept_in_the_users_directory() {
    let suite = Suite::of(&[("test_a.py", "def test_a(): pass\n"), (".seagull", "a file")]);
    let seagull = |arguments: &[&str]| {
        let output = suite.seagull(arguments).env("XDG_STATE_HOME", suite.beside("own")).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        output
    };
    let said = String::from_utf8(seagull(&["run", "--slots", "1", "--run-id", "r-1"]).stderr).unwrap();
    let own = suite.beside("own/seagull/suite-").into_os_string().into_string().unwrap();
    assert!(said.contains(&format!("state is kept in {own}")), "{said}");
    let runs = String::from_utf8(seagull(&["runs"]).stdout).unwrap();
    assert!(runs.contains("r-1"), "and is found there: {runs}");
}

#[test]
fn inside_a_hook_of_another_repository_the_revision_is_the_suites_own() {
    let suite = Suite::of(&[("test_a.py", "def test_a(): pass\n")]);
    let another = Suite::of(&[("test_b.py", "def test_b(): pass\n")]);
    suite.commit();
    another.commit();
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let mut command = suite.seagull(&["run", "--state", &state, "--slots", "1", "--output", "json"]);
    command.env("GIT_DIR", another.path().join(".git"));
    command.env("GIT_INDEX_FILE", another.path().join(".git/index"));
    let run = Running::start(command, &suite.beside("stderr")).finish();
    run.expect_code(0);
    let mut head = Command::new("git");
    let head = head.args(["rev-parse", "HEAD"]).current_dir(suite.path()).output().unwrap().stdout;
    assert_eq!(text(run.one("run_started"), "rev"), String::from_utf8(head).unwrap().trim());
}

#[test]
fn a_usage_error_is_two_and_says_what_would_do() {
    let suite = Suite::named("retries");
    let wrong: [&[&str]; 5] = [
        &["run", "--slots", "0"],
        &["run", "--no-such"],
        &["run", "--retries", "x"],
        &["run", "--python", "/nowhere/python"],
        &["walk"],
    ];
    for arguments in wrong {
        let output = suite.seagull(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    // One name cannot mean two runs.
    suite.run(&["--run-id", "one"]).expect_code(100);
    let other = suite.start(&["--run-id", "one", "--select", "test_retries.py::test_good"]).end();
    assert_eq!((other.0.len(), other.1), (0, 2), "{}", other.2);
    assert!(other.2.contains("select"), "the difference is named: {}", other.2);
}

/// A suite that speaks in its worker's name.
fn speaking(words: &str) -> Suite {
    let conftest = format!(
        "def pytest_collection_finish(session):\n\
         \x20   plugins = session.config.pluginmanager.get_plugins()\n\
         \x20   channel = next(p for p in plugins if getattr(p, '__name__', '') == 'seagull').channel\n\
         \x20   {words}\n\
         \x20   channel.flush()\n"
    );
    Suite::of(&[("conftest.py", &conftest), ("test_a.py", "def test_a(): pass\n")])
}

#[test]
fn a_discovery_that_is_too_large_has_failed_and_costs_no_executor() {
    let file = "channel.event('file', path='test_a.py', suffixes=['::t'] * 40_000)";
    let run = speaking(&format!("for _ in range(60): {file}; channel.flush()")).run(&[]);
    run.expect(101, &[]);
    let message = text(run.one("discovery_failed"), "message");
    assert!(message.starts_with("over 2,000,000 tests were discovered"), "{message}");
}

#[test]
fn an_error_that_no_message_can_carry_is_cut() {
    let error = "channel.event('suite_error', title='t' * 1_000_000, message='m' * 1_000_000)";
    let run = speaking(error).run(&["--slots", "1"]);
    run.expect(100, &[("test_a.py::test_a", "passed")]);
    let told = run.one("suite_error");
    assert!(text(told, "title").len() < 300 && text(told, "message").len() < 4000, "{told}");
}

/// The worker of slot 0 takes its time to collect.
const SLOW_DISCOVERY: &str = "\
import os, time
def pytest_collection_finish(session):
    if os.environ['PYTEST_XDIST_WORKER'] == 'gw0': time.sleep(2)
";

/// Each test says that it was executed.
fn steps(tests: usize) -> String {
    format!(
        "import pytest\n@pytest.mark.parametrize('n', range({tests}))\n\
         def test_n(n):\n    with open('ran', 'a') as ran: ran.write(f'{{n}}\\n')\n"
    )
}

#[test]
fn what_the_last_run_discovered_runs_while_it_is_discovered_again() {
    let suite = Suite::of(&[("conftest.py", SLOW_DISCOVERY), ("test_a.py", &steps(20))]);
    let ran = || suite.read("ran").lines().count();
    let early = |run: &Finished| {
        let confirmed = run.events.iter().position(|event| event["event"] == "manifest_confirmed").unwrap();
        run.events[..confirmed].iter().any(|event| event["kind"] == "run")
    };
    let first = suite.run(&[]);
    first.expect_counts(0, &[("passed", 20)]);
    assert_eq!((early(&first), ran()), (false, 20));

    let second = suite.run(&[]);
    second.expect_counts(0, &[("passed", 20)]);
    assert_eq!((early(&second), ran()), (true, 40), "it was anticipated, and nothing ran twice");
    assert_eq!(second.one("manifest_confirmed")["generation"], 1);

    let started = second.all("test_finished").into_iter().map(|event| event["started_at"].as_f64().unwrap());
    assert!(started.clone().all(|at| at > 1e9), "{:?}", started.collect::<Vec<_>>());
}

/// Where it is asked to, the worker of slot 0 passes over one test, and takes its time until another worker has run it.
const CHANGING: &str = "\
import os, time
def pytest_collection_modifyitems(items):
    if os.environ['PYTEST_XDIST_WORKER'] == 'gw0' and os.path.exists('less'):
        items[:] = [item for item in items if item.name != 'test_deselected']
def pytest_collection_finish(session):
    if os.environ['PYTEST_XDIST_WORKER'] == 'gw0' and os.path.exists('less'):
        until = time.monotonic() + 30
        while 'test_deselected' not in open('less').read() and time.monotonic() < until: time.sleep(0.05)
";

/// Tests of these names, each of which says that it was executed.
fn named(names: &[&str]) -> String {
    let test = |name: &&str| {
        format!(
            "def test_{name}():\n    with open('less' if os.path.exists('less') else 'ran', 'a') as ran: \
             ran.write('test_{name}\\n')\n"
        )
    };
    format!("import os\n{}", names.iter().map(test).collect::<String>())
}

#[test]
fn of_a_suite_that_has_changed_what_is_still_there_runs_once_though_it_was_not_known_yet() {
    let gone = named(&["in_a_file_that_is_gone"]);
    let before = named(&["deselected", "kept", "lost", "also_kept", "renamed"]);
    let suite = Suite::of(&[("conftest.py", CHANGING), ("test_a.py", &before), ("test_gone.py", &gone)]);
    suite.run(&[]).expect_counts(0, &[("passed", 6)]);

    let after = ["deselected", "gained", "also_kept", "kept", "new_name"];
    suite.write("test_a.py", &named(&after));
    std::fs::remove_file(suite.path().join("test_gone.py")).unwrap();
    suite.write("less", "");
    let second = suite.run(&[]);
    let there = &after[1..];
    let ids: Vec<_> = there.iter().map(|name| format!("test_a.py::test_{name}")).collect();
    second.expect(0, &ids.iter().map(|id| (id.as_str(), "passed")).collect::<Vec<_>>());
    let executed = suite.read("less");
    for name in there {
        assert_eq!(executed.matches(&format!("test_{name}\n")).count(), 1, "{name} in\n{executed}");
    }
    assert_eq!(second.one("manifest_confirmed")["generation"], 2);
    let discarded = second.one("results_discarded");
    assert_eq!(discarded["tests"], serde_json::json!(["test_a.py::test_deselected"]));
    assert_eq!(discarded["count"], 1);
    assert!(second.all("attempt_lost").is_empty(), "{}", second.stderr);

    // Of two runs that have found other tests, what is in both is expected of the next.
    std::fs::remove_file(suite.path().join("less")).unwrap();
    suite.run(&[]).expect_counts(0, &[("passed", 5)]);
}

/// Each test fails if it runs before the discovery, which waits for that where it is asked to.
const EARLY: &str = "\
import os, time
def pytest_collection_finish(session):
    if os.environ['PYTEST_XDIST_WORKER'] == 'gw0':
        until = time.monotonic() + (30 if os.path.exists('wait') else 1)
        while not os.path.exists('early') and time.monotonic() < until: time.sleep(0.05)
        open('discovered', 'w').close()
";

#[test]
fn nothing_starts_early_in_another_environment_or_where_that_is_not_wanted() {
    let test = "import os\ndef test_n():\n    known = os.path.exists('discovered')\n    \
                open('discovered' if known else 'early', 'w').close()\n    assert known\n";
    let suite = Suite::of(&[("conftest.py", EARLY), ("test_a.py", test), ("test_b.py", test)]);
    let run = |arguments: &[&str]| {
        for file in ["discovered", "early"] {
            let _ = std::fs::remove_file(suite.path().join(file));
        }
        suite.run(arguments)
    };
    run(&[]).expect_counts(0, &[("passed", 2)]);
    run(&["--no-early-start"]).expect_counts(0, &[("passed", 2)]);
    suite.write("seagull.toml", "[run]\nearly-start = false\n");
    run(&[]).expect_counts(0, &[("passed", 2)]);
    suite.write("seagull.toml", "");
    suite.write("pytest.ini", "[pytest]\naddopts = -q\n");
    run(&[]).expect_counts(0, &[("passed", 2)]);
    // Otherwise it would have.
    suite.write("wait", "");
    assert_eq!(run(&[]).code, 100);
}
