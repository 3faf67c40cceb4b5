//! Objects as files below a directory.

use std::fs::{self, DirEntry, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use tempfile::NamedTempFile;

use super::checked::Checked;
use super::directory::{UNFINISHED, entries, remove_if_abandoned, unfinished};
use super::key::Key;
use super::store::{Body, Head, Method, Presigned, Put, Store, When};
use super::trouble::{Trouble, Why};
use super::url::StoreUrl;
use crate::{Error, durable};

/// How much is read at a time.
const PIECE: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct FileStore {
    directory: PathBuf,
}

impl FileStore {
    /// Makes it, which nothing else does: one that is gone later may be a mount that comes back.
    pub fn open(directory: &Path) -> Result<FileStore, Error> {
        durable::create_directory(directory)?;
        Ok(FileStore { directory: directory.to_owned() })
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(key.to_string())
    }

    fn is_there(&self, doing: &'static str) -> Result<(), Error> {
        if self.directory.is_dir() {
            return Ok(());
        }
        let said = format!("{} is not there any more", self.directory.display());
        let store = StoreUrl::File(self.directory.clone()).to_string();
        Err(Error::Store { store, doing, trouble: Trouble { why: Why::NoDirectory, said } })
    }

    /// What goes wrong in the directory is the store's trouble, and may pass: it is full, say. No object is to blame.
    fn trouble(&self, doing: &'static str) -> impl Fn(Error) -> Error + '_ {
        move |error| {
            let store = StoreUrl::File(self.directory.clone()).to_string();
            Error::Store { store, doing, trouble: Trouble { why: Why::Busy, said: error.to_string() } }
        }
    }

    /// None for what is not there, in a store that is.
    fn there<T>(
        &self,
        doing: &'static str,
        path: &Path,
        asked: std::io::Result<T>,
    ) -> Result<Option<T>, Error> {
        match asked {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == ErrorKind::NotFound => self.is_there(doing).map(|()| None),
            Err(error) => self.is_there(doing).and(Err(Error::io(path)(error))),
        }
    }

    /// Makes the folder of an object, level by level.
    fn make(&self, folder: &Path) -> Result<(), Error> {
        let mut level = self.directory.clone();
        for name in folder.strip_prefix(&self.directory).into_iter().flatten() {
            let above = level.clone();
            level.push(name);
            match fs::create_dir(&level) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => made.map_err(Error::io(&level)).and_then(|()| durable::sync_directory(&above))?,
            }
        }
        Ok(())
    }

    fn write(&self, key: &Key, source: &mut dyn Read, bytes: u64, when: When) -> Result<Put, Error> {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.directory);
        let trouble = self.trouble("put");
        self.make(folder).map_err(&trouble)?;
        let mut file = unfinished(folder).map_err(&trouble)?;
        let mut source = Checked::new(key, source, bytes);
        let mut piece = vec![0; PIECE];
        loop {
            let length = source.read(&mut piece)?;
            if length == 0 {
                break;
            }
            file.write_all(&piece[..length]).map_err(|error| trouble(Error::io(file.path())(error)))?;
        }
        source.finish()?;
        match when {
            When::Always => durable::persist(file, &path).map(|()| Put::Stored),
            When::Absent => persist_new(file, &path, folder),
        }
        .map_err(&trouble)
    }

    /// Everything below a folder of the store; what writers that died have left is removed on the way.
    fn walk(&self, below: &Path, tell: &mut dyn FnMut(Key, Head)) -> Result<(), Error> {
        let found = match fs::read_dir(below) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io(below)(error)),
            Ok(_) => entries(below)?,
        };
        for entry in found {
            let path = entry.path();
            if path.is_dir() {
                self.walk(&path, tell)?;
            } else if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                remove_if_abandoned(&entry)?;
            } else if let Some((key, head)) = self.object(&entry) {
                tell(key, head);
            }
        }
        Ok(())
    }

    fn object(&self, entry: &DirEntry) -> Option<(Key, Head)> {
        let path = entry.path();
        let key = path.strip_prefix(&self.directory).ok()?.to_str()?.parse().ok()?;
        Some((key, head(&entry.metadata().ok()?)))
    }
}

fn persist_new(file: NamedTempFile, path: &Path, folder: &Path) -> Result<Put, Error> {
    file.as_file().sync_all().map_err(Error::io(file.path()))?;
    match file.persist_noclobber(path) {
        Ok(_) => durable::sync_directory(folder).map(|()| Put::Stored),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(Put::Existed),
        Err(error) => Err(Error::io(path)(error.error)),
    }
}

fn head(metadata: &fs::Metadata) -> Head {
    Head { bytes: metadata.len(), modified: metadata.modified().unwrap_or(UNIX_EPOCH) }
}

impl Store for FileStore {
    fn put(&self, key: &Key, source: &mut dyn Read, bytes: u64, when: When) -> Result<Put, Error> {
        self.write(key, source, bytes, when).or_else(|error| self.is_there("put").and(Err(error)))
    }

    fn get(&self, key: &Key, range: Range<u64>) -> Result<Option<Body>, Error> {
        let path = self.path(key);
        let Some(mut file) = self.there("get", &path, File::open(&path))? else { return Ok(None) };
        file.seek(SeekFrom::Start(range.start.min(i64::MAX as u64))).map_err(Error::io(&path))?;
        Ok(Some(Box::new(file.take(range.end.saturating_sub(range.start)))))
    }

    fn head(&self, key: &Key) -> Result<Option<Head>, Error> {
        let path = self.path(key);
        Ok(self.there("head", &path, fs::metadata(&path))?.as_ref().map(head))
    }

    fn delete(&self, key: &Key) -> Result<(), Error> {
        let path = self.path(key);
        self.there("delete", &path, fs::remove_file(&path)).map(drop)
    }

    fn list(&self, tell: &mut dyn FnMut(Key, Head)) -> Result<(), Error> {
        self.is_there("list")?;
        Key::FOLDERS.into_iter().try_for_each(|folder| self.walk(&self.directory.join(folder), tell))
    }

    fn presign(&self, _: &Key, _: Method, _: Duration) -> Result<Option<Presigned>, Error> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_whose_directory_is_gone_is_away_and_is_not_made_anew() {
        let mount = tempfile::tempdir().unwrap();
        let [path, elsewhere] = ["store", "elsewhere"].map(|name| mount.path().join(name));
        let store = FileStore::open(&path).unwrap();
        let key = Key::Blob(crate::digest(b"x"));
        let put = || store.put(&key, &mut &b"x"[..], 1, When::Absent);
        fs::rename(&path, &elsewhere).unwrap();
        let asked = [
            put().map(drop),
            store.get(&key, 0..1).map(drop),
            store.head(&key).map(drop),
            store.delete(&key),
            store.list(&mut |_, _| {}),
        ];
        for outcome in asked {
            let error = outcome.unwrap_err();
            assert!(!error.is_of_one_object(), "all waits: {error}");
            assert!(error.to_string().contains("is not there any more\nhint: mount it"), "{error}");
        }
        assert!(!path.exists());
        fs::rename(&elsewhere, &path).unwrap();
        assert!(store.head(&key).unwrap().is_none());
        assert_eq!((put().unwrap(), put().unwrap()), (Put::Stored, Put::Existed));
        store.delete(&key).and_then(|()| store.delete(&key)).unwrap();
    }

    #[test]
    fn a_directory_that_takes_nothing_is_the_stores_trouble_and_no_objects() {
        let directory = tempfile::tempdir().unwrap();
        let store = FileStore::open(directory.path()).unwrap();
        let key = Key::Blob(crate::digest(b"x"));
        let in_the_way = directory.path().join("blobs");
        fs::write(&in_the_way, "").unwrap();
        let error = store.put(&key, &mut &b"x"[..], 1, When::Absent).unwrap_err();
        assert!(!error.is_of_one_object(), "all waits: {error}");
        fs::remove_file(&in_the_way).unwrap();
        let broken_off = store.put(&key, &mut &b"x"[..], 2, When::Absent).unwrap_err();
        assert!(broken_off.is_of_one_object(), "{broken_off}");
        assert_eq!(store.put(&key, &mut &b"x"[..], 1, When::Absent).unwrap(), Put::Stored);
    }
}
