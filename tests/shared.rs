//! Services that workers share, and services that are made clean between bundles, on a real Docker engine.

use std::collections::BTreeSet;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::environments::{CONFTEST, GUARDED, run, start};
use crate::harness::{Cluster, Docker, IMAGE, Suite, Victim, WITH_PYTEST, Way, When, is, text, until};

/// A service that keeps a directory of lines for each slot, and one that needs it.
const TOML: &str = r#"
    [services.keeper]
    image = "IMAGE"
    command = ["python3", "/keeper.py"]
    files = { "/keeper.py" = "keeper.py" }
    ports = [7000]
    user = "1000"
    scope = "executor"
    [services.needy]
    image = "IMAGE"
    command = ["python3", "-c", "import socket, time; socket.create_connection(('keeper', 7000)); print('met', flush=True); time.sleep(1000)"]
    ready.log = "met"
    depends-on = ["keeper"]
    [environment.db]
    services = ["keeper"]
    tests = ["tests/db"]
    [environment.needy]
    services = ["needy"]
    tests = ["tests/needy"]
"#;

/// One that answers with all lines that it was told; what is told to port 7000 of itself as `forget` it forgets.
const KEEPER: &str = r#"
import os, socketserver
lines = []
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline()
        if line.startswith(b"forget"):
            lines[:] = [kept for kept in lines if not kept.startswith(line.split()[1])]
        elif line == b"end\n":
            os._exit(3)
        elif line:
            lines.append(line)
        self.wfile.write(b"".join(lines))
print("listens", flush=True)
socketserver.ThreadingTCPServer(("", 7000), Answer).serve_forever()
"#;

/// Forgets what the slot has told.
const RESET: &str = r#"reset = ["python3 -c 'import os, socket; s = socket.create_connection((\"127.0.0.1\", 7000)); s.sendall(b\"forget %s\\n\" % os.environb[b\"SEAGULL_SLOT\"]); s.makefile().read()'"]"#;

fn suite(toml: &str, files: &[(&str, &str)]) -> Suite {
    let toml = toml.replace("IMAGE", IMAGE);
    let base = [("seagull.toml", toml.as_str()), ("keeper.py", KEEPER), ("tests/conftest.py", CONFTEST)];
    Suite::of(&[&base, files].concat())
}

/// Two tests that meet, each in a worker of its own, and have then spoken to the same keeper.
fn meets(name: &str, others: &str) -> String {
    format!(
        "def test_x(keeper, meeting):\n    keeper('{name}')\n    meeting('{name}', {others})\n    \
         assert {{'a', 'b'}} <= set(keeper('{name}'))\n"
    )
}

#[test]
fn what_an_executors_workers_share_is_one_and_is_gone_with_the_executor() {
    let Some(docker) = Docker::get() else { return };
    let (a, b) = (meets("a", "['b']"), meets("b", "['a']"));
    let tests = [("tests/db/test_a.py", a.as_str()), ("tests/needy/test_b.py", &b)];
    run(&docker, &suite(TOML, &tests), &["tests"]).expect_counts(0, &[("passed", 2)]);
    // Beside tests in containers too, each in a network of its own.
    let image = format!("image = \"{WITH_PYTEST}\"\n    services = [");
    let inside = TOML.replace("services = [", &image);
    let place = "import pathlib, time\ndef test_x(keeper):\n    keeper('NAME')\n    end = time.monotonic() + 60\n    \
                 while not {'a', 'b'} <= set(keeper('NAME')):\n        assert time.monotonic() < end\n        time.sleep(0.1)\n";
    let (a, b) = (place.replace("NAME", "a"), place.replace("NAME", "b"));
    let suite = suite(&inside, &[("tests/db/test_a.py", &a), ("tests/needy/test_b.py", &b)]);
    suite.write("tests/conftest.py", &CONFTEST.replace("os.environ[\"MEETING_PLACE\"]", "'/tmp'"));
    run(&docker, &suite, &["tests"]).expect_counts(0, &[("passed", 2)]);
}

#[test]
fn what_is_shared_is_removed_whatever_becomes_of_the_executor_and_is_replaced_when_it_ends() {
    let Some(docker) = Docker::get() else { return };
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let suite = suite(
            TOML,
            &[("tests/needy/test_a.py", "import time\ndef test_x(keeper):\n    time.sleep(60)\n")],
        );
        let mut running = start(&docker, &suite, &["--grace", "1s", "tests"]);
        running.until(is("test_started"));
        until(|| docker.objects(&suite).len() == 4);
        running.signal(signal);
        running.wait();
        suite.marked().all_gone_within(GUARDED);
        assert_eq!(docker.objects(&suite), [""; 0], "{signal}");
    }
    let test = "def test_x(keeper):\n    import os, pathlib, time\n    \
                once = pathlib.Path(os.environ['MEETING_PLACE']) / 'once'\n    \
                if not once.exists():\n        once.touch()\n        keeper('end')\n        time.sleep(60)\n    \
                assert keeper('x') == ['x']\n";
    let finished = run(&docker, &suite(TOML, &[("tests/db/test_a.py", test)]), &["tests"]);
    finished.expect_counts(0, &[("passed", 1)]);
    assert!(finished.all("attempt_lost")[0].to_string().contains("keeper ended while tests used it"));
}

/// Tests of as many bundles, one after the other in one slot, each of which finds nothing but its own line.
const ALONE: &str = "import os\ndef test_x(keeper):\n    mine = os.environ['SEAGULL_SLOT'] + ' NAME'\n    \
                     assert keeper(mine) == [mine]\n    assert keeper(mine) == [mine, mine]\n    \
                     open(os.path.join(os.environ['MEETING_PLACE'], '%d-NAME' % os.getpid()), 'w').close()\n";

/// The processes that ran the tests of a suite.
fn processes(suite: &Suite) -> BTreeSet<String> {
    let found = std::fs::read_dir(suite.beside("meet")).unwrap();
    let names = found.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter_map(|name| Some(name.split_once('-')?.0.to_owned())).collect()
}

#[test]
fn a_bundle_finds_services_clean_that_another_has_used() {
    let Some(docker) = Docker::get() else { return };
    let names = ["a", "b", "c"];
    let texts = names.map(|name| ALONE.replace("NAME", name));
    let paths = names.map(|name| format!("tests/db/test_{name}.py"));
    let files: Vec<_> = paths.iter().map(String::as_str).zip(texts.iter().map(String::as_str)).collect();
    // Each without a history of its own, so that each file is a bundle.
    let arguments = |project| ["--slots", "1", "--cap", "1s", "--project", project, "tests"];
    for scope in ["slot", "executor"] {
        let clean = format!("{RESET}\n    scope = \"{scope}\"");
        let toml = TOML.replace("scope = \"executor\"", &clean);
        let suite = suite(&toml, &files);
        let finished = run(&docker, &suite, &arguments("stays"));
        finished.expect_counts(0, &[("passed", 3)]);
        assert_eq!(processes(&suite).len(), 1, "one worker runs them all: {scope}");
        // A worker for each: the first of another one, too, finds it clean.
        let isolated = [&["--isolation", "bundle"], &arguments("isolated")[..]].concat();
        run(&docker, &suite, &isolated).expect_counts(0, &[("passed", 3)]);
        // What cannot be made clean is replaced, and that is said.
        suite.write(
            "seagull.toml",
            &suite.read("seagull.toml").replace("reset = [", "reset = [\"echo cannot touch this; exit 7\", "),
        );
        let finished = run(&docker, &suite, &arguments("replaced"));
        finished.expect_counts(0, &[("passed", 3)]);
        let said =
            "gw0 gets new services: keeper cannot be reset: \"echo cannot touch this; exit 7\" ends with 7";
        assert!(finished.stderr.contains(said), "{}", finished.stderr);
        // In full once.
        let told = |text: &str| finished.stderr.matches(text).count();
        assert!(told(said) > 1 && told("\n  cannot touch this\n") == 1, "{}", finished.stderr);
        assert!(finished.all("attempt_lost").is_empty());
    }
}

#[test]
fn what_is_for_a_run_ends_with_it_and_what_is_for_an_executor_serves_the_next() {
    let Some(docker) = Docker::get() else { return };
    let toml = TOML.replace("[environment.db]", "[services.cache]\n    image = \"IMAGE\"\n    \
                            command = \"exec sleep 1000\"\n    scope = \"run\"\n    depends-on = [\"keeper\"]\n    \
                            [environment.db]");
    let toml = toml.replace("services = [\"keeper\"]", "services = [\"keeper\", \"cache\"]");
    let suite = suite(&toml, &[("tests/db/test_a.py", "def test_x(keeper):\n    keeper('x')\n")]);
    let cluster = Cluster::beside(&docker, suite);
    let executor = cluster.executor("one");
    let objects = || docker.objects_in(&cluster.suite.beside("one"));
    for run in ["first", "second"] {
        cluster.start_run(&["tests"]).finish().expect_counts(0, &[("passed", 1)]);
        until(|| objects().iter().all(|name| !name.ends_with("-cache")));
        until(|| objects().len() == 2);
        let names = objects();
        assert!(names.iter().any(|name| name.ends_with("-shared-000001-keeper")), "{run}: {names:?}");
    }
    cluster.ends(vec![executor]);
    assert_eq!(objects(), [""; 0]);
}

#[test]
fn what_is_held_is_had_without_what_workers_shared() {
    let Some(docker) = Docker::get() else { return };
    let toml = TOML.replace(
        "[environment.db]",
        "[services.own]\n    image = \"IMAGE\"\n    ports = [7001]\n    \
                            command = [\"python3\", \"-m\", \"http.server\", \"7001\"]\n    [environment.db]",
    );
    let toml = toml.replace("services = [\"keeper\"]", "services = [\"keeper\", \"own\"]");
    let suite =
        suite(&toml, &[("tests/db/test_a.py", "def test_x(keeper):\n    assert keeper('x') == ['y']\n")]);
    let finished = start(&docker, &suite, &["--hold-on-failure", "10m", "tests"]).finish();
    finished.expect_counts(100, &[("failed", 1)]);
    let held = text(finished.one("held"), "sandbox");
    let shell = |through: &Path| {
        let arguments = ["services", "shell", held, "--", "env"];
        let output = docker.seagull_through(through, &suite, &arguments).output().unwrap();
        let [variables, said] =
            [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
        (output.status.code(), variables, said)
    };
    let (code, variables, said) = shell(&docker.socket());
    assert_eq!((code, said.as_str()), (Some(0), "without keeper, which workers shared\n"));
    assert!(variables.contains("SERVICE_OWN_PORT=") && !variables.contains("SERVICE_KEEPER"), "{variables}");
    // An engine that does not say is not taken for one that says no.
    let lost = ("GET", "-keeper/json");
    let way = Way::new(&docker, suite.beside("engine"), lost, When::Before, Victim::Question);
    let (code, _, said) = shell(&way.socket);
    assert!(code == Some(1) && said.contains("the Docker engine cannot look at the container "), "{said}");
    let down = docker.seagull(&suite, &["services", "down", held]).output().unwrap();
    assert!(down.status.success() && docker.objects(&suite).is_empty(), "{down:?}");
    suite.marked().all_gone_within(GUARDED);
}
