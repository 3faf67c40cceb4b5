//! What is lost: executors that die with what they ran, or stand still, and what becomes of the tests.
#![expect(clippy::disallowed_methods, reason = "a standstill lasts for a while")]

use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::harness::{Cluster, Suite, text, until};

/// A test kills its executor, the parent of the process that watches over its worker.
const KILLER: &str = "\
import os, signal, time
def parent(pid): return int(open(f'/proc/{pid}/stat').read().rsplit(')', 1)[1].split()[1])
def test_before(): pass
def test_kills():
    time.sleep(0.5)  # What was before it is told meanwhile.
    os.kill(parent(os.getppid()), signal.SIGKILL)
def test_after(): pass
";

#[test]
fn a_test_that_kills_its_executors_fails_and_no_other_does() {
    let cluster = Cluster::start(Suite::of(&[("test_a.py", KILLER), ("test_b.py", "def test_b(): pass\n")]));
    let _executors = ["e-one", "e-two", "e-three", "e-four"].map(|name| cluster.executor(name));
    let run = cluster.start_run(&[]).finish();
    run.expect(
        100,
        &[
            ("test_a.py::test_before", "passed"),
            ("test_a.py::test_kills", "failed"),
            ("test_a.py::test_after", "passed"),
            ("test_b.py::test_b", "passed"),
        ],
    );
    let result = run.result("test_a.py::test_kills");
    assert_eq!(text(result, "cause"), "poison");
    let message = text(result, "message");
    assert!(message.starts_with("each executor that ran it alone was lost: e-"), "{message}");
    assert_eq!(run.all("executor_lost").len(), 3);
}

#[test]
fn a_run_goes_on_without_an_executor_that_cannot_discover_it() {
    let conftest = "import os\nassert 'BAD' not in os.environ, 'not here'\n";
    let cluster =
        Cluster::start(Suite::of(&[("conftest.py", conftest), ("test_a.py", "def test_a(): pass\n")]));
    let _good = cluster.executor("b-good");
    cluster.start_run(&[]).finish().expect(0, &[("test_a.py::test_a", "passed")]);
    // It is asked first, as soon as it has joined.
    let _bad = cluster.executor_with("a-bad", &[], &[("BAD", "1")]);
    let asked = (0..50).map(|_| cluster.start_run(&[]).finish()).find(|run| {
        run.expect(0, &[("test_a.py::test_a", "passed")]);
        !run.all("attempt_lost").is_empty()
    });
    let asked = asked.expect("the bad executor joins");
    let lost = asked.all("attempt_lost")[0];
    assert_eq!(text(lost, "cause"), "environment differs");
    assert!(text(lost, "message").contains("not here"), "{lost}");
}

#[test]
fn a_discovery_that_is_killed_once_is_made_again() {
    let conftest = "\
import os, signal
def pytest_collection_finish():
    if not os.path.exists('killed'):
        open('killed', 'w').close()
        os.kill(os.getpid(), signal.SIGKILL)
";
    let suite = Suite::of(&[("conftest.py", conftest), ("test_a.py", "def test_a(): pass\n")]);
    let run = suite.run(&[]);
    run.expect(0, &[("test_a.py::test_a", "passed")]);
    let warnings = run.one("manifest_confirmed")["warnings"].to_string();
    assert!(warnings.contains("the discovery ended with signal 9, and was made again"), "{warnings}");
}

/// Waits in vain where it runs first once there is a file.
const STUCK: &str = "\
import os, pathlib, time
def test_stuck():
    stuck = pathlib.Path(os.environ['STUCK'])
    if stuck.exists():
        stuck.unlink()
        time.sleep(600)
";

#[test]
fn a_test_that_is_stuck_on_one_executor_passes_on_another() {
    let suite = Suite::of(&[("test_a.py", STUCK)]);
    let stuck = suite.beside("stuck");
    suite.write("seagull.toml", &format!("[env]\nSTUCK = {:?}\n", stuck.display().to_string()));
    let cluster = Cluster::start(suite);
    let _executors = ["e-one", "e-two"].map(|name| cluster.executor(name));
    cluster.start_run(&[]).finish().expect_counts(0, &[("passed", 1)]);
    std::fs::write(stuck, "").unwrap();
    let run = cluster.start_run(&[]).finish();
    run.expect_counts(0, &[("passed", 1)]);
    let is_copy = |event: &&&serde_json::Value| event["copy_of"] == "test_a.py::test_stuck";
    let assigned = run.all("attempt_assigned");
    let copies: Vec<_> = assigned.iter().filter(is_copy).collect();
    assert_eq!(copies.len(), 1, "{}", run.stderr);
    let result = run.result("test_a.py::test_stuck");
    assert_eq!(result["attempt"], copies[0]["attempt"], "the one that is stuck is interrupted");
}

#[test]
fn an_executor_where_nothing_starts_is_cordoned_and_costs_no_test_anything() {
    let conftest = "\
import os
def pytest_sessionstart():
    if 'SICK' in os.environ: os._exit(3)
";
    let files: Vec<_> = (0..16).map(|file| format!("test_{file}.py")).collect();
    let test = "import time\ndef test_one(): time.sleep(0.4)\ndef test_two(): pass\n";
    let files = files.iter().map(|file| (file.as_str(), test)).chain([("conftest.py", conftest)]);
    let cluster = Cluster::start(Suite::of(&files.collect::<Vec<_>>()));
    // It is asked first to discover, for it is there.
    let _sound = cluster.executor("a-sound");
    cluster.start_run(&["test_0.py"]).finish().expect_counts(0, &[("passed", 2)]);
    let _sick = cluster.executor_with("b-sick", &[], &[("SICK", "1")]);
    let run = (0..20).map(|_| cluster.start_run(&["--test-losses", "1"]).finish()).find(|run| {
        run.expect_counts(0, &[("passed", 32)]);
        !run.all("executor_cordoned").is_empty()
    });
    let run = run.expect("the sick executor joins");
    let cordoned = run.one("executor_cordoned");
    assert_eq!((text(cordoned, "executor"), text(cordoned, "reason")), ("b-sick", "nothing starts"));
    assert!(run.all("attempt_lost").iter().all(|lost| lost["charged"].as_array().unwrap().is_empty()));
}

#[test]
fn a_standstill_that_ends_before_its_limit_is_not_charged_to_a_test() {
    let sleeps = "import time\ndef test_sleeps():\n    open('began', 'w').close()\n    \
                  for _ in range(100): time.sleep(0.02)\n";
    let suite = Suite::of(&[("test_a.py", sleeps)]);
    let run = suite.start(&["--test-limit", "6s"]);
    until(|| suite.path().join("began").exists());
    let all = suite.marked().alive();
    assert!(all.len() >= 3, "the command, a supervisor, a worker: {all:?}");
    all.iter().for_each(|(pid, _)| kill(*pid, Signal::SIGSTOP).unwrap());
    std::thread::sleep(Duration::from_millis(4500));
    all.iter().for_each(|(pid, _)| kill(*pid, Signal::SIGCONT).unwrap());
    run.finish().expect(0, &[("test_a.py::test_sleeps", "passed")]);
}

#[test]
fn slots_where_nothing_starts_cost_no_test_its_result_while_another_is_busy() {
    let only_gw0 = "import os\nif os.environ.get('PYTEST_XDIST_WORKER') not in (None, 'gw0'): os._exit(3)\n";
    let suite = Suite::of(&[
        ("conftest.py", only_gw0),
        ("test_a.py", "import time\ndef test_long(): time.sleep(10)\n"),
        ("test_b.py", "def test_short(): pass\n"),
    ]);
    let run = suite.run(&["--slots", "4"]);
    run.expect(0, &[("test_a.py::test_long", "passed"), ("test_b.py::test_short", "passed")]);
    assert!(!run.all("attempt_lost").is_empty(), "others were tried");
}
