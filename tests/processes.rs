//! Processes that end, are killed and come back: interrupts, broken-off runs, separate schedulers and executors.

use std::collections::{BTreeMap, BTreeSet};
use std::io::PipeWriter;

use nix::sys::signal::{Signal, kill};
use serde_json::Value;

use crate::harness::{Cluster, Finished, GONE, Running, Suite, is, text, until};

/// What a run says whenever it is told: all but the live events.
fn durable(run: &Finished) -> Vec<&Value> {
    run.events.iter().filter(|event| event["event"] != "test_started").collect()
}

/// How often each test of the suite `steps` was executed, by its own account.
fn executions(suite: &Suite) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for number in suite.read("ran").lines() {
        *counts.entry(format!("test_steps.py::test_step[{number}]")).or_default() += 1;
    }
    counts
}

#[test]
fn an_ended_run_is_replayed_and_runs_nothing() {
    let suite = Suite::named("steps");
    let name = ["--run-id", "again", "--select", "test_steps.py::test_step[1*"];
    let first = suite.run(&name);
    first.expect_counts(0, &[("passed", 11)]);
    let second = suite.run(&name);
    second.expect_code(0);
    assert_eq!(durable(&first), durable(&second));
    assert!(executions(&suite).values().all(|count| *count == 1));

    // So is one that failed.
    let suite = Suite::named("retries");
    let first = suite.run(&["--run-id", "again"]);
    let second = suite.run(&["--run-id", "again"]);
    second.expect_code(100);
    assert_eq!(durable(&first), durable(&second));
}

#[test]
fn a_killed_run_is_continued_under_its_name() {
    let suite = Suite::named("steps");
    let mut broken = suite.start(&["--run-id", "one"]);
    for _ in 0..5 {
        broken.until(is("verdict"));
    }
    broken.signal(Signal::SIGKILL);
    let (events, code, _) = broken.end();
    assert_eq!(code, 137);
    suite.marked().all_gone_within(GONE);
    let decided: BTreeSet<_> = events
        .iter()
        .filter(|event| is("verdict")(event))
        .map(|event| text(event, "test").to_owned())
        .collect();
    assert!(decided.len() < 40, "it was killed half way");

    let rest = suite.run(&["--run-id", "one"]);
    rest.expect_counts(0, &[("passed", 40)]);
    // The stream is one: what was told before is told again, the same.
    let told: Vec<_> = events.iter().filter(|event| !is("test_started")(event)).collect();
    assert_eq!(told, durable(&rest)[..told.len()]);
    // What was decided did not run again, and no test ran more than twice.
    let executions = executions(&suite);
    assert_eq!(executions.len(), 40);
    for (test, count) in executions {
        assert!(count == 1 || (count == 2 && !decided.contains(&test)), "{test} ran {count} times");
    }
}

#[test]
fn runs_share_a_state_directory_but_not_a_name() {
    let suite = Suite::named("both_slots");
    let mut first = suite.start(&["--slots", "1", "--run-id", "one", "test_a.py"]);
    // It waits for the test that the second run has.
    first.until(is("test_started"));
    let (_, code, stderr) = suite.start(&["--slots", "1", "--run-id", "one", "test_a.py"]).end();
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("one"), "{stderr}");
    suite
        .run(&["--slots", "1", "--run-id", "two", "test_b.py"])
        .expect(0, &[("test_b.py::test_b", "passed")]);
    first.finish().expect(0, &[("test_a.py::test_a", "passed")]);
}

#[test]
fn an_interrupt_tears_down_and_leaves_nothing() {
    torn_down_by(&[Signal::SIGINT]);
}

#[test]
fn a_termination_is_an_interrupt() {
    torn_down_by(&[Signal::SIGTERM]);
}

/// The shell tells of it, and so does the system.
#[test]
fn a_closed_terminal_is_one_interrupt() {
    torn_down_by(&[Signal::SIGHUP, Signal::SIGHUP]);
}

#[test]
fn what_is_to_outlive_its_terminal_does() {
    let suite = Suite::named("steps");
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let mut command = suite.command("sh");
    command.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_seagull")]);
    command.args(["run", "--output", "json", "--slots", "2", "--state", &state]);
    let mut run = Running::start(command, &suite.beside("stderr"));
    run.until(is("verdict"));
    run.signal(Signal::SIGHUP);
    run.finish().expect_counts(0, &[("passed", 40)]);
}

fn torn_down_by(signals: &[Signal]) {
    let suite = Suite::named("long");
    let run = suite.start(&[]);
    until(|| ["waits-a", "waits-b"].iter().all(|file| suite.path().join(file).exists()));
    signals.iter().for_each(|signal| run.signal(*signal));
    let finished = run.finish();
    suite.marked().all_gone_within(GONE);
    let cancelled = "not_executed: cancelled";
    finished.expect(
        130,
        &[
            ("test_a.py::test_first_a", "passed"),
            ("test_a.py::test_waits_a", cancelled),
            ("test_a.py::test_never_a", cancelled),
            ("test_b.py::test_first_b", "passed"),
            ("test_b.py::test_waits_b", cancelled),
            ("test_b.py::test_never_b", cancelled),
        ],
    );
    assert_eq!(finished.one("run_finished")["verdict"], "cancelled");
    for slot in ["0", "1"] {
        for what in ["test", "session"] {
            let file = format!("{what}-torn-down-{slot}");
            assert!(suite.path().join(&file).exists(), "no {file}");
        }
    }
}

#[test]
fn a_second_interrupt_kills() {
    let suite = Suite::of(&[(
        "test_stubborn.py",
        "import signal\ndef test_stubborn():\n    signal.signal(signal.SIGINT, signal.SIG_IGN)\n    \
         open('deaf', 'w').close()\n    print('ready', flush=True)\n    while True: signal.pause()\n",
    )]);
    ends_by_a_second_interrupt(suite.start(&["--grace", "1h", "--slots", "1"]));
    suite.marked().all_gone_within(GONE);
}

/// Of a run whose test is deaf to the first.
pub fn ends_by_a_second_interrupt(mut run: Running) {
    run.until(is("test_started"));
    run.signal(Signal::SIGINT);
    run.until(is("stopping"));
    run.signal(Signal::SIGINT);
    let (_, code, stderr) = run.end();
    assert_eq!(code, 130, "{stderr}");
}

#[test]
fn a_run_that_is_killed_leaves_no_process() {
    let suite = Suite::named("long");
    let mut run = suite.start(&[]);
    run.until(|event| is("test_started")(event) && text(event, "test").contains("waits"));
    assert!(suite.marked().alive().len() >= 3, "the command, a supervisor, a worker");
    run.signal(Signal::SIGKILL);
    suite.marked().all_gone_within(GONE);
}

/// The run is stopped, so that it cannot kill what its dead supervisor leaves to it.
#[test]
fn what_is_killed_with_all_that_watches_has_its_processes_killed_by_the_next_run() {
    let suite = Suite::of(&[(
        "test_daemon.py",
        "import subprocess, time\ndef test_daemon():\n    \
         subprocess.Popen(['sleep', '600'], start_new_session=True)\n    time.sleep(600)\n",
    )]);
    let sleeps = || suite.marked().alive().into_iter().any(|(_, command)| command.starts_with("sleep 600"));
    let mut run = suite.start(&["--slots", "1"]);
    run.until(is("test_started"));
    until(sleeps);
    run.signal(Signal::SIGSTOP);
    for (pid, command) in suite.marked().alive() {
        if command.contains(" supervise ") {
            kill(pid, Signal::SIGKILL).unwrap();
        }
    }
    assert!(sleeps(), "it has a session of its own");
    run.kill();
    suite.write("test_daemon.py", "def test_next(): pass\n");
    suite.run(&[]).expect_code(0);
    suite.marked().all_gone_within(GONE);
}

#[test]
fn a_run_survives_the_loss_of_an_executor() {
    let cluster = Cluster::start(Suite::named("steps"));
    let executors = [cluster.executor("e-one"), cluster.executor("e-two")];
    let mut run = cluster.start_run(&[]);
    let mut heard = BTreeSet::new();
    while heard.len() < 2 {
        heard.insert(text(&run.until(is("test_finished")), "executor").to_owned());
    }
    executors[0].signal(Signal::SIGKILL);
    let run = run.finish();
    run.expect_counts(0, &[("passed", 40)]);
    let lost = run.one("executor_lost");
    assert_eq!(text(lost, "executor"), "e-one");
    let by: BTreeSet<_> = run.all("test_finished").iter().map(|event| text(event, "executor")).collect();
    assert_eq!(by, BTreeSet::from(["e-one", "e-two"]));
    // The suite ran from the artifact, not in the working tree.
    assert!(!cluster.suite.path().join("ran").exists());
}

#[test]
fn what_the_suite_asks_for_goes_with_it_except_a_report_where_tests_run() {
    let suite = Suite::of(&[
        ("pytest.ini", "[pytest]\naddopts = -x --junitxml=report.xml\n"),
        ("test_a.py", "def test_a(): assert 0\n"),
    ]);
    let cluster = Cluster::start(suite);
    let _executor = cluster.executor("e-one");
    let run = cluster.start_run(&[]).finish();
    run.expect(100, &[("test_a.py::test_a", "failed")]);
    assert!(
        run.one("manifest_confirmed")["warnings"].to_string().contains("-x, or --maxfail=1, is --fail-fast")
    );
    assert!(run.stderr.contains("--junitxml and --html are not written where tests run"), "{}", run.stderr);
    assert!(!cluster.suite.path().join("report.xml").exists());

    let token = cluster.token().into_os_string().into_string().unwrap();
    let mut command = cluster.suite.seagull(&["run", "--scheduler", &cluster.url, "--token-file", &token]);
    let output = command.env("PYTEST_ADDOPTS", "-q").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("PYTEST_ADDOPTS is not sent"));
}

#[test]
fn an_executor_that_falls_silent_is_lost_and_may_come_back() {
    let cluster = Cluster::start_with(Suite::named("steps"), &["--lease", "2s"]);
    let executors = [cluster.executor("e-one"), cluster.executor("e-two")];
    let mut run = cluster.start_run(&[]);
    let mut heard = BTreeSet::new();
    while heard.len() < 2 {
        heard.insert(text(&run.until(is("test_finished")), "executor").to_owned());
    }
    // Its connection stays open, and its worker goes on.
    executors[0].signal(Signal::SIGSTOP);
    run.until(|event| is("executor_lost")(event) && text(event, "executor") == "e-one");
    executors[0].signal(Signal::SIGCONT);
    run.finish().expect_counts(0, &[("passed", 40)]);
    let [first, second] = executors;
    second.signal(Signal::SIGTERM);
    assert_eq!(second.end().1, 0);
    let run = cluster.start_run(&["--select", "test_steps.py::test_step[1*"]).finish();
    run.expect_counts(0, &[("passed", 11)]);
    assert!(run.all("test_finished").iter().all(|event| text(event, "executor") == "e-one"));
    first.signal(Signal::SIGTERM);
    assert_eq!(first.end().1, 0);
}

#[test]
fn a_run_survives_the_loss_of_its_scheduler() {
    let mut cluster = Cluster::start(Suite::named("steps"));
    let _executors = [cluster.executor("e-one"), cluster.executor("e-two")];
    let mut run = cluster.start_run(&["--run-id", "one"]);
    for _ in 0..5 {
        run.until(is("verdict"));
    }
    cluster.scheduler.kill();
    let _again = cluster.scheduler_again();
    run.finish().expect_counts(0, &[("passed", 40)]);
}

#[test]
fn an_executor_that_joins_late_takes_part() {
    let source = "\
import pytest
def test_first(meet): meet('first', 'rest')
@pytest.mark.parametrize('n', range(60))
def test_rest(n, meet): meet('rest', 'first')
";
    let suite = Suite::named("both_slots");
    suite.write("test_a.py", source);
    suite.write("test_b.py", "");
    let cluster = Cluster::start(suite);
    let _first = cluster.executor("e-one");
    let mut run = cluster.start_run(&[]);
    // The first test waits for one of the others, which wait behind it until somebody takes them back.
    run.until(is("test_started"));
    let _second = cluster.executor("e-two");
    let run = run.finish();
    run.expect_counts(0, &[("passed", 61)]);
    let by: BTreeSet<_> = run.all("test_finished").iter().map(|event| text(event, "executor")).collect();
    assert_eq!(by, BTreeSet::from(["e-one", "e-two"]));
    assert!(!run.all("taken_back").is_empty());
}

#[test]
fn a_remote_run_has_the_files_of_the_work_tree_but_no_secrets() {
    let source = "\
import os
def test_files():
    assert os.path.basename(os.getcwd()) == 'sub'
    assert os.path.exists('tracked') and os.path.exists('../untracked')
    assert not os.path.exists('../ignored') and not os.path.exists('../.env')
";
    let files = [("sub/test_a.py", source), ("sub/tracked", "x"), (".gitignore", "ignored\n")];
    let cluster = Cluster::start(Suite::of(&files));
    for name in ["untracked", "ignored", ".env"] {
        cluster.suite.write(name, "later than the commit");
    }
    let _executor = cluster.executor("e-one");
    let token = cluster.token().into_os_string().into_string().unwrap();
    let arguments = ["--scheduler", &cluster.url, "--token-file", &token];
    let run = cluster.suite.run_in(&cluster.suite.path().join("sub"), &arguments);
    run.expect(0, &[("test_a.py::test_files", "passed")]);
    assert!(run.stderr.contains(".env"), "what stays behind is said: {}", run.stderr);
}

#[test]
fn an_interrupted_remote_run_is_cancelled_and_its_executors_stay() {
    let cluster = Cluster::start(Suite::named("long"));
    let executor = cluster.executor("e-one");
    let mut run = cluster.start_run(&[]);
    run.until(|event| is("test_started")(event) && text(event, "test").contains("waits"));
    run.signal(Signal::SIGINT);
    let finished = run.finish();
    finished.expect_counts(130, &[("passed", 1), ("not_executed: cancelled", 5)]);
    // It is free for the next run, and leaves when it is told to.
    cluster
        .start_run(&["test_a.py::test_first_a"])
        .finish()
        .expect(0, &[("test_a.py::test_first_a", "passed")]);
    cluster.ends(vec![executor]);
}

#[test]
fn a_drained_executor_gives_back_what_it_has() {
    let cluster = Cluster::start(Suite::named("steps"));
    let first = cluster.executor("e-one");
    let mut run = cluster.start_run(&[]);
    run.until(is("verdict"));
    first.signal(Signal::SIGTERM);
    let _second = cluster.executor("e-two");
    run.finish().expect_counts(0, &[("passed", 40)]);
    let (_, code, stderr) = first.end();
    assert_eq!(code, 0, "{stderr}");
}

/// An end of a pipe that nobody reads.
fn unread() -> PipeWriter {
    std::io::pipe().unwrap().1
}

#[test]
fn whoever_does_not_listen_any_more_breaks_nothing_off() {
    let suite = Suite::named("steps");
    let state = suite.beside("state").into_os_string().into_string().unwrap();
    let silent = ["run", "--state", &state, "--slots", "2", "--run-id", "silent", "--select", "*1*"];
    assert_eq!(suite.seagull(&silent).stderr(unread()).status().unwrap().code(), Some(0));
    suite.run(&["--run-id", "silent", "--select", "*1*"]).expect_code(0);
    let nothing = suite.seagull(&["results", "nothing", "--state", &state]).stderr(unread()).status();
    assert_eq!(nothing.unwrap().code(), Some(2));

    let json = ["run", "--state", &state, "--slots", "2", "--run-id", "unread", "--output", "json"];
    let output = suite.seagull(&json).stdout(unread()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("standard output is closed"), "{said}");
    suite.run(&["--run-id", "unread"]).expect_code(130);
}

#[test]
fn no_scheduler_is_an_error_with_a_hint() {
    let suite = Suite::named("retries");
    suite.write("seagull.toml", "[artifact]\nroot = '.'\n");
    let token = suite.beside("token");
    std::fs::write(&token, "0".repeat(64)).unwrap();
    // Nothing listens on port 1.
    let arguments = ["run", "--scheduler", "http://127.0.0.1:1", "--token-file", token.to_str().unwrap()];
    let output = suite.seagull(&arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the scheduler at http://127.0.0.1:1 cannot be reached") && said.contains("hint:"),
        "{said}"
    );
}

#[test]
fn a_wrong_token_is_refused_with_a_hint() {
    let cluster = Cluster::start(Suite::named("retries"));
    let wrong = cluster.suite.beside("wrong");
    std::fs::write(&wrong, "0".repeat(std::fs::read_to_string(cluster.token()).unwrap().trim().len()))
        .unwrap();
    for command in ["run", "executor"] {
        let arguments = [
            command,
            "--scheduler",
            &cluster.url,
            "--token-file",
            wrong.to_str().unwrap(),
            "--state",
            "state",
        ];
        let output = cluster.suite.seagull(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("token") && said.contains("hint:"), "{command}: {said}");
    }
}

#[test]
fn listening_beyond_loopback_needs_an_explicit_word() {
    let suite = Suite::of(&[]);
    let state = suite.beside("scheduler").into_os_string().into_string().unwrap();
    let arguments = ["scheduler", "--listen", "0.0.0.0:0", "--state", &state];
    let output = suite.seagull(&arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--insecure"), "{said}");
    let command = suite.seagull(&[&arguments[..], &["--insecure"]].concat());
    let mut scheduler = Running::start(command, &suite.beside("stderr"));
    assert!(scheduler.line().is_some_and(|line| line.starts_with("listening on ")), "{}", scheduler.stderr());
}

#[test]
fn a_second_scheduler_on_the_same_state_is_refused() {
    let cluster = Cluster::start(Suite::named("retries"));
    let state = cluster.suite.beside("scheduler").into_os_string().into_string().unwrap();
    let output =
        cluster.suite.seagull(&["scheduler", "--listen", "127.0.0.1:0", "--state", &state]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
}
