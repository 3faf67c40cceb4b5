//! Stores that say nothing: a server that stands still, and networks that are cut. Nothing of a run waits for an answer, and
//! when there are answers again, nothing is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::sys::signal::Signal;
use seagull_results::{Key, StoreUrl, open_store};

use super::schedulers::{goes_up, words};
use crate::harness::{Cluster, Elasticsearch, Fault, Minio, Proxy, Suite, is, until};

const SUITE: &str = "
import pytest
@pytest.mark.parametrize('n', range(20))
def test_many(n): pass
def test_says():
    print('words of the test')
    assert 0
";
const TESTS: u64 = 21;
const CAME_TO: [(&str, usize); 2] = [("passed", 20), ("failed", 1)];

fn suite() -> Suite {
    Suite::of(&[("test_a.py", SUITE)])
}

#[test]
fn a_run_does_not_wait_for_a_bucket_whose_server_stands_still() {
    let Some(shared) = Minio::get() else { return };
    let minio = shared.own(None);
    let url = minio.url(&format!("{}/ci", minio.bucket()), "root", None);
    let cluster = Cluster::start_with(suite(), &["--blobs", &url]);
    let _executor = cluster.executor("e-one");
    minio.signal(Signal::SIGSTOP);
    // Whether it has the files, and what it knows of durations, is asked, and not answered.
    for run in ["first", "second"] {
        cluster.start_run(&["--run-id", run]).finish().expect_counts(100, &CAME_TO);
        cluster.suite.write("more", run);
    }
    assert!(words(&cluster).contains("words of the test"));
    // It stops in the middle of the next one, too.
    minio.signal(Signal::SIGCONT);
    let mut run = cluster.start_run(&["--run-id", "third"]);
    run.until(is("test_finished"));
    minio.signal(Signal::SIGSTOP);
    run.finish().expect_counts(100, &CAME_TO);
    minio.signal(Signal::SIGCONT);
    goes_up(&cluster);
    assert!(words(&cluster).contains("words of the test"));
}

#[test]
fn who_wants_what_only_a_store_that_says_nothing_has_is_told_so() {
    let Some(shared) = Minio::get() else { return };
    let minio = shared.own(None);
    let url = minio.url(&format!("{}/ci", minio.bucket()), "root", None);
    let cluster = Cluster::start_with(suite(), &["--blobs", &url]);
    let _executor = cluster.executor("e-one");
    cluster.start_run(&["--run-id", "first"]).finish().expect_counts(100, &CAME_TO);
    goes_up(&cluster);
    minio.signal(Signal::SIGSTOP);
    let [token, state] = [cluster.token(), cluster.suite.beside("scheduler")]
        .map(|path| path.into_os_string().into_string().unwrap());
    let there = ["--scheduler", &cluster.url, "--token-file", &token];
    let (waiting, through) = ("waiting for the scheduler at http://", "looking through s3://");
    thread::scope(|scope| {
        for (command, there, words) in [
            (&["logs", "first", "test_says"][..], &there[..], waiting),
            (&["results", "elsewhere"], &there, waiting),
            (&["watch", "elsewhere"], &there, waiting),
            (&["doctor", "--stores", &url], &[], "absent"),
            (&["gc", "--dry-run", "--blobs", &url, "--state", &state], &[], through),
        ] {
            let mut command = cluster.suite.seagull(&[command, there].concat());
            scope.spawn(move || {
                let output = command.output().unwrap();
                let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
                assert!(!output.status.success() && said.contains(words), "{command:?}: {said}");
                assert!(said.contains("s3://") && said.contains("it does not answer"), "{command:?}: {said}");
                assert!(said.contains("hint: is the endpoint right"), "{command:?}: {said}");
            });
        }
    });
    minio.signal(Signal::SIGCONT);
    until(|| words(&cluster).contains("words of the test"));
}

/// A way to a server on which nothing passes while it is cut, in either direction; nobody is told.
fn way(server: &str, is_cut: &Arc<AtomicBool>) -> Proxy {
    let is_cut = is_cut.clone();
    Proxy::new(server.parse().unwrap(), move |_| {
        if !is_cut.load(Ordering::SeqCst) {
            return Fault::None;
        }
        until(|| !is_cut.load(Ordering::SeqCst));
        Fault::Dropped
    })
}

#[test]
fn networks_to_both_stores_are_cut_in_the_middle_of_a_run_and_come_back() {
    let (Some(index), Some(minio)) = (Elasticsearch::get(), Minio::get()) else { return };
    let is_cut = Arc::new(AtomicBool::new(false));
    let ways = [way(&index.address().to_string(), &is_cut), way(&minio.address, &is_cut)];
    let place = format!("{}/ci", minio.bucket());
    let url = minio.url(&place, "root", Some(&ways[1].address.to_string()));
    let cluster = Cluster::start_with(suite(), &["--blobs", &url, "--index", &index.url_at(ways[0].address)]);
    let executor = cluster.executor("e-one");
    let runs = ["first", "second", "third"];
    let mut run = cluster.start_run(&["--run-id", runs[0]]);
    run.until(is("test_finished"));
    is_cut.store(true, Ordering::SeqCst);
    run.finish().expect_counts(100, &CAME_TO);
    for run in &runs[1..] {
        cluster.suite.write("more", run);
        cluster.start_run(&["--run-id", run]).finish().expect_counts(100, &CAME_TO);
    }
    assert!(words(&cluster).contains("words of the test"));
    is_cut.store(false, Ordering::SeqCst);
    goes_up(&cluster);
    until(|| index.count("runs") == 3 && index.count("results") == 3 * TESTS && index.count("timings") > 0);
    let store: StoreUrl = minio.url(&place, "root", None).parse().unwrap();
    let mut kept = Vec::new();
    open_store(&store).unwrap().list(&mut |key, _| kept.push(key)).unwrap();
    for run in runs {
        let of = |found: &dyn Fn(&Key) -> bool| kept.iter().filter(|key| found(key)).count();
        let streams = of(&|key| matches!(key, Key::Stream(of) if of.as_str() == run));
        let logs = of(&|key| matches!(key, Key::Log(of, _) if of.as_str() == run));
        assert!(streams == 1 && logs > 0, "{run}: {kept:?}");
    }
    // It leaves in peace, though it has asked much in vain.
    is_cut.store(true, Ordering::SeqCst);
    cluster.suite.write("more", "last");
    cluster.start_run(&[]).finish().expect_counts(100, &CAME_TO);
    cluster.ends(vec![executor]);
}
