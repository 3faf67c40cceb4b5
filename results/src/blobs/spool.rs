//! What waits to go up to a store: files in a directory, each a whole object. They are written before anything is
//! acknowledged, survive the process, and go up in the background, in order, a few at a time and at a bounded rate; when the
//! store is away they wait.
#![expect(clippy::disallowed_methods, reason = "a shell: objects go up beside everything else")]

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use seagull_domain::RunId;

use super::directory::gone;
use super::key::Key;
use super::pace::Gate;
use super::store::{Head, Put, Store, When};
use super::trouble::{Trouble, Why};
use crate::{Error, durable};

/// Objects on their way at a time.
const AT_A_TIME: usize = 4;
/// Between two tries, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How often a thread without work looks whether anybody has the spool any more.
const IDLE: Duration = Duration::from_secs(5);
/// An object that is there and younger does not go up again. An older one does, so that a store's own rule about what is
/// old does not take what is still in use.
pub const FRESH: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Called when an object is durable at the store.
pub type Arrived = Box<dyn Fn(&Key) + Send + Sync>;

#[derive(Debug, Clone)]
pub(super) struct Spool(Arc<Inner>);

struct Inner {
    directory: PathBuf,
    name: String,
    store: Arc<dyn Store>,
    state: Mutex<State>,
    changed: Condvar,
    arrived: Arrived,
    opened: Instant,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spool({})", self.directory.display())
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Of all that waits and is under way.
    bytes: u64,
    /// Failures in a row.
    failures: u32,
    /// What each passes before it goes up.
    gate: Gate,
    /// What was said of the store since it took something last.
    told: Vec<Why>,
    /// Runs of which something does not go up, which was said.
    aside: HashSet<RunId>,
    ended: bool,
}

struct Waiting {
    key: Key,
    bytes: u64,
}

impl Spool {
    /// Takes up what an earlier process has left.
    pub fn open(
        directory: &Path,
        name: &str,
        store: Arc<dyn Store>,
        arrived: Arrived,
    ) -> Result<Spool, Error> {
        durable::create_directory(directory)?;
        let mut found = Vec::new();
        for entry in super::directory::entries(directory)? {
            let metadata = entry.metadata().map_err(Error::io(&entry.path()))?;
            if let Some(key) = entry.file_name().to_str().and_then(Key::of_flat) {
                found.push((metadata.modified().ok(), Waiting { key, bytes: metadata.len() }));
            } else {
                super::directory::remove_if_abandoned(&entry)?;
            }
        }
        found.sort_by(|(a, one), (b, other)| (a, &one.key).cmp(&(b, &other.key)));
        let waiting: VecDeque<_> = found.into_iter().map(|(_, waiting)| waiting).collect();
        let bytes = waiting.iter().map(|waiting| waiting.bytes).sum();
        let state = State { waiting, bytes, ..State::default() };
        let inner = Inner {
            directory: directory.to_owned(),
            name: name.to_owned(),
            store,
            state: Mutex::new(state),
            changed: Condvar::new(),
            arrived,
            opened: Instant::now(),
        };
        let spool = Spool(Arc::new(inner));
        for _ in 0..AT_A_TIME {
            let of = Arc::downgrade(&spool.0);
            // Each holds the spool only while it has something to do, so that the last who has it ends it.
            thread::spawn(move || while of.upgrade().is_some_and(|inner| inner.send_next()) {});
        }
        Ok(spool)
    }

    /// Bytes that are not at the store yet.
    pub fn bytes(&self) -> u64 {
        self.0.lock().bytes
    }

    /// Whether the last that was heard of the store is that it takes nothing.
    pub fn is_stuck(&self) -> bool {
        !self.0.lock().told.is_empty()
    }

    /// It is said, of each run once.
    pub fn set_aside(&self, run: &RunId, why: &dyn std::fmt::Display) {
        if self.0.lock().aside.insert(run.clone()) {
            say(&format!("what {run} has left does not go to {} for now: {why}", self.0.name));
        }
    }

    pub fn is_aside(&self, run: &RunId) -> bool {
        self.0.lock().aside.contains(run)
    }

    pub fn has(&self, key: &Key) -> bool {
        self.0.path(key).exists()
    }

    /// Takes a file that is durable, whose name stays its owner's. Durable when it returns.
    pub fn take(&self, key: &Key, file: &Path) -> Result<(), Error> {
        let path = self.0.path(key);
        match fs::hard_link(file, &path) {
            // It waits already.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
            linked => linked.map_err(Error::io(&path))?,
        }
        self.taken(key)
    }

    /// A new object, which `write` writes.
    pub fn write(
        &self,
        key: &Key,
        write: impl FnOnce(&mut dyn Write) -> Result<(), std::io::Error>,
    ) -> Result<(), Error> {
        let path = self.0.path(key);
        let mut file = super::directory::unfinished(&self.0.directory)?;
        write(file.as_file_mut()).map_err(Error::io(&path))?;
        file.as_file().sync_all().map_err(Error::io(&path))?;
        file.persist(&path).map_err(|error| Error::io(&path)(error.error))?;
        self.taken(key)
    }

    fn taken(&self, key: &Key) -> Result<(), Error> {
        durable::sync_directory(&self.0.directory)?;
        let path = self.0.path(key);
        let bytes = path.metadata().map_err(Error::io(&path))?.len();
        let mut state = self.0.lock();
        state.bytes += bytes;
        state.waiting.push_back(Waiting { key: key.clone(), bytes });
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(key.flat())
    }

    /// Sends what waits longest, or waits a moment for something to send. False when all is over.
    fn send_next(&self) -> bool {
        let mut state = self.lock();
        let Some(next) = state.waiting.pop_front() else {
            drop(self.changed.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner));
            return true;
        };
        let pause = state.gate.pass(self.opened.elapsed(), next.bytes);
        drop(state);
        thread::sleep(pause);
        match self.send(&next.key) {
            Ok(()) => self.sent(&next),
            // The store takes nothing: all waits.
            Err(error) if !error.is_of_one_object() => self.not_sent(next, &error),
            Err(error) => self.set_aside(&next, &error),
        }
        !self.lock().ended
    }

    fn send(&self, key: &Key) -> Result<(), Error> {
        let path = self.path(key);
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            file => file.map_err(Error::io(&path))?,
        };
        let bytes = file.metadata().map_err(Error::io(&path))?.len();
        match key {
            Key::Blob(_) => {
                if self.store.head(key)?.is_some_and(|head| head.bytes == bytes && is_fresh(&head)) {
                    return Ok(());
                }
                self.store.put(key, &mut file, bytes, When::Always)?;
            }
            // A copy, which the next one replaces, or as good as any.
            Key::Timings(_) | Key::Pinned(_) => {
                return self.store.put(key, &mut file, bytes, When::Always).map(drop);
            }
            Key::Log(..) | Key::Stream(_) | Key::Attached(_) => {
                if self.store.put(key, &mut file, bytes, When::Absent)? == Put::Existed
                    && !self.is_same(key, &path)?
                {
                    let said = format!("{key} is there already, with another content");
                    let trouble = Trouble { why: Why::Taken, said };
                    return Err(Error::Store { store: self.name.clone(), doing: "put", trouble });
                }
            }
        }
        self.confirm(key, bytes)
    }

    /// What is here goes when the store has it, which it is asked: that it has taken it is anybody's claim.
    fn confirm(&self, key: &Key, bytes: u64) -> Result<(), Error> {
        let said = match self.store.head(key)? {
            Some(head) if head.bytes == bytes => return Ok(()),
            Some(head) => format!("{key} has {} bytes there, of {bytes} that it has taken", head.bytes),
            None => format!("{key} is not there, though it has taken it"),
        };
        let trouble = Trouble { why: Why::Foreign, said };
        Err(Error::Store { store: self.name.clone(), doing: "put", trouble })
    }

    /// Whether the store's object is the file: an answer may have been lost.
    fn is_same(&self, key: &Key, path: &Path) -> Result<bool, Error> {
        let Some(mut theirs) = self.store.get(key, 0..u64::MAX)? else { return Ok(false) };
        let mut ours = File::open(path).map_err(Error::io(path))?;
        let (mut one, mut other) = (vec![0; 64 << 10], Vec::new());
        loop {
            let length = ours.read(&mut one).map_err(Error::io(path))?;
            other.clear();
            let read = theirs.by_ref().take(length.max(1) as u64).read_to_end(&mut other);
            read.map_err(|error| {
                let trouble = Trouble { why: Why::Away, said: error.to_string() };
                Error::Store { store: self.name.clone(), doing: "get", trouble }
            })?;
            if other != one[..length] {
                return Ok(false);
            }
            if length == 0 {
                return Ok(true);
            }
        }
    }

    fn sent(&self, sent: &Waiting) {
        (self.arrived)(&sent.key);
        let path = self.path(&sent.key);
        if let Err(error) = gone(fs::remove_file(&path)) {
            say(&format!("{} stays though it is at {}: {error}", path.display(), self.name));
        }
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(sent.bytes);
        state.failures = 0;
        if !std::mem::take(&mut state.told).is_empty() {
            drop(state);
            say(&format!("{} is back; what waited goes up", self.name));
        }
    }

    /// It waits where it is, and the next process tries again.
    fn set_aside(&self, aside: &Waiting, why: &dyn std::fmt::Display) {
        let path = self.path(&aside.key);
        let mut state = self.lock();
        state.bytes = state.bytes.saturating_sub(aside.bytes);
        // What is wrong with one object of a run is as a rule wrong with all.
        let is_told = aside.key.run().is_some_and(|run| !state.aside.insert(run.clone()));
        drop(state);
        if !is_told {
            say(&format!("{} does not go to {} and stays there: {why}", path.display(), self.name));
        }
    }

    fn not_sent(&self, back: Waiting, error: &Error) {
        let mut state = self.lock();
        state.waiting.push_front(back);
        state.failures += 1;
        // It has taken nothing.
        state.gate = Gate::default();
        let pause = LONGEST_PAUSE.min(FIRST_PAUSE * (1 << state.failures.div_ceil(AT_A_TIME as u32).min(10)));
        let Error::Store { trouble: Trouble { why, .. }, .. } = error else { return };
        if !state.told.contains(why) {
            state.told.push(*why);
            let (waiting, bytes) = match (state.waiting.len(), state.bytes) {
                (1, bytes) => ("1 object waits".to_owned(), bytes),
                (objects, bytes) => (format!("{objects} objects wait"), bytes),
            };
            say(&format!("{error}\n{waiting} in {} until it does, {bytes} bytes", self.directory.display()));
        }
        // What comes meanwhile wakes nobody out of the pause: the store is as it is.
        drop(state);
        thread::sleep(jittered(pause));
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

/// Whether an object is not about to be taken for old.
pub(super) fn is_fresh(head: &Head) -> bool {
    SystemTime::now().duration_since(head.modified).is_ok_and(|age| age < FRESH)
}

/// Between half of it and all, by chance.
pub(super) fn jittered(pause: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    pause.mul_f64(0.5 + f64::from(nanos % 1000) / 2000.0)
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "warning: {text}");
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use seagull_domain::AttemptId;

    use super::super::file::FileStore;
    use super::*;
    use crate::digest;

    fn log(attempt: u64) -> Key {
        Key::Log("r".parse().unwrap(), AttemptId(attempt))
    }

    fn write(spool: &Spool, key: &Key, text: &str) {
        spool.write(key, |out| out.write_all(text.as_bytes())).unwrap();
    }

    fn until(mut there: impl FnMut() -> bool) {
        while !there() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_cannot_go_up_holds_up_nothing_else_and_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(FileStore::open(&directory.path().join("store")).unwrap());
        for (key, text) in [(log(1), "other"), (log(2), "same")] {
            store.put(&key, &mut text.as_bytes(), text.len() as u64, When::Always).unwrap();
        }
        let (arrived, arrivals) = mpsc::channel();
        let tell = move |key: &Key| arrived.send(key.clone()).unwrap();
        let path = directory.path().join("spool");
        let spool = Spool::open(&path, "file:store", store.clone(), Box::new(tell)).unwrap();
        let damaged = Key::Blob(digest(b"sound"));
        for (key, text) in [(&log(1), "mine"), (&damaged, "damaged"), (&log(2), "same"), (&log(3), "new")] {
            write(&spool, key, text);
        }
        let mut came = [arrivals.recv().unwrap(), arrivals.recv().unwrap()];
        came.sort();
        assert_eq!(came, [log(2), log(3)]);
        until(|| spool.bytes() == 0);
        assert!(spool.has(&log(1)) && spool.has(&damaged) && !spool.has(&log(2)) && !spool.has(&log(3)));
        assert!(store.head(&damaged).unwrap().is_none() && !spool.is_stuck());
        let mut kept = String::new();
        store.get(&log(1), 0..u64::MAX).unwrap().unwrap().read_to_string(&mut kept).unwrap();
        assert_eq!(kept, "other");
    }

    #[test]
    fn a_blob_that_is_there_for_long_goes_up_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::open(directory.path()).unwrap();
        let key = Key::Blob(digest(b"x"));
        let is_fresh = || is_fresh(&store.head(&key).unwrap().unwrap());
        store.put(&key, &mut &b"x"[..], 1, When::Always).unwrap();
        assert!(is_fresh());
        let file = File::options().write(true).open(directory.path().join(key.to_string())).unwrap();
        file.set_modified(SystemTime::now() - FRESH).unwrap();
        assert!(!is_fresh());
    }

    #[test]
    fn a_blob_that_is_there_with_another_length_goes_up_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        let store: Arc<dyn Store> = Arc::new(FileStore::open(&path).unwrap());
        let key = Key::Blob(digest(b"sound"));
        store.put(&key, &mut &b"sound"[..], 5, When::Always).unwrap();
        fs::write(path.join(key.to_string()), "so").unwrap();
        let spool = directory.path().join("spool");
        let spool = Spool::open(&spool, "file:store", store.clone(), Box::new(|_| {})).unwrap();
        write(&spool, &key, "sound");
        until(|| spool.bytes() == 0);
        assert_eq!(fs::read(path.join(key.to_string())).unwrap(), b"sound");
    }
}
