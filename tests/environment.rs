//! What tests have around them: what a setup prepares, variables that are passed, and the files that are sent.
#![expect(clippy::disallowed_methods, reason = "setups take real time")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Cluster, Finished, Running, Suite, text};

/// Makes an environment of the suite's interpreter and what is installed beside it, and notes that it did.
const SETUP: &str = r#"
[setup]
run = '''
echo made >> "$MEETING_PLACE/setups"
"$BASE" -m venv --without-pip "$SEAGULL_SETUP"
cp -r "$("$BASE" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/." \
    "$("$SEAGULL_SETUP/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
cp requirements.txt "$SEAGULL_SETUP"
'''
inputs = ["requirements.txt"]
"#;

const TESTS: &str = "\
import os, shutil, sys
HERE = os.environ['SEAGULL_SETUP']
def test_prefix(): assert sys.prefix == HERE == os.environ['VIRTUAL_ENV']
def test_path(): assert shutil.which('python').startswith(HERE)
def test_inputs():
    text = open(HERE + '/requirements.txt').read()
    assert text == open(os.path.dirname(__file__) + '/../requirements.txt').read()
";

const PASSED: [(&str, &str); 3] = [
    ("tests/test_a.py::test_prefix", "passed"),
    ("tests/test_a.py::test_path", "passed"),
    ("tests/test_a.py::test_inputs", "passed"),
];

/// A suite with that setup, and settings before it.
fn prepared(settings: &str) -> Suite {
    let suite = Suite::of(&[("tests/test_a.py", TESTS), ("requirements.txt", "pytest\n")]);
    let env = format!("{settings}\n{SETUP}\n[env]\nBASE = {:?}\n", suite.python());
    suite.write("seagull.toml", &env);
    suite
}

/// How often setups ran.
fn setups(suite: &Suite) -> usize {
    fs::read_to_string(suite.beside("meet/setups")).unwrap_or_default().lines().count()
}

fn words(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_input_of_a_setup_that_names_nothing_is_warned_of() {
    let setup = "[setup]\nrun = ['true']\ninputs = ['requirements.txt', 'requirments.txt', 'lock/*.txt']\n";
    let files = [("seagull.toml", setup), ("requirements.txt", ""), ("test_a.py", "def test_a(): pass\n")];
    let (_, code, stderr) = Suite::of(&files).start(&[]).end();
    let warned: Vec<_> =
        stderr.lines().filter(|line| line.starts_with("warning: [setup] inputs: ")).collect();
    assert!(code == 0 && warned.len() == 2 && warned[0].contains("by requirments.txt"), "{code} {stderr}");
}

#[test]
fn a_setup_is_made_once_and_its_interpreter_runs_the_tests() {
    let suite = prepared("");
    // Settings above the directory count within a repository.
    let git = Command::new("git").args(["init", "--quiet"]).current_dir(suite.path()).status().unwrap();
    assert!(git.success());
    // Several slots wait for one.
    suite.run(&["--slots", "4"]).expect(0, &PASSED);
    suite.run_in(&suite.path().join("tests"), &[]).expect_counts(0, &[("passed", 3)]);
    assert_eq!(setups(&suite), 1);
    suite.write("requirements.txt", "pytest>=7\n");
    suite.run(&[]).expect(0, &PASSED);
    assert_eq!(setups(&suite), 2);
    // It repeats with the same.
    let state = words(&suite.beside("state"));
    let repro = suite.seagull(&["repro", "last", "test_path", "--state", &state]).output().unwrap();
    assert!(repro.status.success(), "{}", String::from_utf8_lossy(&repro.stderr));
    // Whoever names an interpreter has what is needed.
    suite.write("requirements.txt", "");
    let run = suite.run(&["--python", &words(&suite.python())]);
    run.expect_code(100);
    assert_eq!(setups(&suite), 2);
}

#[test]
fn the_first_recipe_works_as_it_is_printed() {
    let page = include_str!("../docs/environment.md");
    let recipe = page.split("```").find_map(|part| part.strip_prefix("toml\n")).unwrap();
    let test = "import os, sys\ndef test_a(): assert sys.prefix == os.environ['SEAGULL_SETUP']\n";
    let suite = Suite::of(&[("test_a.py", test), ("requirements.txt", "pytest==9.2.0\n")]);
    suite.write("seagull.toml", recipe);
    suite.run(&[]).expect(0, &[("test_a.py::test_a", "passed")]);
}

#[test]
fn a_setup_that_fails_is_no_fault_of_the_tests_and_tells_why() {
    let suite = Suite::of(&[("test_a.py", "def test_a(): pass\n")]);
    suite.write("seagull.toml", "[setup]\nrun = 'echo no such package >&2; exit 9'\n");
    let run = suite.run(&[]);
    run.expect(102, &[]);
    let lost = run.all("attempt_lost");
    assert!(!lost.is_empty(), "{:?}", run.events);
    for lost in lost {
        assert_eq!(text(lost, "cause"), "sandbox failed");
        let message = text(lost, "message");
        assert!(message.starts_with("setup failed, exit code 9 after "), "{message}");
        assert!(message.ends_with("\nno such package"), "{message}");
    }
}

#[test]
fn a_run_that_is_killed_takes_its_setup_along_and_the_next_one_makes_it() {
    let suite = Suite::of(&[("test_a.py", "def test_a(): pass\n")]);
    let script = "echo >> $MEETING_PLACE/setups; test -e $MEETING_PLACE/go || sleep 1000";
    suite.write("seagull.toml", &format!("[setup]\nrun = '{script}'\ninputs = ['test_a.py']\n"));
    let mut run = suite.start(&[]);
    while setups(&suite) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    run.kill();
    suite.marked().all_gone_within(std::time::Duration::from_secs(2));
    suite.write("../meet/go", "");
    suite.run(&[]).expect(0, &[("test_a.py::test_a", "passed")]);
    assert_eq!(setups(&suite), 2);
}

#[test]
fn the_doctor_makes_the_setup_and_runs_keep_it() {
    let suite = prepared("[artifact]\nroot = '.'");
    let state = words(&suite.beside("state"));
    let doctor = || {
        let output = suite.seagull(&["doctor", "--state", &state, "--output", "json"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let steps = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let step = |check: &str| {
            let step = steps.clone().find(|step| step["check"] == check);
            step.unwrap_or_else(|| panic!("no {check} in {said}"))
        };
        (step("setup"), said.contains("\"check\":\"interpreter\"").then(|| step("interpreter")))
    };
    let (setup, interpreter) = doctor();
    assert!(text(&setup, "message").starts_with("prepared in "), "{setup}");
    assert!(text(&interpreter.unwrap(), "message").contains("by [setup]"));
    assert!(text(&doctor().0, "message").contains("of the same inputs"));
    suite.run(&[]).expect(0, &PASSED);
    assert_eq!(setups(&suite), 1);
    suite.write("seagull.toml", "[setup]\nrun = 'echo broken >&2; exit 1'\ninputs = ['*.lock']\n");
    let output = suite.seagull(&["doctor", "--state", &state]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("inputs: nothing is named by *.lock"), "{said}");
    assert!(said.contains("problem   setup       setup failed, exit code 1"), "{said}");
}

/// A run on the cluster whose client has these variables.
fn run_with(cluster: &Cluster, variables: &[(&str, &str)], arguments: &[&str]) -> Finished {
    let [token, state] = [cluster.token(), cluster.suite.beside("state")].map(|path| words(&path));
    let first =
        ["run", "--output", "json", "--state", &state, "--scheduler", &cluster.url, "--token-file", &token];
    let mut command = cluster.suite.seagull(&[&first[..], arguments].concat());
    command.envs(variables.iter().copied());
    Running::start(command, &cluster.suite.beside("stderr-with")).finish()
}

#[test]
fn executors_prepare_for_themselves_and_keep_it_over_artifacts() {
    let cluster = Cluster::start(prepared(""));
    let _executors = [cluster.executor("e-one"), cluster.executor("e-two")];
    cluster.start_run(&[]).finish().expect(0, &PASSED);
    let made = setups(&cluster.suite);
    assert!([1, 2].contains(&made), "once on each executor: {made}");
    cluster.suite.write("tests/test_b.py", "def test_b(): pass\n");
    cluster.start_run(&["tests/test_a.py"]).finish().expect(0, &PASSED);
    assert!(setups(&cluster.suite) <= 2);
}

#[test]
fn variables_are_passed_by_name_and_their_values_are_nowhere_to_be_seen() {
    const SECRET: &str = "c0ffee-5ec2e7-value";
    let source = "\
import os
def test_passed(): assert os.environ['PASSED'] == 'c0ffee-' + '5ec2e7-value'
def test_not_passed(): assert 'OTHER' not in os.environ
def test_set(): assert os.environ['BOTH'] == 'set'
def test_revision(): assert len(os.environ['SEAGULL_REV']) == 40
def test_version(): assert os.environ['SETUPTOOLS_SCM_PRETEND_VERSION'].startswith('0.1.dev1+g')
";
    let suite = Suite::of(&[("test_a.py", source), ("pyproject.toml", "# setuptools-scm\n")]);
    suite.write("seagull.toml", "pass-env = ['PASSED', 'BOTH', 'ABSENT']\n[env]\nBOTH = 'set'\n");
    let cluster = Cluster::start(suite);
    let _executor = cluster.executor("e-one");
    let variables = [("PASSED", SECRET), ("OTHER", "x"), ("BOTH", "client")];
    let run = run_with(&cluster, &variables, &["--run-id", "first"]);
    run.expect_counts(0, &[("passed", 5)]);
    assert!(run.stderr.contains("pass-env: ABSENT is not passed"), "{}", run.stderr);
    assert!(run.stderr.contains("uploading 3 files"), "{}", run.stderr);
    // The same run with another value is the same.
    let again = run_with(&cluster, &[("PASSED", "another"), ("BOTH", "client")], &["--run-id", "first"]);
    again.expect_counts(0, &[("passed", 5)]);
    assert!(!again.stderr.contains("uploading"), "the files are there: {}", again.stderr);
    let ended = cluster.suite.beside("scheduler/runs");
    assert!(ended.is_dir());
    assert_eq!(files_with(SECRET, &ended), "");
    assert!(!format!("{:?}{}", run.events, run.stderr).contains(SECRET));
}

/// The files below a directory that have a text in them.
fn files_with(text: &str, directory: &Path) -> String {
    let grep = Command::new("grep").args(["-r", "-l", "-a", "-F", text]).arg(directory).output().unwrap();
    String::from_utf8_lossy(&grep.stdout).into_owned()
}

#[test]
fn secrets_are_found_by_executors_and_hidden_wherever_tests_tell_them() {
    const SECRET: &str = "c0ffee-5ec2e7-value";
    let source = "\
import os
TOKEN, PASSWORD = os.environ['TOKEN'], os.environ['PASSWORD']
def test_values(): assert TOKEN == PASSWORD == '-'.join(['c0ffee', '5ec2e7', 'value'])
def test_tells():
    print('it is', TOKEN)
    assert not PASSWORD, 'it is not ' + PASSWORD
";
    let suite = Suite::of(&[("test_a.py", source)]);
    let file = suite.beside("there/password");
    fs::create_dir(file.parent().unwrap()).unwrap();
    fs::write(&file, format!("{SECRET}\n")).unwrap();
    let settings = format!("[secrets]\nTOKEN = 'env:THERE'\nPASSWORD = 'file:{}'\n", words(&file));
    suite.write("seagull.toml", &settings);
    let cluster = Cluster::start(suite);
    let _executor = cluster.executor_with("e-one", &[], &[("THERE", SECRET)]);
    let junit = words(&cluster.suite.beside("junit.xml"));
    let run = cluster.start_run(&["--run-id", "one", "--junit", &junit]).finish();
    run.expect(100, &[("test_a.py::test_values", "passed"), ("test_a.py::test_tells", "failed")]);
    assert!(text(run.all("test_finished")[1], "message").contains("it is not ***"), "{:?}", run.events);
    let report = fs::read_to_string(&junit).unwrap();
    assert!(report.contains("it is ***") && report.contains("it is not ***"), "{report}");
    let token = words(&cluster.token());
    let from = ["--scheduler", &cluster.url, "--token-file", &token];
    let logs = cluster.suite.seagull(&[&["logs", "one", "test_tells"], &from[..]].concat()).output().unwrap();
    let logs = String::from_utf8_lossy(&logs.stdout).into_owned();
    assert!(logs.contains("it is ***"), "{logs}");
    assert!(!format!("{:?}{}{logs}", run.events, run.stderr).contains(SECRET));
    let top = cluster.suite.path().join("..").canonicalize().unwrap();
    assert_eq!(files_with(SECRET, &top).trim_end(), words(&top.join("there/password")));
}

#[test]
fn a_secret_that_is_not_there_is_no_fault_of_the_tests_and_repeats_where_it_is() {
    let suite = Suite::of(&[("test_a.py", "import os\ndef test_a(): assert os.environ['TOKEN'] == 'x'\n")]);
    suite.write("seagull.toml", "[secrets]\nTOKEN = 'env:NOT_THERE'\n");
    let run = suite.run(&[]);
    run.expect(102, &[]);
    let lost = run.all("attempt_lost");
    let message = "secret TOKEN, env:NOT_THERE: there is no such variable";
    assert!(!lost.is_empty() && lost.iter().all(|lost| text(lost, "message") == message), "{lost:?}");
    let state = words(&suite.beside("state"));
    let doctor = suite.seagull(&["doctor", "--state", &state]).output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains(&format!("problem   secrets     {message}")), "{said}");

    let with = |arguments: &[&str]| {
        let mut command = suite.seagull(&[arguments, &["--state", &state]].concat());
        command.env("NOT_THERE", "x").output().unwrap()
    };
    assert_eq!(with(&["run", "--run-id", "two"]).status.code(), Some(0));
    let said = String::from_utf8_lossy(&with(&["doctor"]).stdout).into_owned();
    assert!(said.contains("ok        secrets     found here: TOKEN"), "{said}");
    let repro = with(&["repro", "two", "test_a"]);
    let said = String::from_utf8_lossy(&repro.stderr).into_owned();
    assert!(repro.status.success() && said.contains(r#"TOKEN="${NOT_THERE}""#), "{said}");
}

#[test]
fn patterns_say_what_is_sent() {
    let source = "\
import os
def test_files():
    assert os.path.exists('build/lib.so') and not os.path.exists('build/log.txt')
    assert not os.path.exists('big/data.bin')
";
    let suite =
        Suite::of(&[("sub/test_a.py", source), (".gitignore", "build/\n"), ("sub/big/data.bin", "x")]);
    suite.write("sub/seagull.toml", "[artifact]\ninclude = ['build/*.so', 'none']\nexclude = ['big']\n");
    let cluster = Cluster::start(suite);
    for name in ["sub/build/lib.so", "sub/build/log.txt"] {
        cluster.suite.write(name, "x");
    }
    let _executor = cluster.executor("e-one");
    let token = words(&cluster.token());
    let arguments = ["--scheduler", &cluster.url, "--token-file", &token];
    let run = cluster.suite.run_in(&cluster.suite.path().join("sub"), &arguments);
    run.expect(0, &[("test_a.py::test_files", "passed")]);
    assert!(run.stderr.contains("include: nothing is named by none"), "{}", run.stderr);
}
