//! Schedulers that keep blobs and logs in a store: what goes up, what is read from there, and what waits when it is away.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::Signal;

use crate::harness::{Minio, Running, Suite, until};
use crate::processes::Cluster;

/// Of docs/storage.md, with the directory and its copy as arguments.
const BACK_UP: &str = r#"
    mkdir "$2"
    for file in journal history; do
        python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))' \
            "$1/$file.sqlite" "$2/$file.sqlite"
    done
    cp -a "$1/runs" "$1/spool" "$1/token" "$2"
"#;

fn suite() -> Suite {
    Suite::of(&[(
        "test_a.py",
        "def test_says():\n    print('words of the test')\n    assert 0\n\ndef test_passes(): pass\n",
    )])
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

fn logs_of(cluster: &Cluster) -> Vec<String> {
    let runs = fs::read_dir(cluster.suite.beside("scheduler/runs")).unwrap();
    let logs = runs.filter_map(|run| fs::read_dir(run.unwrap().path().join("logs")).ok());
    logs.flatten().map(|log| log.unwrap().path().display().to_string()).collect()
}

/// What of a run is in the state directory goes to its store.
fn goes_up(cluster: &Cluster) {
    let spool = cluster.suite.beside("scheduler/spool");
    until(|| logs_of(cluster).is_empty() && entries(&spool) == 0);
}

fn asked(cluster: &Cluster, command: &[&str]) -> Output {
    let token = cluster.token().into_os_string().into_string().unwrap();
    cluster
        .suite
        .seagull(&[command, &["--scheduler", &cluster.url, "--token-file", &token]].concat())
        .output()
        .unwrap()
}

fn words(cluster: &Cluster) -> String {
    let output = asked(cluster, &["logs", "last", "test_says"]);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn what_runs_leave_is_in_the_store_and_read_from_there() {
    let store = tempfile::tempdir().unwrap();
    let url = format!("file:{}/kept", store.path().display());
    let cluster = Cluster::start_with(suite(), &["--blobs", &url]);
    let _executor = cluster.executor("e-one");
    cluster.start_run(&[]).finish().expect_code(100);
    goes_up(&cluster);
    let logs = store.path().join("kept/logs");
    assert!(
        entries(&logs) == 1 && entries(&store.path().join("kept/blobs")) >= 2,
        "logs, artifact and manifest"
    );
    assert!(words(&cluster).contains("words of the test"));
    // What is kept here is only a copy.
    let blobs = cluster.suite.beside("scheduler/blobs");
    fs::remove_dir_all(&blobs).unwrap();
    fs::create_dir(&blobs).unwrap();
    assert!(words(&cluster).contains("words of the test"));
    cluster.start_run(&[]).finish().expect_code(100);
    goes_up(&cluster);
    assert_eq!(entries(&logs), 2);
}

#[test]
fn a_verdict_does_not_wait_for_a_bucket_that_is_away() {
    let Some(shared) = Minio::get() else { return };
    let mut minio = shared.own(None);
    let url = minio.url(&format!("{}/ci", minio.bucket()), "root", None);
    minio.kill();
    let cluster = Cluster::start_with(suite(), &["--blobs", &url]);
    let _executor = cluster.executor("e-one");
    cluster.start_run(&[]).finish().expect_code(100);
    assert!(words(&cluster).contains("words of the test"));
    until(|| cluster.scheduler.stderr().contains("wait in "));
    let said = cluster.scheduler.stderr();
    assert!(said.contains("warning: s3://") && said.contains("hint: is the endpoint right"), "{said}");
    minio.start();
    goes_up(&cluster);
    assert!(cluster.scheduler.stderr().contains("is back"), "{}", cluster.scheduler.stderr());
    assert!(words(&cluster).contains("words of the test"));
    // Without the bucket, what only it has is not there, and it is said why.
    minio.kill();
    let without = words(&cluster);
    assert!(without.contains("s3://") && !without.contains("words of the test"), "{without}");
}

#[test]
fn executors_are_slowed_while_more_waits_than_may_and_nothing_is_lost() {
    let Some(shared) = Minio::get() else { return };
    let mut minio = shared.own(None);
    let url = minio.url(&format!("{}/ci", minio.bucket()), "root", None);
    minio.kill();
    let much = "def test_says():\n    print('words of the test\\n' * 1000)\n    assert 0\n\ndef test_passes(): pass\n";
    let suite = Suite::of(&[("test_a.py", much)]);
    let cluster = Cluster::start_with(suite, &["--blobs", &url, "--spool", "1KiB", "--lease", "1s"]);
    let _executor = cluster.executor("e-one");
    let verdicts = [("test_a.py::test_says", "failed"), ("test_a.py::test_passes", "passed")];
    cluster.start_run(&[]).finish().expect(100, &verdicts);
    let says = |words: &str| until(|| cluster.scheduler.stderr().contains(words));
    says("wait for the store: executors are slowed");
    // From here on each report that brings results is held.
    cluster.start_run(&[]).finish().expect(100, &verdicts);
    assert!(logs_of(&cluster).len() >= 2 && words(&cluster).contains("words of the test"));
    minio.start();
    goes_up(&cluster);
    says("executors are not slowed by it any more");
    cluster.start_run(&[]).finish().expect(100, &verdicts);
    goes_up(&cluster);
    assert!(words(&cluster).contains("words of the test"));
}

/// A scheduler with what was copied from another's state directory.
fn restored(cluster: &Cluster, url: &str, name: &str) -> Running {
    let (state, copy) = (cluster.suite.beside("scheduler"), cluster.suite.beside("copy"));
    fs::remove_dir_all(&state).unwrap();
    assert!(Command::new("cp").arg("-a").args([&copy, &state]).status().unwrap().success());
    let address = cluster.url.strip_prefix("http://").unwrap().to_owned();
    let state = state.into_os_string().into_string().unwrap();
    let command =
        cluster.suite.seagull(&["scheduler", "--listen", &address, "--state", &state, "--blobs", url]);
    let mut again = Running::start(command, &cluster.suite.beside(name));
    again.line().unwrap_or_else(|| panic!("no scheduler: {}", again.stderr()));
    again
}

/// As docs/storage.md says: the directory is copied while a scheduler works in it, without what the store has.
#[test]
fn a_state_directory_is_restored_from_a_copy_and_the_store() {
    let store = tempfile::tempdir().unwrap();
    let url = format!("file:{}/kept", store.path().display());
    let mut cluster = Cluster::start_with(suite(), &["--blobs", &url]);
    let _executor = cluster.executor("e-one");
    cluster.start_run(&["--run-id", "before"]).finish().expect_code(100);
    goes_up(&cluster);
    let (state, copy) = (cluster.suite.beside("scheduler"), cluster.suite.beside("copy"));
    let copied = Command::new("sh").args(["-ec", BACK_UP, "sh"]).args([&state, &copy]).status().unwrap();
    assert!(copied.success() && !copy.join("blobs").exists());
    cluster.start_run(&["--run-id", "after"]).finish().expect_code(100);
    cluster.scheduler.kill();

    let again = restored(&cluster, &url, "again");
    assert!(words(&cluster).contains("words of the test"));
    let runs = asked(&cluster, &["runs", "--all", "--output", "json"]);
    let runs = String::from_utf8_lossy(&runs.stdout).into_owned();
    assert!(runs.contains("\"before\"") && !runs.contains("\"after\""), "{runs}");
    // The executor comes back by itself, and what failed before is known.
    let run = cluster.start_run(&["--select", "last-failed"]).finish();
    run.expect(100, &[("test_a.py::test_says", "failed")]);
    again.signal(Signal::SIGTERM);
}

fn doctor(suite: &Suite, url: &str) -> (Option<i32>, String) {
    let output = suite.seagull(&["doctor", "--stores", url]).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn the_doctor_tries_a_store() {
    let suite = suite();
    let store = tempfile::tempdir().unwrap();
    let (code, said) = doctor(&suite, &format!("file:{}", store.path().display()));
    assert_eq!(code, Some(0), "{said}");
    for word in ["ok        write ", "ok        read ", "ok        delete "] {
        assert!(said.contains(word), "{said}");
    }
    let (code, said) = doctor(&suite, "s3://key:hush@bucket");
    assert!(code == Some(2) && !said.contains("hush") && said.contains("AWS_ACCESS_KEY_ID"), "{said}");
}

#[test]
fn the_doctor_says_which_permission_a_bucket_lacks() {
    let Some(minio) = Minio::get() else { return };
    let suite = suite();
    let bucket = minio.bucket();
    let (code, said) = doctor(&suite, &minio.url(&bucket, "root", None));
    assert_eq!(code, Some(0), "{said}");
    let allow = |actions: &str| {
        format!(
            r#"{{"Effect": "Allow", "Action": [{actions}], "Resource": ["arn:aws:s3:::{bucket}", "arn:aws:s3:::{bucket}/*"]}}"#
        )
    };
    let all = ["s3:ListBucket", "s3:PutObject", "s3:GetObject", "s3:DeleteObject"];
    // This server tells of what is not there without the first, too.
    for lacks in [None, Some(1), Some(2), Some(3)] {
        let actions: Vec<String> = all
            .iter()
            .enumerate()
            .filter(|(number, _)| lacks != Some(*number))
            .map(|(_, action)| format!("\"{action}\""))
            .collect();
        minio.limited("some", &allow(&actions.join(", ")));
        let (code, said) = doctor(&suite, &minio.url(&bucket, "some", None));
        match lacks {
            None => assert_eq!(code, Some(0), "{said}"),
            Some(number) => {
                assert!(code == Some(1) && said.contains("policy") && said.contains(all[number]), "{said}");
            }
        }
    }
}
