//! Directories that an executor keeps by name, under a bound. Several processes may share them.
//!
//! `NAME/tree` holds the files and `NAME/size` their size; the latter's modification time says when the entry was last
//! used, and a shared lock on it that it is in use. `.work-*` is an entry in the making or on its way out, locked by
//! whoever does it.

#![expect(clippy::disallowed_methods, reason = "a shell: the time of use is kept")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::remove::remove_tree;

/// Bytes of unpacked artifacts and of what setups made that an executor keeps, together.
pub(crate) const CACHE_BYTES: u64 = 20 << 30;
/// What a state directory has of them.
pub(crate) const ARTIFACTS: &str = "artifacts";
pub(crate) const SETUPS: &str = "setups";
pub(crate) const TREE: &str = "tree";
pub(crate) const SIZE: &str = "size";
const WORK: &str = ".work-";
const LOCK: &str = "lock";
/// What each file costs beside its bytes.
pub(crate) const FILE_BYTES: u64 = 4096;

/// A directory of kept ones.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub directory: PathBuf,
    /// Others that the bound is shared with.
    beside: Vec<PathBuf>,
    pub bound: u64,
}

/// An entry in use: not evicted as long as this lives.
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

impl Shelf {
    /// Keeps at most `bound` bytes, more only while all of it is in use.
    pub fn open(directory: &Path, bound: u64) -> io::Result<Shelf> {
        fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        remove_abandoned_work(&directory)?;
        Ok(Shelf { directory, beside: Vec::new(), bound })
    }

    /// Shares the bound with another directory.
    pub fn beside(mut self, other: &Path) -> Shelf {
        self.beside.push(other.to_owned());
        self
    }

    pub fn entry(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub fn pin(&self, name: &str) -> io::Result<Option<Pinned>> {
        let entry = self.entry(name);
        let lock = match File::options().append(true).open(entry.join(SIZE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            lock => lock?,
        };
        pinned(&entry, lock)
    }

    /// Takes an entry that nobody uses, and evicts it unless it `stays`. It cannot come into use meanwhile.
    pub fn take(&self, name: &str, stays: impl FnOnce(&Path) -> bool) -> io::Result<Taken> {
        let entry = self.entry(name);
        match unused(&entry) {
            Unused::Locked(lock) if stays(&entry) => {
                Ok(pinned(&entry, lock)?.map_or(Taken::InUse, Taken::Pinned))
            }
            Unused::Locked(lock) => evict(&entry, lock).map(|()| Taken::Gone),
            Unused::Gone => Ok(Taken::Gone),
            Unused::InUse => Ok(Taken::InUse),
        }
    }

    /// Puts an entry that was made elsewhere in its place, in use at once; None if there is one already.
    pub fn put(&self, made: &Path, name: &str) -> io::Result<Option<Pinned>> {
        let lock = File::open(made.join(SIZE))?;
        // Before anyone else can find it unused.
        lock.lock_shared()?;
        let entry = self.entry(name);
        match fs::rename(made, &entry) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(None),
            renamed => renamed.and_then(|()| pinned(&entry, lock)),
        }
    }

    /// Evicts what was used longest ago until so many more bytes fit, or only what is in use is left.
    pub fn make_room(&self, bytes: u64) -> io::Result<()> {
        let room = self.bound.saturating_sub(bytes);
        let shelves = self.beside.iter().chain([&self.directory]);
        let entries = shelves.filter_map(|shelf| fs::read_dir(shelf).ok()).flatten().flatten();
        let mut kept: Vec<Kept> = entries.filter_map(|entry| Kept::read(entry.path())).collect();
        kept.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        let mut bytes: u64 = kept.iter().map(|kept| kept.bytes).sum();
        for candidate in &kept {
            if bytes <= room {
                break;
            }
            if candidate.evict()? {
                bytes -= candidate.bytes;
            }
        }
        Ok(())
    }
}

/// What came of asking for an entry that nobody uses.
pub(crate) enum Taken {
    Pinned(Pinned),
    InUse,
    Gone,
}

/// None if an eviction has come between.
fn pinned(entry: &Path, lock: File) -> io::Result<Option<Pinned>> {
    lock.lock_shared()?;
    if !same_file(&lock, &entry.join(SIZE)) {
        return Ok(None);
    }
    lock.set_modified(SystemTime::now())?;
    Ok(Some(Pinned { tree: entry.join(TREE), _lock: lock }))
}

pub(crate) fn same_file(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let [file, path] = [file.metadata(), path.metadata()].map(|metadata| metadata.ok().map(identity));
    file.is_some() && file == path
}

/// A directory in which an entry is made.
pub(crate) struct Work {
    pub path: PathBuf,
    _lock: File,
}

impl Work {
    pub fn create(directory: &Path) -> io::Result<Self> {
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

/// An entry that may be evicted.
struct Kept {
    path: PathBuf,
    used: SystemTime,
    bytes: u64,
}

impl Kept {
    fn read(path: PathBuf) -> Option<Self> {
        let size = path.join(SIZE);
        let used = size.metadata().ok()?.modified().ok()?;
        let bytes = fs::read_to_string(size).ok()?.parse().ok()?;
        Some(Self { path, used, bytes })
    }

    /// `false` if it is in use.
    fn evict(&self) -> io::Result<bool> {
        match unused(&self.path) {
            Unused::Locked(lock) => evict(&self.path, lock).map(|()| true),
            Unused::Gone => Ok(true),
            Unused::InUse => Ok(false),
        }
    }
}

/// What an entry is to whoever has no use for it.
enum Unused {
    /// Nobody uses it as long as this is held.
    Locked(File),
    Gone,
    InUse,
}

fn unused(entry: &Path) -> Unused {
    let Ok(lock) = File::open(entry.join(SIZE)) else { return Unused::Gone };
    let is_free = lock.try_lock().is_ok() && same_file(&lock, &entry.join(SIZE));
    if is_free { Unused::Locked(lock) } else { Unused::InUse }
}

/// It vanishes at once, and its files with the work directory.
fn evict(entry: &Path, lock: File) -> io::Result<()> {
    let directory = entry.parent().ok_or_else(|| io::Error::other("no parent directory"))?;
    let work = Work::create(directory)?;
    fs::rename(entry, work.path.join("evicted"))?;
    // Nobody has to wait until its files are gone.
    drop(lock);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(shelf: &Shelf, name: &str, bytes: u64, used: u64) {
        fs::create_dir_all(shelf.entry(name).join(TREE)).unwrap();
        fs::write(shelf.entry(name).join(SIZE), bytes.to_string()).unwrap();
        let size = File::options().append(true).open(shelf.entry(name).join(SIZE)).unwrap();
        size.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(used)).unwrap();
    }

    #[test]
    fn only_work_that_nobody_does_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let live = Work::create(directory.path()).unwrap();
        let dead = directory.path().join(".work-dead");
        fs::create_dir_all(dead.join("entry/tree")).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        Shelf::open(directory.path(), 1).unwrap();
        assert!(live.path.exists());
        assert!(!dead.exists());
    }

    #[test]
    fn two_directories_share_a_bound_and_the_oldest_of_both_goes() {
        let top = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| top.path().join(name));
        let other = Shelf::open(&two, 100).unwrap();
        let shelf = Shelf::open(&one, 100).unwrap().beside(&two);
        keep(&shelf, "older", 40, 10);
        keep(&other, "oldest", 40, 1);
        keep(&other, "newest", 20, 20);
        shelf.make_room(0).unwrap();
        assert!(other.entry("oldest").exists());
        let in_use = other.pin("oldest").unwrap().unwrap();
        // It is used now, and in use whatever its time.
        keep(&other, "oldest", 40, 1);
        shelf.make_room(30).unwrap();
        assert!(!shelf.entry("older").exists() && in_use.path().exists());
        drop(in_use);
        shelf.make_room(60).unwrap();
        assert!(!other.entry("oldest").exists() && other.entry("newest").exists());
        assert_eq!(fs::read_dir(&two).unwrap().count(), 1);
    }
}
