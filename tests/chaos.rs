//! Who is killed, and when: nothing is left on the engine or on this machine, and no test is blamed. `make chaos` prints the
//! table.

use std::thread;

use nix::sys::signal::{Signal, kill};

use crate::containers::suite;
use crate::environments::{GUARDED, RUN, run, start_through};
use crate::harness::{Docker, Finished, Marked, Question, Suite, Victim, Way, When, until};

/// What is asked of the engine, in the order of a sandbox's life.
const QUESTIONS: [(&str, Question); 11] = [
    ("network", ("POST", "/networks/create")),
    ("service made", ("POST", "/containers/create")),
    ("service started", ("POST", "-keeper/start")),
    ("service ready", ("GET", "-keeper/json")),
    ("files", ("POST", "/volumes/create")),
    ("tests' container made", ("POST", "_tests")),
    ("tests' container started", ("POST", "_tests/start")),
    ("tests awaited", ("POST", "_tests/wait")),
    ("containers removed", ("DELETE", "/containers/")),
    ("network removed", ("DELETE", "/networks/")),
    ("files removed", ("DELETE", "/volumes/")),
];
/// Who is killed, and from which question on there is somebody to kill, or to see it.
const VICTIMS: [(&str, usize, usize); 5] =
    [("tests", 7, 9), ("service", 3, 9), ("guard", 0, 11), ("executor", 0, 11), ("engine", 0, 11)];
const TEST: &str = "def test_x(keeper):\n    assert keeper('x') == ['x']\n";

#[test]
#[ignore = "takes minutes, and kills the engine of all cases"]
fn nothing_is_left_and_no_test_is_blamed_whoever_is_killed_and_when() {
    let Some(docker) = Docker::get() else { return };
    for (victim, from, to) in VICTIMS {
        // One engine serves all.
        let at_a_time = if victim == "engine" { 1 } else { 4 };
        for questions in QUESTIONS[from..to].chunks(at_a_time) {
            thread::scope(|scope| {
                for (stage, question) in questions {
                    let docker = &docker;
                    scope.spawn(move || {
                        let outcomes = [When::Before, When::During, When::After]
                            .map(|when| outcome(docker, victim, *question, when));
                        println!("| {victim} | {stage} | {} |", outcomes.join(" | "));
                    });
                }
            });
        }
    }
}

/// What the run came to; and nothing is left of it, and it can be run again.
fn outcome(docker: &Docker, victim: &str, question: Question, when: When) -> String {
    let suite = suite(&[("tests/db/test_a.py", TEST)]);
    let told = format!("{victim} at {question:?} {when:?}");
    let way = Way::new(docker, suite.beside("engine"), question, when, aimed_at(docker, &suite, victim));
    let mut running = start_through(docker, &suite, &way, &RUN);
    let came_to = match victim {
        "executor" => {
            assert_eq!(running.wait().0, 137, "{told}");
            "killed".to_owned()
        }
        _ => of(&told, running.finish()),
    };
    assert!(way.has_killed(), "{told}");
    until(|| docker.answers());
    suite.marked().all_gone_within(GUARDED);
    if !docker.objects(&suite).is_empty() {
        // What nobody was left to remove is when somebody looks.
        run(docker, &suite, &["tests"]).expect_counts(0, &[("passed", 1)]);
    }
    assert_eq!(docker.objects(&suite), [""; 0], "{told}");
    came_to
}

/// A test that ran for nothing is no failure.
fn of(told: &str, finished: Finished) -> String {
    assert!([0, 101, 102].contains(&finished.code), "{told}: {}", finished.stderr);
    match finished.code {
        0 => "passed".to_owned(),
        code => format!("incomplete ({code})"),
    }
}

fn aimed_at(docker: &Docker, suite: &Suite, victim: &str) -> Victim {
    let (docker, mark, state) = (docker.clone(), suite.mark().to_owned(), suite.path().join(".seagull"));
    match victim {
        "executor" => Victim::asker(),
        "engine" => Victim::other(move || docker.kill()),
        "guard" => Victim::other(move || kill_guards(&mark)),
        "service" => Victim::other(move || docker.kill_containers(&state, "-keeper")),
        _ => Victim::other(move || docker.kill_containers(&state, "-_tests")),
    }
}

fn kill_guards(mark: &str) {
    for (pid, _) in Marked(mark).alive().iter().filter(|(_, command)| command.contains(" guard ")) {
        let _ = kill(*pid, Signal::SIGKILL);
    }
}
