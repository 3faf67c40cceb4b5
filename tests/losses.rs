//! What is lost: executors that die with what they ran, and what becomes of the tests.

use crate::harness::{Suite, text};
use crate::processes::Cluster;

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
