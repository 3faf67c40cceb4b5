//! What goes wrong between here and a bucket: what is stored is right, what is read is right, or it is said what is wrong.
#![expect(clippy::disallowed_methods, reason = "a case and its proxy share what is to go wrong")]

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seagull_domain::AttemptId;
use seagull_results::{Blobs, Error, Key, Put, Remote, StoreUrl, When, Why, digest};

use super::{get, key, noise, open, put};
use crate::harness::{Authority, Fault, Minio, Proxy, Suite, until};

const ALL: std::ops::Range<u64> = 0..u64::MAX;
/// Three parts.
const LARGE: usize = 20 << 20;

/// A way to a server on which the next so many requests that begin so go wrong.
struct Rough {
    address: String,
    plan: Arc<Mutex<Plan>>,
}

struct Plan {
    left: u32,
    begins: &'static str,
    fault: Fault,
}

impl Rough {
    fn way_to(server: &str) -> Rough {
        let plan = Arc::new(Mutex::new(Plan { left: 0, begins: "", fault: Fault::None }));
        let of = plan.clone();
        let proxy = Proxy::new(server.parse().unwrap(), move |request| {
            let mut plan = of.lock().unwrap();
            if plan.left == 0 || !request.head.starts_with(plan.begins) {
                return Fault::None;
            }
            plan.left -= 1;
            plan.fault.clone()
        });
        Rough { address: proxy.address.to_string(), plan }
    }

    fn next(&self, left: u32, begins: &'static str, fault: Fault) {
        *self.plan.lock().unwrap() = Plan { left, begins, fault };
    }

    /// How many of them are still to come.
    fn left(&self) -> u32 {
        self.plan.lock().unwrap().left
    }
}

/// What is not tried again meanwhile, and is noticed.
const SLOW: Fault = Fault::Slow(Duration::from_secs(2));

/// Another byte in what is read.
fn damaged(body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.get_mut(5000).into_iter().for_each(|byte| *byte ^= 1);
    body
}

/// A rough way to a new bucket.
fn rough(minio: &Minio) -> (Rough, String) {
    let way = Rough::way_to(&minio.address);
    let url = minio.url(&minio.bucket(), "root", Some(&way.address));
    (way, url)
}

#[track_caller]
fn why(outcome: Result<impl Sized, Error>) -> (Why, String) {
    let Err(error) = outcome else { panic!("it succeeds") };
    let text = error.to_string();
    match error {
        Error::Store { trouble, .. } => (trouble.why, text),
        other => panic!("{other}"),
    }
}

#[test]
fn what_passes_is_tried_again_until_it_is_done() {
    let Some(minio) = Minio::get() else { return };
    let (way, url) = rough(&minio);
    let store = open(&url);
    for (number, fault) in [
        Fault::Status(503, String::new()),
        Fault::Status(429, String::new()),
        Fault::Status(500, String::new()),
        Fault::Dropped,
        Fault::CutAnswer(0),
        Fault::CutAnswer(40),
        Fault::CutRequest(500),
        Fault::DamagedRequest,
        SLOW,
    ]
    .into_iter()
    .enumerate()
    {
        for length in [1000, LARGE] {
            let bytes = noise(number as u64, length);
            // What is only slow is not sent again.
            let times = if matches!(fault, Fault::Slow(_)) { 1 } else { 2 };
            way.next(times, "PUT ", fault.clone());
            let key = put(&*store, &bytes);
            assert_eq!(way.left(), 0, "{fault:?} happened");
            assert!(get(&*store, &key, ALL).unwrap() == bytes, "{fault:?}, {length} bytes");
        }
    }
}

#[test]
fn of_a_write_whose_answer_is_lost_there_is_one() {
    let Some(minio) = Minio::get() else { return };
    let (way, url) = rough(&minio);
    let store = open(&url);
    way.next(1, "PUT ", Fault::CutAnswer(0));
    // It is there, by this writer's first try: who is told that it existed compares.
    let stored = store.put(&key(b"x"), &mut &b"x"[..], 1, When::Absent).unwrap();
    assert_eq!((stored, get(&*store, &key(b"x"), ALL).unwrap()), (Put::Existed, b"x".to_vec()));
}

#[test]
fn a_body_that_breaks_off_goes_on_where_it_was() {
    let Some(minio) = Minio::get() else { return };
    let (way, url) = rough(&minio);
    let store = open(&url);
    let bytes = noise(1, 3 << 20);
    let key = put(&*store, &bytes);
    way.next(3, "GET ", Fault::CutAnswer(1 << 20));
    assert!(get(&*store, &key, ALL).unwrap() == bytes);
    way.next(2, "GET ", Fault::CutAnswer(900_000));
    assert!(get(&*store, &key, 5..2_000_005).unwrap() == bytes[5..2_000_005]);
    assert_eq!(way.left(), 0);
    // It is not tried for ever.
    way.next(u32::MAX, "GET ", Fault::CutAnswer(600));
    let mut body = Vec::new();
    let broken =
        store.get(&key, ALL).and_then(|found| found.unwrap().read_to_end(&mut body).map_err(Error::Source));
    assert!(broken.is_err() && bytes.starts_with(&body), "{} bytes came", body.len());
}

/// Blobs in a directory, with a store behind.
fn blobs(directory: &std::path::Path, url: &str, bound: u64) -> (Blobs, Arc<Remote>) {
    let url: StoreUrl = url.parse().unwrap();
    let remote = Remote::open(&url, &directory.join("spool"), bound, Box::new(|_| {})).unwrap();
    let remote = Arc::new(remote);
    (Blobs::open(&directory.join("blobs")).unwrap().with(Some(remote.clone())), remote)
}

fn write(blobs: &Blobs, bytes: &[u8]) {
    let mut writer = blobs.writer(bytes.len() as u64).unwrap();
    writer.write(bytes).unwrap();
    writer.finish(Some(digest(bytes))).unwrap();
}

fn read(blobs: &Blobs, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut read = Vec::new();
    blobs.read(&digest(bytes))?.read_to_end(&mut read).map_err(Error::Source)?;
    Ok(read)
}

#[test]
fn a_blob_that_arrives_damaged_is_fetched_again_and_never_taken() {
    let Some(minio) = Minio::get() else { return };
    let (way, url) = rough(&minio);
    let bytes = noise(2, 100_000);
    put(&*open(&url), &bytes);
    let directory = tempfile::tempdir().unwrap();
    let (blobs, _remote) = blobs(directory.path(), &url, 0);
    way.next(2, "GET ", Fault::Changed(damaged));
    assert!(read(&blobs, &bytes).unwrap() == bytes);
    std::fs::remove_dir_all(directory.path().join("blobs")).unwrap();
    std::fs::create_dir(directory.path().join("blobs")).unwrap();
    way.next(u32::MAX, "GET ", Fault::Changed(damaged));
    assert!(matches!(read(&blobs, &bytes), Err(Error::Digest { .. })));
    way.next(0, "", Fault::None);
    assert!(read(&blobs, &bytes).unwrap() == bytes);
}

#[test]
fn what_is_written_while_the_store_is_dead_waits_and_goes_up() {
    let Some(shared) = Minio::get() else { return };
    let mut minio = shared.own(None);
    let url = minio.url(&minio.bucket(), "root", None);
    let store = open(&url);
    minio.kill();
    let directory = tempfile::tempdir().unwrap();
    let (small, large) = (noise(1, 5000), noise(2, LARGE));
    {
        let (blobs, remote) = blobs(directory.path(), &url, 1 << 20);
        write(&blobs, &small);
        write(&blobs, &large);
        assert!(read(&blobs, &small).unwrap() == small, "it is here");
        // What is large has no room then, with words; what is small has.
        assert!(remote.is_full());
        let refused = blobs.writer(LARGE as u64).unwrap_err().to_string();
        assert!(refused.contains("wait for s3://") && refused.contains("hint: "), "{refused}");
        write(&blobs, b"small");
        let (why, said) = why(store.head(&key(&small)));
        assert_eq!(why, Why::Away, "{said}");
    }
    // The next process takes up what waits.
    let (blobs, remote) = blobs(directory.path(), &url, 1 << 20);
    std::fs::remove_dir_all(directory.path().join("blobs")).unwrap();
    assert!(remote.is_full());
    minio.start();
    until(|| !remote.is_full());
    std::fs::create_dir(directory.path().join("blobs")).unwrap();
    until(|| std::fs::read_dir(directory.path().join("spool")).unwrap().count() == 0);
    for bytes in [&small, &large, &b"small".to_vec()] {
        assert!(get(&*store, &key(bytes), ALL).unwrap() == *bytes);
        assert!(read(&blobs, bytes).unwrap() == *bytes);
    }
}

#[test]
fn a_server_that_is_killed_has_whole_objects_or_none() {
    let Some(shared) = Minio::get() else { return };
    let mut minio = shared.own(None);
    let bucket = minio.bucket();
    // Each is killed while the second part, or the end, of a large one is under way.
    for (number, begins) in ["PUT ", "POST "].into_iter().enumerate() {
        let way = Rough::way_to(&minio.address);
        let store = open(&minio.url(&bucket, "root", Some(&way.address)));
        let kept = put(&*store, &noise(10 + number as u64, 1000));
        let bytes = noise(20 + number as u64, LARGE);
        way.next(1, begins, SLOW);
        let stored = std::thread::scope(|scope| {
            let putting =
                scope.spawn(|| store.put(&key(&bytes), &mut &bytes[..], LARGE as u64, When::Always));
            until(|| way.left() == 0);
            minio.kill();
            minio.start();
            putting.join().unwrap()
        });
        let there = get(&*store, &key(&bytes), ALL);
        assert!(there.as_ref().is_none_or(|there| *there == bytes) && (stored.is_err() || there.is_some()));
        put(&*store, &bytes);
        assert!(get(&*store, &key(&bytes), ALL).unwrap() == bytes);
        assert!(store.head(&kept).unwrap().is_some(), "what was acknowledged is there");
    }
}

#[test]
fn what_is_wrong_with_a_store_is_said_with_what_to_do() {
    let Some(minio) = Minio::get() else { return };
    let bucket = minio.bucket();
    minio.keys("nobody", "nobody", "testtest", None);
    minio.keys("wrong", "testtest", "wrongwrong", None);
    let everything = |action: &str| {
        format!(r#"{{"Effect": "Allow", "Action": ["{action}"], "Resource": ["arn:aws:s3:::*"]}}"#)
    };
    minio.limited("reader", &everything("s3:GetObject"));
    let limited = std::fs::read_to_string(minio.limited("all", &everything("s3:*"))).unwrap();
    // A token that was good once.
    std::fs::write(minio.files.path().join("expired"), limited.trim_end().to_owned() + "x\n").unwrap();
    std::fs::write(minio.files.path().join("empty"), "").unwrap();
    let nowhere = minio.url(&bucket, "root", Some("127.0.0.1:9"));
    let at = |keys| minio.url(&bucket, keys, None);
    let table = [
        (at("nobody"), Why::Credentials, "expired"),
        (at("wrong"), Why::Credentials, "expired"),
        (at("expired"), Why::Credentials, "renew"),
        (at("empty"), Why::NoCredentials, "AWS_ACCESS_KEY_ID"),
        (at("reader"), Why::Denied, "policy"),
        (minio.url("no-such-bucket", "root", None), Why::NoBucket, "create the bucket"),
        (nowhere, Why::Away, "endpoint"),
        (at("root").replace("http:", "https:"), Why::Away, "endpoint"),
    ];
    for (url, expected, hint) in table {
        let store = open(&url);
        let put = |length| {
            let bytes = noise(5, length);
            store.put(&key(&bytes), &mut &bytes[..], length as u64, When::Absent).map(drop)
        };
        // Spool and doctor ask first whether it is there, which a reader may.
        let asked = (expected != Why::Denied).then(|| store.head(&key(b"no such object")).map(drop));
        for outcome in [put(1), put(LARGE)].into_iter().chain(asked) {
            let (why, said) = why(outcome);
            assert_eq!(why, expected, "{said}");
            let (first, hinted) = said.split_once("\nhint: ").unwrap();
            assert!(first.starts_with("s3://") && hinted.contains(hint), "{said}");
            assert_eq!(url.contains("https:"), first.contains("TLS is not spoken there"), "{said}");
            assert!(!said.contains("wrongwrong") && !said.contains("eyJ"), "{said}");
        }
    }
    let no_region: StoreUrl = "s3://bucket".parse().unwrap();
    if let Err(error) = seagull_results::open_store(&no_region) {
        assert!(error.to_string().contains("region"), "{error}");
    }
}

/// As one answers whose clock differs, to HEAD without a word; GET has them, by which the client corrects its own.
#[test]
fn a_head_that_is_refused_without_a_word_is_asked_again_when_a_get_is_allowed() {
    let Some(minio) = Minio::get() else { return };
    let (way, url) = rough(&minio);
    let store = open(&url);
    let key = put(&*store, b"x");
    way.next(1, "HEAD ", Fault::Status(403, String::new()));
    assert_eq!(store.head(&key).unwrap().unwrap().bytes, 1);
    way.next(1, "HEAD ", Fault::Status(403, String::new()));
    assert!(store.head(&self::key(b"none")).unwrap().is_none());
    assert_eq!(way.left(), 0);
    way.next(u32::MAX, "HEAD ", Fault::Status(403, String::new()));
    assert_eq!(why(store.head(&key)).0, Why::Denied);
}

#[test]
fn what_answers_and_is_no_store_is_not_believed() {
    let Some(minio) = Minio::get() else { return };
    let (way, url) = rough(&minio);
    way.next(u32::MAX, "", Fault::Status(200, "<html>Welcome to the proxy</html>".into()));
    let store = open(&url);
    let said = |outcome: Result<(), Error>| {
        let (why, said) = why(outcome);
        assert!(why == Why::Foreign && said.contains("hint: is the endpoint right?"), "{said}");
    };
    for length in [1000, LARGE] {
        let bytes = noise(5, length);
        said(store.put(&key(&bytes), &mut &bytes[..], length as u64, When::Absent).map(drop));
    }
    said(store.head(&key(b"x")).map(drop));
    said(store.get(&key(b"x"), ALL).map(drop));
    said(store.list(&mut |_, _| {}));
    // Another program has no such page.
    way.next(2, "", Fault::Status(404, "<html>Not found</html>".into()));
    said(store.head(&key(b"x")).map(drop));
    way.next(u32::MAX, "", Fault::Status(200, "<html>Welcome to the proxy</html>".into()));
    let suite = Suite::of(&[]);
    let doctor = suite.seagull(&["doctor", "--stores", &url]).output().unwrap();
    let told = String::from_utf8_lossy(&doctor.stdout);
    assert!(!doctor.status.success() && told.contains("is no S3 server"), "{told}");
    // What is written meanwhile waits.
    let directory = tempfile::tempdir().unwrap();
    let (blobs, remote) = blobs(directory.path(), &url, 1 << 20);
    let log = Key::Log("r".parse().unwrap(), AttemptId(1));
    let asked = way.left();
    write(&blobs, b"kept");
    remote.pack(&log, &mut &b"text"[..]).unwrap();
    until(|| way.left() < asked - 1);
    way.next(0, "", Fault::None);
    until(|| remote.waiting_bytes() == 0);
    assert!(get(&*store, &key(b"kept"), ALL).unwrap() == b"kept");
    assert_eq!(remote.text(&log, 0, 9).unwrap().unwrap(), b"text");
}

#[test]
fn what_is_here_goes_when_the_store_says_that_it_has_it_whole() {
    let Some(minio) = Minio::get() else { return };
    let (way, url) = rough(&minio);
    let directory = tempfile::tempdir().unwrap();
    let (blobs, remote) = blobs(directory.path(), &url, 1 << 20);
    // That it is not there yet, and that it has none of it.
    way.next(2, "HEAD ", Fault::Changed(|_| Vec::new()));
    write(&blobs, b"kept");
    until(|| remote.waiting_bytes() == 0);
    assert_eq!(way.left(), 0);
    assert!(get(&*open(&url), &key(b"kept"), ALL).unwrap() == b"kept");
}

#[test]
fn a_server_with_tls_is_asked_if_its_authority_is_known() {
    let Some(shared) = Minio::get() else { return };
    let [authority, other] = ["ours", "other"].map(Authority::new);
    let [_, certificate, _, private] = authority.sign("server", "subjectAltName=IP:127.0.0.1", &[]);
    let minio = shared.own(Some((&certificate, &private)));
    let url = minio.url(&minio.bucket(), "root", None);
    let good = open(&format!("{url}&ca={}", authority.file("ca.pem")));
    let key = put(&*good, b"safe");
    assert_eq!(get(&*good, &key, ALL).unwrap(), b"safe");
    for url in [url.clone(), format!("{url}&ca={}", other.file("ca.pem"))] {
        let (why, said) = why(open(&url).head(&key));
        assert_eq!(why, Why::Certificate, "{said}");
        assert!(said.contains("ca=FILE"), "{said}");
    }
    // What is no certificate is found at once.
    let key_file: StoreUrl = format!("{url}&ca={private}").parse().unwrap();
    assert_eq!(why(seagull_results::open_store(&key_file)).0, Why::Certificate);
    let pem = std::fs::read_to_string(authority.file("ca.pem")).unwrap();
    let damaged = authority.file("damaged.pem");
    for text in [pem.replacen("MI", "!!", 1), pem.replacen("MI", "AA", 1), pem.replace("-----END", "")] {
        std::fs::write(&damaged, text).unwrap();
        let url: StoreUrl = format!("{url}&ca={damaged}").parse().unwrap();
        assert_eq!(why(seagull_results::open_store(&url)).0, Why::Certificate);
    }
    let gone: StoreUrl = format!("{url}&ca=/nowhere.pem").parse().unwrap();
    assert!(seagull_results::open_store(&gone).is_err());
}
