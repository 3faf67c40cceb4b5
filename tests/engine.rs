//! A Docker engine that starts again, or does not answer for a while, while a sandbox is being made there.
#![expect(clippy::disallowed_methods, reason = "an engine hangs beside what waits for it")]

use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::environments::{GUARDED, RUN, start_through, suite};
use crate::harness::{Docker, Question, Suite, Victim, Way, When, text, until};

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
            assert_eq!(text(lost, "cause"), "sandbox start failed", "{question:?}");
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
