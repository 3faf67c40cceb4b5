//! Executors that leave in good order, and runs that stop: what runs elsewhere, what is charged, and what stays behind.
#![expect(clippy::disallowed_methods, reason = "a thread stands in for the metadata of a machine")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Cluster, Finished, Running, Suite, is, text, until};

/// A test that runs until the file `go` is there, and six behind it.
const HELD: &str = "\
import os, time
import pytest
def test_held():
    while not os.path.exists(os.environ['MEETING_PLACE'] + '/go'): time.sleep(0.02)
@pytest.mark.parametrize('n', range(6))
def test_rest(n): pass
";

/// A test that never ends where it runs first.
const STUCK: &str = "\
import os, time
import pytest
def test_stuck():
    try: os.mkdir(os.environ['MEETING_PLACE'] + '/once')
    except FileExistsError: return
    while True: time.sleep(0.02)
@pytest.mark.parametrize('n', range(6))
def test_rest(n): pass
";

fn drain(cluster: &Cluster, arguments: &[&str]) -> Output {
    let token = cluster.token().into_os_string().into_string().unwrap();
    let at = ["executor", "drain", "--scheduler", &cluster.url, "--token-file", &token];
    cluster.suite.seagull(&[&at[..], arguments].concat()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn given_back(event: &Value) -> bool {
    is("taken_back")(event) && event["why"] == "drained"
}

#[test]
fn a_drained_executor_ends_what_it_runs_while_the_rest_goes_elsewhere() {
    let cluster = Cluster::start(Suite::of(&[("test_a.py", HELD)]));
    let first = cluster.executor("e-one");
    // One loss would end it.
    let mut run = cluster.start_run(&["--run-losses", "1", "--test-losses", "1"]);
    run.until(is("test_started"));
    let output = drain(&cluster, &["e-one", "--limit", "5m"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(said(&output), "e-one drains, and leaves within 5m\n");
    let drained = run.until(is("executor_drained"));
    let of = ["executor", "cause", "why"].map(|field| text(&drained, field).to_owned());
    assert_eq!(of, ["e-one", "drained", "an operator"]);
    // Its worker has the next one already, perhaps.
    let given_back = run.until(given_back)["tests"].as_u64().unwrap();
    assert!((5..=6).contains(&given_back), "{given_back}");

    let second = cluster.executor("e-two");
    for _ in 0..given_back {
        assert_eq!(text(&run.until(is("test_finished")), "executor"), "e-two");
    }
    fs::write(cluster.suite.beside("meet/go"), "").unwrap();
    let run = run.finish();
    run.expect_counts(0, &[("passed", 7)]);
    assert_eq!(text(run.result("test_a.py::test_held"), "executor"), "e-one", "it was not interrupted");
    let lost = [run.all("attempt_lost"), run.all("executor_lost"), run.all("suite_error")].concat();
    assert!(lost.is_empty(), "{lost:?}");
    let (_, code, stderr) = first.end();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("leaving: drained (an operator)"), "{stderr}");

    let output = drain(&cluster, &["e-none", "e-two", "--wait"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("e-two has left")
            && said(&output).contains("no such executor is here: e-none")
    );
    let (_, code, stderr) = second.end();
    assert_eq!(code, 0, "{stderr}");
    cluster.ends(Vec::new());
}

#[test]
fn whoever_waits_is_told_where_a_test_is_and_that_no_executor_is_left() {
    let cluster = Cluster::start(Suite::of(&[("test_a.py", HELD)]));
    let token = cluster.token().into_os_string().into_string().unwrap();
    let at = ["--scheduler", &cluster.url, "--token-file", &token];
    let explain = |arguments: &[&str]| {
        let output = cluster.suite.seagull(&[&["explain"], arguments, &at].concat()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut first = cluster.executor("e-one");
    let mut run = cluster.start_run(&["--run-id", "left"]);
    run.until(is("test_started"));
    until(|| explain(&["left", "test_held"]).contains("because it is running on "));
    let waits = explain(&["left", "test_rest[5]"]);
    assert!(waits.contains("because it waits on e-one, slot 0, attempt "), "{waits}");
    first.kill();
    until(|| explain(&["left", "test_held"]).contains("; e-one was not heard of for "));
    until(|| {
        run.stderr()
            .contains("no executor is there any more that could go on with the run; one more joins with: ")
    });
    for (of, because) in [
        (&["left"][..], "because it has not ended, and no executor is there any more\n"),
        (&["left", "test_rest[5]"], "because no executor is there that takes it and is large enough\n"),
    ] {
        let said = explain(of);
        assert!(said.contains(because), "{said}");
    }
    fs::write(cluster.suite.beside("meet/go"), "").unwrap();
    let second = cluster.executor("e-two");
    run.finish().expect_counts(0, &[("passed", 7)]);
    cluster.ends(vec![second]);

    let asks = cluster.suite.seagull(&[&["executor", "drain", "e-two"], &at[..]].concat());
    let mut asks = Running::start(asks, &cluster.suite.beside("asks-stderr"));
    until(|| asks.stderr().contains("reconnecting: the scheduler at "));
    asks.kill();
}

/// `e-one` has to leave while a test runs there that does not end in time.
fn hands_back(options: &[&str], cause: &str, notice: impl FnOnce(&Cluster, &Running)) {
    let cluster = Cluster::start(Suite::of(&[("test_a.py", STUCK)]));
    let first = cluster.executor_with("e-one", options, &[]);
    let mut run = cluster.start_run(&["--run-losses", "1", "--test-losses", "1"]);
    run.until(is("test_started"));
    notice(&cluster, &first);
    assert_eq!(text(&run.until(is("executor_drained")), "cause"), cause);
    let second = cluster.executor("e-two");
    let run: Finished = run.finish();
    run.expect_counts(0, &[("passed", 7)]);
    assert_eq!(text(run.result("test_a.py::test_stuck"), "executor"), "e-two");
    let lost = run.all("attempt_lost");
    let of = |event: &&Value| (text(event, "executor").to_owned(), text(event, "cause").to_owned());
    assert_eq!(lost.iter().map(of).collect::<Vec<_>>(), [("e-one".to_owned(), cause.to_owned())]);
    assert!(run.all("executor_lost").is_empty() && run.all("suite_error").is_empty(), "{}", run.stderr);
    let (_, code, stderr) = first.end();
    assert_eq!(code, 0, "{stderr}");
    cluster.ends(vec![second]);
}

#[test]
fn a_signal_drains() {
    // What is left of it after the grace and the time to deliver is nothing.
    hands_back(&["--drain-limit", "15s"], "drained", |_, executor| executor.signal(Signal::SIGTERM));
}

#[test]
fn a_file_that_appears_is_a_spot_notice() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notice");
    let options = ["--notice-file", file.to_str().unwrap()];
    hands_back(&options, "spot notice", |_, _| fs::write(&file, "15\n").unwrap());
}

#[test]
fn the_metadata_of_an_ec2_instance_are_a_spot_notice() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!("ec2=http://{}", listener.local_addr().unwrap());
    let due = Arc::new(AtomicBool::new(false));
    let stand_in = due.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut question = [0; 4096];
            let length = stream.read(&mut question).unwrap();
            let question = String::from_utf8_lossy(&question[..length]).into_owned();
            // There is no time at all left when it is told.
            let (status, body) = match question.split(' ').next() {
                Some("PUT") => ("200 OK", "token"),
                _ if !question.contains("X-aws-ec2-metadata-token: token") => ("401 Unauthorized", ""),
                _ if !stand_in.load(Ordering::SeqCst) => ("404 Not Found", ""),
                _ => ("200 OK", r#"{"action": "terminate", "time": "2020-01-01T00:00:00Z"}"#),
            };
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        }
    });
    hands_back(&["--notice", &source], "spot notice", |_, _| due.store(true, Ordering::SeqCst));
}

#[test]
fn a_drain_is_heard_of_though_the_scheduler_is_away_when_it_is_asked_for() {
    let mut cluster = Cluster::start(Suite::of(&[("test_a.py", HELD)]));
    let first = cluster.executor("e-one");
    let mut run = cluster.start_run(&[]);
    run.until(is("test_started"));
    cluster.scheduler.kill();
    let token = cluster.token().into_os_string().into_string().unwrap();
    let arguments = ["executor", "drain", "e-one", "--scheduler", &cluster.url, "--token-file", &token];
    let asks = Running::start(cluster.suite.seagull(&arguments), &cluster.suite.beside("drain-stderr"));
    let _again = cluster.scheduler_again();
    let (_, code, stderr) = asks.end();
    assert_eq!(code, 0, "{stderr}");
    run.until(is("executor_drained"));
    let _second = cluster.executor("e-two");
    fs::write(cluster.suite.beside("meet/go"), "").unwrap();
    run.finish().expect_counts(0, &[("passed", 7)]);
    let (_, code, stderr) = first.end();
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn an_executor_leaves_in_its_time_though_the_scheduler_is_away() {
    let mut cluster = Cluster::start(Suite::of(&[("test_a.py", HELD)]));
    let executor = cluster.executor_with("e-one", &["--drain-limit", "8s"], &[]);
    let mut run = cluster.start_run(&[]);
    run.until(is("test_started"));
    cluster.scheduler.kill();
    executor.signal(Signal::SIGTERM);
    // It ends, and nobody takes its result.
    fs::write(cluster.suite.beside("meet/go"), "").unwrap();
    let (_, code, stderr) = executor.end();
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("results that the scheduler has not taken in time"), "{stderr}");

    let _again = cluster.scheduler_again();
    let _second = cluster.executor("e-two");
    run.finish().expect_counts(0, &[("passed", 7)]);
}

#[test]
fn whoever_cancels_while_the_scheduler_is_away_hears_when_it_is_done() {
    let mut cluster = Cluster::start(Suite::of(&[("test_a.py", STUCK)]));
    let _executor = cluster.executor("e-one");
    let mut run = cluster.start_run(&["--grace", "1s"]);
    run.until(is("test_started"));
    cluster.scheduler.kill();
    run.signal(Signal::SIGINT);
    until(|| run.stderr().contains("the scheduler does not hear that the run is to be cancelled"));
    assert!(!run.stderr().contains("the run is cancelled,"), "{}", run.stderr());
    let _again = cluster.scheduler_again();
    let run = run.finish();
    run.expect_counts(130, &[("not_executed: cancelled", 7)]);
    assert!(run.stderr.contains("interrupted: the run is cancelled,"), "{}", run.stderr);
}

/// Two tests that wait, each on an executor of its own, and one that fails when both do.
const WAITS: &str = "\
import os, time
import pytest
MEET = os.environ['MEETING_PLACE'] + '/'
@pytest.fixture
def resource(request):
    yield
    open(MEET + request.node.name + '-torn-down', 'w').close()
def test_waits_NAME(resource):
    open(MEET + 'waits-NAME', 'w').close()
    while True: time.sleep(0.02)
def test_never_NAME(): pass
";
const FAILS: &str = "\
import os, time
MEET = os.environ['MEETING_PLACE'] + '/'
def test_fails():
    while not (os.path.exists(MEET + 'waits-a') and os.path.exists(MEET + 'waits-b')): time.sleep(0.02)
    assert not os.environ.get('FAILS')
    while True: time.sleep(0.02)
";

/// A run on three executors that is stopped half way by what `stop` does. Each of its workers tears down and ends; the
/// executors stay.
fn stops(options: &[&str], variables: &[(&str, &str)], stop: impl FnOnce(&mut Running)) -> Finished {
    let files = [
        ("test_a.py", WAITS.replace("NAME", "a")),
        ("test_b.py", WAITS.replace("NAME", "b")),
        ("test_c.py", FAILS.to_owned()),
    ];
    let files = files.each_ref().map(|(path, source)| (*path, source.as_str()));
    let cluster = Cluster::start(Suite::of(&files));
    let executors = ["e-one", "e-two", "e-three"].map(|name| cluster.executor_with(name, &[], variables));
    let mut run = cluster.start_run(options);
    // Each has something to tear down.
    until(|| ["a", "b"].iter().all(|name| cluster.suite.beside(&format!("meet/waits-{name}")).exists()));
    stop(&mut run);
    let run = run.finish();
    let processes = cluster.suite.marked().alive();
    let ours = |command: &str| command.contains(" executor ") || command.contains(" scheduler ");
    assert!(processes.iter().all(|(_, command)| ours(command)), "workers are left: {processes:#?}");
    for name in ["a", "b"] {
        assert!(cluster.suite.beside(&format!("meet/test_waits_{name}-torn-down")).exists(), "{name}");
    }
    cluster.ends(executors.into());
    run
}

#[test]
fn a_cancellation_reaches_every_executor_and_leaves_nothing_running() {
    let run = stops(&[], &[], |run| {
        for _ in 0..3 {
            run.until(is("test_started"));
        }
        run.signal(Signal::SIGINT);
    });
    run.expect_counts(130, &[("not_executed: cancelled", 5)]);
}

#[test]
fn a_failure_that_is_one_too_many_reaches_every_executor_and_leaves_nothing_running() {
    let run = stops(&["--fail-fast"], &[("FAILS", "1")], |_| {});
    run.expect_counts(100, &[("failed", 1), ("not_executed: fail-fast", 4)]);
}
