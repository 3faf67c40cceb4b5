//! Unpacked artifacts of one executor, by digest, under a bound. Several processes may share the directory.

#![expect(clippy::disallowed_methods, reason = "a shell: disk work is off the runtime")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use seagull_domain::Digest;

use super::restore::{record, restore};
use super::unpack::{Limits, UnpackError, unpack};
use crate::kept::{ARTIFACTS, CACHE_BYTES, FILE_BYTES, Pinned, SETUPS, SIZE, Shelf, TREE, Work};

const MAX_ENTRIES: u64 = 5_000_000;

#[derive(Debug)]
pub struct Cache {
    shelf: Arc<Shelf>,
    /// Held while a digest is fetched.
    fetching: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
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
        Ok(Self::of(Shelf::open(directory, bound)?))
    }

    /// Of a state directory, as executors have it there.
    pub fn of_state(state: &Path) -> io::Result<Self> {
        let shelf = Shelf::open(&state.join(ARTIFACTS), CACHE_BYTES)?;
        Ok(Self::of(shelf.beside(&state.join(SETUPS))))
    }

    pub(crate) fn of(shelf: Shelf) -> Self {
        Self { shelf: Arc::new(shelf), fetching: Mutex::default() }
    }

    /// The artifact's files. If it is not there it is fetched into the file that `fetch` is given, verified and
    /// unpacked, once however many ask. Where nobody uses it, it is as it was unpacked. May be given up at any time.
    pub async fn get_or_fetch<F, G>(&self, digest: Digest, fetch: F) -> Result<Pinned, CacheError>
    where
        F: FnOnce(File) -> G,
        G: Future<Output = io::Result<()>>,
    {
        let turn = self.turn(digest);
        let _turn = turn.lock().await;
        let shelf = self.shelf.clone();
        let check = move || shelf.check(&digest.to_string(), restore);
        tokio::task::spawn_blocking(check).await.map_err(io::Error::other)??;
        if let Some(pinned) = self.pin(digest)? {
            return Ok(pinned);
        }
        let work = Work::create(&self.shelf.directory)?;
        let archive = work.path.join("archive");
        fetch(File::create_new(&archive)?).await.map_err(CacheError::Fetch)?;
        let shelf = self.shelf.clone();
        let keep = move || keep(&shelf, digest, &work);
        tokio::task::spawn_blocking(keep).await.map_err(io::Error::other)??;
        self.pin(digest)?.ok_or_else(|| io::Error::other("the artifact was evicted at once").into())
    }

    /// The artifact that a file is of, in use as long as what is returned lives; None if it is not kept here.
    pub fn pin_of(&self, file: &Path) -> io::Result<Option<Pinned>> {
        let inside = file.strip_prefix(&self.shelf.directory).ok();
        let name = inside.and_then(|inside| inside.iter().next()).and_then(|name| name.to_str());
        let digest = name.and_then(|name| name.parse().ok());
        digest.map_or(Ok(None), |digest| self.pin(digest))
    }

    fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, turn| turn.strong_count() > 0);
        let turn = fetching.get(&digest).and_then(Weak::upgrade).unwrap_or_default();
        fetching.insert(digest, Arc::downgrade(&turn));
        turn
    }

    fn pin(&self, digest: Digest) -> io::Result<Option<Pinned>> {
        self.shelf.pin(&digest.to_string())
    }
}

/// Verifies and unpacks what was fetched, makes room, and puts it in its place.
fn keep(shelf: &Shelf, digest: Digest, work: &Work) -> Result<(), CacheError> {
    let archive = work.path.join("archive");
    let found = Digest(*blake3::Hasher::new().update_reader(File::open(&archive)?)?.finalize().as_bytes());
    if found != digest {
        return Err(CacheError::Digest(found));
    }
    let entry = work.path.join("entry");
    fs::create_dir(&entry)?;
    let limits = Limits { bytes: shelf.bound, entries: MAX_ENTRIES };
    let unpacked = unpack(io::BufReader::new(File::open(&archive)?), &entry.join(TREE), limits)?;
    record(&entry)?;
    let size = unpacked.bytes + unpacked.entries * FILE_BYTES;
    fs::write(entry.join(SIZE), size.to_string())?;
    shelf.make_room(size)?;
    match fs::rename(&entry, shelf.entry(&digest.to_string())) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        renamed => Ok(renamed?),
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
