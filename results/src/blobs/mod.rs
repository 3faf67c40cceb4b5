//! Blobs, known by their digest only: in a directory, and where there is one in a store that many share. What is written
//! is durable in the directory when it is acknowledged and goes up in the background; what is read and not there comes
//! down. So nothing waits for the store but who wants what only the store has.

mod checked;
mod directory;
mod file;
mod key;
mod pace;
mod pile;
mod presence;
mod s3;
mod spool;
mod store;
mod trouble;
mod url;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::hash::Hash;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use seagull_domain::{Digest, RunId};

pub use self::directory::{Evicted, digest};
pub(crate) use self::directory::{entries, gone};
pub use self::key::Key;
use self::presence::Presence;
use self::spool::Spool;
pub use self::spool::{Arrived, FRESH};
pub use self::store::{Body, Head, Method, Presigned, Put, Store, When, open};
pub use self::trouble::{Trouble, Why};
pub use self::url::{InvalidUrl, StoreUrl};
use crate::archive::{ArchivedFacts, facts};
use crate::packed::{self, Damaged, Table};
use crate::{Class, Error};

/// How artifacts begin: they are packed by zstd, and manifests are text.
pub const ARTIFACT: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// How much of a blob is read at a time.
const PIECE: usize = 256 << 10;
/// How often a blob that arrives damaged is fetched.
const FETCHES: u32 = 3;
/// Larger ones are refused while too much waits for the store; what a verdict may wait for is smaller.
const SMALL_BYTES: u64 = 16 << 20;
/// The most that is read of what is read whole.
const WHOLE_BYTES: u64 = 1 << 30;
/// Tables of packed logs, and of piles, that are kept in memory.
const TABLES: usize = 256;
const PILES: usize = 16;

#[derive(Debug, Clone)]
pub struct Blobs {
    directory: directory::Directory,
    remote: Option<Arc<Remote>>,
}

/// What was read of objects that never change.
type Known<K, T> = Mutex<HashMap<K, Arc<T>>>;

/// A store behind the directory.
#[derive(Debug)]
pub struct Remote {
    name: String,
    store: Arc<dyn Store>,
    spool: Spool,
    /// The most that may wait for the store before large blobs are refused.
    bound: u64,
    presence: Arc<Presence>,
    tables: Known<Key, Table>,
    piles: Known<RunId, pile::Table>,
}

impl Remote {
    /// `spool` is a directory on the same file system as the blobs and the logs. `arrived` is called from a thread of its
    /// own when an object is durable at the store.
    pub fn open(url: &StoreUrl, spool: &Path, bound: u64, arrived: Arrived) -> Result<Remote, Error> {
        let (name, store) = (url.to_string(), open(url)?);
        let presence = Arc::new(Presence::default());
        let heard = presence.clone();
        let arrived = move |key: &Key| {
            heard.hear();
            arrived(key);
        };
        let spool = Spool::open(spool, &name, store.clone(), Box::new(arrived))?;
        Ok(Remote { name, store, spool, bound, presence, tables: Mutex::default(), piles: Mutex::default() })
    }

    /// Bytes that are on their way to the store.
    pub fn waiting_bytes(&self) -> u64 {
        self.spool.bytes()
    }

    /// Whether more waits for the store than may.
    pub fn is_full(&self) -> bool {
        self.waiting_bytes() > self.bound
    }

    /// What a run has left cannot be packed, which is said once.
    pub fn set_aside(&self, run: &RunId, why: &dyn std::fmt::Display) {
        self.spool.set_aside(run, why);
    }

    /// Whether something of a run does not go up, so that it does not wait for the store either.
    pub fn is_aside(&self, run: &RunId) -> bool {
        self.spool.is_aside(run)
    }

    /// Whether a log is packed and waits for the store.
    pub fn has_packed(&self, log: &Key) -> bool {
        self.spool.has(log)
    }

    /// Packs a log or a stream for the store, from its text.
    pub fn pack(&self, log: &Key, text: &mut dyn Read) -> Result<(), Error> {
        self.spool.write(log, |out| packed::pack(text, out))
    }

    /// Writes an object that may be there, packed by zstd.
    pub fn replace(&self, key: &Key, bytes: &[u8]) -> Result<(), Error> {
        self.spool.write(key, |out| zstd::stream::copy_encode(bytes, out, 0))
    }

    /// All of an object that is packed by zstd; None where there is no such object.
    pub fn whole(&self, key: &Key) -> Result<Option<Vec<u8>>, Error> {
        self.presence.read(|| {
            let Some(body) = self.store.get(key, 0..u64::MAX)? else { return Ok(None) };
            let mut bytes = Vec::new();
            let unpacked = zstd::stream::read::Decoder::new(body).map_err(|error| self.unreadable(error))?;
            unpacked.take(WHOLE_BYTES).read_to_end(&mut bytes).map_err(|error| self.unreadable(error))?;
            Ok(Some(bytes))
        })
    }

    /// Whether there is such an object.
    pub fn contains(&self, key: &Key) -> Result<bool, Error> {
        self.written_at(key).map(|at| at.is_some())
    }

    /// When an object was written, by the store's clock; None where there is no such object.
    pub fn written_at(&self, key: &Key) -> Result<Option<SystemTime>, Error> {
        self.presence.read(|| Ok(self.store.head(key)?.map(|head| head.modified)))
    }

    /// Whether there is such an object; None where the store does not say so in time: it is not waited for.
    pub fn says_it_has(&self, key: &Key) -> Option<bool> {
        self.says(key, |_| true)
    }

    fn says(&self, key: &Key, is_wanted: fn(&Head) -> bool) -> Option<bool> {
        if self.spool.is_stuck() { None } else { self.presence.ask(&self.store, key.clone(), is_wanted) }
    }

    /// Looks whether the store answers, and whom: by asking for what there is not.
    pub fn look(&self) -> Result<(), Error> {
        self.contains(&Key::Blob(Digest([0; 32]))).map(drop)
    }

    /// All text of a packed log or stream, read as it is asked for.
    pub fn read(self: &Arc<Self>, key: &Key) -> impl Read + Send + use<> {
        Text { remote: self.clone(), key: key.clone(), offset: 0 }
    }

    /// The facts of an ended run, read likewise.
    pub fn facts(self: &Arc<Self>, run: &RunId) -> ArchivedFacts {
        let key = Key::Stream(run.clone());
        facts(self.read(&key), PathBuf::from(key.to_string()))
    }

    /// A piece of a packed log's text; None where there is no such log.
    pub fn text(&self, log: &Key, offset: u64, length: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(table) = self.table(log)? else { return Ok(None) };
        let Some(piece) = table.piece(offset..offset.saturating_add(length)) else {
            return Ok(Some(Vec::new()));
        };
        let Some(bytes) = self.bytes(log, piece.range.clone())? else { return Ok(None) };
        table.unpack(&piece, &bytes).map(Some).map_err(|damage| self.damaged(damage))
    }

    fn table(&self, log: &Key) -> Result<Option<Arc<Table>>, Error> {
        if let Some(known) = known(&self.tables, log) {
            return Ok(Some(known));
        }
        let Some(head) = self.presence.read(|| self.store.head(log))? else { return Ok(None) };
        let end = head.bytes.saturating_sub(packed::TABLE_BYTES)..head.bytes;
        let Some(bytes) = self.bytes(log, end)? else { return Ok(None) };
        let table = Table::of_end(&bytes, head.bytes).map_err(|damage| self.damaged(damage))?;
        Ok(Some(know(&self.tables, TABLES, log, table)))
    }

    /// Packs the small files of a run for the store. Of more than a pile may have, the rest go as blobs.
    pub(crate) fn pile(&self, run: &RunId, blobs: &Blobs) -> Result<(), Error> {
        let mut digests: Vec<Digest> = blobs.list()?.into_iter().map(|(digest, _)| digest).collect();
        digests.sort_unstable();
        let alone = digests.split_off(digests.len().min(pile::MOST));
        for digest in alone {
            self.spool.take(&Key::Blob(digest), &blobs.directory.path(&digest))?;
        }
        let piled = digests.into_iter().map(|digest| {
            let file = blobs.directory.read(&digest).map_err(std::io::Error::other)?;
            Ok((digest, file))
        });
        self.spool.write(&Key::Attached(run.clone()), |out| pile::write(piled, out))
    }

    /// Whether the small files of a run are packed and wait for the store.
    pub(crate) fn has_pile(&self, run: &RunId) -> bool {
        self.spool.has(&Key::Attached(run.clone()))
    }

    /// A small file of a run; None where the store has none of its, or not this one.
    fn piled(&self, run: &RunId, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let Some(table) = self.pile_table(run)? else { return Ok(None) };
        let Some(range) = table.find(digest) else { return Ok(None) };
        let Some(bytes) = self.bytes(&Key::Attached(run.clone()), range)? else { return Ok(None) };
        let found = directory::digest(&bytes);
        let is_it = found == *digest;
        is_it.then_some(Some(bytes)).ok_or(Error::Digest { expected: *digest, found })
    }

    fn pile_table(&self, run: &RunId) -> Result<Option<Arc<pile::Table>>, Error> {
        if let Some(known) = known(&self.piles, run) {
            return Ok(Some(known));
        }
        let key = Key::Attached(run.clone());
        let Some(head) = self.presence.read(|| self.store.head(&key))? else { return Ok(None) };
        let end = |bytes: u64| self.bytes(&key, head.bytes.saturating_sub(bytes)..head.bytes);
        let Some(mut bytes) = end(pile::END_BYTES)? else { return Ok(None) };
        let damaged = |damage: pile::Damaged| self.corrupt(damage.to_string());
        let wanted = pile::Table::bytes(&bytes).map_err(damaged)?;
        if wanted > bytes.len() as u64 {
            let Some(all) = end(wanted)? else { return Ok(None) };
            bytes = all;
        }
        let table = pile::Table::of_end(&bytes, head.bytes).map_err(damaged)?;
        Ok(Some(know(&self.piles, PILES, run, table)))
    }

    fn bytes(&self, key: &Key, range: std::ops::Range<u64>) -> Result<Option<Vec<u8>>, Error> {
        self.presence.read(|| {
            let Some(mut body) = self.store.get(key, range)? else { return Ok(None) };
            let mut bytes = Vec::new();
            body.read_to_end(&mut bytes).map_err(|error| self.broken(error))?;
            Ok(Some(bytes))
        })
    }

    fn damaged(&self, damage: Damaged) -> Error {
        self.corrupt(damage.to_string())
    }

    /// Why a body is not unpacked.
    fn unreadable(&self, error: std::io::Error) -> Error {
        error.downcast().unwrap_or_else(|error| self.corrupt(error.to_string()))
    }

    fn corrupt(&self, said: String) -> Error {
        let trouble = Trouble { why: Why::Corrupt, said };
        Error::Store { store: self.name.clone(), doing: "get", trouble }
    }

    /// Why a body breaks off: a store that was asked for the rest has said so itself.
    fn broken(&self, error: std::io::Error) -> Error {
        error.downcast().unwrap_or_else(|error| {
            let trouble = Trouble { why: Why::Away, said: error.to_string() };
            Error::Store { store: self.name.clone(), doing: "get", trouble }
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell: readers share what they know")]
fn lock<K, T>(all: &Known<K, T>) -> MutexGuard<'_, HashMap<K, Arc<T>>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

fn known<K: Eq + Hash, T>(all: &Known<K, T>, of: &K) -> Option<Arc<T>> {
    lock(all).get(of).cloned()
}

/// Keeps it with at most so many.
fn know<K: Eq + Hash + Clone, T>(all: &Known<K, T>, most: usize, of: &K, table: T) -> Arc<T> {
    let (mut all, table) = (lock(all), Arc::new(table));
    if all.len() >= most {
        all.clear();
    }
    all.insert(of.clone(), table.clone());
    table
}

/// The text of something that is packed at a store.
struct Text {
    remote: Arc<Remote>,
    key: Key,
    offset: u64,
}

impl Read for Text {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let piece = self.remote.text(&self.key, self.offset, into.len() as u64);
        let piece = match piece.map_err(std::io::Error::other)? {
            None if self.offset > 0 => {
                let gone = self.remote.corrupt("it is gone, and was there a moment ago".to_owned());
                return Err(std::io::Error::other(gone));
            }
            piece => piece.unwrap_or_default(),
        };
        into[..piece.len()].copy_from_slice(&piece);
        self.offset += piece.len() as u64;
        Ok(piece.len())
    }
}

impl Blobs {
    /// Blobs in a directory alone.
    pub fn open(directory: &Path) -> Result<Blobs, Error> {
        Ok(Blobs { directory: directory::Directory::open(directory)?, remote: None })
    }

    #[must_use]
    pub fn with(self, remote: Option<Arc<Remote>>) -> Blobs {
        Blobs { remote, ..self }
    }

    /// Whether the blob is there. Asking for it counts as wanting it, so that it is not evicted next. One that only the
    /// store has does not count while the store is away or silent, or is about to take it for old.
    pub fn contains(&self, digest: &Digest) -> bool {
        let is_remote =
            |remote: &Arc<Remote>| remote.says(&Key::Blob(*digest), spool::is_fresh).unwrap_or_default();
        self.directory.read(digest).is_ok() || self.remote.as_ref().is_some_and(is_remote)
    }

    /// The blob; its length is the file's. It stays readable through this even if it is evicted meanwhile.
    pub fn read(&self, digest: &Digest) -> Result<File, Error> {
        match (self.directory.read(digest), &self.remote) {
            (Err(Error::NoBlob(_)), Some(remote)) => {
                for _ in 1..FETCHES {
                    match self.fetch(remote, digest) {
                        Err(Error::Digest { .. }) => {}
                        fetched => return fetched.and_then(|()| self.directory.read(digest)),
                    }
                }
                self.fetch(remote, digest).and_then(|()| self.directory.read(digest))
            }
            (read, _) => read,
        }
    }

    /// A small file of a run, which the store has in the run's pile.
    pub fn read_of(&self, run: &RunId, digest: &Digest) -> Result<File, Error> {
        match (self.directory.read(digest), &self.remote) {
            (Err(Error::NoBlob(_)), Some(remote)) => match remote.piled(run, digest)? {
                Some(bytes) => {
                    let mut writer = self.directory.writer()?;
                    writer.write(&bytes)?;
                    writer.finish(Some(*digest)).and_then(|_| self.directory.read(digest))
                }
                None => self.read(digest),
            },
            (read, _) => read,
        }
    }

    /// Brings a blob down.
    fn fetch(&self, remote: &Remote, digest: &Digest) -> Result<(), Error> {
        let body = remote.presence.read(|| remote.store.get(&Key::Blob(*digest), 0..u64::MAX))?;
        let mut body = body.ok_or(Error::NoBlob(*digest))?;
        let mut writer = self.directory.writer()?;
        let mut piece = vec![0; PIECE];
        loop {
            let length = body.read(&mut piece).map_err(|error| remote.broken(error))?;
            if length == 0 {
                return writer.finish(Some(*digest)).map(drop);
            }
            writer.write(&piece[..length])?;
        }
    }

    /// For a blob of about so many bytes. Refused where it is large and too much waits for the store already.
    pub fn writer(&self, bytes: u64) -> Result<Writer, Error> {
        if let Some(remote) = self.remote.as_ref().filter(|remote| bytes > SMALL_BYTES && remote.is_full()) {
            return Err(Error::Full { store: remote.name.clone(), waiting: remote.spool.bytes() });
        }
        Ok(Writer { writer: self.directory.writer()?, remote: self.remote.clone() })
    }

    /// All blobs of the directory, and their lengths.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, Error> {
        self.directory.list()
    }

    /// The blobs that were not wanted since then, with their bytes and when they were wanted.
    pub fn older(&self, than: SystemTime) -> Result<Vec<(Digest, u64, SystemTime)>, Error> {
        self.directory.older(than)
    }

    /// What a blob is of.
    pub fn class(&self, digest: &Digest) -> Result<Class, Error> {
        self.directory.begins(digest).map(Class::of_blob)
    }

    /// Sends a blob of the directory to the store, where it may be from a time without one.
    pub fn send(&self, digest: &Digest) -> Result<(), Error> {
        let Some(remote) = &self.remote else { return Ok(()) };
        let path = self.directory.path(digest);
        match remote.spool.take(&Key::Blob(*digest), &path) {
            Err(_) if !path.exists() => Err(Error::NoBlob(*digest)),
            taken => taken,
        }
    }

    /// Removes a blob from the directory, unless it was wanted since then.
    pub fn remove(&self, digest: &Digest, than: SystemTime) -> Result<(), Error> {
        self.directory.remove(digest, than)
    }

    /// Removes the blobs that were wanted longest ago until at most `bound` bytes are left in the directory, never a
    /// pinned one; and what writers that died have left. What waits for the store is not lost by it.
    pub fn evict(&self, bound: u64, pinned: &HashSet<Digest>) -> Result<Evicted, Error> {
        self.directory.evict(bound, pinned)
    }
}

/// A blob under way; dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    writer: directory::Writer,
    remote: Option<Arc<Remote>>,
}

impl Writer {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.writer.write(bytes)
    }

    /// Makes the blob durable and visible, if it is the expected one. Where there is a store, that it goes there is
    /// durable too.
    pub fn finish(self, expected: Option<Digest>) -> Result<Digest, Error> {
        let whole = self.writer.check(expected)?;
        if let Some(remote) = &self.remote {
            remote.spool.take(&Key::Blob(whole.digest()), whole.path())?;
        }
        whole.keep()
    }
}
