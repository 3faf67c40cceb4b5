//! Tests in containers on a real Docker engine: what they find there, what becomes of them, and that nothing is left.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::environments::{GUARDED, KEEPER, killed_at_each, run, start};
use crate::harness::{Docker, IMAGE, Question, Running, Suite, WITH_PYTEST, Way, When, is, until};

const TOML: &str = r#"
    [services.keeper]
    image = "IMAGE"
    command = ["python3", "/keeper.py"]
    files = { "/keeper.py" = "keeper.py" }
    ports = [7000]
    user = "1000"
    [environment.db]
    image = "PYTEST"
    services = ["keeper"]
    env = { MODE = "db" }
    memory = "96MiB"
    pids = 100
    tests = ["tests/db"]
    [environment.plain]
    image = "PYTEST"
    network = "none"
    [secrets]
    KEY = "env:THE_KEY"
"#;

const CONFTEST: &str = r#"
import os, socket
import pytest

@pytest.fixture
def keeper():
    def tell(line):
        where = os.environ["SEAGULL_SERVICE_KEEPER_HOST"], int(os.environ["SEAGULL_SERVICE_KEEPER_PORT"])
        with socket.create_connection(where) as connection:
            connection.sendall(line.encode() + b"\n")
            return connection.makefile().read().splitlines()
    return tell
"#;

/// What a test finds in its container.
const INSIDE: &str = r#"
import os, pathlib, socket
def test_beside_its_services(keeper):
    assert socket.gethostname() == "tests" and os.environ["MODE"] == "db"
    assert os.environ["SEAGULL_SERVICE_KEEPER_URL"] == "tcp://keeper:7000"
    assert keeper("x") == ["x"] and keeper("y") == ["x", "y"]
def test_without_rights():
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert not os.path.exists("/var/run/docker.sock")
    assert "MEETING_PLACE" not in os.environ
def test_its_files_are_its_own(tmp_path):
    here = pathlib.Path(__file__)
    here.with_name("written").write_text("x")
    here.write_text("changed")
    pathlib.Path("seagull.toml").unlink()
    (tmp_path / "x").touch()
def test_without_what_is_kept_of_runs():
    assert os.listdir(".seagull") == []
def test_secrets():
    assert os.environ["KEY"] == "hunter2 is long"
    assert b"hunter2" not in pathlib.Path("/proc/1/environ").read_bytes()
"#;

pub fn suite(files: &[(&str, &str)]) -> Suite {
    let toml = TOML.replace("IMAGE", IMAGE).replace("PYTEST", WITH_PYTEST);
    let base = [("seagull.toml", toml.as_str()), ("keeper.py", KEEPER), ("tests/conftest.py", CONFTEST)];
    // The case's own process has the secret.
    let files: Vec<(&str, &str)> = base.into_iter().chain(files.iter().copied()).collect();
    let suite = Suite::of(&files);
    let kept = suite.beside("key");
    std::fs::write(&kept, "hunter2 is long\n").unwrap();
    let toml = suite.read("seagull.toml").replace("env:THE_KEY", &format!("file:{}", kept.display()));
    suite.write("seagull.toml", &toml);
    suite
}

#[test]
fn tests_run_in_an_image_beside_their_services_on_files_of_their_own() {
    let Some(docker) = Docker::get() else { return };
    let elsewhere = "import os, pytest, socket\n@pytest.mark.seagull(environment='plain')\ndef test_cut_off():\n    \
                     assert os.listdir('/sys/class/net') == ['lo'] and 'MODE' not in os.environ\n\
                     def test_on_the_machine():\n    assert 'MEETING_PLACE' in os.environ\n";
    let suite = suite(&[("tests/db/test_in.py", INSIDE), ("tests/test_out.py", elsewhere)]);
    let finished = run(&docker, &suite, &["tests"]);
    finished.expect_counts(0, &[("passed", 7)]);
    assert_eq!(suite.read("tests/db/test_in.py"), INSIDE);
    assert!(!suite.path().join("tests/db/written").exists() && suite.path().join("seagull.toml").exists());
}

#[test]
fn tests_reach_nothing_of_the_machine() {
    let Some(docker) = Docker::get() else { return };
    let test = r#"
import socket, pytest
def own():
    leaf = ""
    for words in map(str.split, open("/proc/net/fib_trie").read().splitlines()):
        if words[0] == "|--":
            leaf = words[1]
        elif words == ["/32", "host", "LOCAL"] and not leaf.startswith("127."):
            yield leaf.rpartition(".")[0] + ".1"
def test_cut_off(keeper):
    assert keeper("x") == ["x"] and list(own())
    for host in {*own(), "172.17.0.1", "10.0.0.1"}:
        with pytest.raises(OSError):
            socket.create_connection((host, PORT), 1)
"#;
    let (port, mut listener) = docker.listener();
    let suite = suite(&[("tests/db/test_a.py", &test.replace("PORT", &port.to_string()))]);
    let finished = run(&docker, &suite, &["tests"]);
    docker
        .place()
        .shell(&format!("python3 -c \"import socket; socket.create_connection(('172.17.0.1', {port}), 4)\""));
    listener.kill().unwrap();
    listener.wait().unwrap();
    finished.expect_counts(0, &[("passed", 1)]);
}

#[test]
fn a_container_is_read_only_where_that_is_written_and_a_secret_is_kept_nowhere() {
    let Some(docker) = Docker::get() else { return };
    let test = "import os, pytest\ndef test_read_only():\n    open(__file__ + '.own', 'w').close()\n    \
                open('/tmp/x', 'w').close()\n    with pytest.raises(OSError):\n        open('/x', 'w')\n\
                def test_tells_its_secret():\n    print(os.environ['KEY'])\n    assert not os.environ['KEY']\n";
    let suite = suite(&[("tests/db/test_a.py", test)]);
    let limited = "pids = 100\n    read-only = true\n    tmpfs = [\"/tmp\"]";
    suite.write("seagull.toml", &suite.read("seagull.toml").replace("pids = 100", limited));
    let finished = run(&docker, &suite, &["tests"]);
    finished.expect_counts(100, &[("passed", 1), ("failed", 1)]);
    let logs = docker.seagull(&suite, &["logs", "last", "test_tells_its_secret"]).output().unwrap();
    let logs = String::from_utf8_lossy(&logs.stdout).into_owned();
    assert!(logs.contains("os.environ['KEY']") && !logs.contains("hunter2"), "{logs}");
    let mut grep = std::process::Command::new("grep");
    let found = grep.args(["-rl", "hunter2"]).arg(suite.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "neither in the journal");
}

#[test]
fn the_example_with_a_database_and_a_cache_passes() {
    let Some(docker) = Docker::get() else { return };
    if docker.shop() {
        let suite = Suite::copied("examples/shop");
        run(&docker, &suite, &[]).expect_counts(0, &[("passed", 201)]);
    }
}

#[test]
fn all_of_a_suite_may_run_in_an_image_also_the_discovery() {
    let Some(docker) = Docker::get() else { return };
    let test = "import socket\nassert socket.gethostname() == 'tests'\ndef test_x():\n    print('said')\n    assert 0\n";
    let suite = suite(&[("tests/test_x.py", test)]);
    let toml = suite.read("seagull.toml").replace("[environment.plain]", "[environment.default]");
    suite.write("seagull.toml", &toml);
    let finished = run(&docker, &suite, &["tests"]);
    finished.expect_counts(100, &[("failed", 1)]);
    let logs = docker.seagull(&suite, &["logs", "last", "test_x"]).output().unwrap();
    assert!(String::from_utf8_lossy(&logs.stdout).contains("said"), "{logs:?}");
    let repro = docker.seagull(&suite, &["repro", "last", "test_x"]).output().unwrap();
    assert_eq!(repro.status.code(), Some(100), "{repro:?}");
    let said = [repro.stdout, repro.stderr].concat();
    assert!(String::from_utf8_lossy(&said).contains("tests/test_x.py::test_x failed"), "{said:?}");
}

#[test]
fn a_test_that_takes_too_much_memory_is_told_so_also_where_a_child_of_it_does() {
    let Some(docker) = Docker::get() else { return };
    let test = "import subprocess, sys, time\ndef test_itself():\n    taken = bytearray(400 << 20)\n\
                def test_child():\n    subprocess.run([sys.executable, '-c', 'x = bytearray(400 << 20)'])\n    time.sleep(60)\n\
                def test_of_a_child():\n    subprocess.run([sys.executable, '-c', 'x = bytearray(400 << 20)'], check=True)\n\
                def test_modest():\n    pass\n\
                def test_once_more():\n    taken = bytearray(120 << 20)\n";
    let suite = suite(&[("tests/db/test_a.py", test)]);
    let finished = run(&docker, &suite, &["--slots", "1", "tests"]);
    finished.expect_counts(100, &[("failed", 3), ("passed", 2)]);
    for test in ["test_child", "test_of_a_child", "test_itself"] {
        let result = finished.result(&format!("tests/db/test_a.py::{test}"));
        assert_eq!(result["cause"], "over its memory limit", "{result}");
    }
    let said = finished.all("test_finished").iter().map(|event| event.to_string()).collect::<String>();
    assert_eq!(said.matches("first_memory_kill").count(), 4, "{said}");
    assert!(said.contains("over its memory limit of 96 MiB: killed, with a peak of 9"), "{said}");
    assert!(said.contains("limit of 192 MiB, twice what is set: killed, with a peak of 19"), "{said}");
    assert!(said.contains("[environment.db] memory sets it"), "{said}");
}

#[test]
fn what_becomes_of_a_test_is_as_it_is_on_a_machine() {
    let Some(docker) = Docker::get() else { return };
    let test = "import os, signal, time\ndef test_dies():\n    os.kill(os.getpid(), signal.SIGSEGV)\n\
                def test_exits():\n    os._exit(7)\n\
                def test_hangs():\n    time.sleep(600)\n\
                def test_kills_its_parent():\n    os.kill(os.getppid(), signal.SIGKILL)\n    time.sleep(600)\n\
                def test_leaves_a_child():\n    os.fork() or time.sleep(600)\n";
    let suite = suite(&[("tests/db/test_a.py", test)]);
    let finished = run(&docker, &suite, &["--slots", "1", "--test-limit", "5s", "tests"]);
    finished.expect_counts(100, &[("failed", 4), ("passed", 1)]);
    let causes = [
        ("test_dies", "crashed"),
        ("test_exits", "crashed"),
        ("test_hangs", "timed out"),
        ("test_kills_its_parent", "crashed"),
    ];
    for (test, cause) in causes {
        let result = finished.result(&format!("tests/db/test_a.py::{test}"));
        assert_eq!(result["cause"], cause, "{result}");
    }
    let said = finished.all("test_finished").iter().map(|event| event.to_string()).collect::<String>();
    assert!(said.contains("signal 11") && said.contains("exit code 7"), "{said}");
    let logs = docker.seagull(&suite, &["logs", "last", "test_hangs"]).output().unwrap();
    assert!(String::from_utf8_lossy(&logs.stdout).contains("in test_hangs"), "its stack: {logs:?}");
}

#[test]
fn a_container_that_is_killed_from_outside_is_not_the_tests_fault() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(&[("tests/db/test_a.py", "import time\ndef test_x():\n    time.sleep(5)\n")]);
    let mut running = start(&docker, &suite, &["tests"]);
    running.until(is("test_started"));
    docker.kill_containers(&suite.path().join(".seagull"), "-_tests");
    let finished = running.finish();
    finished.expect_counts(0, &[("passed", 1)]);
    let lost = finished.all("attempt_lost");
    assert!(
        lost[0].to_string().contains("the sandbox was lost: its container was killed from outside"),
        "{lost:?}"
    );
    assert_eq!(docker.objects(&suite), [""; 0]);
}

#[test]
fn an_image_that_cannot_run_tests_says_what_it_lacks() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(&[("tests/test_a.py", "def test_x():\n    pass\n")]);
    let of = |python: &str, image: &str| {
        let toml = format!("[environment.default]\nimage = '{image}'\npython = '{python}'\n");
        suite.write("seagull.toml", &toml);
        let finished = run(&docker, &suite, &["tests"]);
        finished.all("discovery_failed")[0]["message"].as_str().unwrap().to_owned()
    };
    let said = of("python3", IMAGE);
    assert!(said.contains("pytest cannot be imported") && said.contains("in the image"), "{said}");
    let said = of("/opt/python", WITH_PYTEST);
    assert!(said.contains("/opt/python: no such file"), "{said}");
    let said = of("python3", "no.invalid/image:1");
    assert!(said.contains("the image no.invalid/image:1 is not here and cannot be fetched"), "{said}");
}

/// Stages of a container's life that services do not have.
const STAGES: [(Question, When); 6] = [
    (("POST", "/volumes/create"), When::After),
    (("POST", "_tests"), When::During),
    (("POST", "_tests/start"), When::During),
    (("POST", "_tests/start"), When::After),
    (("POST", "_tests/wait"), When::During),
    (("DELETE", "/volumes/"), When::During),
];

#[test]
fn nothing_is_left_of_a_container_whose_run_is_killed_at_any_stage() {
    let Some(docker) = Docker::get() else { return };
    killed_at_each(&docker, &STAGES, || {
        suite(&[("tests/db/test_a.py", "def test_x(keeper):\n    assert keeper('x') == ['x']\n")])
    });
}

#[test]
fn a_run_that_is_killed_or_interrupted_takes_its_containers_along() {
    let Some(docker) = Docker::get() else { return };
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let suite = suite(&[("tests/db/test_a.py", "import time\ndef test_x():\n    time.sleep(60)\n")]);
        let mut running = start(&docker, &suite, &["--grace", "1s", "tests"]);
        running.until(is("test_started"));
        until(|| docker.objects(&suite).len() == 4);
        running.signal(signal);
        running.wait();
        suite.marked().all_gone_within(GUARDED);
        assert_eq!(docker.objects(&suite), [""; 0], "{signal}");
    }
}

#[test]
fn what_a_test_deletes_leaves_nothing_with_an_executor_that_is_not_root() {
    // An engine can only be started by root, who can be somebody else as well: elsewhere it is skipped, and says so.
    let Some(docker) = Docker::get() else { return };
    let settings = format!("[environment.default]\nimage = \"{WITH_PYTEST}\"\n");
    let deletes = "import os, shutil\ndef test_d():\n    assert os.getuid() == 65534\n    os.unlink('top')\n    \
                   shutil.rmtree('data')\n";
    let files =
        [("seagull.toml", &*settings), ("tests/test_d.py", deletes), ("top", "x"), ("data/file", "y")];
    // Whoever runs these tests may have temporary files that nobody else comes to, as workers have.
    let suite = Suite::below(Path::new("/var/tmp"), &files);
    // Somebody who comes to nothing of root's but the engine's socket, by the group that it has.
    const NOBODY: &str = "65534";
    const GROUP: u32 = 65533;
    let (program, temporary) = (suite.beside("seagull"), suite.beside("tmp"));
    std::fs::copy(env!("CARGO_BIN_EXE_seagull"), &program).unwrap();
    std::fs::create_dir(&temporary).unwrap();
    let theirs = Command::new("chown").args(["-R", "65534:65534"]).arg(suite.beside("")).status().unwrap();
    assert!(theirs.success());
    let way = Way::counting(&docker, suite.beside("engine"), ("POST", "_whiteouts/start"));
    std::os::unix::fs::chown(&way.socket, Some(0), Some(GROUP)).unwrap();
    std::fs::set_permissions(&way.socket, std::fs::Permissions::from_mode(0o660)).unwrap();
    let mut somebody = suite.command("setpriv");
    somebody.args(["--reuid", NOBODY, "--regid", NOBODY, "--groups", &GROUP.to_string()]);
    somebody.arg(&program).args(["run", "--slots", "1", "--output", "json"]);
    somebody.env("DOCKER_HOST", format!("unix://{}", way.socket.display()));
    somebody.env("HOME", suite.path()).env("TMPDIR", &temporary);
    let finished = Running::start(docker.place().command(somebody), &suite.another("stderr")).finish();
    finished.expect(0, &[("tests/test_d.py::test_d", "passed")]);
    assert_eq!(finished.stderr.matches("cannot be removed").count(), 0, "{}", finished.stderr);
    assert!(way.asked() > 0, "the kernel left something that is root's");
    assert_eq!(docker.objects(&suite), [""; 0]);
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "beside what the run is of");
    assert_eq!((suite.read("top"), suite.read("data/file")), ("x".to_owned(), "y".to_owned()));
}

#[test]
fn the_doctor_looks_for_no_interpreter_here_where_tests_run_in_an_image() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(&[("tests/test_a.py", "def test_x():\n    pass\n")]);
    let toml = suite.read("seagull.toml").replace("[environment.plain]", "[environment.default]");
    suite.write(
        "seagull.toml",
        &format!("{toml}\n[pytest]\npython = \"/nowhere/python\"\n[artifact]\nroot = \".\"\n"),
    );
    let output =
        docker.seagull(&suite, &["doctor", "--output", "plain", "tests/test_a.py"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = format!("python3 of the image {WITH_PYTEST}, by [environment.default]");
    assert!(said.contains(&expected) && said.contains("one test"), "{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(&suite), [""; 0]);
}
