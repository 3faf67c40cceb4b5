//! What tests leave running: it is told, with the test that began it where that is known, and killed.

use serde_json::Value;

use crate::containers;
use crate::environments::{GUARDED, run};
use crate::harness::{Docker, Finished, GONE, Suite};

const TESTS: &str = r#"
import os, pytest, subprocess, sys, time

SERVER = """
import os, socket, time
listener = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.closerange(4, 256)
        time.sleep(600)
    os._exit(0)
os.wait()
"""

def begun(*command):
    null = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=null, stdout=null, stderr=null)

@pytest.fixture(scope="session")
def orderly():
    process = begun(sys.executable, "-c", "import time; time.sleep(601)")
    yield
    process.kill()
    process.wait()

@pytest.fixture(scope="session")
def careless():
    begun(sys.executable, "-c", "import time; time.sleep(602)")

def test_before(orderly):
    pass

def test_sleeps(orderly):
    for _ in range(2):
        begun(sys.executable, "-c", "import time; time.sleep(603)")

def test_serves():
    subprocess.run([sys.executable, "-c", SERVER], check=True)

def test_uses(careless):
    pass

def test_forks():
    if os.fork() == 0:
        os.setsid()
        time.sleep(604)
        os._exit(0)
"#;

/// Of each that was left: the test, the phase, how many, at how many ports, and what its command line ends with.
fn told(finished: &Finished) -> Vec<(String, String, u64, usize, String)> {
    let or_none = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    let of = |left: &&Value| {
        let command = or_none(&left["command"]);
        let last = command.rsplit_once("; ").map_or(&*command, |(_, last)| last).to_owned();
        let ports = left["ports"].as_array().unwrap().len();
        let test = or_none(&left["test"]).rsplit("::").next().unwrap().to_owned();
        (test, or_none(&left["phase"]), left["processes"].as_u64().unwrap(), ports, last)
    };
    let mut all: Vec<_> = finished.all("left").iter().map(of).collect();
    all.sort();
    // What it listens with is all of its source.
    all.iter_mut().filter(|left| left.3 > 0).for_each(|left| left.4.clear());
    all
}

fn expected() -> Vec<(String, String, u64, usize, String)> {
    let of = |test: &str, phase: &str, processes, ports, last: &str| {
        (test.to_owned(), phase.to_owned(), processes, ports, last.to_owned())
    };
    vec![
        of("none", "none", 1, 0, "(a fork of its worker)"),
        of("test_serves", "call", 1, 1, ""),
        of("test_sleeps", "call", 2, 0, "time.sleep(603)"),
        of("test_uses", "setup", 1, 0, "time.sleep(602)"),
    ]
}

#[test]
fn what_tests_leave_running_is_told_with_the_test_that_began_it_and_killed() {
    let suite = Suite::of(&[("test_a.py", TESTS)]);
    let finished = suite.run(&["--slots", "1"]);
    finished.expect_counts(0, &[("passed", 5)]);
    assert_eq!(told(&finished), expected());
    suite.marked().all_gone_within(GONE);
    let state = suite.beside("state");
    let words = ["explain", "last", "test_serves", "--state", state.to_str().unwrap()];
    let output = suite.seagull(&words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.starts_with("left running at the end of attempt "));
    let line = line.unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains(", listening at ") && line.ends_with("; begun in its call"), "{line}");
}

#[test]
fn what_a_worker_leaves_that_does_not_end_in_order_is_killed_and_nobodys_fault() {
    let dies = format!("{TESTS}\ndef test_zz_dies():\n    os._exit(3)\n");
    let suite = Suite::of(&[("test_a.py", &dies)]);
    let finished = suite.run(&["--slots", "1"]);
    finished.expect_counts(100, &[("passed", 5), ("failed", 1)]);
    assert_eq!(told(&finished), []);
    suite.marked().all_gone_within(GONE);
}

#[test]
fn what_tests_leave_running_in_a_container_is_told_alike() {
    let Some(docker) = Docker::get() else { return };
    let suite = containers::suite(&[("tests/db/test_a.py", TESTS)]);
    let finished = run(&docker, &suite, &["tests", "--slots", "1"]);
    finished.expect_counts(0, &[("passed", 5)]);
    assert_eq!(told(&finished), expected());
    assert_eq!(docker.objects(&suite), [""; 0]);
    suite.marked().all_gone_within(GUARDED);
}
