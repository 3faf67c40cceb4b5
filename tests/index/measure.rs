//! What an index takes: the measurements of `benches/index.py`, which prints them.
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Instant;

use seagull_domain::Ranking;
use seagull_results::index::{Index, Learned, Pace, SqliteIndex, Window, deliver};

use super::faults::Heard;
use super::story::{NOW, Row, Story, failed, passed};
use super::{Backend, block_on};
use crate::harness::Elasticsearch;

/// Results of one test, and tests of which timings are told.
const HISTORY: u64 = 10_000;
const TIMINGS: u64 = 1_000_000;
const BULK: usize = 10_000;
const BULK_BYTES: usize = 5 << 20;

/// A run of so many tests, of which one in ten failed with a message of its own.
fn story(tests: usize, run: &str) -> Story {
    story_of(tests, run, (0, 10))
}

/// One of so many days later, of which one in so many failed.
fn story_of(tests: usize, run: &str, (day, fails): (u64, u64)) -> Story {
    let ids: Vec<String> =
        (0..tests).map(|n| format!("tests/unit/test_module_{}.py::TestClass::test_{n}", n / 50)).collect();
    let messages: Vec<String> = (0..tests)
        .map(|n| format!("AssertionError: expected 200, got {} from service {}", n % 600, n % 40))
        .collect();
    let rows: Vec<Row> = ids
        .iter()
        .zip(&messages)
        .zip(0..)
        .map(|((id, message), n)| if n % fails == 0 { failed(id, message) } else { passed(id, 1000 + n) })
        .collect();
    Story::default().run(run, day, "v", &rows)
}

fn tests() -> usize {
    std::env::var("SEAGULL_BENCH_TESTS").ok().and_then(|tests| tests.parse().ok()).unwrap_or(100_000)
}

/// The same documents as bodies of bulk requests, for another set of indices.
fn bodies(story: &Story, prefix: &str) -> Vec<Vec<u8>> {
    let mut bodies = vec![Vec::new()];
    let mut documents = 0;
    for document in &story.documents {
        let kind = document.kind().word();
        let action = format!(
            "{{\"index\":{{\"_index\":\"{prefix}-{kind}-v1-2026.11\",\"_id\":\"{}\",\"version\":{},\"version_type\":\"external_gte\"}}}}\n",
            document.id(),
            document.version
        );
        let lines = [action.as_bytes(), &document.source(), b"\n"].concat();
        let last = bodies.last_mut().unwrap();
        if documents == BULK || last.len() + lines.len() > BULK_BYTES {
            bodies.push(lines);
            documents = 1;
        } else {
            last.extend(lines);
            documents += 1;
        }
    }
    bodies
}

/// Posts bodies one after the other on one connection: what the server takes, and nothing besides.
fn post(server: SocketAddr, bodies: &[Vec<u8>]) {
    let stream = TcpStream::connect(server).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for body in bodies {
        let head = format!(
            "POST /_bulk?filter_path=errors HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        (&stream).write_all(head.as_bytes()).unwrap();
        (&stream).write_all(body).unwrap();
        let mut head = String::new();
        while answers.read_line(&mut head).unwrap() > 2 {}
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let answer = match length {
            Some(length) => read(&mut answers, length.trim().parse().unwrap()),
            None => chunks(&mut answers),
        };
        assert!(answer.starts_with(b"{\"errors\":false"), "{}", String::from_utf8_lossy(&answer));
    }
}

fn read(answers: &mut impl Read, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    answers.read_exact(&mut bytes).unwrap();
    bytes
}

/// An answer that comes in chunks, each with its length before it.
fn chunks(answers: &mut impl BufRead) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = read(answers, length + 2);
        if length == 0 {
            return whole;
        }
        chunk.truncate(length);
        whole.extend(chunk);
    }
}

/// Asks what people ask, and says what each took.
fn ask(backend: &str, index: &dyn Index, run: &str) {
    let window = Window { since: 0, until: NOW + 1 };
    let told = |what: &str, begun: Instant| println!("{backend}|{what}|{:.3}", begun.elapsed().as_secs_f64());
    block_on(async {
        let begun = Instant::now();
        index.history("p", "tests/unit/test_module_0.py::TestClass::test_7", 100).await.unwrap();
        told("history of a test", begun);
        let rankings = [
            ("most failing", Ranking::Failing),
            ("flakiest", Ranking::Flaky),
            ("slowest", Ranking::Slowest),
            ("slower than before", Ranking::Slower),
        ];
        for (what, ranking) in rankings {
            let begun = Instant::now();
            index.ranked("p", ranking, window, 20).await.unwrap();
            told(what, begun);
        }
        let begun = Instant::now();
        index.search("p", "expected service", window, 20).await.unwrap();
        told("search in failures", begun);
        let asked = seagull_results::index::ResultsAsked { limit: 1000, ..Default::default() };
        let begun = Instant::now();
        index.results(&run.parse().unwrap(), &asked).await.unwrap();
        told("a page of 1,000 results", begun);
    });
}

/// Has a test have many results, and says what a page of its history takes; and what the timings of a million tests take.
/// `refresh` has what was written seen.
fn ask_of_much(backend: &str, index: &dyn Index, refresh: impl Fn()) {
    let told =
        |what: String, begun: Instant| println!("{backend}|{what}|{:.3}", begun.elapsed().as_secs_f64());
    let runs = (0..HISTORY).fold(Story::default(), |story, n| {
        story.run(&format!("h{n}"), n % 28, "v", &[passed("tests/test_often.py::test", 1000 + n)])
    });
    block_on(super::write(index, &runs));
    refresh();
    let begun = Instant::now();
    let (page, _) = block_on(index.history("p", "tests/test_often.py::test", 100)).unwrap();
    // Others are among the newest hundred runs.
    assert!(page.len() > 80, "{}", page.len());
    told(format!("a page of the history of a test with {HISTORY} results"), begun);
    let learned =
        |n: u64| Learned(format!("tests/unit/test_{}.py::TestClass::test_{n}", n / 50), 7.5, 0.1, 9, 0);
    block_on(super::write(index, &Story::default().timings(1, (0..TIMINGS).map(learned).collect())));
    refresh();
    let begun = Instant::now();
    assert!(block_on(index.timings("p", &mut |_| {})).unwrap() as u64 >= TIMINGS);
    told(format!("timings of {TIMINGS} tests"), begun);
}

/// What a database takes, with what it has not taken in yet.
fn sqlite_bytes(path: &Path) -> u64 {
    let files = ["", "-wal"].map(|more| path.with_extension(format!("sqlite{more}")));
    files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// What a database takes that has nothing else, when it is closed.
fn sqlite_bytes_of(story: &Story) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index.sqlite");
    let index = SqliteIndex::open(&path).unwrap();
    block_on(index.prepare()).unwrap();
    block_on(super::write(&index, story));
    drop(index);
    sqlite_bytes(&path)
}

/// Runs of 100,000 tests, of which one in a hundred fails, until SQLite has so many results: how large it is, how many it takes
/// a second, and what a page of a test's history takes.
#[test]
#[ignore = "a measurement"]
fn sqlite_with_much_in_it() {
    let runs = std::env::var("SEAGULL_BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(20);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("index.sqlite");
    let index = SqliteIndex::open(&path).unwrap().bounded(i64::MAX as u64);
    block_on(index.prepare()).unwrap();
    let mut seconds = Vec::new();
    for run in 0..runs {
        let told = story_of(100_000, &format!("r{run}"), (run, 100));
        let begun = Instant::now();
        block_on(super::write(&index, &told));
        seconds.push(begun.elapsed().as_secs_f64());
        if (run + 1) % 10 == 0 {
            let last: f64 = seconds.iter().rev().take(10).sum();
            let begun = Instant::now();
            let page = block_on(index.history("p", "tests/unit/test_module_9.py::TestClass::test_477", 100));
            let (asked, found) = (begun.elapsed().as_secs_f64(), page.unwrap().0.len());
            println!(
                "{} results|{} bytes|{:.0} a second|{asked:.4} s for {found} of a test",
                (run + 1) * 100_000,
                sqlite_bytes(&path),
                1_000_000.0 / last
            );
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn documents_a_second() {
    let tests = tests();
    let rate = |what: &str, count: usize, begun: Instant| {
        let seconds = begun.elapsed().as_secs_f64();
        println!("{what}|{count}|{seconds:.3}|{:.0}", count as f64 / seconds);
    };
    let stored = Backend::sqlite().unwrap();
    let told = story(tests, "first");
    let begun = Instant::now();
    block_on(super::write(&*stored.index, &told));
    rate("sqlite", told.documents.len(), begun);
    println!("sqlite bytes a result|{}", sqlite_bytes_of(&told) / tests as u64);
    ask("sqlite", &*stored.index, "first");
    ask_of_much("sqlite", &*stored.index, || ());

    let Some(server) = Elasticsearch::get() else { return };
    let index = super::open(&server.url());
    block_on(index.prepare()).unwrap();
    // The server is warm, and its indices are there, before anything is measured.
    block_on(super::write(&*index, &story(tests / 10, "warm")));
    let pace = Pace { most: u32::MAX };
    for round in 0..5 {
        let told = story(tests, &format!("raw-{round}"));
        let bodies = bodies(&told, &server.prefix);
        let begun = Instant::now();
        post(server.address(), &bodies);
        rate("raw bulk", told.documents.len(), begun);
        let told = story(tests, &format!("ours-{round}"));
        let (count, mut heard) = (told.documents.len(), Heard::default());
        let begun = Instant::now();
        assert!(block_on(deliver(&*index, told.documents, pace, &mut heard)).is_empty());
        rate("elasticsearch", count, begun);
        assert!(heard.in_vain.is_empty(), "{:?}", heard.in_vain);
    }
    server.refresh();
    ask("elasticsearch", &*index, "ours-0");
    ask_of_much("elasticsearch", &*index, || server.refresh());
    let stats = server.ask("GET", &format!("{}-results-*/_stats/store,docs", server.prefix), None);
    let all = &stats["_all"]["primaries"];
    let (bytes, documents) =
        (all["store"]["size_in_bytes"].as_u64().unwrap(), all["docs"]["count"].as_u64().unwrap());
    println!("elasticsearch bytes a result|{}", bytes / documents.max(1));
}
