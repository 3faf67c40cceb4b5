//! Schedulers that keep blobs and logs in a store: what goes up, what is read from there, and what waits when it is away.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::harness::{Minio, Suite, until};
use crate::processes::Cluster;

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
