//! Runs of the same id, of one scheduler after another on one store or one index.

use std::fs;

use super::schedulers::{asked, asked_at, listens, said, scheduler_again, stream_goes_up, suite, waiting};
use crate::harness::{Cluster, Running, Suite, until};

#[test]
fn a_conflict_of_objects_is_told_once_a_run() {
    let store = tempfile::tempdir().unwrap();
    let [logs, attached] = ["kept/logs/first", "kept/attached"].map(|path| store.path().join(path));
    for folder in [&logs, &attached] {
        fs::create_dir_all(folder).unwrap();
    }
    fs::write(attached.join("first.zst"), "of another").unwrap();
    for attempt in 0..9 {
        fs::write(logs.join(format!("{attempt}.zst")), "of another").unwrap();
    }
    let leaves = "import os, pathlib\n\ndef test_leaves():\n    print('words of the test')\n    \
                  (pathlib.Path(os.environ['SEAGULL_ATTACHMENTS']) / 'a').write_text('a')\n    assert 0\n";
    let url = format!("file:{}/kept", store.path().display());
    let cluster = Cluster::start_with(Suite::of(&[("test_a.py", leaves)]), &["--blobs", &url]);
    let _executor = cluster.executor("e-one");
    cluster.start_run(&["--run-id", "first"]).finish().expect_code(100);
    until(|| store.path().join("kept/streams/first.jsonl.zst").exists());
    let spool = cluster.suite.beside("scheduler/spool");
    until(|| waiting(&spool) > 1);
    // What is set aside holds up nothing: the next run goes up after it.
    cluster.start_run(&["--run-id", "second"]).finish().expect_code(100);
    until(|| store.path().join("kept/streams/second.jsonl.zst").exists());
    let said = cluster.scheduler.stderr();
    assert_eq!(said.matches(" does not go to ").count(), 1, "{said}");
    assert!(said.contains("hint: another run of that id was there before"), "{said}");
    assert!(waiting(&spool) > 1, "all of it is kept");
}

#[test]
fn an_index_may_have_two_runs_of_an_id_of_which_one_is_exported() {
    let store = tempfile::tempdir().unwrap();
    let [url, index] = [("file", "kept"), ("sqlite", "index")]
        .map(|(scheme, name)| format!("{scheme}:{}/{name}", store.path().display()));
    let mut cluster = Cluster::start_with(suite(), &["--blobs", &url, "--index", &index]);
    let _executor = cluster.executor("e-one");
    let is_indexed = |cluster: &Cluster| said(&asked(cluster, &["history", "test_says"])).contains("same");
    cluster.start_run(&["--run-id", "same"]).finish().expect_code(100);
    stream_goes_up(&cluster, store.path(), "same");
    until(|| is_indexed(&cluster));
    cluster.scheduler.kill();
    // One without the store, and without its disk of before, knows nothing of that.
    let state = cluster.suite.beside("scheduler");
    for entry in fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()) {
        match entry.is_dir() {
            true => fs::remove_dir_all(entry).unwrap(),
            false if entry.ends_with("token") => {}
            false => fs::remove_file(entry).unwrap(),
        }
    }
    let mut again = scheduler_again(&cluster, &["--index", &index], "again");
    listens(&mut again);
    cluster.start_run(&["--run-id", "same"]).finish().expect_code(100);
    let token = cluster.token().into_os_string().into_string().unwrap();
    let options = ["--listen", "127.0.0.1:0", "--token-file", &token, "--blobs", &url, "--index", &index];
    let proxy = cluster.suite.seagull(&[&["results-proxy"][..], &options].concat());
    let mut proxy = Running::start(proxy, &cluster.suite.beside("proxy"));
    let at = listens(&mut proxy);
    let runs = || said(&asked_at(&cluster, &at, &["runs", "--output", "json"]));
    until(|| runs().matches("\"same\"").count() == 2 && runs().matches("\"failed\"").count() >= 2);
    let file = cluster.suite.beside("results.jsonl.zst");
    let exported = said(&asked_at(&cluster, &at, &["export", "-o", file.to_str().unwrap()]));
    assert!(exported.contains("2 results of 1 run\n"), "{exported}");
}
