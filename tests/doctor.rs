//! The first hour: `seagull init` writes settings, `seagull doctor` finds what is wrong, and errors name the doctor.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::harness::{Docker, IMAGE, Running, Suite};

const GOOD: &str = "\
import pytest
@pytest.mark.parametrize('n', range(30))
def test_n(n): pass
def test_last(): pass
";

/// What `seagull doctor` says, with a state directory beside the suite.
fn doctor(suite: &Suite, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let mut command = suite.seagull(&[&["doctor", "--state", &state], arguments].concat());
    command.envs(variables.iter().copied()).output().unwrap()
}

/// Each step with what it came to, and the exit code; a step may be told of twice.
#[track_caller]
fn steps(suite: &Suite, arguments: &[&str], code: i32) -> Vec<(String, Value)> {
    let output = doctor(suite, &[&["--output", "json"], arguments].concat(), &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let findings = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    findings.map(|finding| (finding["check"].as_str().unwrap().to_owned(), finding)).collect()
}

/// The finding of a step.
#[track_caller]
fn step(steps: &[(String, Value)], check: &str, state: &str) -> Value {
    let found = steps.iter().find(|(name, finding)| name == check && finding["state"] == state);
    found.unwrap_or_else(|| panic!("no {state} of {check} in {steps:#?}")).1.clone()
}

#[test]
fn a_good_suite_is_good_step_by_step() {
    let suite = Suite::of(&[("test_a.py", GOOD)]);
    suite.write("seagull.toml", "[artifact]\nroot = '.'\n");
    let steps = steps(&suite, &[], 0);
    let names: Vec<_> = steps.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["settings", "state", "framework", "interpreter", "pytest", "discovery", "history", "ids"];
    assert_eq!(names, [&expected[..], &["one test", "one bundle", "artifact"]].concat());
    assert!(steps.iter().all(|(_, finding)| finding["state"] == "ok"), "{steps:#?}");
    assert!(step(&steps, "discovery", "ok")["message"].as_str().unwrap().starts_with("31 tests in 1 file "));
    assert!(step(&steps, "interpreter", "ok")["message"].as_str().unwrap().contains("by VIRTUAL_ENV"));

    let output = doctor(&suite, &["--", "-k", "last"], &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("ok        one test    test_a.py::test_last is good"), "{said}");
    let state = suite.beside("state").display().to_string();
    let next = format!("all is in place; next: seagull run --state {state} -- -k last\n");
    assert!(said.ends_with(&next), "{said}");
}

#[test]
fn ids_that_change_are_a_problem_with_what_to_do() {
    let source = "\
import os, pytest
@pytest.mark.parametrize('n', [os.getpid()])
def test_of_this_process(n): pass
def test_good(): pass
";
    let steps = steps(&Suite::of(&[("test_a.py", source)]), &[], 1);
    let ids = step(&steps, "ids", "problem");
    assert!(ids["message"].as_str().unwrap().contains("2 are not in both"), "{ids}");
    assert!(ids["hint"].as_str().unwrap().contains("pytest.param"), "{ids}");
}

#[test]
fn what_stops_the_discovery_is_shown_with_what_to_compare() {
    let steps = steps(&Suite::named("broken_conftest"), &[], 1);
    let discovery = step(&steps, "discovery", "problem");
    assert!(discovery["message"].as_str().unwrap().contains("this conftest is broken"), "{discovery}");
    assert!(discovery["hint"].as_str().unwrap().ends_with("/bin/pytest --collect-only -q"), "{discovery}");
    assert!(!steps.iter().any(|(name, _)| name == "one test"));

    let none = self::steps(&Suite::named("no_tests"), &[], 1);
    assert!(step(&none, "discovery", "problem")["message"].as_str().unwrap().contains("no tests"));
    step(&none, "framework", "warning");

    let some = self::steps(&Suite::named("broken_file"), &[], 0);
    let said = |words: &str| {
        let of_discovery = some.iter().filter(|(name, _)| name == "discovery");
        of_discovery.filter_map(|(_, finding)| finding["message"].as_str()).any(|said| said.contains(words))
    };
    assert!(said("test_syntax.py") && said("no_such_module_anywhere is not installed for /"), "{some:#?}");
}

#[test]
fn a_module_that_only_python_m_pytest_finds_has_a_sentence() {
    let suite = Suite::of(&[
        ("mypkg/__init__.py", ""),
        ("tests/test_a.py", "import mypkg\ndef test_a(): pass\n"),
        ("tests/test_b.py", "def test_b(): pass\n"),
    ]);
    let warning = |(_, finding): &(String, Value)| {
        finding["message"].as_str().is_some_and(|said| said.contains("`pythonpath = .`"))
    };
    assert!(steps(&suite, &[], 0).iter().any(warning));
    suite.run(&[]).expect(100, &[("tests/test_a.py", "failed"), ("tests/test_b.py::test_b", "passed")]);
    suite.write("tests/test_b.py", "import nowhere\n");
    let none = steps(&suite, &[], 1);
    assert!(
        step(&none, "discovery", "problem")["message"].as_str().unwrap().starts_with("2 cannot be collected")
    );
    suite.write("tests/test_b.py", "");
    suite.write("pytest.ini", "[pytest]\npythonpath = .\n");
    suite.run(&[]).expect_code(0);
}

#[test]
fn a_test_that_fails_alone_is_a_warning_and_one_that_ends_its_worker_is_too() {
    let source = "def test_a(): assert 0, 'as it is'\ndef test_b(): pass\n";
    let failed = steps(&Suite::of(&[("test_a.py", source)]), &[], 0);
    assert!(step(&failed, "one test", "warning")["message"].as_str().unwrap().contains("as it is"));
    let source = "import os\ndef test_a(): os._exit(3)\ndef test_b(): pass\n";
    let ended = steps(&Suite::of(&[("test_a.py", source)]), &[], 0);
    assert!(step(&ended, "one bundle", "warning")["message"].as_str().unwrap().starts_with("1 of 2 failed"));
}

#[test]
fn the_interpreter_and_its_pytest_are_looked_at() {
    let suite = Suite::of(&[("test_a.py", GOOD), ("broken/pytest.py", "raise ImportError('none here')\n")]);
    let nowhere = steps(&suite, &["--python", "/nowhere/python"], 1);
    assert!(
        step(&nowhere, "interpreter", "problem")["message"].as_str().unwrap().contains("/nowhere/python")
    );
    let output = doctor(&suite, &[], &[("PYTHONPATH", "broken")]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("it cannot be imported: none here") && said.contains("install --upgrade pytest"),
        "{said}"
    );
}

#[test]
fn settings_are_read_first() {
    let suite = Suite::of(&[("test_a.py", GOOD), ("seagull.toml", "[run]\nslot = 3\n")]);
    let steps = steps(&suite, &["test_a.py::test_last"], 0);
    assert!(
        step(&steps, "settings", "warning")["message"].as_str().unwrap().contains("did you mean run.slots?")
    );
    suite.write("seagull.toml", "[run]\nslots = 'many'\n");
    let broken = self::steps(&suite, &[], 1);
    assert_eq!(broken.len(), 1);
    step(&broken, "settings", "problem");
}

#[test]
fn what_takes_long_is_said_to_go_on() {
    let suite = Suite::of(&[("test_a.py", GOOD), ("conftest.py", "import time\ntime.sleep(3)\n")]);
    let output = doctor(&suite, &[], &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("discovery: 2."), "{said}");
}

#[test]
fn a_scheduler_is_looked_at_if_it_is_named() {
    let suite = Suite::of(&[("test_a.py", GOOD)]);
    let state = suite.beside("scheduler").into_os_string().into_string().unwrap();
    let command = suite.seagull(&["scheduler", "--listen", "127.0.0.1:0", "--state", &state]);
    let mut scheduler = Running::start(command, &suite.beside("scheduler-stderr"));
    let line = scheduler.line().unwrap_or_else(|| panic!("no scheduler: {}", scheduler.stderr()));
    let url = line.strip_prefix("listening on ").unwrap();
    let look = |url: &str, token: &Path, code| {
        steps(&suite, &["--scheduler", url, "--token-file", token.to_str().unwrap()], code)
    };
    let token = suite.beside("scheduler/token");
    // The suite is in no repository: to a scheduler nothing could be sent.
    let found = look(url, &token, 1);
    step(&found, "artifact", "problem");
    step(&found, "scheduler", "ok");
    let lonely = step(&found, "executors", "problem");
    assert!(lonely["hint"].as_str().unwrap().contains("seagull executor --scheduler http://"), "{lonely}");
    step(&found, "clock", "ok");

    suite.write("seagull.toml", "[artifact]\nroot = '.'\n");
    let slots = ["executor", "--scheduler", url, "--token-file", token.to_str().unwrap(), "--slots", "3"];
    let executor = suite.seagull(&[&slots[..], &["--state", &state]].concat());
    let mut executor = Running::start(executor, &suite.beside("executor-stderr"));
    let named = ["--output", "json", "--scheduler", url, "--token-file", token.to_str().unwrap()];
    // Until it has joined, there is none.
    let mut looked = (0..100).map(|_| doctor(&suite, &named, &[]));
    let joined = |output: &Output| String::from_utf8_lossy(&output.stdout).contains("they have 3 slots");
    let seen = looked.find(joined).and_then(|output| output.status.code());
    assert_eq!(seen, Some(0), "{}", executor.stderr());
    executor.kill();
    let wrong = suite.beside("wrong");
    std::fs::write(&wrong, "0".repeat(64)).unwrap();
    step(&look(url, &wrong, 1), "token", "problem");
    step(&look(url, &suite.beside("missing"), 1), "token", "problem");
    let typo = self::steps(&suite, &["tset_a.py"], 1);
    assert!(step(&typo, "paths", "problem")["hint"].as_str().unwrap().contains("test_a.py"), "{typo:?}");
    let nobody = step(&look("http://127.0.0.1:1", &token, 1), "scheduler", "problem");
    assert!(nobody["hint"].as_str().unwrap().contains("address"), "{nobody}");
}

#[test]
fn init_writes_settings_once_and_says_what_is_next() {
    let suite = Suite::of(&[("test_a.py", GOOD)]);
    let init = |arguments: &[&str]| suite.seagull(&[&["init"], arguments].concat()).output().unwrap();
    let first = init(&[]);
    let said = String::from_utf8_lossy(&first.stderr).into_owned();
    assert_eq!(first.status.code(), Some(0), "{said}");
    assert!(said.contains("for pytest, by test_a.py") && said.contains("next: seagull doctor"), "{said}");
    let written = suite.read("seagull.toml");
    suite.run(&[]).expect_counts(0, &[("passed", 31)]);
    suite.write("seagull.toml", &written.replace("#slots = 4", "slots = 1"));

    let second = init(&[]);
    assert_eq!(second.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&second.stderr).contains("hint: --force overwrites it"));
    assert!(suite.read("seagull.toml").contains("\nslots = 1"));
    assert_eq!(init(&["--force"]).status.code(), Some(0));
    assert_eq!(suite.read("seagull.toml"), written);

    let schema: Value = serde_json::from_slice(&init(&["--schema"]).stdout).unwrap();
    assert!(schema["properties"]["run"]["properties"]["slots"].is_object());
}

#[test]
fn a_suite_of_another_framework_is_told_of_the_recipes() {
    let suite = Suite::of(&[("package.json", "{}")]);
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    for (arguments, code) in [(&["init"][..], 0), (&["run", "--state", &state], 101)] {
        let output = suite.seagull(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("package.json") && said.contains("seagull docs command has recipes"), "{said}");
    }
    let hint = step(&steps(&suite, &[], 1), "framework", "warning")["hint"].to_string();
    assert!(hint.contains("package.json"), "{hint}");
}

#[test]
fn a_run_command_that_fails_is_a_problem_with_what_it_wrote() {
    let suite = Suite::named("command");
    suite.write("ids.txt", "many::a\n");
    let run = "[command]\ndiscover = 'cat ids.txt'\nrun = 'echo oh no, no jest >&2; exit 9'\n";
    suite.write("seagull.toml", run);
    let said = step(&steps(&suite, &[], 1), "one test", "problem");
    let message = said["message"].as_str().unwrap();
    assert!(message.contains("exit status 9") && message.ends_with("oh no, no jest"), "{said}");
}

#[test]
fn a_git_that_is_not_there_is_named() {
    let suite = Suite::of(&[("test_a.py", GOOD)]);
    assert!(suite.command("git").args(["init", "--quiet"]).status().unwrap().success());
    let output = doctor(&suite, &["--output", "json"], &[("PATH", "/nowhere")]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("git cannot be started: ") && said.contains("is it installed?"), "{said}");
}

#[test]
fn where_the_doctor_cannot_help_the_error_says_what_does() {
    let suite = Suite::of(&[("test_a.py", "def test_a(): pass\n"), ("file", "")]);
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _taken = std::net::TcpListener::bind(taken).unwrap();
    let taken = taken.to_string();
    let table: [(&[&str], &str); 3] = [
        (
            &["run", "--state", &state, "--junit", "file/x.xml"],
            "hint: --junit FILE or --html FILE names another",
        ),
        (&["run", "--state", "file"], "hint: --state names another"),
        (&["scheduler", "--state", &state, "--listen", &taken], "hint: --listen takes another address"),
    ];
    for (arguments, hint) in table {
        let output = suite.seagull(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(hint) && !said.contains("looks step by step"), "{arguments:?}: {said}");
    }
}

#[test]
fn errors_that_know_nothing_better_name_the_doctor() {
    let suite = Suite::named("broken_conftest");
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let run = ["run", "--slots", "1", "--state", &state, "--output", "plain"];
    let output = suite.seagull(&run).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(101));
    assert!(said.contains(&format!("find out what is wrong: seagull doctor --state {state}\n")), "{said}");
}

#[test]
fn an_engine_is_looked_for_only_where_services_need_one() {
    let suite = Suite::of(&[("test_a.py", GOOD)]);
    let settings = "[artifact]\nroot = '.'\n[services.a]\nimage = 'x'\n[environment.e]\nservices = ['a']\n";
    suite.write("seagull.toml", settings);
    let nowhere = suite.beside("nowhere").display().to_string();
    let output = doctor(&suite, &[], &[("DOCKER_HOST", &format!("unix://{nowhere}"))]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let expected = format!(
        "problem   docker      no Docker engine answers at unix://{nowhere}: there is no such socket\n"
    );
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains("hint: start Docker, or say where it is with DOCKER_HOST"), "{said}");
    // As for docker, an empty variable names nothing.
    let output = doctor(&suite, &[], &[("DOCKER_HOST", "")]);
    let empty = String::from_utf8_lossy(&output.stdout);
    let is_usual = empty.contains("answers at unix:///var/run/docker.sock") || empty.contains("engine ");
    assert!(is_usual && !empty.contains("named by a socket"), "{empty}");
    let at = |check: &str| said.find(check).unwrap_or_else(|| panic!("no {check}: {said}"));
    assert!(at(" docker ") < at(" framework "), "what nothing runs without is looked for first: {said}");
}

#[test]
fn the_sandbox_of_each_environment_is_tried() {
    let Some(docker) = Docker::get() else { return };
    let service = |name: &str, command: &str| {
        format!(
            "[services.{name}]\nimage = '{IMAGE}'\ncommand = '{command}'\nready.log = 'begins'\n\
             [environment.{name}]\nservices = ['{name}']\ntests = ['{name}']\n"
        )
    };
    let settings = [
        "[artifact]\nroot = '.'\n",
        &service("good", "echo begins; exec sleep 1000"),
        &service("late", "echo no disk; exit 7"),
        &service("unused", "exit 8"),
    ]
    .concat();
    // More tests than are tried in one bundle come before any that needs services.
    let many = "import pytest\n@pytest.mark.parametrize('n', range(25))\ndef test_n(n): pass\n";
    let good =
        "import os\ndef test_a(): pass\ndef test_b(): pass\ndef test_c(): pass\ndef test_d(): assert False\n";
    let suite = Suite::of(&[
        ("seagull.toml", &settings),
        ("a/test_many.py", many),
        ("good/test_good.py", good),
        ("late/test_late.py", GOOD),
    ]);
    let doctor = docker.seagull(&suite, &["doctor", "--output", "json"]).output().unwrap();
    let told = String::from_utf8_lossy(&doctor.stdout);
    assert_eq!(doctor.status.code(), Some(1), "{told}");
    let steps: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |check: &str| steps.iter().filter(|step| step["check"] == check).collect::<Vec<_>>();
    let [good, late] = of("environment")[..] else { panic!("{told}") };
    let message = |step: &Value| step["message"].as_str().unwrap().to_owned();
    assert!(good["state"] == "ok" && message(good).starts_with("good: 3 tests are good in "), "{good}");
    let expected =
        "late: sandbox failed: late ended before it was ready: exit code 7; it said last:\n  no disk";
    assert!(late["state"] == "problem" && message(late) == expected, "{late}");
    assert!(late["hint"].as_str().unwrap().starts_with("[services.late] user,"), "{late}");
    assert!(message(of("one bundle")[0]).starts_with("20 tests are good"), "{told}");
    assert_eq!(docker.objects(&suite), [""; 0]);
}

#[test]
fn what_waits_for_memory_that_this_machine_does_not_have_is_said_at_once() {
    let suite = Suite::of(&[("test_a.py", GOOD)]);
    let service = "[artifact]\nroot = '.'\n[services.a]\nimage = 'x'\nmemory = '90000GiB'\n";
    let of = |environment: &str| format!("{service}[environment.{environment}]\nservices = ['a']\n");
    let expected = |name: &str| format!("environment {name} needs 87 TiB of memory, with its services");
    suite.write("seagull.toml", &of("e"));
    let steps = steps(&suite, &[], 1);
    let problem = step(&steps, "memory", "problem");
    assert!(problem["message"].as_str().unwrap().starts_with(&expected("e")), "{problem}");
    assert!(problem["hint"].as_str().unwrap().starts_with("[environment.e] memory"), "{problem}");
    assert!(steps.iter().all(|(check, _)| check != "discovery"), "{steps:#?}");
    suite.write("seagull.toml", &of("default"));
    let output = suite.seagull(&["plan"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(&expected("default")), "{said}");
}
