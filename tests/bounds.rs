//! What bounds tests that run on this machine, where it has control groups; and what an attempt took of it.

use std::fs;

use seagull_executor::control_groups::ControlGroups;

use crate::harness::{Suite, skip, until};

fn are_there() -> bool {
    let there = ControlGroups::find().are_there();
    if !there {
        skip("there are no control groups to be made");
    }
    there
}

#[test]
fn tests_on_this_machine_have_their_bounds_too() {
    if !are_there() {
        return;
    }
    let suite = Suite::of(&[(
        "test_a.py",
        "import os, subprocess, sys, time
def test_itself():
    taken = bytearray(400 << 20)
def test_child():
    subprocess.run([sys.executable, '-c', 'x = bytearray(400 << 20)'])
    time.sleep(60)
def test_of_a_child():
    subprocess.run([sys.executable, '-c', 'x = bytearray(400 << 20)'], check=True)
def test_that_hides_it():
    subprocess.run([sys.executable, '-c', 'x = bytearray(400 << 20)'])
def test_modest():
    pass
def test_once_more():
    taken = bytearray(120 << 20)
def test_forks():
    try:
        for _ in range(60):
            subprocess.Popen(['sleep', '60'])
    except OSError as error:
        assert error.errno == 11
    else:
        assert False
",
    )]);
    suite.write("seagull.toml", "[environment.default]\nmemory = '96MiB'\ncpus = '1.5'\npids = 40\n");
    let finished = suite.run(&["--slots", "1"]);
    finished.expect_counts(100, &[("failed", 4), ("passed", 3)]);
    for test in ["test_child", "test_of_a_child", "test_that_hides_it", "test_itself"] {
        let result = finished.result(&format!("test_a.py::{test}"));
        assert_eq!(result["cause"], "over its memory limit", "{result}");
    }
    let said = finished.all("test_finished").iter().map(|event| event.to_string()).collect::<String>();
    assert_eq!(said.matches("first_memory_kill").count(), 5, "{said}");
    assert!(said.contains("over its memory limit of 96 MiB: killed, with a peak of 9"), "{said}");
    assert!(said.contains("limit of 192 MiB, twice what is set: killed, with a peak of 19"), "{said}");
    assert!(said.contains("[environment.default] memory sets it"), "{said}");
}

#[test]
fn what_is_repeated_has_the_bounds_that_it_had() {
    if !are_there() {
        return;
    }
    let test = "import subprocess, sys\ndef test_child():\n    \
                subprocess.run([sys.executable, '-c', 'x = bytearray(400 << 20)'])\n";
    let suite = Suite::of(&[("test_a.py", test)]);
    suite.write("seagull.toml", "[environment.default]\nmemory = '96MiB'\n");
    suite.run(&["--slots", "1"]).expect_counts(100, &[("failed", 1)]);
    let state = suite.beside("state");
    let repeated = suite.seagull(&["repro", "--state", state.to_str().unwrap(), "last", "test_child"]);
    let repeated = { repeated }.output().unwrap();
    let said = String::from_utf8_lossy(&[repeated.stdout, repeated.stderr].concat()).into_owned();
    assert_eq!(repeated.status.code(), Some(100), "{said}");
    assert!(said.contains("over its memory limit"), "{said}");
}

#[test]
fn the_doctor_says_whether_tests_can_be_bounded() {
    let suite = Suite::of(&[("test_a.py", "def test_x():\n    pass\n")]);
    suite.write("seagull.toml", "[environment.default]\nmemory = '1GiB'\n");
    let said = suite.seagull(&["doctor", "--output", "json"]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let line = said.lines().find(|line| line.contains("\"bounds\"")).unwrap_or_else(|| panic!("{said}"));
    let expected = match ControlGroups::find().are_there() {
        true => "by control groups, of [environment.default]",
        false => "memory cannot be bounded to 1073741824",
    };
    assert!(line.contains(expected), "{line}");
}

#[test]
fn an_attempt_says_what_all_its_processes_took() {
    let test = "import subprocess, sys\ndef test_child():\n\
                subprocess.run([sys.executable, '-c', 'sum(range(30_000_000)); x = bytearray(200 << 20)'], check=True)\n";
    let suite = Suite::of(&[("test_a.py", &test.replace("\nsub", "\n    sub"))]);
    let finished = suite.run(&["--slots", "1"]);
    finished.expect_counts(0, &[("passed", 1)]);
    let result = finished.result("test_a.py::test_child");
    let told = finished.all("attempt_used");
    let used = told.iter().find(|used| used["attempt"] == result["attempt"]).expect("it is told");
    let whole = ControlGroups::find().are_there();
    assert_eq!(used["all_processes"], whole, "{used}");
    let (seconds, peak) = (used["cpu_seconds"].as_f64().unwrap(), used["peak_memory_kib"].as_u64().unwrap());
    if whole {
        assert!(seconds > result["cpu_seconds"].as_f64().unwrap() && peak > 200 << 10, "{used} {result}");
    }
    let state = suite.beside("state");
    let explained = suite
        .seagull(&["explain", "--state", state.to_str().unwrap(), "last", "test_child"])
        .output()
        .unwrap();
    let explained = [explained.stdout, explained.stderr].concat();
    let explained = String::from_utf8_lossy(&explained);
    assert!(explained.contains(" of the processor and "), "{explained}");
    assert_eq!(explained.contains("with all that its tests started"), whole, "{explained}");
}

#[test]
fn no_group_outlives_a_run_that_is_killed() {
    if !are_there() {
        return;
    }
    let test = "import os, time\ndef test_x():\n    with open('/proc/self/cgroup') as groups:\n\
                \x20       open(os.environ['MEETING_PLACE'] + '/groups', 'w').write(groups.read())\n    time.sleep(60)\n";
    let suite = Suite::of(&[("test_a.py", test)]);
    let mut running = suite.start(&["--slots", "1"]);
    let told = suite.beside("meet/groups");
    until(|| fs::read_to_string(&told).is_ok_and(|groups| groups.ends_with('\n')));
    let groups = fs::read_to_string(&told).unwrap();
    let name = groups.lines().find_map(|line| line.rsplit('/').find(|part| part.starts_with("seagull-")));
    let group = ControlGroups::find().bases()[0].join(name.expect("it is in a group"));
    assert!(group.is_dir(), "{}", group.display());
    // As a test may, or a run in a test.
    fs::create_dir(group.join("inner")).unwrap();
    running.kill();
    until(|| !group.exists());
}
