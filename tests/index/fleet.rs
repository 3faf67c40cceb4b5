//! A scheduler with an index elsewhere: runs do not wait for it, and all that they came to gets there.

use std::collections::HashSet;
use std::fs::DirEntry;
use std::io;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use seagull_results::index::part;
use serde_json::{Value, json};

use crate::dashboards::get;
use crate::harness::{Cluster, Elasticsearch, Fault, Finished, Proxy, Running, Suite, text, until};
use crate::stores::listens;

const SUITE: &str = "
import pytest
def test_good(): pass
@pytest.mark.parametrize('n', range(20))
def test_many(n): pass
def test_bad(): raise ValueError('the gasket of the starboard pump leaks')
";
const TESTS: u64 = 22;
/// What an index told is an hour old then.
const AN_HOUR_LATER: &str = "import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as told: told.execute('UPDATE told SET at = at - 3600000')";

/// A way to the server on which nothing passes while it is down.
fn way(server: &Elasticsearch) -> (Proxy, Arc<AtomicBool>) {
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let proxy = Proxy::new(server.address(), move |_| {
        if down.load(Ordering::SeqCst) { Fault::Status(503, "down".into()) } else { Fault::None }
    });
    (proxy, is_down)
}

fn objects(cluster: &Cluster, command: &[&str]) -> Vec<Value> {
    let token = cluster.token().into_os_string().into_string().unwrap();
    let at = ["--scheduler", &cluster.url, "--token-file", &token, "--output", "json"];
    let output = cluster.suite.seagull(&[command, &at].concat()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_run_ends_while_its_index_is_down_and_is_there_when_it_is_back() {
    let Some(server) = Elasticsearch::get() else { return };
    let (proxy, is_down) = way(&server);
    let url = server.url_at(proxy.address);
    let mut cluster = Cluster::start_with(Suite::of(&[("test_a.py", SUITE)]), &["--index", &url]);
    let _executor = cluster.executor("e-one");
    let came_to = [("passed", 21), ("failed", 1)];
    cluster.start_run(&["--run-id", "first"]).finish().expect_counts(100, &came_to);
    assert_eq!(server.count("results"), 0);
    assert!(
        cluster.scheduler.stderr().contains("results wait in their streams"),
        "{}",
        cluster.scheduler.stderr()
    );

    // The scheduler is killed in the outage, and the next one has another run.
    cluster.scheduler.kill();
    let state = cluster.suite.beside("scheduler").into_os_string().into_string().unwrap();
    let address = cluster.url.strip_prefix("http://").unwrap().to_owned();
    let command =
        cluster.suite.seagull(&["scheduler", "--listen", &address, "--state", &state, "--index", &url]);
    let mut again = Running::start(command, &cluster.suite.beside("scheduler-again"));
    again.line().unwrap_or_else(|| panic!("no scheduler: {}", again.stderr()));
    cluster.start_run(&["--run-id", "second"]).finish().expect_counts(100, &came_to);
    is_down.store(false, Ordering::SeqCst);
    until(|| server.count("timings") > 0 && server.count("results") == 2 * TESTS);
    assert_eq!((server.count("runs"), server.count("bundles") > 0), (2, true));
    // A discovery, and what ran the bundles.
    assert!(server.count("attempts") >= 4);

    let history = objects(&cluster, &["history", "test_bad"]);
    let runs: Vec<_> = history.iter().map(|past| text(past, "run")).collect();
    assert_eq!(runs, ["second", "first"]);
    let found = objects(&cluster, &["search", "starboard", "LEAKS"]);
    assert_eq!(
        (found.len(), &found[0]["failures"], text(&found[0], "test")),
        (1, &2.into(), "test_a.py::test_bad")
    );
    assert!(text(&found[0], "message").contains("gasket"));
    let failing = objects(&cluster, &["tests"]);
    assert_eq!(
        (failing.len(), text(&failing[0], "test"), &failing[0]["count"]),
        (1, "test_a.py::test_bad", &2.into())
    );
    assert_eq!(objects(&cluster, &["tests", "--slowest", "--limit", "5"]).len(), 5);
    again.signal(Signal::SIGTERM);
}

#[test]
fn an_index_that_is_away_is_no_empty_one_to_who_asks() {
    let Some(server) = Elasticsearch::get() else { return };
    let (proxy, is_down) = way(&server);
    let url = server.url_at(proxy.address);
    let suite = Suite::of(&[]);
    std::fs::write(suite.beside("token"), "the-token-of-this-case\n").unwrap();
    let [token, blobs] =
        ["token", "kept"].map(|name| suite.beside(name).into_os_string().into_string().unwrap());
    std::fs::create_dir(&blobs).unwrap();
    let blobs = format!("file:{blobs}");
    let arguments = ["results-proxy", "--listen", "127.0.0.1:0", "--token-file", &token];
    let command = suite.seagull(&[&arguments[..], &["--blobs", &blobs, "--index", &url]].concat());
    let mut asked = Running::start(command, &suite.beside("proxy"));
    let at = listens(&mut asked);
    let runs = || get(&at, "the-token-of-this-case", "runs");
    let doctor = || {
        let output = suite.seagull(&["doctor", "--stores", &url]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let ((status, answer), (code, said)) = (runs(), doctor());
    assert!(
        status == 503 && answer["error"].as_str().unwrap().contains("is not available"),
        "{status} {answer}"
    );
    assert!(code == Some(1) && said.contains("problem   tried       "), "{said}");
    assert!(said.contains("hint: is the address right"), "{said}");
    let starts = || asked.stderr();
    until(|| starts().contains("nothing is read from the index until it can be used"));
    is_down.store(false, Ordering::SeqCst);
    let (code, said) = doctor();
    assert!(code == Some(0) && said.contains(" ms: written, found and deleted\n"), "{said}");
    assert_eq!(runs(), (200, json!({"runs": []})));
    until(|| starts().contains("the index can be used now"));
}

#[test]
fn plans_go_by_what_an_index_told_last_while_it_is_away() {
    let Some(server) = Elasticsearch::get() else { return };
    let (proxy, is_down) = way(&server);
    is_down.store(false, Ordering::SeqCst);
    let url = server.url_at(proxy.address);
    let scheduler = || Cluster::start_with(Suite::of(&[("test_a.py", SUITE)]), &["--index", &url]);
    let unknown = |run: &Finished| run.all("plan").last().unwrap()["unknown"].clone();
    let warned = |run: &Finished| run.one("manifest_confirmed")["warnings"].to_string();
    let run = |cluster: &Cluster, select: &[&str]| {
        cluster.start_run(&[&["--project", "gaskets"], select].concat()).finish()
    };
    let first = scheduler();
    let _executor = first.executor("e-one");
    assert_eq!(unknown(&run(&first, &[])), TESTS);
    let ones = ["test_good", "test_bad"].map(|name| format!("test_a.py::{name}"));
    let many = (0..20).map(|n| format!("test_a.py::test_many[{n}]"));
    let parts: HashSet<u32> = ones.into_iter().chain(many).map(|id| part(&id)).collect();
    until(|| server.count("timings") == parts.len() as u64);

    // Another one knows nothing itself; what its first run executes is little of it all.
    let other = scheduler();
    let _executor = other.executor("e-one");
    let one = run(&other, &["--select", "test_a.py::test_good"]);
    assert_eq!((unknown(&one), warned(&one).as_str()), (0.into(), "[]"));
    is_down.store(true, Ordering::SeqCst);
    let told = other.suite.beside("scheduler/index/timings.sqlite");
    assert!(Command::new("python3").args(["-c", AN_HOUR_LATER]).arg(told).status().unwrap().success());
    let all = run(&other, &[]);
    assert!(warned(&all).contains("durations are by what the index told 1 h ago: "), "{}", warned(&all));
    assert_eq!(unknown(&all), 1, "which has never passed, so that nobody knows how long it takes");

    // Who was never told anything guesses, and runs as well.
    let third = scheduler();
    let _executor = third.executor("e-one");
    let guessed = run(&third, &[]);
    assert!(warned(&guessed).contains("durations are guessed: "), "{}", warned(&guessed));
    assert_eq!(unknown(&guessed), TESTS);
}

/// Nothing of a run waits for its index: it ends though that answers nothing before the run has ended. The first plan asks it.
#[test]
fn a_run_ends_while_its_index_stands_still() {
    let Some(server) = Elasticsearch::apart("standing") else { return };
    let suite = Suite::of(&[("test_a.py", SUITE)]);
    server.signal(Signal::SIGSTOP);
    let cluster = Cluster::start_with(suite, &["--index", &server.url()]);
    let _executor = cluster.executor("e-one");
    let came_to = [("passed", 21), ("failed", 1)];
    let run = cluster.start_run(&["--run-id", "one"]).finish();
    let listed = objects(&cluster, &["results", "one"]);
    server.signal(Signal::SIGCONT);
    run.expect_counts(100, &came_to);
    assert_eq!(listed.len() as u64, TESTS);
    let warned = run.one("manifest_confirmed")["warnings"].to_string();
    assert!(warned.contains("durations are guessed: it has not told all within 1s"), "{warned}");
    until(|| server.count("timings") > 0 && server.count("results") == TESTS);
}

#[test]
fn plans_go_by_the_copy_in_the_store_where_nobody_tells() {
    let store = tempfile::tempdir().unwrap();
    let blobs = format!("file:{}/kept", store.path().display());
    let start = |options: &[&str]| {
        let suite = Suite::of(&[("test_a.py", SUITE)]);
        Cluster::start_with(suite, &[&["--blobs", &blobs], options].concat())
    };
    let planned = |cluster: &Cluster| {
        let _executor = cluster.executor("e-one");
        let run = cluster.start_run(&["--project", "gaskets"]).finish();
        let warnings = run.one("manifest_confirmed")["warnings"].to_string();
        (run.all("plan").last().unwrap()["unknown"].as_u64().unwrap(), warnings)
    };
    let first = start(&[]);
    assert_eq!(planned(&first), (TESTS, "[]".to_owned()));
    // Not one that is being written.
    let is_whole =
        |file: io::Result<DirEntry>| file.unwrap().path().extension().is_some_and(|of| of == "zst");
    until(|| store.path().join("kept/timings").read_dir().is_ok_and(|mut copies| copies.any(is_whole)));
    // One that has failed is never known.
    assert_eq!(planned(&start(&[])), (1, "[]".to_owned()));
    let (unknown, warnings) = planned(&start(&["--index", "es+http://127.0.0.1:9/case"]));
    assert_eq!(unknown, 1);
    assert!(warnings.contains("durations are by the copy in the store, of "), "{warnings}");
}

#[test]
fn a_state_directory_is_an_index_by_itself() {
    let suite = Suite::of(&[("test_a.py", SUITE)]);
    suite.run(&["--run-id", "first"]).expect_code(100);
    let ask = |command: &[&str]| {
        let state = suite.beside("state").into_os_string().into_string().unwrap();
        let at = ["--output", "json", "--state", &state];
        let output = suite.seagull(&[command, &at].concat()).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(ask(&["search", "starboard"]).contains("\"failures\":1"));
    assert!(ask(&["tests", "--failing"]).contains("\"test\":\"test_a.py::test_bad\""));
    assert_eq!(ask(&["tests", "--slowest"]).lines().count(), 20);
    assert_eq!(ask(&["search", "port"]), "");
    assert!(ask(&["history", "test_bad"]).contains("\"verdict\":\"failed\""));
}
