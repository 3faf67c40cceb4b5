//! Who is killed, and when: nothing is left on the engine or on this machine, and no test is blamed. `make chaos` prints the
//! table; `SEAGULL_CHAOS` has words of the lines that are wanted, such as `engine template saved`.

use std::thread;

use nix::sys::signal::{Signal, kill};

use crate::containers::suite;
use crate::environments::{GUARDED, RUN, run, start_through};
use crate::harness::{Docker, Finished, Marked, Question, Suite, Victim, Way, When, until};
use crate::services::said;

/// What a run asks of the engine for a sandbox, in order, each by how often it was asked before.
struct Life {
    name: &'static str,
    stages: &'static [(&'static str, Question, usize)],
    /// What is written of `keeper` besides.
    keeper: &'static str,
    /// How many tests, each in a bundle of its own.
    tests: usize,
    /// Who is killed, and from which stage on there is somebody to kill, or to see it.
    victims: &'static [(&'static str, usize, usize)],
}

const LIVES: [Life; 4] = [
    Life {
        name: "plain",
        stages: &[
            ("network", ("POST", "/networks/create"), 0),
            ("service made", ("POST", "/containers/create"), 0),
            ("service started", ("POST", "-keeper/start"), 0),
            ("service ready", ("GET", "-keeper/json"), 0),
            ("files", ("POST", "/volumes/create"), 0),
            ("tests' container made", ("POST", "_tests"), 0),
            ("tests' container started", ("POST", "_tests/start"), 0),
            ("tests awaited", ("POST", "_tests/wait"), 0),
            ("containers removed", ("DELETE", "/containers/"), 0),
            ("network removed", ("DELETE", "/networks/"), 0),
            ("files removed", ("DELETE", "/volumes/"), 0),
        ],
        keeper: "",
        tests: 1,
        victims: &[
            ("tests", 7, 9),
            ("service", 3, 9),
            ("guard", 0, 11),
            ("executor", 0, 11),
            ("engine", 0, 11),
        ],
    },
    Life {
        name: "template",
        stages: &[
            ("service told to end", ("POST", "-keeper/stop"), 0),
            ("saved", ("POST", "/commit"), 0),
            ("first one removed", ("DELETE", "-keeper"), 0),
            ("made again, with it", ("POST", "/containers/create"), 1),
            ("started again", ("POST", "-keeper/start"), 1),
        ],
        keeper: "template = true",
        tests: 1,
        victims: &[("guard", 0, 5), ("executor", 0, 5), ("engine", 0, 5)],
    },
    Life {
        name: "ahead",
        stages: &[
            ("network", ("POST", "/networks/create"), 1),
            ("service made", ("POST", "/containers/create"), 2),
            ("service started", ("POST", "-keeper/start"), 1),
            ("files", ("POST", "/volumes/create"), 1),
            ("tests' container made", ("POST", "/containers/create"), 3),
            ("tests' container started", ("POST", "_tests/start"), 1),
        ],
        keeper: "scope = 'bundle'",
        tests: 2,
        victims: &[("guard", 0, 6), ("executor", 0, 6), ("engine", 0, 6)],
    },
    Life {
        name: "shared",
        stages: &[
            ("network", ("POST", "/networks/create"), 0),
            ("service made", ("POST", "/containers/create"), 0),
            ("service ready", ("GET", "-keeper/json"), 0),
            ("joined", ("POST", "/connect"), 0),
            ("left", ("POST", "/disconnect"), 0),
            ("removed", ("DELETE", "/containers/"), 1),
        ],
        keeper: "scope = 'executor'",
        tests: 1,
        victims: &[("service", 2, 5), ("guard", 0, 6), ("executor", 0, 6), ("engine", 0, 6)],
    },
];

/// The first goes on for as long as the sandbox of the second takes.
const TESTS: [&str; 2] = ["a", "b"];
const TEST: &str =
    "import time\ndef test_x(keeper):\n    assert keeper('x') == ['x']\n    time.sleep(PAUSE)\n";
/// Ends when it is told to.
const ENDS: &str = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n";

#[test]
#[ignore = "takes many minutes, and kills the engine of all cases"]
fn nothing_is_left_and_no_test_is_blamed_whoever_is_killed_and_when() {
    let Some(docker) = Docker::get() else { return };
    let wanted = std::env::var("SEAGULL_CHAOS").unwrap_or_default();
    let is_wanted = |line: &str| wanted.split_whitespace().all(|word| line.contains(word));
    for life in &LIVES {
        for (victim, from, to) in life.victims {
            // One engine serves all.
            let at_a_time = if *victim == "engine" { 1 } else { 4 };
            let stages = life.stages[*from..*to].iter();
            let stages: Vec<_> =
                stages.filter(|(stage, ..)| is_wanted(&format!("{} {victim} {stage}", life.name))).collect();
            for stages in stages.chunks(at_a_time) {
                thread::scope(|scope| {
                    for (stage, question, before) in stages {
                        let docker = &docker;
                        scope.spawn(move || {
                            let outcomes = [When::Before, When::During, When::After]
                                .map(|when| outcome(docker, life, victim, (*question, *before), when));
                            println!("| {} | {victim} | {stage} | {} |", life.name, outcomes.join(" | "));
                        });
                    }
                });
            }
        }
    }
}

/// What the run came to; and nothing is left of it, and it can be run again.
fn outcome(
    docker: &Docker,
    life: &Life,
    victim: &str,
    (question, before): (Question, usize),
    when: When,
) -> String {
    let suite = suite(&[]);
    let pause = if life.tests > 1 { "5" } else { "0" };
    for name in &TESTS[..life.tests] {
        suite.write(&format!("tests/db/test_{name}.py"), &TEST.replace("PAUSE", pause));
    }
    suite.write("keeper.py", &format!("{ENDS}{}", suite.read("keeper.py")));
    let settings = format!("user = \"1000\"\n{}", life.keeper);
    suite.write("seagull.toml", &suite.read("seagull.toml").replacen("user = \"1000\"", &settings, 1));
    let told = format!("{} {victim} at {question:?} {when:?}", life.name);
    let victim_of = aimed_at(docker, &suite, victim);
    let way = Way::at(docker, suite.beside("engine"), (question, before), when, victim_of);
    let all = [&RUN[..], &["--cap", "1s"]].concat();
    let mut running = start_through(docker, &suite, &way, &all);
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
        run(docker, &suite, &["tests"]).expect_counts(0, &[("passed", life.tests)]);
    }
    assert_eq!(docker.objects(&suite), [""; 0], "{told}");
    said(&docker.seagull(&suite, &["services", "templates", "--remove"]).output().unwrap(), 0);
    assert_eq!(docker.templates(&suite), 0, "{told}");
    came_to
}

/// A test that ran for nothing is no failure.
fn of(told: &str, finished: Finished) -> String {
    assert!([0, 101, 102].contains(&finished.code), "{told}: {finished:#?}");
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
