//! A day without stores, compressed: runs go on as if they were there, and when they are, they have everything.
#![expect(clippy::disallowed_methods, reason = "a case and its proxies share what was seen")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use seagull_results::{Key, StoreUrl, open_store};

use super::schedulers::{goes_up, listens, scheduler_again, waiting};
use crate::harness::{Cluster, Elasticsearch, Fault, Minio, Proxy, Suite, until};

const SUITE: &str = "
def test_good(): print('words')
def test_bad(): assert 0
";
const TESTS: u64 = 2;
/// Objects that go up beside each other.
const AT_A_TIME: usize = 4;
/// The runs of the day, whose names are not in their order.
const RUNS: [&str; 6] = ["f", "b", "d", "a", "e", "c"];

/// A server that is not to be reached, in one way or the other.
fn down(requests: &AtomicUsize) -> Fault {
    match requests.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => Fault::Status(503, "down".into()),
        _ => Fault::Dropped,
    }
}

#[test]
fn a_day_without_stores_loses_nothing_and_is_made_up_for_in_order() {
    let (Some(index), Some(minio)) = (Elasticsearch::get(), Minio::get()) else { return };
    let is_down = Arc::new(AtomicBool::new(true));
    let written: Arc<Mutex<Vec<String>>> = Arc::default();
    let (of, seen, requests) = (is_down.clone(), written.clone(), AtomicUsize::new(0));
    let to_index = Proxy::new(index.address(), move |request| {
        if of.load(Ordering::SeqCst) {
            return down(&requests);
        }
        let body = String::from_utf8_lossy(&request.body);
        let mut seen = seen.lock().unwrap();
        for part in body.split("\"run\":\"").skip(1) {
            let run = part.split('"').next().unwrap_or_default().to_owned();
            if !seen.contains(&run) {
                seen.push(run);
            }
        }
        Fault::None
    });
    let sent: Arc<Mutex<Vec<String>>> = Arc::default();
    let (of, seen, requests) = (is_down.clone(), sent.clone(), AtomicUsize::new(0));
    let to_store = Proxy::new(minio.address.parse().unwrap(), move |request| {
        if of.load(Ordering::SeqCst) {
            return down(&requests);
        }
        let stream = request.path.split_once("/streams/").and_then(|(_, name)| name.split_once('.'));
        if let Some((run, _)) = stream.filter(|_| request.head.starts_with("PUT ")) {
            seen.lock().unwrap().push(run.to_owned());
        }
        Fault::None
    });
    let place = format!("{}/ci", minio.bucket());
    let url = minio.url(&place, "root", Some(&to_store.address.to_string()));
    let store: StoreUrl = minio.url(&place, "root", None).parse().unwrap();
    let store = open_store(&store).unwrap();
    let keys = || {
        let mut keys = Vec::new();
        store.list(&mut |key, _| keys.push(key)).unwrap();
        keys
    };
    let options = ["--blobs", &url, "--index", &index.url_at(to_index.address)];
    let mut cluster = Cluster::start_with(Suite::of(&[("test_a.py", SUITE)]), &options);
    let _executor = cluster.executor("e-one");
    let expected = [("test_a.py::test_good", "passed"), ("test_a.py::test_bad", "failed")];
    let (before, after) = RUNS.split_at(RUNS.len() / 2);
    for run in before {
        cluster.start_run(&["--run-id", run]).finish().expect(100, &expected);
    }
    cluster.scheduler.kill();
    let mut again = scheduler_again(&cluster, &options, "scheduler-again");
    listens(&mut again);
    for run in after {
        cluster.start_run(&["--run-id", run]).finish().expect(100, &expected);
    }
    assert_eq!((index.count("runs"), keys()), (0, Vec::new()));

    is_down.store(false, Ordering::SeqCst);
    let runs = RUNS.len() as u64;
    let streams = || keys().iter().filter(|key| matches!(key, Key::Stream(_))).count();
    until(|| streams() == RUNS.len() && waiting(&cluster.suite.beside("scheduler/spool")) == 0);
    // A run is written whole before the next, so that the last of them is the last.
    until(|| index.count("runs") == runs);
    assert_eq!(index.count("results"), runs * TESTS, "each once");
    assert_eq!(*written.lock().unwrap(), RUNS);
    let sent = sent.lock().unwrap();
    let places = RUNS.map(|run| sent.iter().position(|of| of == run).unwrap());
    assert!(places.iter().enumerate().all(|(n, place)| n.abs_diff(*place) < AT_A_TIME), "{sent:?}");
    let logs = |run: &str| keys().iter().any(|key| matches!(key, Key::Log(of, _) if of.as_str() == run));
    assert!(RUNS.iter().all(|run| logs(run)), "{:?}", keys());
}

#[test]
fn what_a_test_said_is_indexed_though_the_stores_are_away_in_turn() {
    let (Some(index), Some(minio)) = (Elasticsearch::get(), Minio::get()) else { return };
    let [index_is_down, store_is_down] = [true, false].map(|is_down| Arc::new(AtomicBool::new(is_down)));
    let asked = Arc::new(AtomicUsize::new(0));
    let of = index_is_down.clone();
    let to_index =
        Proxy::new(
            index.address(),
            move |_| {
                if of.load(Ordering::SeqCst) { Fault::Dropped } else { Fault::None }
            },
        );
    let (of, seen) = (store_is_down.clone(), asked.clone());
    let to_store = Proxy::new(minio.address.parse().unwrap(), move |request| {
        if !of.load(Ordering::SeqCst) {
            return Fault::None;
        }
        seen.fetch_add(usize::from(request.path.contains("/logs/")), Ordering::SeqCst);
        Fault::Dropped
    });
    let place = format!("{}/ci", minio.bucket());
    let url = minio.url(&place, "root", Some(&to_store.address.to_string()));
    let options = ["--blobs", &url, "--index", &index.url_at(to_index.address)];
    let cluster = Cluster::start_with(Suite::of(&[("test_a.py", SUITE)]), &options);
    let _executor = cluster.executor("e-one");
    cluster.start_run(&["--run-id", "r"]).finish().expect_code(100);
    goes_up(&cluster);

    store_is_down.store(true, Ordering::SeqCst);
    index_is_down.store(false, Ordering::SeqCst);
    until(|| asked.load(Ordering::SeqCst) > 0);
    store_is_down.store(false, Ordering::SeqCst);
    let found = |kind: &str, what: &str| {
        index.refresh();
        let path = format!("{}-{kind}-*/_search?q={what}", index.prefix);
        index.ask("GET", &path, None).pointer("/hits/hits/0/_source").cloned().unwrap_or_default()
    };
    until(|| found("runs", "verdict:failed").is_object());
    assert_eq!(index.count("results"), TESTS);
    let failed = found("results", "verdict:failed");
    assert!(failed["stack"].as_str().unwrap().contains("test_a.py"), "{failed}");
    // However late that is.
    let stream = cluster.suite.beside("scheduler/runs/r/stream.jsonl").metadata().unwrap();
    let ended_at = stream.modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_millis();
    assert_eq!(found("runs", "verdict:failed")["ended_at"], u64::try_from(ended_at).unwrap());
}
