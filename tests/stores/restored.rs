//! State directories that are restored from a copy and the store, as docs/storage.md says.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::schedulers::{
    asked, goes_up, listens, said, scheduler_again, stream_goes_up, suite, waiting, words,
};
use crate::harness::{Cluster, Running, Suite, is, until};

/// Of docs/storage.md, with the directory and its copy as arguments.
const BACK_UP: &str = r#"
    mkdir "$2"
    for file in index/cursors index/timings journal history; do
        [ -e "$1/$file.sqlite" ] || continue
        mkdir -p "$(dirname "$2/$file")"
        python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))' \
            "$1/$file.sqlite" "$2/$file.sqlite"
    done
    cp -a "$1/runs" "$1/spool" "$1/token" "$2"
"#;

/// The directory is copied while a scheduler works in it, without what the store has.
fn back_up(cluster: &Cluster) {
    let (state, copy) = (cluster.suite.beside("scheduler"), cluster.suite.beside("copy"));
    let copied = Command::new("sh").args(["-ec", BACK_UP, "sh"]).args([&state, &copy]).status().unwrap();
    assert!(copied.success() && !copy.join("blobs").exists());
}

/// A scheduler with what was copied from another's state directory.
fn restored(cluster: &Cluster, options: &[&str], name: &str) -> Running {
    let (state, copy) = (cluster.suite.beside("scheduler"), cluster.suite.beside("copy"));
    fs::remove_dir_all(&state).unwrap();
    assert!(Command::new("cp").arg("-a").args([&copy, &state]).status().unwrap().success());
    let mut again = scheduler_again(cluster, options, name);
    listens(&mut again);
    again
}

#[test]
fn a_state_directory_is_restored_from_a_copy_and_the_store() {
    let store = tempfile::tempdir().unwrap();
    let url = format!("file:{}/kept", store.path().display());
    let mut cluster = Cluster::start_with(suite(), &["--blobs", &url]);
    let _executor = cluster.executor("e-one");
    cluster.start_run(&["--run-id", "before"]).finish().expect_code(100);
    goes_up(&cluster);
    back_up(&cluster);
    cluster.start_run(&["--run-id", "after"]).finish().expect_code(100);
    cluster.scheduler.kill();

    let again = restored(&cluster, &["--blobs", &url], "again");
    assert!(words(&cluster).contains("words of the test"));
    let runs = asked(&cluster, &["runs", "--all", "--output", "json"]);
    let runs = String::from_utf8_lossy(&runs.stdout).into_owned();
    assert!(runs.contains("\"before\"") && !runs.contains("\"after\""), "{runs}");
    // The executor comes back by itself, and what failed before is known.
    let run = cluster.start_run(&["--select", "last-failed"]).finish();
    run.expect(100, &[("test_a.py::test_says", "failed")]);
    again.signal(Signal::SIGTERM);
}

#[test]
fn a_run_that_has_ended_since_the_copy_has_the_end_that_it_had() {
    let store = tempfile::tempdir().unwrap();
    let [url, index] = [("file", "kept"), ("sqlite", "index")]
        .map(|(scheme, name)| format!("{scheme}:{}/{name}", store.path().display()));
    let suite = Suite::of(&[]);
    let (executed, go) = (suite.beside("executed"), suite.beside("go"));
    let tests = format!(
        "import pathlib, time\n\n\
         def executed(test):\n    with open({executed:?}, 'a') as file:\n        file.write(test + '\\n')\n\n\
         def test_says():\n    executed('says')\n    print('words of the test')\n    assert 0\n\n\
         def test_waits():\n    executed('waits')\n    while not pathlib.Path({go:?}).exists():\n        time.sleep(0.02)\n"
    );
    suite.write("test_a.py", &tests);
    let options = ["--blobs", &url, "--index", &index];
    let mut cluster = Cluster::start_with(suite, &options);
    let _executor = cluster.executor("e-one");
    let mut run = cluster.start_run(&["--run-id", "under-way"]);
    run.until(is("test_finished"));
    until(|| fs::read_to_string(&executed).is_ok_and(|lines| lines == "says\nwaits\n"));
    back_up(&cluster);
    fs::write(go, "").unwrap();
    let verdicts = [("test_a.py::test_says", "failed"), ("test_a.py::test_waits", "passed")];
    run.finish().expect(100, &verdicts);
    stream_goes_up(&cluster, store.path(), "under-way");
    let listed = |cluster: &Cluster| {
        let mut run: Value =
            serde_json::from_slice(&asked(cluster, &["runs", "--all", "--output", "json"]).stdout).unwrap();
        // It ended when the store had it, as far as that can say.
        run["seconds"].take();
        run
    };
    let before = listed(&cluster);
    cluster.scheduler.kill();

    let again = restored(&cluster, &options, "again");
    assert!(again.stderr().contains("run under-way has ended since"), "{}", again.stderr());
    cluster.start_run(&["--run-id", "under-way"]).finish().expect(100, &verdicts);
    assert!(words(&cluster).contains("words of the test"));
    assert_eq!(listed(&cluster), before);
    let history = || said(&asked(&cluster, &["history", "test_waits", "--output", "json"]));
    until(|| history().contains("\"passed\""));
    assert_eq!(history().matches("under-way").count(), 1, "{}", history());
    // Another one is executed as ever, and goes up.
    cluster.start_run(&["--run-id", "later"]).finish().expect(100, &verdicts);
    stream_goes_up(&cluster, store.path(), "later");
    assert_eq!(fs::read_to_string(&executed).unwrap(), "says\nwaits\n".repeat(2));
    assert_eq!(waiting(&cluster.suite.beside("scheduler/spool")), 0);
    assert!(!again.stderr().contains("does not go to"), "{}", again.stderr());
    again.signal(Signal::SIGTERM);
}
