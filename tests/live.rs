//! What tests print while they run: seen by whoever follows them, here and on a scheduler, and whole when they have ended.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Cluster, Running, Suite, text};

/// A test that goes on when it is told to, by a file.
const WAITING: &str = "
import os, sys, time

def test_waits():
    print('first words')
    print('and others', file=sys.stderr)
    sys.stdout.write('no whole line, ')
    while not os.path.exists('GO'):
        time.sleep(0.02)
    print('last words')

def test_silent(): pass
";

fn waiting() -> (Suite, String) {
    let suite = Suite::of(&[]);
    let go = suite.beside("go").into_os_string().into_string().unwrap();
    suite.write("test_a.py", &WAITING.replace("GO", &go));
    (suite, go)
}

fn follow(suite: &Suite, arguments: &[&str], name: &str) -> Running {
    let command = suite.seagull(&[arguments, &["--output", "json"]].concat());
    Running::start(command, &suite.beside(name))
}

fn outputs(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["output"].as_str()).collect()
}

/// Follows a run whose test waits, until all it has printed so far is seen; then it goes on, and is told of whole.
fn is_followed(mut following: Running, go: &Path) {
    let mut seen = String::new();
    while !(seen.contains("first words\n") && seen.contains("and others\n")) {
        let event = following.until(|event| event["output"].is_string());
        assert_eq!((text(&event, "test"), &event["slot"]), ("test_a.py::test_waits", &0.into()));
        seen.push_str(text(&event, "output"));
    }
    assert!(!seen.contains("no whole line"), "{seen}");
    std::fs::write(go, "").unwrap();
    let (events, code, stderr) = following.end();
    assert_eq!(code, 0, "{stderr}");
    let ended: Vec<_> = events.iter().filter(|event| event["text"].is_string()).collect();
    let [ended] = ended[..] else { panic!("{events:?}") };
    for words in ["first words", "and others", "no whole line, last words"] {
        assert!(text(ended, "text").contains(words), "{ended}");
    }
    assert!(outputs(&events).matches("first words").count() == 1, "{events:?}");
}

#[test]
fn a_run_of_another_process_here_is_followed() {
    let (suite, go) = waiting();
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let mut run = suite.start(&["--run-id", "one", "--live"]);
    // The command that began it shows it, too.
    let said = run.until(|event| event["event"] == "output");
    assert!(text(&said, "text").contains("words") || text(&said, "text").contains("others"), "{said}");
    is_followed(
        follow(&suite, &["logs", "one", "--follow", "--state", &state], "logs-stderr"),
        Path::new(&go),
    );
    run.finish().expect_code(0);
    // Nothing is left of it, and all of it is told again from its log.
    assert!(!Path::new(&state).join("runs/one/live").exists());
    let again = follow(&suite, &["logs", "one", "--follow", "--state", &state], "again-stderr");
    let (events, code, stderr) = again.end();
    assert_eq!((code, events.len()), (0, 1), "{events:?} {stderr}");
    let none = follow(&suite, &["logs", "one", "test_silent", "--follow", "--state", &state], "none-stderr");
    assert_eq!(none.end().0[0]["text"], Value::Null);
}

#[test]
fn a_run_on_a_scheduler_is_followed_by_the_test() {
    let (suite, go) = waiting();
    let cluster = Cluster::start_with(suite, &["--lease", "1s"]);
    let executor = cluster.executor("e-one");
    let mut run = cluster.start_run(&["--run-id", "one"]);
    run.until(|event| event["event"] == "test_started");
    let token = cluster.token().into_os_string().into_string().unwrap();
    let at = ["--scheduler", &cluster.url, "--token-file", &token];
    let arguments = [&["logs", "one", "test_waits", "-f"][..], &at].concat();
    is_followed(follow(&cluster.suite, &arguments, "logs-stderr"), Path::new(&go));
    run.finish().expect_code(0);
    cluster.ends(vec![executor]);
}
