//! Suites that have something for xdist's controller to do: one on each executor, before and after all its workers.

use serde_json::Value;

use crate::harness::{Cluster, Finished, Packages, Suite, text};

const BOTH: [(&str, &str); 2] = [("test_a.py::test_a", "passed"), ("test_b.py::test_b", "passed")];

/// What the processes of the suite `controller` wrote, in order, and what is left of their databases.
fn told(suite: &Suite) -> (Vec<String>, usize) {
    let place = suite.beside("meet");
    let log = std::fs::read_to_string(place.join("log")).unwrap_or_default();
    let files = std::fs::read_dir(&place).unwrap().map(|file| file.unwrap().file_name());
    let databases = files.filter(|name| name.to_string_lossy().starts_with("database-"));
    (log.lines().map(str::to_owned).collect(), databases.count())
}

/// Title and message of the only suite error.
#[track_caller]
fn error(run: &Finished) -> (String, String) {
    let error = run.one("suite_error");
    (text(error, "title").to_owned(), text(error, "message").to_owned())
}

/// A suite of two tests, with this at the end of its conftest.
fn suite(conftest: &str) -> Suite {
    let head = "import os, pytest\ndef log(*words):\n    print(*words, file=open('log', 'a'), flush=True)\n";
    let tests = "def test_a(): pass\ndef test_b(): pass\n";
    Suite::of(&[("conftest.py", &format!("{head}{conftest}")), ("test_a.py", tests)])
}

const TWO: [(&str, usize); 1] = [("passed", 2)];

#[test]
fn each_worker_has_what_the_controller_prepared_and_all_is_taken_down() {
    for packages in [Packages::Xdist, Packages::Pytest7, Packages::Pytest] {
        let suite = Suite::named("controller").with(packages);
        suite.run(&[]).expect(0, &BOTH);
        let (log, databases) = told(&suite);
        assert_eq!((log[0].as_str(), log.last().unwrap().as_str()), ("create", "drop 0"));
        assert_eq!((log.iter().filter(|line| line.starts_with("worker")).count(), databases), (2, 0));
        assert_eq!(log.len(), 4, "{log:?}");
        assert!(suite.marked().alive().is_empty());
        // What the last run found runs in the other slot before it is found again.
        std::fs::remove_file(suite.beside("meet/log")).unwrap();
        suite.run(&[]).expect(0, &BOTH);
        let (log, databases) = told(&suite);
        assert_eq!((log.iter().filter(|line| *line == "create").count(), databases), (1, 0), "{log:?}");
        assert_eq!((log[0].as_str(), log.last().unwrap().as_str()), ("create", "drop 0"));
    }
}

#[test]
fn each_executor_has_a_controller_of_its_own_which_is_said() {
    let cluster = Cluster::start(Suite::named("controller"));
    let _executors = [cluster.executor("e-one"), cluster.executor("e-two")];
    let run = cluster.start_run(&[]).finish();
    run.expect(0, &BOTH);
    let (log, databases) = told(&cluster.suite);
    let count = |word: &str| log.iter().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("create"), count("worker"), count("drop 0"), databases), (2, 2, 2, 0), "{log:?}");
    let warnings = run.one("manifest_confirmed")["warnings"].to_string();
    assert!(
        warnings.contains("pytest_configure_node in conftest.py: each executor of the run"),
        "{warnings}"
    );
}

#[test]
fn a_suite_without_anything_for_a_controller_has_none() {
    let hook = "@pytest.hookimpl(optionalhook=True)\ndef pytest_testnodedown(node): pass\n";
    let configure = "def pytest_configure(): log(os.environ.get('PYTEST_XDIST_WORKER'))\n";
    for (conftest, setting, controllers) in [
        (configure.to_owned(), "", 0),
        (format!("{configure}{hook}"), "", 1),
        (format!("{configure}{hook}"), "controller = false", 0),
        (configure.to_owned(), "controller = true", 1),
    ] {
        let suite = suite(&conftest);
        suite.write("seagull.toml", &format!("[pytest]\n{setting}\n"));
        suite.run(&["--slots", "1"]).expect_counts(0, &TWO);
        let log = suite.read("log");
        assert_eq!(log.matches("None").count(), controllers, "{setting} {log}");
        assert_eq!(log.matches("gw0").count(), 1, "{setting} {log}");
    }
}

#[test]
fn a_controller_that_cannot_start_is_a_suite_error_with_its_log() {
    let suite = suite(
        "def pytest_sessionstart(session):\n    if not hasattr(session.config, 'workerinput'):\n        \
         print('connecting')\n        raise RuntimeError('no server')\n",
    );
    let report = suite.beside("report.xml");
    let run = suite.run(&["--junit", report.to_str().unwrap()]);
    run.expect_counts(100, &TWO);
    let title = "the controller on local: session start".to_owned();
    assert_eq!(error(&run), (title, "RuntimeError: no server".to_owned()));
    let report = std::fs::read_to_string(report).unwrap();
    let log = report.split("----- log of the controller -----").nth(1).expect("it has the log");
    assert!(log.contains("connecting"), "{report}");
}

#[test]
fn a_controller_that_dies_is_a_suite_error_said_once_and_the_tests_run() {
    let run = suite(
        "@pytest.hookimpl(optionalhook=True)\ndef pytest_testnodeready(node):\n    os._exit(7)\n\
         def pytest_runtest_setup(item):\n    if item.name == 'test_b':\n        os._exit(8)\n",
    )
    .run(&["--slots", "1"]);
    run.expect_counts(100, &[("passed", 1), ("failed", 1)]);
    let title = "the controller on local: it ended before the workers did".to_owned();
    assert_eq!(error(&run), (title, "exit code 7".to_owned()));
}

#[test]
fn what_fails_when_all_is_taken_down_is_a_suite_error() {
    let run = suite(
        "def pytest_sessionfinish(session):\n    if not hasattr(session.config, 'workerinput'):\n        \
         raise RuntimeError('not dropped')\n",
    )
    .run(&[]);
    run.expect_counts(100, &TWO);
    let title = "the controller on local: session finish".to_owned();
    assert_eq!(error(&run), (title, "RuntimeError: not dropped".to_owned()));
    assert_eq!(run.one("suite_error")["executor"], Value::from("local"));
}

#[test]
fn an_interrupt_lets_the_controller_take_down_what_it_made() {
    let suite = Suite::named("controller");
    let mut run = suite.start(&["--slots", "1"]);
    run.until(crate::harness::is("test_started"));
    run.signal(nix::sys::signal::Signal::SIGINT);
    run.finish().expect_code(130);
    let (log, databases) = told(&suite);
    assert_eq!((log.last().map(String::as_str), databases), (Some("drop 0"), 0), "{log:?}");
}
