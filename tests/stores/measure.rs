//! What logs take in a bucket: the measurements of `benches/logs.py`, which prints them.
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use seagull_domain::AttemptId;
use seagull_results::{Key, Remote, When, digest, open_store};

use crate::harness::{Chance, Fault, Minio, Proxy, until};

/// Tests whose texts are in the log of one attempt.
const TESTS: u64 = 250;
/// What a test prints.
const TEXT: u64 = 10_000;
/// Texts that are read.
const READS: u64 = 2_000;
/// Objects that are written one a test, where all would take too long.
const SAMPLE: u64 = 5_000;

fn tests() -> u64 {
    std::env::var("SEAGULL_BENCH_TESTS").ok().and_then(|tests| tests.parse().ok()).unwrap_or(100_000)
}

/// What a test printed: lines as logs have them, each with something of its own.
fn text(test: u64) -> Vec<u8> {
    let mut text = Vec::new();
    let mut chance = Chance::new(test);
    while (text.len() as u64) < TEXT {
        let (a, b) = (chance.below(1 << 32), chance.below(1 << 16));
        let line = format!("2026-11-27 12:00:00,{b:05} INFO service.worker request {a:08x} took {b} ms\n");
        text.extend(line.as_bytes());
    }
    text.truncate(TEXT as usize);
    text
}

fn log(run: &str, attempt: u64) -> Key {
    Key::Log(run.parse().unwrap(), AttemptId(attempt))
}

fn remote(directory: &Path, url: &str) -> Arc<Remote> {
    let spool = directory.join("spool");
    Arc::new(Remote::open(&url.parse().unwrap(), &spool, u64::MAX, Box::new(|_| {})).unwrap())
}

/// Packs the logs of a run and waits until the bucket has them.
fn send(remote: &Remote, run: &str, attempts: u64) {
    for attempt in 0..attempts {
        let tests = attempt * TESTS..(attempt + 1) * TESTS;
        let text: Vec<u8> = tests.flat_map(text).collect();
        remote.pack(&log(run, attempt), &mut Cursor::new(text)).unwrap();
    }
    until(|| remote.waiting_bytes() == 0);
}

#[test]
#[ignore = "a measurement"]
fn logs_in_a_bucket() {
    let Some(minio) = Minio::get() else { return };
    let attempts = tests().div_ceil(TESTS);
    let place = format!("{}/bench", minio.bucket());
    let url = minio.url(&place, "root", None);
    let directory = tempfile::tempdir().unwrap();
    let own = remote(directory.path(), &url);
    let begun = Instant::now();
    send(&own, "run", attempts);
    println!(
        "seconds for the logs of {} tests, {TEXT} bytes each|{:.1}",
        attempts * TESTS,
        begun.elapsed().as_secs_f64()
    );
    let store = open_store(&url.parse().unwrap()).unwrap();
    let (mut objects, mut bytes) = (0, 0);
    store
        .list(&mut |_, head| {
            objects += 1;
            bytes += head.bytes;
        })
        .unwrap();
    println!("objects|{objects}");
    println!("bytes of text|{}", attempts * TESTS * TEXT);
    println!("bytes in the bucket|{bytes}");

    // Counted on a way of its own, which takes longer.
    let puts = Arc::new(AtomicU64::new(0));
    let of = puts.clone();
    let proxy = Proxy::new(minio.address.parse().unwrap(), move |request| {
        of.fetch_add(u64::from(request.head.starts_with("PUT ")), Ordering::Relaxed);
        Fault::None
    });
    let counted = tempfile::tempdir().unwrap();
    let by_way = minio.url(&place, "root", Some(&proxy.address.to_string()));
    send(&remote(counted.path(), &by_way), "counted", attempts / 10);
    println!("put requests for {} attempts|{}", attempts / 10, puts.load(Ordering::Relaxed));

    let mut chance = Chance::new(1);
    let mut took: Vec<_> = (0..READS)
        .map(|_| {
            let test = chance.below(attempts * TESTS);
            let begun = Instant::now();
            let key = log("run", test / TESTS);
            let read = own.text(&key, test % TESTS * TEXT, TEXT).unwrap().unwrap();
            assert_eq!(read, text(test));
            begun.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[(took.len() as f64 * share) as usize];
    println!("milliseconds for one test's text, p50|{:.1}", at(0.5));
    println!("milliseconds for one test's text, p99|{:.1}", at(0.99));

    let begun = Instant::now();
    for test in 0..SAMPLE {
        let text = text(test);
        let key = Key::Blob(digest(&text));
        store.put(&key, &mut Cursor::new(&text), text.len() as u64, When::Always).unwrap();
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("seconds for {SAMPLE} objects, one a test, one after the other|{seconds:.1}");
}
