//! Runs on a scheduler's executors: which files they have, and what becomes of them without their client.

#![expect(clippy::disallowed_methods, reason = "a case looks again after a while")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Cluster, Running, Suite, is, text};
use crate::processes::ends_by_a_second_interrupt;

/// What git says in a directory.
fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut git = std::process::Command::new("git");
    let output = git.current_dir(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_revision_runs_as_it_was_committed_wherever_it_is_sent_from() {
    let source =
        "import os\ndef test_a(): assert os.environ['WHO'] == 'committed' and not os.path.exists('later')\n";
    let files = [("test_a.py", source), ("seagull.toml", "[env]\nWHO = 'committed'\n")];
    let cluster = Cluster::start(Suite::of(&files));
    let _executor = cluster.executor("e-one");
    let suite = cluster.suite.path();
    let commit = git(&suite, &["rev-parse", "HEAD"]);
    cluster.suite.write("later", "");
    cluster.suite.write("seagull.toml", "[env]\nWHO = 'changed'\n");
    cluster.start_run(&[]).finish().expect(100, &[("test_a.py::test_a", "failed")]);
    let run = cluster.start_run(&["--rev", "HEAD"]).finish();
    run.expect(0, &[("test_a.py::test_a", "passed")]);
    assert_eq!(text(run.one("run_started"), "rev"), commit);
    assert!(run.stderr.contains(&commit) && run.stderr.contains("uploading"), "{}", run.stderr);
    assert_eq!(git(&suite, &["status", "--porcelain"]), "M seagull.toml\n?? later");
    let left = cluster.suite.beside("state").read_dir().unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".revision")), "{left:?}");

    // A clean checkout has the same bytes, so that nothing is uploaded.
    let clone = cluster.suite.beside("clone");
    git(&suite, &["clone", "--quiet", ".", clone.to_str().unwrap()]);
    let token = cluster.token().into_os_string().into_string().unwrap();
    let run = cluster.suite.run_in(&clone, &["--scheduler", &cluster.url, "--token-file", &token]);
    run.expect(0, &[("test_a.py::test_a", "passed")]);
    assert!(!run.stderr.contains("uploading"), "{}", run.stderr);
}

#[test]
fn a_revision_that_is_not_there_or_has_no_scheduler_is_wrong_usage() {
    let cluster = Cluster::start(Suite::of(&[("test_a.py", "")]));
    let token = cluster.token().into_os_string().into_string().unwrap();
    let remote = ["run", "--scheduler", &cluster.url, "--token-file", &token, "--rev", "nowhere"];
    let changed = [&remote[..], &["--changed"]].concat();
    let table: [(&[&str], &str); 3] = [
        (&remote, "hint: git fetch brings what others have"),
        (&changed, "--changed goes by the work tree"),
        (&["run", "--rev", "HEAD"], "hint: name a scheduler with --scheduler"),
    ];
    for (arguments, hint) in table {
        let output = cluster.suite.seagull(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(hint), "{}", said(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_detached_run_is_accepted_and_goes_on_alone() {
    let cluster = Cluster::start(Suite::of(&[("test_a.py", "def test_a(): pass\n")]));
    let token = cluster.token().into_os_string().into_string().unwrap();
    let at = ["--scheduler", &cluster.url, "--token-file", &token];
    let detached = [&["run", "--detach", "--output", "json"][..], &at].concat();
    let output = cluster.suite.seagull(&detached).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    let run = printed.strip_suffix('\n').expect("one line");
    let follow = format!("seagull watch {run} --scheduler {} --token-file {token}", cluster.url);
    assert!(said(&output).contains(&follow), "{}", said(&output));

    // It has all that it needs: its client is gone, and its files are too.
    std::fs::remove_file(cluster.suite.path().join("test_a.py")).unwrap();
    let _executor = cluster.executor("e-one");
    let watch = [&["watch", run, "--output", "json"][..], &at].concat();
    let watch = Running::start(cluster.suite.seagull(&watch), &cluster.suite.beside("watch-stderr"));
    watch.finish().expect(0, &[("test_a.py::test_a", "passed")]);
    // Detached from a run that is there already: it is the same one.
    cluster.suite.write("test_a.py", "def test_a(): pass\n");
    let again = [&detached[..], &["--run-id", run]].concat();
    let output = cluster.suite.seagull(&again).output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stdout.clone()).unwrap()), (Some(0), printed));
}

#[test]
fn a_run_is_not_left_where_it_would_end_or_where_a_report_is_wanted() {
    let suite = Suite::of(&[("test_a.py", "")]);
    let token = suite.beside("token");
    std::fs::write(&token, "0".repeat(64)).unwrap();
    let remote = ["--scheduler", "http://127.0.0.1:1", "--token-file", token.to_str().unwrap()];
    let report = [&["run", "--detach", "--junit", "x.xml"][..], &remote].concat();
    for (arguments, hint) in [
        (&["run", "--detach"][..], "hint: name a scheduler with --scheduler"),
        (&report, "hint: seagull watch RUN --junit FILE"),
    ] {
        let output = suite.seagull(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(hint), "{}", said(&output));
    }
}

/// What `seagull runs` says of the only run, which is no look at it.
fn listed(cluster: &Cluster) -> Value {
    let token = cluster.token().into_os_string().into_string().unwrap();
    let runs = ["runs", "--output", "json", "--scheduler", &cluster.url, "--token-file", &token];
    let output = cluster.suite.seagull(&runs).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
}

#[test]
fn a_run_whose_client_is_lost_is_cancelled_and_says_why() {
    let cluster = Cluster::start(Suite::named("long"));
    let _executor = cluster.executor("e-one");
    let mut run = cluster.start_run(&["--run-id", "one", "--orphan", "3s"]);
    run.until(|event| is("test_started")(event) && text(event, "test").contains("waits"));
    run.signal(Signal::SIGKILL);
    let deadline = Instant::now() + Duration::from_secs(120);
    let ended = loop {
        let listed = listed(&cluster);
        if listed["state"] == "ended" || Instant::now() > deadline {
            break listed;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((&ended["verdict"], &ended["exit_code"]), (&"cancelled".into(), &130.into()), "{ended}");

    let token = cluster.token().into_os_string().into_string().unwrap();
    let explain = ["explain", "one", "--scheduler", &cluster.url, "--token-file", &token];
    let output = cluster.suite.seagull(&explain).output().unwrap();
    let because = "because it was cancelled as an orphan: nobody had watched it for 3s (--orphan)";
    assert!(String::from_utf8_lossy(&output.stdout).contains(because), "{output:?}");
    // Had back, it is what it became.
    let run = cluster.start_run(&["--run-id", "one"]).finish();
    run.expect_counts(130, &[("passed", 1), ("not_executed: orphaned", 5)]);
}

#[test]
fn a_second_interrupt_leaves_a_remote_run_at_once() {
    let cluster = Cluster::start(Suite::of(&[(
        "test_stubborn.py",
        "import signal\ndef test_stubborn():\n    signal.signal(signal.SIGINT, signal.SIG_IGN)\n    \
         while True: signal.pause()\n",
    )]));
    let _executor = cluster.executor("e-one");
    ends_by_a_second_interrupt(cluster.start_run(&["--grace", "1h"]));
    // It has not waited for the end.
    assert_eq!(listed(&cluster)["state"], "under_way");
}

#[test]
fn who_asks_a_scheduler_that_stands_still_is_told_what_is_waited_for() {
    let cluster = Cluster::start(Suite::of(&[("test_a.py", "def test_a(): pass\n")]));
    let _executors = [cluster.executor("e-one"), cluster.executor("e-two")];
    cluster.start_run(&["--run-id", "first"]).finish().expect_counts(0, &[("passed", 1)]);
    let token = cluster.token().into_os_string().into_string().unwrap();
    let there = ["--scheduler", &cluster.url, "--token-file", &token];
    cluster.scheduler.signal(Signal::SIGSTOP);
    let asking: Vec<_> = [&["run"][..], &["explain", "first", "test_a"], &["executor", "drain", "e-two"]]
        .into_iter()
        .map(|command| {
            let mut command = cluster.suite.seagull(&[command, &there].concat());
            let mut asking = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let mut said = BufReader::new(asking.stderr.take().unwrap());
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            assert!(line.starts_with("waiting for the scheduler at http://"), "{command:?}: {line}");
            (asking, said)
        })
        .collect();
    cluster.scheduler.signal(Signal::SIGCONT);
    for (mut asking, mut said) in asking {
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert!(asking.wait().unwrap().success(), "{rest}");
    }
}
