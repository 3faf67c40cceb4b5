//! Renewal: what tests find of one another in their process, by what a worker lives for; and that a leak is contained.

use std::collections::BTreeSet;

use crate::harness::{Packages, Suite, text};

/// How many tests came before in this process; and where it can be seen which process that was.
const SHARED: &str = "\
import os
BEFORE = []
def before():
    with open(os.path.join(os.environ['MEETING_PLACE'], 'pids'), 'a') as pids:
        pids.write('%d\\n' % os.getpid())
    BEFORE.append(None)
    return len(BEFORE) - 1
";
const PAIR: &str = "\
from shared import before
def test_one(): assert before() == 0
def test_two(): assert before() == 1
";

fn pairs() -> Suite {
    Suite::of(&[("shared.py", SHARED), ("test_a.py", PAIR), ("test_b.py", PAIR)])
}

/// In how many processes tests ran.
fn processes(suite: &Suite) -> usize {
    let pids = std::fs::read_to_string(suite.beside("meet/pids")).unwrap();
    pids.lines().collect::<BTreeSet<_>>().len()
}

#[test]
fn tests_find_of_one_another_what_their_isolation_says() {
    for (isolation, processes_expected, fail) in [
        ("slot", 1, &["test_b.py::test_one", "test_b.py::test_two"][..]),
        ("bundle", 2, &[]),
        ("test", 4, &["test_a.py::test_two", "test_b.py::test_two"]),
    ] {
        let suite = pairs();
        suite.write("seagull.toml", &format!("[run]\nisolation = '{isolation}'\n"));
        let run = suite.run(&["--slots", "1"]);
        let tests =
            ["test_a.py::test_one", "test_a.py::test_two", "test_b.py::test_one", "test_b.py::test_two"];
        let verdict = |test| if fail.contains(&test) { "failed" } else { "passed" };
        run.expect(if fail.is_empty() { 0 } else { 100 }, &tests.map(|test| (test, verdict(test))));
        assert!(run.all("suite_error").is_empty());
        assert_eq!(processes(&suite), processes_expected, "{isolation}");
    }
}

#[test]
fn an_interpreter_for_each_test_on_every_slot_but_one_for_those_that_are_related() {
    let suite = Suite::of(&[
        ("shared.py", SHARED),
        (
            "test_a.py",
            "import pytest\nfrom shared import before\n\
             @pytest.mark.xdist_group('pair')\ndef test_one(): assert before() == 0\n\
             @pytest.mark.parametrize('number', range(4))\ndef test_alone(number): assert before() == 0\n\
             @pytest.mark.xdist_group('pair')\ndef test_two(): assert before() == 1\n",
        ),
    ]);
    suite.run(&["--isolation", "test"]).expect_counts(0, &[("passed", 6)]);
    assert_eq!(processes(&suite), 5);
}

#[test]
fn what_depends_on_others_finds_them_before_it_in_its_interpreter() {
    let suite = Suite::of(&[(
        "test_a.py",
        "import pytest\nSEEN = []\n\
         @pytest.mark.dependency()\ndef test_one(): SEEN.append(1)\n\
         def test_alone(): assert not SEEN\n\
         @pytest.mark.dependency(depends=['test_one'])\ndef test_two(): assert SEEN\n",
    )]);
    let suite = suite.with(Packages::Plugins);
    suite
        .run(&["--isolation", "test", "--slots", "1", "--", "-p", "no:randomly"])
        .expect_counts(0, &[("passed", 3)]);
}

#[test]
fn each_session_tears_down_and_what_fails_in_it_is_a_suite_error() {
    let suite = Suite::of(&[(
        "test_a.py",
        "import pytest\n\
         @pytest.fixture(scope='session')\ndef server():\n    yield\n    raise RuntimeError('it does not stop')\n\
         def test_one(server): pass\ndef test_two(server): pass\n",
    )]);
    let run = suite.run(&["--isolation", "test"]);
    run.expect(100, &[("test_a.py::test_one", "passed"), ("test_a.py::test_two", "passed")]);
    assert_eq!(run.all("suite_error").len(), 2);
}

#[test]
fn a_test_that_crashes_takes_only_its_own_interpreter_along() {
    let suite = Suite::of(&[("test_a.py", "import os\ndef test_one(): os.abort()\ndef test_two(): pass\n")]);
    let run = suite.run(&["--isolation", "test", "--slots", "1"]);
    run.expect(100, &[("test_a.py::test_one", "failed"), ("test_a.py::test_two", "passed")]);
    assert_eq!(text(run.result("test_a.py::test_one"), "cause"), "crashed");
}

/// Each test keeps 60 MiB; Python and pytest take about 50.
const LEAK: &str = "\
import pytest
from shared import before
HOARD = []
@pytest.mark.parametrize('number', range(6))
def test_leaks(number):
    before()
    HOARD.append(b'x' * (60 << 20))
";

#[test]
fn a_leak_is_contained_and_said_once() {
    let suite = Suite::of(&[("shared.py", SHARED), ("test_a.py", LEAK)]);
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let run = |arguments: &[&str]| {
        let all = [&["run", "--slots", "1", "--output", "plain", "--state", &state], arguments].concat();
        let output = suite.seagull(&all).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run(&["--worker-memory", "150MiB", "--run-id", "bounded"]);
    assert_eq!(processes(&suite), 3, "two tests each");
    assert_eq!(
        said.matches("after 3 tests a worker had more than 150 MiB; most after ").count(),
        1,
        "{said}"
    );
    let again = suite.seagull(&["explain", "bounded", "--state", &state]).output().unwrap();
    let again = String::from_utf8(again.stdout).unwrap();
    assert!(again.contains("after 3 tests a worker had more than 150 MiB"), "{again}");
    std::fs::remove_file(suite.beside("meet/pids")).unwrap();
    let said = run(&[]);
    assert!(processes(&suite) == 1 && !said.contains("had more than"), "{said}");
}
