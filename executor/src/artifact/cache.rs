//! Unpacked artifacts of one executor, by digest, under a bound. Several processes may share the directory.
//!
//! `DIGEST/tree` holds the files and `DIGEST/size` their size; the latter's modification time says when the artifact
//! was last used, and a shared lock on it that it is in use. `.work-*` is an artifact in the making, locked by its
//! maker.

#![expect(
    clippy::disallowed_methods,
    reason = "a shell: the time of use is kept, disk work is off the runtime"
)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use seagull_domain::Digest;

use super::unpack::{Limits, UnpackError, unpack};
use crate::remove::remove_tree;

const TREE: &str = "tree";
const SIZE: &str = "size";
const WORK: &str = ".work-";
const LOCK: &str = "lock";
/// What each entry costs beside its bytes.
const ENTRY_BYTES: u64 = 4096;
const MAX_ENTRIES: u64 = 5_000_000;

#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
    bound: u64,
    /// Held while a digest is fetched.
    fetching: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

/// An artifact in use: not evicted as long as this lives.
#[derive(Debug)]
pub struct Pinned {
    tree: PathBuf,
    _lock: File,
}

impl Pinned {
    pub fn path(&self) -> &Path {
        &self.tree
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("cannot fetch: {0}")]
    Fetch(io::Error),
    #[error("what was fetched has another digest, {0}")]
    Digest(Digest),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("cache directory: {0}")]
    Io(#[from] io::Error),
}

impl Cache {
    /// Opens a cache of at most `bound` bytes, more only while all of it is in use.
    pub fn open(directory: &Path, bound: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        remove_abandoned_work(&directory)?;
        Ok(Self { directory, bound, fetching: Mutex::default() })
    }

    /// The artifact's files. If it is not there it is fetched into the file that `fetch` is given, verified and
    /// unpacked, once however many ask. May be given up at any time.
    pub async fn get_or_fetch<F, G>(&self, digest: Digest, fetch: F) -> Result<Pinned, CacheError>
    where
        F: FnOnce(File) -> G,
        G: Future<Output = io::Result<()>>,
    {
        let turn = self.turn(digest);
        let _turn = turn.lock().await;
        if let Some(pinned) = self.pin(digest)? {
            return Ok(pinned);
        }
        let work = Work::create(&self.directory)?;
        let archive = work.path.join("archive");
        fetch(File::create_new(&archive)?).await.map_err(CacheError::Fetch)?;
        let (directory, bound) = (self.directory.clone(), self.bound);
        let keep = move || keep(&directory, bound, digest, &work);
        tokio::task::spawn_blocking(keep).await.map_err(io::Error::other)??;
        self.pin(digest)?.ok_or_else(|| io::Error::other("the artifact was evicted at once").into())
    }

    fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, turn| turn.strong_count() > 0);
        let turn = fetching.get(&digest).and_then(Weak::upgrade).unwrap_or_default();
        fetching.insert(digest, Arc::downgrade(&turn));
        turn
    }

    fn pin(&self, digest: Digest) -> io::Result<Option<Pinned>> {
        let entry = self.directory.join(digest.to_string());
        let lock = match File::options().append(true).open(entry.join(SIZE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            lock => lock?,
        };
        lock.lock_shared()?;
        // An eviction may have come between.
        if !same_file(&lock, &entry.join(SIZE)) {
            return Ok(None);
        }
        lock.set_modified(SystemTime::now())?;
        Ok(Some(Pinned { tree: entry.join(TREE), _lock: lock }))
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let [file, path] = [file.metadata(), path.metadata()].map(|metadata| metadata.ok().map(identity));
    file.is_some() && file == path
}

/// A directory in which an artifact is made.
struct Work {
    path: PathBuf,
    _lock: File,
}

impl Work {
    fn create(directory: &Path) -> io::Result<Self> {
        loop {
            let path = tempfile::Builder::new().prefix(WORK).tempdir_in(directory)?;
            let lock = File::create_new(path.path().join(LOCK))?;
            // Another process may have taken it for abandoned before it was locked.
            if lock.try_lock().is_ok() && path.path().join(LOCK).exists() {
                return Ok(Self { path: path.keep(), _lock: lock });
            }
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = remove_tree(&self.path);
    }
}

/// What a process that was killed has left.
fn remove_abandoned_work(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(WORK) {
            continue;
        }
        let lock = File::open(entry.path().join(LOCK));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Verifies and unpacks what was fetched, makes room, and puts it in its place.
fn keep(directory: &Path, bound: u64, digest: Digest, work: &Work) -> Result<(), CacheError> {
    let archive = work.path.join("archive");
    let found = Digest(*blake3::Hasher::new().update_reader(File::open(&archive)?)?.finalize().as_bytes());
    if found != digest {
        return Err(CacheError::Digest(found));
    }
    let entry = work.path.join("entry");
    fs::create_dir(&entry)?;
    let limits = Limits { bytes: bound, entries: MAX_ENTRIES };
    let unpacked = unpack(io::BufReader::new(File::open(&archive)?), &entry.join(TREE), limits)?;
    let size = unpacked.bytes + unpacked.entries * ENTRY_BYTES;
    fs::write(entry.join(SIZE), size.to_string())?;
    make_room(directory, bound.saturating_sub(size))?;
    match fs::rename(&entry, directory.join(digest.to_string())) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        renamed => Ok(renamed?),
    }
}

/// A kept artifact that may be evicted.
struct Kept {
    path: PathBuf,
    used: SystemTime,
    bytes: u64,
}

impl Kept {
    fn read(path: PathBuf) -> Option<Self> {
        let _: Digest = path.file_name()?.to_str()?.parse().ok()?;
        let size = path.join(SIZE);
        let used = size.metadata().ok()?.modified().ok()?;
        let bytes = fs::read_to_string(size).ok()?.parse().ok()?;
        Some(Self { path, used, bytes })
    }

    /// `false` if it is in use.
    fn evict(&self, directory: &Path) -> io::Result<bool> {
        let Ok(lock) = File::open(self.path.join(SIZE)) else { return Ok(true) };
        if lock.try_lock().is_err() || !same_file(&lock, &self.path.join(SIZE)) {
            return Ok(false);
        }
        // It vanishes at once, and its files with the work directory.
        let work = Work::create(directory)?;
        fs::rename(&self.path, work.path.join("evicted"))?;
        Ok(true)
    }
}

/// Evicts what was used longest ago until at most `room` bytes are left, or only what is in use.
fn make_room(directory: &Path, room: u64) -> io::Result<()> {
    let entries = fs::read_dir(directory)?.flatten();
    let mut kept: Vec<Kept> = entries.filter_map(|entry| Kept::read(entry.path())).collect();
    kept.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
    let mut bytes: u64 = kept.iter().map(|kept| kept.bytes).sum();
    for candidate in &kept {
        if bytes <= room {
            break;
        }
        if candidate.evict(directory)? {
            bytes -= candidate.bytes;
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
