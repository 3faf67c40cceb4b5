//! What every backend must do, tried on each.
#![expect(clippy::disallowed_methods, reason = "racers are threads")]

use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, SystemTime};

use seagull_domain::AttemptId;
use seagull_results::{Error, Key, Method, Put, Store, When};

use super::{get, in_bucket, key, noise, open, put};
use crate::harness::{Minio, until};

const ALL: std::ops::Range<u64> = 0..u64::MAX;

/// Larger than what is sent at a time, and no multiple of it.
const LARGE: usize = (20 << 20) + 7;

fn log(attempt: u64) -> Key {
    Key::Log("r-1".parse().unwrap(), AttemptId(attempt))
}

fn conforms(store: &dyn Store) {
    what_is_put_is_there(store);
    only_what_was_said_is_stored(store);
    of_several_one_writes(store);
    all_is_listed(store);
}

fn what_is_put_is_there(store: &dyn Store) {
    for length in [0, 1, 1000, LARGE] {
        let bytes = noise(length as u64, length);
        let key = put(store, &bytes);
        assert!(get(store, &key, ALL).unwrap() == bytes, "{length} bytes");
        let head = store.head(&key).unwrap().unwrap();
        assert_eq!(head.bytes, length as u64);
        let age = SystemTime::now().duration_since(head.modified).unwrap_or_default();
        assert!(age < Duration::from_secs(600), "{age:?}");
        let all = length as u64;
        for (start, end) in [
            (0, 1),
            (3, 3),
            (all / 2, all),
            (all.saturating_sub(1), all + 9),
            (all, all + 1),
            (all + 5, ALL.end),
        ] {
            let expected = &bytes[start.min(all) as usize..end.min(all) as usize];
            assert!(get(store, &key, start..end).unwrap() == expected, "{start}..{end} of {length}");
        }
        store.delete(&key).unwrap();
        store.delete(&key).unwrap();
        assert_eq!((get(store, &key, ALL), get(store, &key, 5..5)), (None, None));
        assert!(store.head(&key).unwrap().is_none());
    }
}

fn only_what_was_said_is_stored(store: &dyn Store) {
    for length in [100, LARGE] {
        let bytes = noise(9, length);
        let (said, whole) = (key(b"other"), length as u64);
        for (key, bytes_said) in [(said, whole), (key(&bytes), whole - 1), (key(&bytes), whole + 1)] {
            let refused = store.put(&key, &mut &bytes[..], bytes_said, When::Always);
            assert!(matches!(refused, Err(Error::Digest { .. } | Error::Source(_))), "{refused:?}");
            assert!(store.head(&key).unwrap().is_none());
        }
    }
}

fn of_several_one_writes(store: &dyn Store) {
    for length in [10, 9 << 20] {
        let barrier = Barrier::new(8);
        let race = |racer: u8| {
            let bytes = vec![racer; length];
            barrier.wait();
            store.put(&log(1), &mut &bytes[..], length as u64, When::Absent).unwrap() == Put::Stored
        };
        let won: Vec<bool> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8).map(|racer| scope.spawn(move || race(racer))).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winner = won.iter().position(|won| *won).unwrap() as u8;
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        assert!(get(store, &log(1), ALL).unwrap() == vec![winner; length]);
        let again = store.put(&log(1), &mut &b"x"[..], 1, When::Always).unwrap();
        assert_eq!((again, get(store, &log(1), ALL)), (Put::Stored, Some(b"x".to_vec())));
        store.delete(&log(1)).unwrap();
    }
}

fn all_is_listed(store: &dyn Store) {
    let mut expected: Vec<_> = (0..5u8).map(|i| (put(store, &[i; 3]), 3)).collect();
    store.put(&log(70), &mut &b"text"[..], 4, When::Absent).unwrap();
    expected.push((log(70), 4));
    let stream = Key::Stream("r-1".parse().unwrap());
    store.put(&stream, &mut &b"facts"[..], 5, When::Absent).unwrap();
    expected.push((stream, 5));
    expected.sort();
    let mut listed = Vec::new();
    store.list(&mut |key, head| listed.push((key, head.bytes))).unwrap();
    listed.sort();
    assert_eq!(listed, expected);
}

#[test]
fn a_directory_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let url = format!("file:{}", path.display());
    let store = open(&url);
    conforms(&*store);
    assert!(store.presign(&log(1), Method::Get, Duration::from_secs(60)).unwrap().is_none());
    // Other things are no objects.
    std::fs::write(path.join("blobs/readme"), "").unwrap();
    let mut listed = 0;
    store.list(&mut |_, _| listed += 1).unwrap();
    assert_eq!(listed, 7);
}

#[test]
fn a_bucket_is_a_store() {
    let Some(minio) = Minio::get() else { return };
    conforms(&*in_bucket(&minio));
}

#[test]
fn a_bucket_holds_several_stores() {
    let Some(minio) = Minio::get() else { return };
    let bucket = minio.bucket();
    let [one, other] =
        ["a/b", "a"].map(|prefix| open(&minio.url(&format!("{bucket}/{prefix}"), "root", None)));
    conforms(&*one);
    assert!(one.head(&key(&[1; 3])).unwrap().is_some() && other.head(&key(&[1; 3])).unwrap().is_none());
    conforms(&*other);
}

#[test]
fn more_is_listed_than_a_page_holds() {
    let Some(minio) = Minio::get() else { return };
    let store = in_bucket(&minio);
    std::thread::scope(|scope| {
        for some in 0..8u16 {
            let store = &store;
            scope.spawn(move || {
                (0..140u16).for_each(|i| drop(put(&**store, &(some * 140 + i).to_le_bytes())))
            });
        }
    });
    let mut listed = 0;
    store.list(&mut |_, _| listed += 1).unwrap();
    assert_eq!(listed, 1120);
}

fn curl(arguments: &[&str]) -> (bool, Vec<u8>) {
    let output = Command::new("curl").args(["-sS", "--fail"]).args(arguments).output().unwrap();
    (output.status.success(), output.stdout)
}

#[test]
fn a_presigned_request_needs_no_credentials_until_it_expires() {
    let Some(minio) = Minio::get() else { return };
    let store = in_bucket(&minio);
    let bytes = b"presigned".to_vec();
    let lives = Duration::from_secs(60);
    let file = minio.files.path().join("body");
    std::fs::write(&file, &bytes).unwrap();
    let presigned = store.presign(&key(&bytes), Method::Put, lives).unwrap().unwrap();
    let headers = presigned.headers.iter().map(|(name, value)| format!("{name}: {value}"));
    let headers: Vec<String> = headers.flat_map(|header| ["-H".to_owned(), header]).collect();
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    assert!(curl(&[&["-T", file.to_str().unwrap(), &presigned.url], &headers[..]].concat()).0);
    assert_eq!(get(&*store, &key(&bytes), ALL).unwrap(), bytes);
    let read = store.presign(&key(&bytes), Method::Get, lives).unwrap().unwrap();
    assert_eq!(curl(&[&read.url]), (true, bytes.clone()));
    assert_eq!(curl(&["-r", "3-4", &read.url]).1, b"si");
    // Another object, another method, or later: it is not what was permitted.
    let other = read.url.replacen("blobs/", "logs/", 1);
    assert!(!curl(&[&other]).0 && !curl(&["-X", "DELETE", &read.url]).0);
    let short = store.presign(&key(&bytes), Method::Get, Duration::from_secs(1)).unwrap().unwrap();
    until(|| !curl(&[&short.url]).0);
    assert!(!format!("{read:?}").contains("http"), "a permission is not printed");
}

#[test]
fn a_server_may_encrypt_what_it_keeps() {
    let Some(minio) = Minio::get() else { return };
    let url = minio.url(&minio.bucket(), "root", None);
    // This one has no keys of its own, so that what is asked of it shows in its refusal.
    for (setting, word) in [("sse=AES256", "encryption"), ("sse=aws:kms", "KMS"), ("kms-key=k", "KMS")] {
        let store = open(&format!("{url}&{setting}"));
        let refused = store.put(&key(b"x"), &mut &b"x"[..], 1, When::Always).unwrap_err().to_string();
        assert!(refused.contains(word), "{setting}: {refused}");
    }
}
