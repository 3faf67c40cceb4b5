//! What is done around a run: look at it, ask why, follow it, run a part of it again, repeat a test. Here, and through a
//! scheduler.

use std::process::Output;

use serde_json::Value;

use crate::harness::{Cluster, Packages, Running, Suite, text};

/// The second test fails after the first in the same process, unless a file forgives it.
const SOURCE: &str = "\
import os, pathlib, random
SEEN = []
def test_first(): SEEN.append(1)
def test_second():
    print('words of the second')
    assert not SEEN or pathlib.Path('forgiven').exists(), 'the first was here'
def test_third(): pass
class TestDeep:
    def test_third(self): pass
";

/// A suite that is run through one way to state: options for `run`, and for what is done around it.
pub struct Ran {
    pub suite: Suite,
    pub from: Vec<String>,
}

impl Ran {
    fn here() -> Ran {
        Ran::of(&[("test_a.py", SOURCE)])
    }

    pub fn of(files: &[(&str, &str)]) -> Ran {
        Ran::suite(Suite::of(files))
    }

    fn suite(suite: Suite) -> Ran {
        let state = suite.beside("state").into_os_string().into_string().unwrap();
        Ran { suite, from: vec!["--state".into(), state] }
    }

    /// What a command answers.
    pub fn ask(&self, arguments: &[&str]) -> Output {
        let from: Vec<_> = self.from.iter().map(String::as_str).collect();
        self.suite.seagull(&[arguments, &from].concat()).output().unwrap()
    }

    #[track_caller]
    pub fn text(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.text(&[arguments, &["--output", "json"]].concat());
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// After one run of the suite, on one slot, named `one`.
#[track_caller]
fn everything_is_told(ran: &Ran) {
    let runs = ran.objects(&["runs"]);
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!((text(&runs[0], "run"), text(&runs[0], "verdict")), ("one", "failed"));
    assert_eq!((&runs[0]["exit_code"], &runs[0]["counts"]["passed"]), (&100.into(), &3.into()));
    assert!(runs[0]["seconds"].as_f64().unwrap() > 0.0);
    assert!(ran.text(&["runs"]).contains("4: 3 passed, 1 failed"));

    assert_eq!(ran.objects(&["results"]).len(), 4);
    let failed = ran.objects(&["results", "one", "--failed"]);
    assert_eq!(failed.len(), 1);
    assert_eq!(text(&failed[0], "test"), "test_a.py::test_second");
    assert!(text(&failed[0]["results"][0], "message").contains("the first was here"));
    assert_eq!(ran.objects(&["results", "last", "--slowest", "2"]).len(), 2);
    assert!(ran.text(&["results", "--failed"]).contains("the first was here"));

    let logs = ran.text(&["logs", "last", "second"]);
    assert!(logs.contains("words of the second") && logs.contains("failed (assertion)"), "{logs}");
    let quiet = ran.objects(&["logs", "one", "test_a.py::test_first"]);
    assert_eq!((quiet.len(), &quiet[0]["text"]), (1, &Value::Null));

    let why = ran.text(&["explain"]);
    assert!(why.contains("failed, exit code 100") && why.contains("because 1 test failed"), "{why}");
    assert_eq!(text(&ran.objects(&["explain", "one"])[0], "because"), "1 test failed");
    let why = ran.text(&["explain", "test_second"]);
    assert!(why.contains("because it failed once and never passed"), "{why}");
    let from = ran.from.join(" ");
    for hint in ["logs", "repro"] {
        let hint = format!("  seagull {hint} one test_a.py::test_second {from}\n");
        assert!(why.contains(&hint), "{hint}{why}");
    }
    assert_eq!(ran.objects(&["explain", "one", "second"])[0]["executions"][0]["before"], 1);

    let history = ran.objects(&["history", "test_second"]);
    assert_eq!((history.len(), text(&history[0], "verdict")), (1, "failed"));
    assert!(ran.text(&["history", "test_first"]).contains("as 1 run taught"));
    assert!(ran.text(&["history", "test_second"]).contains("no run of it was good"));

    // The stream once more, with the run's exit code.
    let watched = ran.ask(&["watch", "--output", "json"]);
    assert_eq!(watched.status.code(), Some(100), "{}", said(&watched));
    assert_eq!(String::from_utf8(watched.stdout).unwrap().matches("\"event\":\"verdict\"").count(), 4);

    for (arguments, expected) in [
        (&["logs", "last", "third"][..], "test_a.py::TestDeep::test_third"),
        (&["logs", "last", "nothing"], "no test of run one matches"),
        (&["history", "third"], "2 tests of project"),
        (&["results", "nowhere"], "there is no run nowhere"),
        (&["watch", "nowhere"], "there is no run nowhere"),
        (&["explain", "nowhere", "test_first"], "there is no run nowhere"),
        (&["explain", "nowhere"], "there is no run nowhere, and no test of run one matches"),
        (&["logs", "nowhere"], "there is no run nowhere, and no test of run one matches"),
        (&["run", "--select", "failed@nowhere"], "run nowhere has not ended, or is not kept"),
    ] {
        let output = ran.ask(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(expected) && said(&output).contains("hint:"), "{}", said(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_run_that_ended_here_is_told_of() {
    let ran = Ran::here();
    let output = ran.ask(&["results"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("nothing has run here yet"), "{}", said(&output));
    assert!(!ran.suite.beside("state").exists(), "looking makes nothing");
    ran.suite.run(&["--slots", "1", "--run-id", "one"]).expect_code(100);
    everything_is_told(&ran);
}

#[test]
fn a_run_that_ended_on_a_scheduler_is_told_of() {
    let cluster = Cluster::start(Suite::of(&[("test_a.py", SOURCE)]));
    let _executor = cluster.executor("e-one");
    cluster.start_run(&["--run-id", "one"]).finish().expect_code(100);
    let token = cluster.token().into_os_string().into_string().unwrap();
    let from = ["--scheduler", &cluster.url, "--token-file", &token].map(str::to_owned).into();
    let ran = Ran { suite: cluster.suite, from };
    everything_is_told(&ran);

    // On the files that the run had, whatever has become of the tree.
    ran.suite.write("forgiven", "");
    let again = ran.ask(&["rerun", "--run-id", "two", "--output", "plain"]);
    assert!(said(&again).contains("1 test; 3 verdicts stand"), "{}", said(&again));
    // Alone, the second test passes.
    assert_eq!(again.status.code(), Some(0), "{}", said(&again));
    let runs = ran.objects(&["runs"]);
    assert_eq!((text(&runs[0], "run"), text(&runs[0], "rerun_of")), ("two", "one"));
    assert_eq!(runs[0]["counts"]["total"], 1);
}

#[test]
fn what_did_not_pass_is_run_again_and_the_next_run_says_what_that_would_be() {
    let ran = Ran::here();
    ran.suite.write("conftest.py", "import test_a\ntest_a.SEEN.append(0)\n");
    let first = ran.suite.run(&["--slots", "1", "--run-id", "one", "--seed", "7", "--retries", "1"]);
    first.expect_code(100);
    assert!(!first.stderr.contains("the last run"), "{}", first.stderr);
    let command = |arguments: &[&str], name: &str| {
        let from: Vec<_> = ran.from.iter().map(String::as_str).collect();
        let command =
            ran.suite.seagull(&[arguments, &["--output", "json", "--run-id", name], &from].concat());
        Running::start(command, &ran.suite.beside(name)).finish()
    };
    let again = command(&["rerun"], "two");
    again.expect(100, &[("test_a.py::test_second", "failed")]);
    let started = again.one("run_started");
    assert_eq!((&started["seed"], &started["retries"]), (&7.into(), &1.into()));
    assert_eq!(started["select"], serde_json::json!(["not-passed@one"]));

    let next = ran.suite.run(&["--slots", "1", "--run-id", "three"]);
    assert!(
        next.stderr.contains("the last run, two: failed; --select not-passed runs what did not pass and is still there, at most 1 test"),
        "{}",
        next.stderr
    );

    ran.suite.write("forgiven", "");
    command(&["rerun", "three", "--failed"], "four").expect(0, &[("test_a.py::test_second", "passed")]);
    let nothing = ran.ask(&["rerun"]);
    assert_eq!(nothing.status.code(), Some(0), "{}", said(&nothing));
    assert!(said(&nothing).contains("no test of run four is left"), "{}", said(&nothing));
}

#[test]
fn a_rerun_says_how_to_run_again_what_failed_as_it_was_asked_for() {
    let ran = Ran::of(&[("test_a.py", "def test_x(): assert 0\n")]);
    ran.suite.run(&["--run-id", "one"]).expect_code(100);
    let again = ran.ask(&["rerun", "one", "--run-id", "two"]);
    assert_eq!(again.status.code(), Some(100), "{}", said(&again));
    let hint = format!("rerun what failed:      seagull rerun two --failed {}\n", ran.from.join(" "));
    assert!(said(&again).contains(&hint), "{}", said(&again));
}

#[test]
fn a_file_that_is_mended_runs_again_with_all_its_tests() {
    let broken = "def test_x(): pass\ndef test_y(: pass\n";
    let ran = Ran::of(&[("test_a.py", broken), ("test_b.py", "def test_x(): assert 0\n")]);
    let both = [("test_a.py", "failed"), ("test_b.py::test_x", "failed")];
    ran.suite.run(&["--run-id", "one", "--slots", "1"]).expect(100, &both);
    let repeated = ran.ask(&["repro", "one", "test_a.py"]);
    assert_eq!(repeated.status.code(), Some(100), "{}", said(&repeated));
    let behind = ran.ask(&["repro", "one", "test_b.py::test_x"]);
    assert_eq!(behind.status.code(), Some(100), "{}", said(&behind));

    ran.suite.write("test_a.py", "def test_x(): pass\ndef test_y(): assert 0\n");
    ran.suite.write("test_b.py", "def test_x(): pass\n");
    let repeated = ran.ask(&["repro", "one", "test_a.py"]);
    assert_eq!(repeated.status.code(), Some(0), "{}", said(&repeated));
    let from: Vec<_> = ran.from.iter().map(String::as_str).collect();
    let rerun = ran.suite.seagull(&[&["rerun", "--failed", "--output", "json"][..], &from].concat());
    let rerun = Running::start(rerun, &ran.suite.beside("rerun")).finish();
    let mended =
        [("test_a.py::test_x", "passed"), ("test_a.py::test_y", "failed"), ("test_b.py::test_x", "passed")];
    rerun.expect(100, &mended);

    // The broken file's failure is that of its tests until they are executed, here by the rerun.
    let last = ["--select", "last-failed"];
    ran.suite.run(&last).expect(100, &mended[1..2]);
    ran.suite.write("test_a.py", "def test_z(): pass\n");
    let renamed = ran.suite.run(&["--select", "failed@one", "--select", "last-failed"]);
    renamed.expect(0, &[("test_a.py::test_z", "passed"), ("test_b.py::test_x", "passed")]);
    let warnings = format!("{:?}", renamed.events);
    assert!(
        warnings.contains("1 test chosen by verdict, not discovered any more: test_a.py::test_y"),
        "{warnings}"
    );
}

#[test]
fn a_gate_on_the_whole_is_no_failure_of_the_repeated_test() {
    let ran = Ran::here();
    ran.suite.run(&["--slots", "1", "--run-id", "one"]).expect_code(100);
    let gate = "import os, sys\ndef pytest_sessionfinish(session): session.exitstatus = 1\n\
        def pytest_configure(): assert 'seagull-repro-' not in os.environ.get('PYTHONPATH', '') + str(sys.path)\n";
    ran.suite.write("conftest.py", gate);
    for (test, code) in [("test_first", 0), ("second", 100)] {
        let repeated = ran.ask(&["repro", "one", test]);
        assert_eq!(repeated.status.code(), Some(code), "{test}: {}", said(&repeated));
    }
    // What ends pytest before the test is told.
    ran.suite
        .write("conftest.py", "import pytest\ndef pytest_collection_finish(): pytest.exit('enough', 2)\n");
    let ended = ran.ask(&["repro", "one", "test_first"]);
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
    assert!(said(&ended).contains("before it came to test_a.py::test_first"), "{}", said(&ended));
}

#[test]
fn where_the_last_run_found_no_tests_others_are_to_be_named() {
    let ran = Ran::here();
    for (run, selects) in
        [("undiscovered", &["test_a.py::test_none"][..]), ("deselected", &["--", "-k", "nothing"])]
    {
        ran.suite.run(&[&["--run-id", run], selects].concat()).expect_code(101);
        let asked = ran.ask(&["logs", "test_first"]);
        assert_eq!(asked.status.code(), Some(2), "{}", said(&asked));
        let hint = format!("hint: seagull explain {run} says why, and seagull runs lists others");
        assert!(said(&asked).contains(&hint), "{}", said(&asked));
    }
    let nothing = ran.ask(&["rerun", "deselected"]);
    assert_eq!(nothing.status.code(), Some(101), "{}", said(&nothing));
    assert!(
        said(&nothing).contains("run deselected had no tests; the run itself: incomplete"),
        "{}",
        said(&nothing)
    );
    let watched = ran.ask(&["watch", "deselected"]);
    assert!(said(&watched).contains("what is discovered:     /"), "{}", said(&watched));
}

#[test]
fn a_test_is_repeated_as_it_ran() {
    let ran = Ran::here();
    ran.suite.run(&["--slots", "1", "--run-id", "one", "--seed", "7", "test_a.py"]).expect_code(100);
    let line = ran.text(&["repro", "last", "second", "--print"]);
    assert!(line.contains("PYTHONHASHSEED=7"), "{line}");
    assert!(line.contains(" test_a.py::test_first test_a.py::test_second"), "{line}");
    assert!(!line.contains("pytest test_a.py "), "its paths are not in it: {line}");
    let printed = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
    assert_eq!(printed.status.code(), Some(1), "{}", String::from_utf8_lossy(&printed.stdout));

    let again = ran.ask(&["repro", "last", "second"]);
    assert_eq!(again.status.code(), Some(100), "{}", said(&again));
    assert!(String::from_utf8_lossy(&again.stdout).contains("1 failed, 1 passed"));
    let alone = ran.ask(&["repro", "last", "second", "--alone", "--until-fail=2"]);
    assert_eq!(alone.status.code(), Some(0), "{}", said(&alone));
    assert!(said(&alone).contains("did not fail; it was tried 2 times"), "{}", said(&alone));
    let until = ran.ask(&["repro", "last", "second", "--until-fail"]);
    assert_eq!(until.status.code(), Some(100), "{}", said(&until));
    let held = ran.ask(&["repro", "last", "second", "--hold-on-failure", "10m"]);
    assert_eq!(held.status.code(), Some(2), "{}", said(&held));
    assert!(said(&held).contains("test_second has no services that could stay\nhint: "), "{}", said(&held));
}

#[test]
fn a_repeated_test_finds_the_worker_it_ran_in() {
    for packages in [Packages::Pytest, Packages::Pytest7, Packages::Xdist] {
        let ran = Ran::suite(Suite::named("identity").with(packages));
        ran.suite.run(&["--slots", "1", "--run-id", "one"]).expect_code(0);
        for test in ["test_worker_id", "test_testrun_uid", "test_workerinput", "inherited"] {
            let repeated = ran.ask(&["repro", "one", test]);
            assert_eq!(repeated.status.code(), Some(0), "{packages:?} {test}: {}", said(&repeated));
        }
        let line = ran.text(&["repro", "one", "test_workerinput", "--print"]);
        let printed = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(printed.status.success(), "{line}: {}", String::from_utf8_lossy(&printed.stdout));
    }
}

#[test]
fn what_a_controller_gave_a_test_is_made_anew() {
    let conftest = "import pathlib, pytest\n@pytest.hookimpl(optionalhook=True)\n\
        def pytest_configure_node(node):\n    assert not hasattr(node.config, 'workerinput')\n    \
        node.workerinput['db'] = node.gateway.id + '.db'\n\
        @pytest.hookimpl(optionalhook=True)\n\
        def pytest_testnodedown(node, error): pathlib.Path('down').write_text(node.workeroutput['size'])\n";
    let finish = "def pytest_sessionfinish(session): assert not hasattr(session.config, 'workerinput') or \
        'db' in session.config.workerinput\n";
    let whole = format!("{conftest}{finish}");
    let test = "def test_db(request):\n    request.config.workeroutput['size'] = '7'\n    \
        assert request.config.workerinput['db'] == 'gw0.db'\n";
    for packages in [Packages::Pytest, Packages::Pytest7, Packages::Xdist] {
        let files = [("conftest.py", whole.as_str()), ("test_a.py", test)];
        let ran = Ran::suite(Suite::of(&files).with(packages));
        ran.suite.run(&["--slots", "1", "--run-id", "one"]).expect_code(0);
        std::fs::remove_file(ran.suite.path().join("down")).unwrap();
        let repeated = ran.ask(&["repro", "one", "test_db"]);
        assert_eq!(repeated.status.code(), Some(0), "{packages:?}: {}", said(&repeated));
        let anew = "is made anew (pytest_configure_node in conftest.py)";
        assert!(said(&repeated).contains(anew), "{}", said(&repeated));
        assert_eq!(ran.suite.read("down"), "7");
    }
    // Where the run had none.
    let ran = Ran::of(&[
        ("conftest.py", conftest),
        ("test_a.py", "def test_db(request): assert 'db' not in request.config.workerinput\n"),
        ("seagull.toml", "[pytest]\ncontroller = false\n"),
    ]);
    ran.suite.run(&["--slots", "1", "--run-id", "one"]).expect_code(0);
    let repeated = ran.ask(&["repro", "one", "test_db"]);
    assert_eq!(repeated.status.code(), Some(0), "{}", said(&repeated));
    assert!(!said(&repeated).contains("made anew") && !ran.suite.path().join("down").exists());
}

#[test]
fn a_skipped_test_is_said_to_be_skipped_again() {
    let ran = Ran::of(&[("test_a.py", "import pytest\n@pytest.mark.skip\ndef test_x(): pass\n")]);
    ran.suite.run(&["--run-id", "one"]).expect_code(0);
    let repeated = ran.ask(&["repro", "one", "test_x"]);
    assert_eq!(repeated.status.code(), Some(0), "{}", said(&repeated));
    assert!(said(&repeated).contains("test_a.py::test_x was skipped"), "{}", said(&repeated));
}

#[test]
fn shells_and_readers_get_what_they_want() {
    let suite = Suite::of(&[]);
    let output = suite.seagull(&["completions", "bash"]).output().unwrap();
    assert!(output.status.success());
    let script = String::from_utf8(output.stdout).unwrap();
    assert!(std::process::Command::new("bash").args(["-n", "-c", &script]).status().unwrap().success());
    let output = suite.seagull(&["man", "explain"]).output().unwrap();
    assert!(output.stdout.starts_with(b".ie"), "{}", said(&output));
}
