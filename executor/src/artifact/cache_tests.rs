//! The cache: verification, one fetch, eviction, pins.
#![expect(clippy::disallowed_methods, reason = "a fetch that is given up has to be timed")]

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::time::SystemTime;

use tempfile::TempDir;

use super::*;
use crate::artifact::{PackOptions, Patterns, pack};

/// An artifact of one file, and its digest.
fn artifact(contents: &str) -> (Digest, Vec<u8>) {
    let top = tempfile::tempdir().unwrap();
    let root = top.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), contents).unwrap();
    let nothing = Patterns::default();
    let packed = pack(&PackOptions {
        root: &root,
        directory: Path::new(""),
        scratch: top.path(),
        exclude: &[],
        include: &nothing,
        omit: &nothing,
        built: &Default::default(),
        large: false,
        checkout: false,
    });
    let packed = packed.unwrap();
    (packed.digest, fs::read(packed.file.path()).unwrap())
}

async fn get(cache: &Cache, digest: Digest, bytes: &[u8]) -> Result<Pinned, CacheError> {
    cache.get_or_fetch(digest, |mut file| async move { file.write_all(bytes) }).await
}

async fn cached(cache: &Cache, digest: Digest) -> Option<Pinned> {
    let absent = |_| async { Err(io::Error::other("not cached")) };
    cache.get_or_fetch(digest, absent).await.ok()
}

/// Names in the directory.
fn names(directory: &TempDir) -> usize {
    fs::read_dir(directory.path()).unwrap().count()
}

#[tokio::test]
async fn who_comes_at_the_same_time_has_a_copy_alone_and_who_comes_later_one_that_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path(), 1 << 30).unwrap();
    let (digest, bytes) = artifact("hello");
    let (one, two) = tokio::join!(get(&cache, digest, &bytes), get(&cache, digest, &bytes));
    let (one, two) = (one.unwrap(), two.unwrap());
    fs::write(one.path().join("file"), "changed").unwrap();
    assert_eq!(fs::read_to_string(two.path().join("file")).unwrap(), "hello");
    // Another process.
    let other = Cache::open(directory.path(), 1 << 30).unwrap();
    assert!(cached(&other, digest).await.is_none());
    let second = two.path().to_owned();
    drop(two);
    let again = cached(&other, digest).await.expect("nobody uses it");
    assert_eq!(again.path(), second);
    assert!(other.pin_of(&second.join("file")).unwrap().is_some());
    assert_eq!(names(&directory), 2);
    drop((one, again));
    let (one, two) = (get(&cache, digest, &bytes).await.unwrap(), cached(&cache, digest).await.unwrap());
    assert_eq!(fs::read_to_string(one.path().join("file")).unwrap(), "hello");
    assert_eq!((two.path(), names(&directory)), (&*second, 2));
}

#[tokio::test]
async fn what_tests_left_is_gone_when_the_next_come_and_what_they_changed_is_fetched_anew() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path(), 1 << 30).unwrap();
    let (digest, bytes) = artifact("hello");
    let tree = get(&cache, digest, &bytes).await.unwrap().path().to_owned();
    let (file, left, bytecode) = (tree.join("file"), tree.join("left"), tree.join("__pycache__/file.pyc"));
    let leave = || {
        fs::create_dir_all(left.join("in")).unwrap();
        fs::create_dir_all(bytecode.parent().unwrap()).unwrap();
        fs::write(&bytecode, "").unwrap();
        std::os::unix::fs::symlink("/", tree.join("link")).unwrap();
    };
    leave();
    assert!(cached(&cache, digest).await.is_some(), "nothing has changed");
    assert!(!left.exists() && !tree.join("link").is_symlink() && bytecode.exists());
    let as_it_was = file.metadata().unwrap().modified().unwrap();
    let changes: [&dyn Fn(); 4] = [
        &|| {
            fs::write(&file, "HELLO").unwrap();
            File::options().append(true).open(&file).unwrap().set_modified(as_it_was).unwrap();
        },
        &|| fs::remove_file(&file).unwrap(),
        &|| fs::rename(&file, tree.join("moved")).unwrap(),
        &|| {
            fs::remove_file(&file).unwrap();
            fs::create_dir(&file).unwrap();
        },
    ];
    for change in changes {
        tick(&directory, &file);
        change();
        assert!(cached(&cache, digest).await.is_none());
        drop(get(&cache, digest, &bytes).await.unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "hello");
        assert_eq!(fs::read_dir(&tree).unwrap().count(), 1);
    }
    assert_eq!(names(&directory), 1);
}

/// Returns when what changes from now on has another time than this file has: a file system's clock goes in steps.
fn tick(directory: &TempDir, file: &Path) {
    let changed = |path: &Path| path.metadata().map(|file| (file.ctime(), file.ctime_nsec())).unwrap();
    let (probe, then) = (directory.path().with_extension("probe"), changed(file));
    loop {
        fs::write(&probe, "").unwrap();
        if changed(&probe) != then {
            return fs::remove_file(&probe).unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_not_kept_and_can_be_fetched_again() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path(), 1 << 30).unwrap();
    let (digest, bytes) = artifact("hello");
    let (other, _) = artifact("other");
    assert!(matches!(get(&cache, other, &bytes).await, Err(CacheError::Digest(found)) if found == digest));
    let garbage = Digest(*blake3::hash(b"garbage").as_bytes());
    assert!(matches!(get(&cache, garbage, b"garbage").await, Err(CacheError::Unpack(_))));
    let failing = |_| async { Err(io::Error::other("connection lost")) };
    let failed = cache.get_or_fetch(digest, failing).await;
    assert!(matches!(failed, Err(CacheError::Fetch(_))));
    let given_up = cache.get_or_fetch(digest, |_| std::future::pending());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1), given_up).await.is_err());
    assert_eq!(names(&directory), 0);
    get(&cache, digest, &bytes).await.unwrap();
}

#[tokio::test]
async fn the_least_recently_used_goes_and_what_is_in_use_stays() {
    let directory = tempfile::tempdir().unwrap();
    // Room for two: each has one file and its overhead.
    let cache = Cache::open(directory.path(), 10_000).unwrap();
    let artifacts = ["a", "b", "c", "d"].map(artifact);
    let digest = |n: usize| artifacts[n].0;
    let get = async |n: usize| get(&cache, artifacts[n].0, &artifacts[n].1).await.unwrap();
    let in_use = get(0).await;
    drop(get(1).await);
    drop(get(2).await);
    assert!(cached(&cache, digest(1)).await.is_none(), "the bound was passed");
    drop(in_use);
    assert!(cached(&cache, digest(2)).await.is_some());
    // Now 0 was used before 2.
    let set_used = |n: usize, seconds| {
        let file = File::options().append(true).open(directory.path().join(digest(n).to_string()).join(SIZE));
        file.unwrap().set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)).unwrap();
    };
    set_used(0, 10);
    set_used(2, 20);
    drop(get(3).await);
    assert!(cached(&cache, digest(0)).await.is_none());
    assert!(cached(&cache, digest(2)).await.is_some());
    assert!(cached(&cache, digest(3)).await.is_some());
    assert_eq!(names(&directory), 2);
}

#[tokio::test]
async fn what_a_file_is_of_is_kept_while_it_is_in_use() {
    let directory = tempfile::tempdir().unwrap();
    // Room for one.
    let cache = Cache::open(directory.path(), 5_000).unwrap();
    let [(first, bytes), (second, others)] = ["a", "b"].map(artifact);
    let file = get(&cache, first, &bytes).await.unwrap().path().join("file");
    let in_use = cache.pin_of(&file).unwrap().expect("it is kept");
    assert!(get(&cache, second, &others).await.is_ok() && file.exists());
    drop(in_use);
    drop(get(&cache, second, &others).await);
    let (third, bytes) = artifact("c");
    drop(get(&cache, third, &bytes).await);
    assert!(!file.exists() && cache.pin_of(&file).unwrap().is_none());
    for elsewhere in [Path::new("/elsewhere/file"), directory.path()] {
        assert!(cache.pin_of(elsewhere).unwrap().is_none());
    }
}

#[tokio::test]
async fn more_than_the_bound_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(directory.path(), 1000).unwrap();
    let (digest, bytes) = artifact(&"x".repeat(2000));
    assert!(matches!(get(&cache, digest, &bytes).await, Err(CacheError::Unpack(UnpackError::Limit(_)))));
    assert_eq!(names(&directory), 0);
}
