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
use crate::kept::{ARTIFACTS, CACHE_BYTES, FILE_BYTES, Pinned, SETUPS, SIZE, Shelf, TREE, Taken, Work};

const MAX_ENTRIES: u64 = 5_000_000;
/// How many runs of one artifact an executor may have at a time.
const MAX_COPIES: u32 = 1000;
/// Stands before the number of a copy that is not the first.
const COPY: char = '-';

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

    /// The artifact's files as they were packed, for whoever asks alone: tests may change them. A copy that nobody uses is
    /// taken; where there is none the artifact is fetched into the file that `fetch` is given, verified and unpacked. May be
    /// given up at any time.
    pub async fn get_or_fetch<F, G>(&self, digest: Digest, fetch: F) -> Result<Pinned, CacheError>
    where
        F: FnOnce(File) -> G,
        G: Future<Output = io::Result<()>>,
    {
        let turn = self.turn(digest);
        let _turn = turn.lock().await;
        for name in copies(digest) {
            let shelf = self.shelf.clone();
            let take = move || shelf.take(&name, restore);
            match tokio::task::spawn_blocking(take).await.map_err(io::Error::other)?? {
                Taken::Pinned(pinned) => return Ok(pinned),
                Taken::InUse => {}
                Taken::Gone => break,
            }
        }
        let work = Work::create(&self.shelf.directory)?;
        let archive = work.path.join("archive");
        fetch(File::create_new(&archive)?).await.map_err(CacheError::Fetch)?;
        let shelf = self.shelf.clone();
        let keep = move || keep(&shelf, digest, &work);
        tokio::task::spawn_blocking(keep).await.map_err(io::Error::other)?
    }

    /// The copy that a file is of, in use as long as what is returned lives; None if it is not kept here. What is not
    /// changed may be of use to several.
    pub fn pin_of(&self, file: &Path) -> io::Result<Option<Pinned>> {
        let inside = file.strip_prefix(&self.shelf.directory).ok();
        let name = inside.and_then(|inside| inside.iter().next()).and_then(|name| name.to_str());
        let name = name.filter(|name| name.split(COPY).next().is_some_and(|of| of.parse::<Digest>().is_ok()));
        name.map_or(Ok(None), |name| self.shelf.pin(name))
    }

    fn turn(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
        fetching.retain(|_, turn| turn.strong_count() > 0);
        let turn = fetching.get(&digest).and_then(Weak::upgrade).unwrap_or_default();
        fetching.insert(digest, Arc::downgrade(&turn));
        turn
    }
}

/// What the copies of an artifact are called.
fn copies(digest: Digest) -> impl Iterator<Item = String> + Send {
    let others = (2..=MAX_COPIES).map(move |copy| format!("{digest}{COPY}{copy}"));
    std::iter::once(digest.to_string()).chain(others)
}

/// Verifies and unpacks what was fetched, makes room, and puts it in its place.
fn keep(shelf: &Shelf, digest: Digest, work: &Work) -> Result<Pinned, CacheError> {
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
    for name in copies(digest) {
        if let Some(pinned) = shelf.put(&entry, &name)? {
            return Ok(pinned);
        }
    }
    Err(io::Error::other(format!("{MAX_COPIES} runs use it at the same time")).into())
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
