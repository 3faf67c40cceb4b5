//! What is had of a failed test's sandbox: made again, of the images that it had, or kept as the test has left it.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::containers;
use crate::environments::{GUARDED, run, start, suite};
use crate::harness::{Docker, IMAGE, WITH_PYTEST, is, text};

#[test]
fn a_test_is_repeated_with_services_of_its_own_which_stay_after_a_failure_where_that_is_asked_for() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(&[("tests/db/test_a.py", "def test_x(keeper):\n    assert keeper('x') == ['y']\n")]);
    run(&docker, &suite, &["tests"]).expect_counts(100, &[("failed", 1)]);
    let seagull = |arguments: &[&str]| {
        let output = docker.seagull(&suite, arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said, String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, said, _) = seagull(&["repro", "last", "test_x"]);
    assert_eq!(code, Some(100), "{said}");
    assert_eq!(docker.objects(&suite), [""; 0]);
    suite.marked().all_gone_within(GUARDED);
    let (code, said, _) = seagull(&["repro", "last", "test_x", "--hold-on-failure", "10m"]);
    assert_eq!(code, Some(100), "{said}");
    assert!(
        said.contains("the services of db stay for another ") && said.contains(" min: seagull"),
        "{said}"
    );
    let held = said.split("seagull services shell ").nth(1).and_then(|rest| rest.split(' ').next());
    let held = held.expect("what is held is told by its name").to_owned();
    assert_eq!(docker.objects(&suite).len(), 2);
    let (code, said, variables) = seagull(&["services", "shell", &held, "--", "env"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(variables.contains("SEAGULL_SERVICE_KEEPER_PORT="), "{variables}");
    let (_, said, _) = seagull(&["repro", "last", "test_x", "--hold-on-failure", "10m"]);
    assert!(said.contains("the services of db stay for another "), "{said}");
    // What a run's executor removes is its own.
    start(&docker, &suite, &["tests"]).finish().expect_counts(100, &[("failed", 1)]);
    assert_eq!(docker.objects(&suite).len(), 4);
    let (_, said, _) = seagull(&["services", "down", &held]);
    assert_eq!(said, format!("{held} is down: 1 container, 1 network removed\n"));
    let (code, said, _) = seagull(&["services", "down"]);
    assert_eq!((code, docker.objects(&suite).len()), (Some(0), 0), "{said}");
    let (_, said, line) = seagull(&["repro", "last", "test_x", "--print"]);
    assert!(said.contains("eval \"$(seagull services up db)\"") && line.contains("MODE=db"), "{said}{line}");
    suite.marked().all_gone_within(GUARDED);
}

#[test]
fn a_test_is_repeated_with_the_images_that_it_had_and_it_is_said_where_they_are_not_what_they_were() {
    let Some(docker) = Docker::get() else { return };
    let suite = suite(&[("tests/db/test_a.py", "def test_x(keeper):\n    assert keeper('x') == ['y']\n")]);
    let name = "seagull-own-image";
    suite.write("seagull.toml", &suite.read("seagull.toml").replace(IMAGE, &format!("{name}:1")));
    let first = docker.image(name, "first");
    let finished = run(&docker, &suite, &["tests"]);
    finished.expect_counts(100, &[("failed", 1)]);
    let told = finished.all("images");
    assert_eq!(
        (text(&told[0]["images"][0], "image"), text(&told[0]["images"][0], "id")),
        ("seagull-own-image:1", &*first)
    );
    let repro = |arguments: &[&str]| {
        let all = [&["repro", "last", "test_x"], arguments].concat();
        let output = docker.seagull(&suite, &all).output().unwrap();
        assert_eq!(output.status.code(), Some(100), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = repro(&[]);
    assert!(!said.contains("sha256:"), "it is the same: {said}");
    let second = docker.image(name, "second");
    let said = repro(&["--hold-on-failure", "10m"]);
    let expected = format!("{name}:1 is {second} by now; the run's {first} is used");
    assert!(said.contains(&expected), "{said}");
    let objects = docker.objects(&suite);
    let keeper = objects.iter().find(|name| name.ends_with("-keeper")).expect("it is held");
    assert_eq!(text(&docker.ask(&format!("/containers/{keeper}/json")), "Image"), first);
    let down = docker.seagull(&suite, &["services", "down"]).output().unwrap();
    assert!(down.status.success(), "{down:?}");
    docker.tell("DELETE", &format!("/images/{first}"), "");
    let said = repro(&[]);
    let expected = format!(
        "{name}:1 was {first} in the run, which is not to be had (it was from no registry); {second} is used instead"
    );
    assert!(said.contains(&expected), "{said}");
    docker.tell("DELETE", &format!("/images/{name}:1"), "");
    suite.marked().all_gone_within(GUARDED);
}

#[test]
fn a_test_that_ran_in_an_image_is_repeated_in_a_container_of_that_beside_services_of_its_own() {
    let Some(docker) = Docker::get() else { return };
    let test = "import os, pathlib, socket\ndef test_x(keeper):\n    \
                assert (socket.gethostname(), os.environ['KEY'], os.environ['MODE']) == ('tests', 'hunter2 is long', 'db')\n    \
                pathlib.Path('seagull.toml').unlink()\n    assert keeper('x') == ['y']\n\
                def test_y(keeper):\n    assert keeper('y')[-1] == 'y'\n";
    let suite = containers::suite(&[("tests/db/test_a.py", test)]);
    let name = "seagull-own-pytest";
    suite.write("seagull.toml", &suite.read("seagull.toml").replace(WITH_PYTEST, &format!("{name}:1")));
    docker.tell("POST", &format!("/images/{WITH_PYTEST}/tag?repo={name}&tag=1"), "");
    let finished = run(&docker, &suite, &["tests"]);
    finished.expect_counts(100, &[("failed", 1), ("passed", 1)]);
    // What is called so has no pytest any more.
    docker.tell("POST", &format!("/images/{IMAGE}/tag?repo={name}&tag=1"), "");
    let repro = |arguments: &[&str], code| {
        let all = [&["repro", "last"], arguments].concat();
        let output = docker.seagull(&suite, &all).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        (said, String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (said, told) = repro(&["test_x"], 100);
    assert!(said.contains(&format!("{name}:1 is sha256:")) && said.contains("in a container of"), "{said}");
    assert!(told.contains("AssertionError: assert ['x'] == ['y']"), "{told}");
    assert!(!said.contains("hunter2"), "{said}");
    assert_eq!(docker.objects(&suite), [""; 0]);
    suite.read("seagull.toml");
    let (said, _) = repro(&["test_y", "--alone", "--until-fail=2"], 0);
    assert!(said.contains("test_y did not fail; it was tried 2 times"), "{said}");
    let (said, _) = repro(&["test_x", "--print"], 2);
    assert!(said.contains("hint: without --print it is repeated there"), "{said}");
    let (said, _) = repro(&["test_x", "--hold-on-failure", "10m"], 100);
    assert!(said.contains("the services of db stay for another "), "{said}");
    assert_eq!(docker.objects(&suite).len(), 2, "the service and its network");
    let down = docker.seagull(&suite, &["services", "down"]).output().unwrap();
    assert!(down.status.success(), "{down:?}");
    docker.tell("DELETE", &format!("/images/{name}:1"), "");
    suite.marked().all_gone_within(GUARDED);
}

#[test]
fn the_services_of_a_failed_test_stay_as_it_left_them_for_a_while_and_no_other_test_has_them() {
    let Some(docker) = Docker::get() else { return };
    let test = "def test_a(keeper):\n    assert keeper('a') == ['b']\n\
                def test_b(keeper):\n    assert keeper('b') == ['b']\n\
                def test_c(keeper):\n    keeper('c')\n    __import__('os')._exit(3)\n";
    let suite = suite(&[("tests/db/test_x.py", test)]);
    let mut running = start(&docker, &suite, &["--slots", "1", "--hold-on-failure", "10m", "tests"]);
    running.until(is("run_finished"));
    let finished = running.finish();
    finished.expect_counts(100, &[("failed", 2), ("passed", 1)]);
    let held: Vec<_> =
        finished.all("held").iter().map(|event| (text(event, "test"), text(event, "sandbox"))).collect();
    let [("tests/db/test_x.py::test_a", first), ("tests/db/test_x.py::test_c", last)] = held[..] else {
        panic!("{held:?}")
    };
    assert_eq!(docker.objects(&suite).len(), 4, "a network and a service each");
    let seagull = |arguments: &[&str]| {
        let output = docker.seagull(&suite, arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), said)
    };
    // Each is had by its name, with what its test has told it.
    let ask = "import os, socket; where = os.environ['SEAGULL_SERVICE_KEEPER_HOST'], int(os.environ['SEAGULL_SERVICE_KEEPER_PORT'])\n\
               c = socket.create_connection(where); c.sendall(b'me\\n'); print(c.makefile().read().split())";
    let shell = |name: &str| seagull(&["services", "shell", name, "--", "python3", "-c", ask]);
    let (code, had, said) = shell(last);
    assert_eq!((code, had.as_str()), (Some(0), "['b', 'c', 'me']\n"), "{said}");
    let (_, logs, said) = seagull(&["services", "logs", first]);
    assert_eq!(logs, "listens\n", "{said}");
    // One's own of the environment is another one.
    let (code, _, said) = shell("db");
    let expected = format!(
        "db is not up; {first}, {last} are held as a failed test left them\nhint: seagull services up db"
    );
    assert!(code == Some(1) && said.contains(&expected), "{said}");
    let (code, _, said) = seagull(&["services", "up", "db"]);
    assert!(code == Some(0) && said.contains("db is up in "), "{said}");
    assert_eq!(docker.objects(&suite).len(), 6);
    let (code, had, said) = shell("db");
    assert_eq!((code, had.as_str()), (Some(0), "['me']\n"), "{said}");
    let (code, _, said) = seagull(&["services", "down", "db"]);
    let expected = format!(
        "db is down: 1 container, 1 network removed\n{first}, {last} stay as a failed test left them: seagull services down {first}\n"
    );
    assert_eq!((code, said), (Some(0), expected));
    // Neither another run nor who looks for what is left takes them.
    start(&docker, &suite, &["--slots", "1", "tests"]).finish().expect_counts(100, &[("failed", 3)]);
    let (_, said, _) = seagull(&["executor", "gc", "--dry-run"]);
    assert!(!said.contains("-keeper"), "{said}");
    assert_eq!(docker.objects(&suite).len(), 4);
    let (code, told, said) = seagull(&["services", "down", first, "--output", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, text(&told, "environment"), text(&told, "sandbox")), (Some(0), "db", first), "{said}");
    assert_eq!(docker.objects(&suite).len(), 2);
    let (code, _, said) = seagull(&["services", "down"]);
    assert_eq!((code, said), (Some(0), format!("{last} is down: 1 container, 1 network removed\n")));
    let (code, _, said) = shell(last);
    assert!(code == Some(2) && said.contains(&format!("there is no [environment.{last}]")), "{said}");
    suite.marked().all_gone_within(GUARDED);
}

#[test]
fn services_that_stay_go_by_themselves_and_those_of_tests_that_were_interrupted_do_not_stay() {
    let Some(docker) = Docker::get() else { return };
    let test = "def test_a(keeper):\n    keeper('a')\n    assert 0\n";
    let suite = suite(&[("tests/db/test_x.py", test)]);
    let running = start(&docker, &suite, &["--slots", "1", "--hold-on-failure", "5s", "tests"]);
    running.finish().expect_counts(100, &[("failed", 1)]);
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(&suite), [""; 0]);
    suite.write(
        "tests/db/test_x.py",
        "def test_a(keeper):\n    keeper('a')\n    __import__('time').sleep(60)\n",
    );
    let mut running = start(&docker, &suite, &["--hold-on-failure", "10m", "--grace", "1s", "tests"]);
    running.until(is("test_started"));
    running.signal(Signal::SIGINT);
    running.wait();
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(&suite), [""; 0]);
}

#[test]
fn the_services_beside_a_failed_test_in_an_image_stay_without_its_container() {
    let Some(docker) = Docker::get() else { return };
    let test = "def test_a(keeper):\n    assert keeper('a') == ['b']\ndef test_b(keeper):\n    assert keeper('b') == ['b']\n";
    let suite = containers::suite(&[("tests/db/test_x.py", test)]);
    let finished = start(&docker, &suite, &["--slots", "1", "--hold-on-failure", "10m", "tests"]).finish();
    finished.expect_counts(100, &[("failed", 1), ("passed", 1)]);
    let held = finished.one("held");
    assert_eq!((text(held, "test"), text(held, "environment")), ("tests/db/test_x.py::test_a", "db"));
    let objects = docker.objects(&suite);
    assert_eq!(objects.len(), 2, "a network and the service: {objects:?}");
    let sandbox = text(held, "sandbox");
    assert!(objects.iter().all(|name| name.contains(sandbox)), "{objects:?}");
    let shell = docker.seagull(&suite, &["services", "shell", sandbox, "--", "env"]).output().unwrap();
    let said = String::from_utf8_lossy(&shell.stderr);
    let inside = format!("hint: docker exec -it seagull-db-{sandbox}-keeper sh");
    assert!(
        said.contains("publish no ports here: its tests ran in an image") && said.contains(&inside),
        "{said}"
    );
    let down = docker.seagull(&suite, &["services", "down", sandbox]).output().unwrap();
    assert!(down.status.success() && docker.objects(&suite).is_empty(), "{down:?}");
    suite.marked().all_gone_within(GUARDED);
}
