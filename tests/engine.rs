//! A Docker engine that starts again, or does not answer for a while, while a sandbox is being made there.
#![expect(clippy::disallowed_methods, reason = "an engine hangs beside what waits for it")]

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::environments::{GUARDED, RUN, start_through, suite};
use crate::harness::{Docker, IMAGE, Question, Suite, Victim, Way, When, is, text, until};

/// What is asked while a sandbox starts.
const STAGES: [Question; 2] = [("POST", "/containers/create"), ("POST", "-keeper/start")];

fn one() -> Suite {
    suite(&[("tests/db/test_a.py", "def test_x(keeper):\n    assert keeper('x') == ['x']\n")])
}

#[test]
fn an_engine_that_starts_again_under_a_sandbox_that_starts_is_waited_for_and_no_test_is_blamed() {
    let Some((docker, _alone)) = Docker::alone() else { return };
    for question in STAGES {
        let suite = one();
        let victim = Victim::other({
            let docker = docker.clone();
            move || docker.kill()
        });
        let way = Way::new(&docker, suite.beside("engine"), question, When::During, victim);
        let finished = start_through(&docker, &suite, &way, &RUN).finish();
        finished.expect_counts(0, &[("passed", 1)]);
        assert!(way.has_killed(), "{question:?}");
        for lost in finished.all("attempt_lost") {
            assert_eq!(text(lost, "cause"), "sandbox failed", "{question:?}");
            assert!(text(lost, "message").contains("the Docker engine cannot "), "{question:?}: {lost}");
        }
        until(|| docker.answers());
        suite.marked().all_gone_within(GUARDED);
        assert_eq!(docker.objects(&suite), [""; 0], "{question:?}");
    }
}

/// An engine that stands still from the first such question on, for so long.
fn hangs(docker: &Docker, suite: &Suite, question: Question, lasts: Duration) -> Way {
    let docker_of = docker.clone();
    let victim = Victim::other(move || {
        docker_of.signal(Signal::SIGSTOP);
        let docker = docker_of.clone();
        thread::spawn(move || {
            thread::sleep(lasts);
            docker.signal(Signal::SIGCONT);
        });
    });
    Way::new(docker, suite.beside("engine"), question, When::Before, victim)
}

/// A run whose engine cannot do something, until that is told of; what is told.
fn is_short_of(docker: &Docker, suite: &Suite, way: &Way, ends: impl FnOnce()) -> String {
    let mut running = start_through(docker, suite, way, &RUN);
    let lost = running.until(is("attempt_lost"));
    assert_eq!(text(&lost, "cause"), "sandbox failed");
    ends();
    running.finish().expect_counts(0, &[("passed", 1)]);
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(suite), [""; 0]);
    text(&lost, "message").to_owned()
}

#[test]
fn an_engine_without_networks_left_or_without_disk_says_so_and_what_to_do() {
    let Some((docker, _alone)) = Docker::alone() else { return };
    let networks = || {
        let all = docker.ask("/networks");
        let names = all.as_array().unwrap().iter().map(|network| text(network, "Name").to_owned());
        names.filter(|name| name.starts_with("taken-")).collect::<Vec<_>>()
    };
    // Until there is none left.
    let mut curl = std::process::Command::new("sh");
    let line = "n=0; while curl -fsS -X POST -H 'Content-Type: application/json' -d \"{\\\"Name\\\": \\\"taken-$n\\\"}\" \
                --unix-socket \"$0\" http://engine/networks/create; do n=$((n + 1)); done";
    assert!(curl.args(["-c", line]).arg(docker.socket()).output().unwrap().status.success());
    assert!(!networks().is_empty());
    let suite = one();
    let way = Way::counting(&docker, suite.beside("engine"), ("GET", "/volumes"));
    let said = is_short_of(&docker, &suite, &way, || {
        for name in networks() {
            docker.tell("DELETE", &format!("/networks/{name}"), "");
        }
    });
    assert!(said.starts_with("the Docker engine cannot make the network seagull-db-"), "{said}");
    assert!(said.contains("hint: each sandbox takes a network: seagull executor gc"), "{said}");

    docker.fill(true);
    let suite = one();
    let way = Way::counting(&docker, suite.beside("engine"), ("GET", "/volumes"));
    let said = is_short_of(&docker, &suite, &way, || docker.fill(false));
    assert!(said.starts_with("the Docker engine cannot make the container seagull-db-"), "{said}");
    assert!(said.contains("no space left on device\nhint: docker system df says"), "{said}");
}

#[test]
fn a_name_that_somebody_elses_container_has_is_told_of_and_nothing_is_left() {
    let Some((docker, _alone)) = Docker::alone() else { return };
    let suite = one();
    let taken: Arc<Mutex<String>> = Arc::default();
    // The network of the sandbox is there before: containers have its name before theirs.
    let victim = Victim::other({
        let (docker, taken, state) = (docker.clone(), taken.clone(), suite.path().join(".seagull"));
        move || {
            let name = format!("{}-keeper", docker.objects_in(&state)[0]);
            let body = format!(r#"{{"Image": "{IMAGE}", "Cmd": ["true"]}}"#);
            docker.tell("POST", &format!("/containers/create?name={name}"), &body);
            *taken.lock().unwrap() = name;
        }
    });
    let way = Way::new(&docker, suite.beside("engine"), ("POST", "/containers/create"), When::Before, victim);
    let up = docker.seagull_through(&way.socket, &suite, &["services", "up", "db"]).output().unwrap();
    let said = String::from_utf8_lossy(&up.stderr);
    assert!(said.contains("is already in use by container"), "{said}");
    assert!(said.contains("hint: a container of this name is not of this run"), "{said}");
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(&suite), [""; 0]);
    docker.tell("DELETE", &format!("/containers/{}", taken.lock().unwrap()), "");
}

#[test]
fn what_does_not_start_within_its_limit_says_what_it_waited_for() {
    const LIMIT: [&str; 8] = ["run", "--output", "json", "--slots", "1", "--start-limit", "10s", "tests"];
    let Some((docker, _alone)) = Docker::alone() else { return };
    let suite = one();
    suite.write("keeper.py", "print('thinks', flush=True)\n__import__('time').sleep(1000)\n");
    let way = Way::counting(&docker, suite.beside("engine"), ("GET", "/volumes"));
    let mut running = start_through(&docker, &suite, &way, &LIMIT);
    let lost = running.until(is("attempt_lost"));
    assert_eq!(text(&lost, "cause"), "sandbox failed");
    let expected = "killed after 10 s, its limit; --start-limit sets it: keeper is not ready: \
                    port 7000 takes no connection; it said last:\n  thinks";
    assert_eq!(text(&lost, "message"), expected);
    running.signal(Signal::SIGINT);
    running.wait();
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(&suite), [""; 0]);

    let suite = one();
    let way = hangs(&docker, &suite, ("GET", "/version"), Duration::from_secs(20));
    let mut running = start_through(&docker, &suite, &way, &LIMIT);
    let lost = running.until(is("attempt_lost"));
    assert_eq!(text(&lost, "cause"), "sandbox failed");
    assert!(text(&lost, "message").ends_with("sets it: the Docker engine does not answer"), "{lost}");
    running.signal(Signal::SIGINT);
    running.wait();
    until(|| docker.answers());
    suite.marked().all_gone_within(GUARDED);
    assert_eq!(docker.objects(&suite), [""; 0]);
}

#[test]
fn an_engine_that_hangs_for_a_while_is_waited_for() {
    let Some((docker, _alone)) = Docker::alone() else { return };
    for question in STAGES {
        let suite = one();
        let way = hangs(&docker, &suite, question, Duration::from_secs(4));
        start_through(&docker, &suite, &way, &RUN).finish().expect_counts(0, &[("passed", 1)]);
        assert!(way.has_killed(), "{question:?}");
        suite.marked().all_gone_within(GUARDED);
        assert_eq!(docker.objects(&suite), [""; 0], "{question:?}");
    }
}
