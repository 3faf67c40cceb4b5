//! `seagull plan`: a suite is discovered and packed, and nothing runs; a list of durations needs no suite.

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Running, Suite, until};

const TESTS: &str = "\
import pathlib
import pytest
@pytest.mark.parametrize('n', range(4))
def test_n(n): pathlib.Path('ran').touch()
@pytest.mark.xdist_group('g')
def test_g(): pathlib.Path('ran').touch()
";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The object that is printed.
#[track_caller]
fn planned(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_suite_is_discovered_and_planned_and_nothing_runs() {
    let suite = Suite::of(&[("test_a.py", TESTS), ("test_b.py", "def test_last(): pass\n")]);
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let plan = |arguments: &[&str]| {
        suite
            .seagull(&[&["plan", "--state", &state, "--output", "json"], arguments].concat())
            .output()
            .unwrap()
    };
    let output = plan(&["--slots", "1,2"]);
    let object = planned(&output);
    assert!(text(&output.stderr).contains("6 tests discovered"), "{object}");
    assert_eq!(object["history"]["known"], 0);
    assert_eq!(object["tests"], 6);
    let mut tests: Vec<&str> = object["bundles"].as_array().unwrap().iter().flat_map(tests_of).collect();
    tests.sort_unstable();
    let ids = ["test_a.py::test_g", "test_a.py::test_n[0]", "test_a.py::test_n[1]"];
    assert_eq!(tests[..3], ids);
    assert_eq!(object["slots"].as_array().unwrap().len(), 2);
    assert!(!suite.path().join("ran").exists(), "nothing ran");
    assert_eq!(planned(&plan(&["test_b.py"]))["tests"], 1);
}

/// How long what is killed, or removed, may take, on a busy machine.
const GONE: Duration = Duration::from_secs(60);

/// Whoever collects it waits, where it is to.
const WAITS: &str = "\
import os, pathlib, time
place = pathlib.Path(os.environ['MEETING_PLACE'])
def pytest_collection_modifyitems(items):
    if (place / 'wait').exists():
        (place / 'here').touch()
        time.sleep(1000)
";

#[test]
fn what_a_plan_a_doctor_and_a_repetition_leave_that_are_killed_goes_with_the_next() {
    let suite = Suite::of(&[("conftest.py", WAITS), ("test_a.py", TESTS)]);
    let (place, temporary) = (suite.beside("meet"), suite.beside("tmp"));
    std::fs::create_dir(&temporary).unwrap();
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    suite.run(&["--run-id", "one", "test_a.py"]).expect_code(0);
    let command = |words: &[&str]| {
        let mut command = suite.seagull(&[words, &["--state", &state]].concat());
        command.env("TMPDIR", &temporary);
        command
    };
    let left = |what: &str| {
        let prefix = format!("seagull-{what}-");
        let names = std::fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(&prefix)).count()
    };
    let words: [&[&str]; 3] = [&["plan"], &["doctor"], &["repro", "one", "test_g"]];
    for words in words {
        let begin = || {
            std::fs::write(place.join("wait"), "").unwrap();
            let running = Running::start(command(words), &suite.another("stderr"));
            until(|| place.join("here").exists());
            std::fs::remove_file(place.join("wait")).unwrap();
            std::fs::remove_file(place.join("here")).unwrap();
            assert!(left(words[0]) > 0, "{words:?}");
            running
        };
        begin().kill();
        assert_eq!(left(words[0]), 1, "{words:?}");
        let output = command(words).output().unwrap();
        assert_eq!(left(words[0]), 0, "{words:?}: {}", text(&output.stderr));
        // With what ran there.
        suite.marked().all_gone_within(GONE);
        // What is interrupted removes it itself; a terminal would tell what repeats a test as well.
        if words[0] != "repro" {
            let mut running = begin();
            running.signal(Signal::SIGINT);
            assert_eq!(running.wait().0, 130, "{words:?}");
            assert_eq!(left(words[0]), 0, "{words:?}");
            suite.marked().all_gone_within(GONE);
        }
    }
}

#[test]
fn where_there_are_no_tests_there_is_no_plan() {
    let suite = Suite::of(&[("readme", "")]);
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let output = suite.seagull(&["plan", "--state", &state]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no tests are found\nhint: ") && !said.contains("selection"), "{said}");
}

fn tests_of(bundle: &Value) -> Vec<&str> {
    bundle["tests"].as_array().unwrap().iter().map(|test| test.as_str().unwrap()).collect()
}

#[test]
fn a_list_of_durations_is_planned_without_a_suite() {
    let suite = Suite::of(&[]);
    // Twelve of 2.5 s in two modules: three bundles of ten seconds, full to the cap.
    let rows: String = (0..12).map(|i| format!("t{i},2.5,m{},passed\n", i / 6)).collect();
    let list = format!("test_id,seconds,module,outcome\n{rows}");
    suite.write("list.csv", &list);
    let plan =
        |arguments: &[&str]| suite.seagull(&[&["plan", "--timings"], arguments].concat()).output().unwrap();
    let object = planned(&plan(&["list.csv", "--cap", "10s", "--output", "json"]));
    let expected = [("bundle_count", 3), ("lower_bound", 3), ("gap", 0), ("tests", 12)];
    for (field, value) in expected {
        assert_eq!(object[field], value, "{object}");
    }
    assert_eq!((object["proven"].as_bool(), object["bound"].as_str()), (Some(true), Some("L1")));
    assert!(object["bundles"].as_array().unwrap().iter().all(|bundle| bundle["seconds"] == 10.0));

    let mut piped = suite.seagull(&["plan", "--timings", "-", "--cap", "10s", "--scope-setup", "1s"]);
    let mut piped = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
    let said = piped.wait_with_output().unwrap();
    let said = text(&said.stdout);
    assert!(
        said.starts_with("4 bundles of 12 tests, at most 10 s each\nproven: no plan has fewer"),
        "{said}"
    );

    assert!(plan(&["list.csv", "--cap", "10s", "--html", "pages/plan.html"]).status.success());
    let page = std::fs::read_to_string(suite.path().join("pages/plan.html")).unwrap();
    assert!(page.contains("<h1>plan: 3 bundles of 12 tests</h1>") && page.ends_with("</html>\n"), "{page}");

    suite.write("bad.csv", "test_id,seconds\na,1\nb,-1\n");
    let output = plan(&["bad.csv"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.starts_with("error: bad.csv: line 3: seconds is \"-1\", less than nothing\nhint: "),
        "{said}"
    );
    std::fs::write(suite.path().join("list.csv.gz"), [0x1f, 0x8b, 8]).unwrap();
    assert!(
        text(&plan(&["list.csv.gz"]).stderr).contains("hint: zcat list.csv.gz | seagull plan --timings -")
    );
    assert_eq!(plan(&["none.csv"]).status.code(), Some(2));
}

#[test]
fn what_is_said_of_planning_is_what_the_plan_goes_by() {
    let suite = Suite::of(&[]);
    let rows: String = (0..12).map(|i| format!("t{i},2.5,{}\n", 0.1 * f64::from(i % 3))).collect();
    suite.write("list.csv", &format!("test_id,seconds,sd\n{rows}"));
    let exact: String = (0..12).map(|i| format!("t{i},2.5\n")).collect();
    suite.write("exact.csv", &format!("test_id,seconds\n{exact}"));
    let plan = |line: &str| {
        let arguments = ["plan", "--cap", "10s", "--output", "json", "--timings"].into_iter();
        let mut object =
            planned(&suite.seagull(&arguments.chain(line.split(' ')).collect::<Vec<_>>()).output().unwrap());
        object.as_object_mut().unwrap().remove("seconds");
        object
    };
    let bundles = |line: &str| plan(line)["bundle_count"].as_u64().unwrap();
    for algorithm in ["greedy", "ilp", "auto"] {
        assert_eq!(bundles(&format!("exact.csv --algorithm {algorithm}")), 3, "{algorithm}");
    }
    // Two of 2.5 s are what is left of ten.
    assert_eq!(bundles("exact.csv --sandbox-start 5s"), 6);
    assert_eq!((bundles("list.csv --overrun 0.5"), bundles("list.csv --overrun 0.001")), (3, 4));
    let repeated = "list.csv --seed 7 --budget 1000";
    assert_eq!(plan(repeated), plan(repeated));
    assert_eq!(plan("list.csv --time-limit 1h")["repeatable"], true);
    let slots = plan("exact.csv --slots 1,2,3,6");
    assert_eq!(
        (slots["slots"].as_array().unwrap().len(), &slots["knee"]),
        (4, &Value::Null),
        "each of them pays"
    );
    let refused = suite.seagull(&["plan", "--timings", "list.csv", "--branch", "b"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}
