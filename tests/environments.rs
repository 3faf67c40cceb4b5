//! Runs whose tests need services on a real Docker engine: each worker has its own, and nothing is left of them.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{
    Cluster, Docker, Finished, IMAGE, Question, Running, Suite, Victim, Way, When, is, text, until,
};

/// How long a guard may take to see that its owner is dead and to remove what there is, on a busy machine.
pub const GUARDED: Duration = Duration::from_secs(120);

/// A service that keeps what it is told, a line each, and answers with all of it.
pub const KEEPER: &str = r#"
import socketserver
lines = []
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline()
        if line == b"end\n":
            import os
            print("told to end", flush=True)
            os._exit(3)
        lines.append(line)
        self.wfile.write(b"".join(lines))
print("listens", flush=True)
socketserver.ThreadingTCPServer(("", 7000), Answer).serve_forever()
"#;

pub const CONFTEST: &str = r#"
import os, pathlib, socket, time
import pytest

PLACE = pathlib.Path(os.environ["MEETING_PLACE"])

def tell(line, name="KEEPER"):
    where = os.environ["SEAGULL_SERVICE_%s_HOST" % name], int(os.environ["SEAGULL_SERVICE_%s_PORT" % name])
    with socket.create_connection(where) as connection:
        connection.sendall(line.encode() + b"\n")
        return connection.makefile().read().splitlines()

def meet(name, others):
    (PLACE / name).touch()
    end = time.monotonic() + 60
    while not all((PLACE / other).exists() for other in others):
        assert time.monotonic() < end, "the others are not there"
        time.sleep(0.02)

@pytest.fixture
def keeper():
    return tell

@pytest.fixture
def meeting():
    return meet
"#;

const TOML: &str = r#"
    [services.keeper]
    image = "IMAGE"
    command = ["python3", "/keeper.py"]
    files = { "/keeper.py" = "keeper.py" }
    ports = [7000]
    user = "1000"
    [environment.db]
    services = ["keeper"]
    env = { MODE = "db" }
    tests = ["tests/db"]
    [environment.other]
    services = ["keeper"]
    env = { MODE = "other" }
"#;

/// What each test of the environment does: nobody but its own worker has spoken to its keeper.
const ALONE: &str = r#"
import os
def test_first(keeper, meeting):
    assert os.environ["MODE"] == "db"
    meeting("NAME", ["a", "b"])
    assert set(keeper("%d" % os.getpid())) == {str(os.getpid())}
    place = os.environ["MEETING_PLACE"]
    open(os.path.join(place, "url-" + os.environ["SEAGULL_SERVICE_KEEPER_URL"].rpartition(":")[2]), "w").close()
def test_second(keeper):
    assert set(keeper("%d" % os.getpid())) == {str(os.getpid())}
"#;

pub fn suite(files: &[(&str, &str)]) -> Suite {
    let toml = TOML.replace("IMAGE", IMAGE);
    let base = [("seagull.toml", toml.as_str()), ("keeper.py", KEEPER), ("tests/conftest.py", CONFTEST)];
    Suite::of(&[&base, files].concat())
}

pub fn start(docker: &Docker, suite: &Suite, arguments: &[&str]) -> Running {
    let slots: &[&str] = if arguments.contains(&"--slots") { &[] } else { &["--slots", "2"] };
    let all = [&["run", "--output", "json"], slots, arguments].concat();
    Running::start(docker.seagull(suite, &all), &suite.beside("stderr"))
}

pub fn run(docker: &Docker, suite: &Suite, arguments: &[&str]) -> Finished {
    let finished = start(docker, suite, arguments).finish();
    assert_eq!(docker.objects(suite), [""; 0], "on the engine, at the run's end");
    suite.marked().all_gone_within(Duration::from_secs(10));
    finished
}

#[test]
fn each_worker_has_services_of_its_own_and_tests_of_other_environments_run_in_other_workers() {
    let Some(docker) = Docker::get() else { return };
    let of = |name: &str| ALONE.replace("NAME", name);
    let (a, b) = (of("a"), of("b"));
    let plain = "import os\ndef test_plain():\n    assert not [n for n in os.environ if n.startswith('SEAGULL_SERVICE')]\n";
    let marked = "import os, pytest\n@pytest.mark.seagull(environment='other')\ndef test_marked(keeper):\n    \
                  assert os.environ['MODE'] == 'other' and keeper('x') == ['x']\n\
                  def test_beside():\n    assert 'MODE' not in os.environ\n";
    let suite = suite(&[
        ("tests/db/test_a.py", &a),
        ("tests/db/test_b.py", &b),
        ("tests/test_plain.py", plain),
        ("tests/test_marked.py", marked),
    ]);
    let finished = run(&docker, &suite, &["tests", "--", "--strict-markers"]);
    let passed = [
        "tests/db/test_a.py::test_first",
        "tests/db/test_a.py::test_second",
        "tests/db/test_b.py::test_first",
        "tests/db/test_b.py::test_second",
        "tests/test_marked.py::test_beside",
        "tests/test_marked.py::test_marked",
        "tests/test_plain.py::test_plain",
    ];
    finished.expect(0, &passed.map(|test| (test, "passed")));
    let places = std::fs::read_dir(suite.beside("meet")).unwrap();
    let names = places.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let ports: BTreeSet<String> = names.filter(|name| name.starts_with("url-")).collect();
    assert_eq!(ports.len(), 2, "two sandboxes at once: {ports:?}");
}

#[test]
fn a_service_for_one_bundle_is_new_in_the_next() {
    let Some(docker) = Docker::get() else { return };
    let alone = "def test_x(keeper):\n    assert keeper('x') == ['x']\n";
    let suite = suite(&[("tests/db/test_a.py", alone), ("tests/db/test_b.py", alone)]);
    let toml = suite.read("seagull.toml").replace("user = ", "scope = \"bundle\"\n    user = ");
    suite.write("seagull.toml", &toml);
    let finished = run(&docker, &suite, &["--slots", "1", "--cap", "1s", "tests"]);
    finished.expect_counts(0, &[("passed", 2)]);
}

#[test]
fn a_sandbox_that_waits_for_the_next_bundle_is_the_next_ones_or_gone() {
    let Some(docker) = Docker::get() else { return };
    // The first bundle goes on until the next one's sandbox is there, or for ever.
    let waits = "import os, pathlib, time\ndef test_x(keeper):\n    keeper('x')\n    \
                 while not (pathlib.Path(os.environ['MEETING_PLACE']) / 'go').exists():\n        time.sleep(0.05)\n";
    let alone = "def test_x(keeper):\n    assert keeper('x') == ['x']\n";
    for signal in [None, Some(Signal::SIGKILL), Some(Signal::SIGINT)] {
        let suite = suite(&[
            ("tests/db/test_a.py", waits),
            ("tests/db/test_b.py", waits),
            ("tests/db/test_c.py", alone),
        ]);
        let toml = suite.read("seagull.toml").replace("user = ", "scope = \"bundle\"\n    user = ");
        suite.write("seagull.toml", &toml);
        let arguments = ["--slots", "1", "--cap", "1s", "--grace", "1s", "tests"];
        let mut running = start(&docker, &suite, &arguments);
        running.until(is("test_started"));
        until(|| docker.objects(&suite).len() == 4);
        match signal {
            Some(signal) => {
                running.signal(signal);
                running.wait();
            }
            None => {
                std::fs::write(suite.beside("meet").join("go"), "").unwrap();
                running.finish().expect_counts(0, &[("passed", 3)]);
            }
        }
        suite.marked().all_gone_within(GUARDED);
        assert_eq!(docker.objects(&suite), [""; 0], "{signal:?}");
    }
}

#[test]
fn what_does_not_start_is_an_infrastructure_cause_with_the_services_last_words() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(&[
        ("tests/db/test_a.py", "def test_x():\n    pass\n"),
        ("tests/test_b.py", "def test_y():\n    pass\n"),
    ]);
    suite.write("keeper.py", "print('no disk')\nraise SystemExit(7)\n");
    let finished = run(&docker, &suite, &["tests"]);
    finished.expect(
        101,
        &[
            ("tests/db/test_a.py::test_x", "not_executed: sandbox failed"),
            ("tests/test_b.py::test_y", "passed"),
        ],
    );
    let lost = finished.all("attempt_lost");
    // Nobody else will ever be there.
    assert!(lost.len() <= 12, "{} attempts", lost.len());
    let said = lost.iter().find(|event| text(event, "cause") == "sandbox failed").expect("it is told");
    assert!(
        said.to_string().contains("keeper ended before it was ready: exit code 7; it said last:\\n  no disk"),
        "{said}"
    );
    // It does not run out of tries while somebody waits.
    let way = Way::counting(&docker, suite.beside("engine"), ("POST", "-keeper/start"));
    let doctor = ["doctor", "--output", "json", "tests/db"];
    let output = docker.seagull_through(&way.socket, &suite, &doctor).output().unwrap();
    assert!(way.asked() < 4, "a second try may begin before the first is heard of: {}", way.asked());
    let told = String::from_utf8_lossy(&output.stdout);
    let steps: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let one = steps.iter().find(|step| text(step, "check") == "one test").expect("it is tried");
    assert!(text(one, "message").ends_with("exit code 7; it said last:\n  no disk"), "{one}");
    assert!(text(one, "hint").starts_with("[services.keeper] user,"), "{one}");
    assert!(!steps.iter().any(|step| text(step, "check") == "one bundle"), "it is told once: {told}");
}

#[test]
fn what_is_never_ready_costs_a_worker_the_time_for_it_once() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(&[
        ("tests/db/test_a.py", "def test_x(): pass\n"),
        ("tests/test_b.py", "def test_y(meeting): meeting('y', ['go'])\n"),
    ]);
    suite.write("keeper.py", "import time\nprint('thinks', flush=True)\ntime.sleep(1000)\n");
    let toml = suite.read("seagull.toml").replace("user = ", "ready.within = \"2s\"\n    user = ");
    suite.write("seagull.toml", &toml);
    // Its sandbox is made ahead while the other test runs, and is not made once more for the worker.
    let way = Way::counting(&docker, suite.beside("engine"), ("POST", "-keeper/start"));
    let arguments = ["run", "--output", "json", "--slots", "1", "--cap", "1s", "--test-losses", "1", "tests"];
    let running = docker.seagull_through(&way.socket, &suite, &arguments);
    let mut running = Running::start(running, &suite.beside("stderr"));
    running.until(is("test_started"));
    until(|| way.asked() == 1);
    until(|| docker.objects(&suite).is_empty());
    std::fs::write(suite.beside("meet").join("go"), "").unwrap();
    let finished = running.finish();
    finished.expect_counts(101, &[("passed", 1), ("not_executed: sandbox failed", 1)]);
    let lost = finished.one("attempt_lost").to_string();
    assert!(lost.contains("keeper is not ready within 2 s: port 7000 takes no connection"), "{lost}");
    assert_eq!(way.asked(), 1, "{}", finished.stderr);
    assert_eq!(docker.objects(&suite), [""; 0]);
}

#[test]
fn a_service_that_ends_under_a_test_is_not_the_tests_fault() {
    let Some(docker) = Docker::get() else { return };
    // It has the service end the first time only.
    let test = "def test_x(keeper, tmp_path):\n    import os, pathlib, time\n    \
                once = pathlib.Path(os.environ['MEETING_PLACE']) / 'once'\n    \
                if not once.exists():\n        once.touch()\n        keeper('end')\n        time.sleep(60)\n    \
                assert keeper('x') == ['x']\n";
    let failing = test
        .replace("time.sleep(60)", "assert False, 'what the service does not hear'")
        .replace("once'", "twice'");
    let suite = suite(&[("tests/db/test_a.py", test), ("tests/db/test_b.py", &failing)]);
    let finished = run(&docker, &suite, &["tests"]);
    finished.expect_counts(0, &[("passed", 2)]);
    let said: Vec<String> = finished.all("attempt_lost").iter().map(|event| event.to_string()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    for said in said {
        assert!(said.contains("keeper ended while tests used it: exit code 3; it said last:"), "{said}");
        assert!(said.contains("told to end"), "{said}");
    }
}

#[test]
fn a_test_that_fails_while_nobody_answers_for_its_services_is_not_at_fault() {
    let Some(docker) = Docker::get() else { return };
    let test = "import os, pathlib\ndef test_x(keeper):\n    \
                place = pathlib.Path(os.environ['MEETING_PLACE'])\n    \
                if not (place / 'away').exists():\n        os.rename(place.parent / 'engine', place / 'away')\n        \
                assert False, 'no service is found by its name'\n    assert keeper('x') == ['x']\n";
    let suite = suite(&[("tests/db/test_a.py", test)]);
    let way = Way::counting(&docker, suite.beside("engine"), ("GET", "/volumes"));
    let run = docker.seagull_through(&way.socket, &suite, &RUN);
    let mut run = Running::start(run, &suite.beside("stderr"));
    let lost = run.until(is("attempt_lost"));
    assert!(text(&lost, "message").starts_with("the Docker engine cannot look at the container"), "{lost}");
    std::fs::hard_link(suite.beside("meet/away"), &way.socket).unwrap();
    run.finish().expect_counts(0, &[("passed", 1)]);
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(&suite), [""; 0]);
}

/// A question that is asked at each stage of a run with services.
const STAGES: [(Question, When); 6] = [
    (("POST", "/networks/create"), When::After),
    (("POST", "/containers/create"), When::During),
    (("POST", "/start "), When::After),
    (("GET", "-keeper/json"), When::After),
    (("POST", "/wait"), When::During),
    (("DELETE", "/containers/"), When::During),
];

#[test]
fn nothing_is_left_of_a_run_that_is_killed_at_any_stage() {
    let Some(docker) = Docker::get() else { return };
    killed_at_each(&docker, &STAGES, || {
        suite(&[("tests/db/test_a.py", "def test_x(keeper):\n    assert keeper('x') == ['x']\n")])
    });
}

/// A run of tests on one slot.
pub const RUN: [&str; 6] = ["run", "--output", "json", "--slots", "1", "tests"];

/// A command whose way to the engine knows which process it is before it asks anything.
pub fn start_through(docker: &Docker, suite: &Suite, way: &Way, arguments: &[&str]) -> Running {
    let run = docker.seagull_through(&way.socket, suite, arguments);
    let fifo = suite.beside("go");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut held = Command::new("sh");
    held.args(["-c", "read _ <\"$0\"; exec \"$@\""]).arg(&fifo).arg(run.get_program()).args(run.get_args());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => held.env(name, value),
            None => held.env_remove(name),
        };
    }
    held.current_dir(suite.path());
    let run = Running::start(held, &suite.beside("stderr"));
    way.asks(run.id());
    std::fs::write(&fifo, "go\n").unwrap();
    run
}

/// Kills a run of one test at each of these stages. Nothing is left of any, and each can be run again.
pub fn killed_at_each(docker: &Docker, stages: &[(Question, When)], suite: impl Fn() -> Suite) {
    let mut left = Vec::new();
    for (question, when) in stages.iter().copied() {
        let suite = suite();
        let way = Way::new(docker, suite.beside("engine"), question, when, Victim::asker());
        let mut run = start_through(docker, &suite, &way, &RUN);
        let (code, stderr) = run.wait();
        assert_eq!(code, 137, "{question:?} {when:?}: {stderr}");
        assert!(way.has_killed());
        left.push((question, when, suite, way));
    }
    for (question, when, suite, _way) in &left {
        suite.marked().all_gone_within(GUARDED);
        assert_eq!(docker.objects(suite), [""; 0], "{question:?} {when:?}");
        // And the run can be run again.
        let finished = run(docker, suite, &["tests"]);
        finished.expect_counts(0, &[("passed", 1)]);
    }
}

#[test]
fn a_run_that_is_killed_while_its_tests_run_leaves_nothing_nor_does_one_that_is_interrupted() {
    let Some(docker) = Docker::get() else { return };
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let suite = suite(&[(
            "tests/db/test_a.py",
            "def test_x(keeper):\n    keeper('x')\n    __import__('time').sleep(60)\n",
        )]);
        let mut running = start(&docker, &suite, &["--grace", "1s", "tests"]);
        running.until(is("test_started"));
        until(|| docker.objects(&suite).len() == 2);
        running.signal(signal);
        running.wait();
        suite.marked().all_gone_within(GUARDED);
        assert_eq!(docker.objects(&suite), [""; 0], "{signal}");
    }
}

#[test]
fn who_ends_with_nothing_left_does_not_wait_for_its_guard_to_look_again_and_again() {
    let Some(docker) = Docker::get() else { return };
    // Which of the two ways to hear of the end a guard takes is chance.
    for _ in 0..3 {
        let suite =
            suite(&[("tests/db/test_a.py", "def test_x(keeper):\n    assert keeper('x') == ['x']\n")]);
        let way = Way::counting(&docker, suite.beside("engine"), ("GET", "/volumes"));
        let run = docker.seagull_through(&way.socket, &suite, &RUN);
        Running::start(run, &suite.beside("stderr")).finish().expect_counts(0, &[("passed", 1)]);
        // What was there before, by who starts, and what is left, by who ends and by its guard.
        assert!((1..=4).contains(&way.asked()), "{}", way.asked());
    }
}

#[test]
fn what_an_executor_leaves_whose_guard_was_killed_with_it_is_removed_by_the_next() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(&[(
        "tests/db/test_a.py",
        "def test_x(keeper):\n    keeper('x')\n    __import__('time').sleep(60)\n",
    )]);
    let mut running = start(&docker, &suite, &["tests"]);
    running.until(is("test_started"));
    suite.marked().kill();
    running.wait();
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(&suite).len(), 2, "nobody was left to remove them");
    suite.write("tests/db/test_a.py", "def test_x(keeper):\n    keeper('x')\n");
    let mut next = start(&docker, &suite, &["tests"]);
    next.until(is("run_finished"));
    until(|| docker.objects(&suite).is_empty());
    next.wait();
    suite.marked().all_gone_within(GUARDED);
}

#[test]
fn executors_elsewhere_show_services_the_runs_files_and_a_lost_one_leaves_nothing() {
    let Some(docker) = Docker::get() else { return };
    let test = "import os, time\ndef test_x(keeper):\n    assert set(keeper(str(os.getpid()))) == {str(os.getpid())}\n    \
                time.sleep(3)\n";
    let suite = suite(&[("tests/db/test_a.py", test), ("tests/db/test_b.py", test)]);
    let cluster = Cluster::beside(&docker, suite);
    let executors = ["e-one", "e-two"].map(|name| cluster.executor(name));
    let mut running = cluster.start_run(&["tests"]);
    let first = text(&running.until(is("test_started")), "executor").to_owned();
    let [one, two] = executors;
    let (killed, kept) = if first == "e-one" { (one, two) } else { (two, one) };
    killed.signal(Signal::SIGKILL);
    let finished = running.finish();
    finished.expect_counts(0, &[("passed", 2)]);
    assert_eq!(finished.all("executor_lost").len(), 1);
    let objects_of = |name: &str| docker.objects_in(&cluster.suite.beside(name));
    until(|| objects_of(&first).is_empty());
    kept.signal(Signal::SIGTERM);
    let (_, code, stderr) = kept.end();
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(["e-one", "e-two"].map(objects_of), [[""; 0]; 2]);
    cluster.scheduler.signal(Signal::SIGTERM);
    cluster.suite.marked().all_gone_within(GUARDED);
}

#[test]
fn a_secret_that_a_service_says_is_nowhere_in_what_is_told_and_kept() {
    let Some(docker) = Docker::get() else { return };
    // The service's own, and one of the run that it knows otherwise.
    let saying = "echo knows $(cat /run/secrets/PW) and $(cat /told)";
    let ends = format!("command = \"{saying}; exit 3\"");
    let fails =
        format!("command = \"sleep 1000\"\nready.command = \"true\"\nprepare = [\"{saying} >&2; exit 3\"]");
    for how in [ends, fails] {
        let toml = format!(
            "[secrets]\nRUNS = \"env:RUNS\"\n[services.a]\nimage = \"{IMAGE}\"\nsecrets = {{ PW = \"env:PW\" }}\n\
             files = {{ \"/told\" = \"told\" }}\n{how}\n[environment.default]\nservices = [\"a\"]\n"
        );
        let files =
            [("seagull.toml", &*toml), ("test_a.py", "def test_x(): pass\n"), ("told", "tortoise99\n")];
        let suite = Suite::of(&files);
        let mut run = docker.seagull(&suite, &["run", "--slots", "1", "--output", "json"]);
        let output = run.envs([("PW", "hunter2hunter2"), ("RUNS", "tortoise99")]).output().unwrap();
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(told.contains("knows *** and ***"), "{told}");
        let mut grep = Command::new("grep");
        grep.args(["-rlaE", "hunter2|tortoise"]).arg(suite.path().join(".seagull"));
        let kept = String::from_utf8(grep.output().unwrap().stdout).unwrap();
        assert!(kept.is_empty() && !told.contains("hunter2") && !told.contains("tortoise"), "{kept}{told}");
        assert_eq!(docker.objects(&suite), [""; 0]);
    }
}
