//! Schedulers that keep blobs and logs in a store: what goes up, what is read from there, and what waits when it is away.

use std::fs;
use std::path::Path;
use std::process::Output;

use nix::sys::signal::Signal;

use crate::harness::{Cluster, Minio, Running, Suite, until};

pub fn suite() -> Suite {
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

/// Objects that wait for a store. What a scheduler that was killed was writing is none.
pub fn waiting(spool: &Path) -> usize {
    let names = fs::read_dir(spool).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().contains('+')).count()
}

/// What of a run is in the state directory goes to its store.
pub fn goes_up(cluster: &Cluster) {
    let spool = cluster.suite.beside("scheduler/spool");
    until(|| logs_of(cluster).is_empty() && waiting(&spool) == 0);
}

pub fn asked(cluster: &Cluster, command: &[&str]) -> Output {
    asked_at(cluster, &cluster.url, command)
}

pub fn asked_at(cluster: &Cluster, url: &str, command: &[&str]) -> Output {
    let token = cluster.token().into_os_string().into_string().unwrap();
    let command = [command, &["--scheduler", url, "--token-file", &token]].concat();
    cluster.suite.seagull(&command).output().unwrap()
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Where a server listens that was just started.
pub fn listens(server: &mut Running) -> String {
    let line = server.line().unwrap_or_else(|| panic!("no server: {}", server.stderr()));
    line.strip_prefix("listening on ").expect("it says where").to_owned()
}

pub fn words(cluster: &Cluster) -> String {
    said(&asked(cluster, &["logs", "last", "test_says"]))
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

/// The stream of a run goes up, too.
pub fn stream_goes_up(cluster: &Cluster, store: &Path, run: &str) {
    until(|| store.join(format!("kept/streams/{run}.jsonl.zst")).exists());
    goes_up(cluster);
}

#[test]
fn what_ended_runs_left_is_read_without_their_scheduler() {
    let store = tempfile::tempdir().unwrap();
    let [url, index] = [("file", "kept"), ("sqlite", "index")]
        .map(|(scheme, name)| format!("{scheme}:{}/{name}", store.path().display()));
    let mut cluster = Cluster::start_with(suite(), &["--blobs", &url, "--index", &index]);
    let _executor = cluster.executor("e-one");
    cluster.start_run(&["--run-id", "first"]).finish().expect_code(100);
    stream_goes_up(&cluster, store.path(), "first");
    until(|| said(&asked(&cluster, &["history", "test_says"])).contains("first"));
    cluster.scheduler.kill();

    let token = cluster.token().into_os_string().into_string().unwrap();
    let proxy = |name: &str| {
        let options = ["--listen", "127.0.0.1:0", "--token-file", &token, "--blobs", &url, "--index", &index];
        let command = cluster.suite.seagull(&[&["results-proxy"][..], &options].concat());
        Running::start(command, &cluster.suite.beside(name))
    };
    let mut proxies = [proxy("p-one"), proxy("p-two")];
    for at in proxies.each_mut().map(listens) {
        let says = |command: &[&str], words: &str| {
            let said = said(&asked_at(&cluster, &at, command));
            assert!(said.contains(words), "{command:?}: {said}");
        };
        says(&["runs"], "first");
        says(&["results", "last"], "test_a.py::test_says");
        says(&["logs", "first", "test_says"], "words of the test");
        says(&["history", "test_a.py::test_says"], "first");
        says(&["results", "nothing"], "no run nothing");
        says(&["run"], "a results proxy only reads\nhint: ");
        // What it refuses is not offered.
        for command in [&["watch", "first"][..], &["results", "first"], &["explain", "first", "test_says"]] {
            let said = said(&asked_at(&cluster, &at, command));
            assert!(said.contains("test_says") && !said.contains("rerun"), "{command:?}: {said}");
        }
    }
    for proxy in &proxies {
        proxy.signal(Signal::SIGTERM);
    }
    for proxy in proxies {
        assert_eq!(proxy.end().1, 0, "it leaves in peace");
    }
    // A scheduler without a disk of before has what had ended, and may select by it.
    fs::remove_dir_all(cluster.suite.beside("scheduler/runs")).unwrap();
    let mut again = scheduler_again(&cluster, &["--blobs", &url, "--index", &index], "scheduler-again");
    listens(&mut again);
    let rerun = cluster.start_run(&["--run-id", "second", "--select", "failed@first"]).finish();
    rerun.expect(100, &[("test_a.py::test_says", "failed")]);
    assert!(said(&asked(&cluster, &["logs", "first", "test_says"])).contains("words of the test"));
    // It is had back by its id, and not executed again.
    cluster
        .start_run(&["--run-id", "first"])
        .finish()
        .expect(100, &[("test_a.py::test_says", "failed"), ("test_a.py::test_passes", "passed")]);
    // One that differs is another's.
    let (_, code, said_of_it) = cluster.start_run(&["--run-id", "first", "--retries", "2"]).end();
    assert!(code == 2 && said_of_it.contains("retries"), "{said_of_it}");
    // It leaves from there as well, and is not kept here again.
    let file = cluster.suite.beside("results.jsonl.zst");
    let exported = said(&asked(&cluster, &["export", "-o", file.to_str().unwrap()]));
    assert!(exported.contains("3 results of 2 runs"), "{exported}");
    let lines = String::from_utf8(zstd::stream::decode_all(fs::File::open(file).unwrap()).unwrap()).unwrap();
    assert!(
        lines.lines().all(|line| line.contains("::test_passes") || line.contains("words of the test")),
        "{lines}"
    );
    assert!(!cluster.suite.beside("scheduler/runs/first").exists());
}

#[test]
fn a_results_proxy_makes_nothing_and_says_that_it_has_no_index() {
    let suite = Suite::of(&[]);
    fs::write(suite.beside("token"), "the-token-of-this-case\n").unwrap();
    fs::create_dir(suite.beside("kept")).unwrap();
    let [token, kept, typo] =
        ["token", "kept", "typo"].map(|name| suite.beside(name).into_os_string().into_string().unwrap());
    let blobs = format!("file:{kept}");
    let proxy = ["results-proxy", "--listen", "127.0.0.1:0", "--token-file", &token, "--blobs"];
    for (option, options) in [
        ("--blobs", &[&*format!("file:{typo}")][..]),
        ("--index", &[&blobs, "--index", &format!("sqlite:{typo}")]),
    ] {
        let refused = suite.seagull(&[&proxy[..], options].concat()).output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        let said = said(&refused);
        assert!(
            said.contains(&format!("{option}: there is nothing at ")) && said.contains("\nhint: "),
            "{said}"
        );
        assert!(!Path::new(&typo).exists());
    }
    let mut proxy = Running::start(suite.seagull(&[&proxy[..], &[&blobs]].concat()), &suite.beside("proxy"));
    let at = listens(&mut proxy);
    for command in
        [&["runs"][..], &["tests", "--flaky"], &["search", "word"], &["history", "t"], &["results", "last"]]
    {
        let asked = [command, &["--scheduler", &at, "--token-file", &token]].concat();
        let said = said(&suite.seagull(&asked).output().unwrap());
        assert!(
            said.contains("has no index") && said.contains("hint: seagull results-proxy --index"),
            "{command:?}: {said}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_store_is_said_when_a_scheduler_or_a_proxy_starts() {
    let Some(minio) = Minio::get() else { return };
    minio.keys("nobody", "nobody", "testtest", None);
    let suite = Suite::of(&[]);
    fs::write(suite.beside("token"), "the-token-of-this-case\n").unwrap();
    let paths = ["token", "state"].map(|name| suite.beside(name).into_os_string().into_string().unwrap());
    let [token, state] = &paths;
    let (nobody, nowhere) =
        (minio.url(&minio.bucket(), "nobody", None), minio.url("no-such-bucket", "root", None));
    let at = ["--listen", "127.0.0.1:0"];
    let proxy = ["results-proxy", "--token-file", token, "--index", "es+http://127.0.0.1:9/nowhere"];
    let scheduler = ["scheduler", "--state", state];
    let waits = "what goes to the store waits on this disk until it can be used: s3://";
    for (number, (command, blobs, words)) in [
        (&scheduler[..], &nobody, &[waits, "hint: the key, the secret or the session token is wrong"][..]),
        (&scheduler, &nowhere, &[waits, "hint: create the bucket"]),
        (
            &proxy,
            &nowhere,
            &["nothing is read from the store until", "hint: create the bucket", "from the index until"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let command = suite.seagull(&[command, &at, &["--blobs", blobs]].concat());
        let mut server = Running::start(command, &suite.beside(&format!("server-{number}")));
        listens(&mut server);
        until(|| words.iter().all(|words| server.stderr().contains(words)));
        server.signal(Signal::SIGTERM);
        assert_eq!(server.end().1, 0, "it went on, and leaves in peace");
    }
}

#[test]
fn a_proxy_says_when_a_store_is_away_and_when_it_is_back() {
    let Some(shared) = Minio::get() else { return };
    let mut minio = shared.own(None);
    let suite = Suite::of(&[]);
    fs::write(suite.beside("token"), "the-token-of-this-case\n").unwrap();
    let token = suite.beside("token").into_os_string().into_string().unwrap();
    let url = minio.url(&minio.bucket(), "root", None);
    let proxy = ["results-proxy", "--listen", "127.0.0.1:0", "--token-file", &token, "--blobs", &url];
    let mut proxy = Running::start(suite.seagull(&proxy), &suite.beside("proxy"));
    listens(&mut proxy);
    let says = |words: &str, times: usize| until(|| proxy.stderr().matches(words).count() == times);
    for times in 1..=2 {
        minio.kill();
        says("nothing is read from the store until it can be used: s3://", times);
        minio.start();
        says("the store can be used now", times);
    }
}

/// Another scheduler on the state directory and the address of one that is gone.
pub fn scheduler_again(cluster: &Cluster, options: &[&str], name: &str) -> Running {
    let state = cluster.suite.beside("scheduler").into_os_string().into_string().unwrap();
    let address = cluster.url.strip_prefix("http://").unwrap();
    let command = [&["scheduler", "--listen", address, "--state", &state], options].concat();
    Running::start(cluster.suite.seagull(&command), &cluster.suite.beside(name))
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
    until(|| cluster.scheduler.stderr().contains("until it does"));
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
    let (code, said) = doctor(&suite, &format!("file:{}/later/kept", store.path().display()));
    assert!(code == Some(0) && said.contains("a scheduler makes the directory"), "{said}");
    assert!(!store.path().join("later").exists());
    let (code, said) = doctor(&suite, "file:/proc/kept");
    assert!(code == Some(1) && said.contains("cannot be made: ") && said.contains("hint: "), "{said}");
    let (code, said) = doctor(&suite, "s3://key:hush@bucket");
    assert!(code == Some(2) && !said.contains("hush") && said.contains("AWS_ACCESS_KEY_ID"), "{said}");
    let lacks = format!("sqlite:{}/none/index", store.path().display());
    for (url, expected, words) in [
        (&*lacks, 1, "hint: make it, or name a file in one that is there"),
        (
            "http://ci:9200/hush",
            2,
            "hint: an index there is es+http://HOST:PORT/PREFIX, a bucket s3://BUCKET?endpoint=http://",
        ),
        ("es://hush@ci:9200", 2, "hint: es+https://HOST:PORT/PREFIX"),
        ("hush", 2, "hint: a store is file:/absolute/path or s3://BUCKET/PREFIX, an index sqlite:PATH"),
    ] {
        let (code, said) = doctor(&suite, url);
        assert!(code == Some(expected) && said.contains(words) && !said.contains("hush"), "{url}: {said}");
    }
}

#[test]
fn the_doctor_says_which_permission_a_bucket_lacks() {
    let Some(minio) = Minio::get() else { return };
    let suite = suite();
    let bucket = minio.bucket();
    let (code, said) = doctor(&suite, &minio.url(&bucket, "root", None));
    assert_eq!(code, Some(0), "{said}");
    // This server has no keys of its own.
    let (code, said) = doctor(&suite, &format!("{}&sse=AES256", minio.url(&bucket, "root", None)));
    assert!(code == Some(1) && said.contains("hint: leave sse out of the URL"), "{said}");
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
