//! Objects as files below a directory.

use std::fs::{self, DirEntry, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::checked::Checked;
use super::directory::{UNFINISHED, entries, gone, remove_if_abandoned, unfinished};
use super::key::Key;
use super::store::{Body, Head, Method, Presigned, Put, Store, When};
use crate::{Error, durable};

/// How much is read at a time.
const PIECE: usize = 256 << 10;

#[derive(Debug)]
pub(super) struct FileStore {
    directory: PathBuf,
}

impl FileStore {
    pub fn open(directory: &Path) -> Result<FileStore, Error> {
        durable::create_directory(directory)?;
        Ok(FileStore { directory: directory.to_owned() })
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.directory.join(key.to_string())
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

fn head(metadata: &fs::Metadata) -> Head {
    Head { bytes: metadata.len(), modified: metadata.modified().unwrap_or(UNIX_EPOCH) }
}

/// None for what is not there.
fn there<T>(path: &Path, asked: std::io::Result<T>) -> Result<Option<T>, Error> {
    match asked {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        asked => asked.map(Some).map_err(Error::io(path)),
    }
}

impl Store for FileStore {
    fn put(&self, key: &Key, source: &mut dyn Read, bytes: u64, when: When) -> Result<Put, Error> {
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.directory);
        durable::create_directory(folder)?;
        let mut file = unfinished(folder)?;
        let mut source = Checked::new(key, source, bytes);
        let mut piece = vec![0; PIECE];
        loop {
            let length = source.read(&mut piece)?;
            if length == 0 {
                break;
            }
            file.write_all(&piece[..length]).map_err(Error::io(file.path()))?;
        }
        source.finish()?;
        match when {
            When::Always => durable::persist(file, &path).map(|()| Put::Stored),
            When::Absent => {
                file.as_file().sync_all().map_err(Error::io(file.path()))?;
                match file.persist_noclobber(&path) {
                    Ok(_) => durable::sync_directory(folder).map(|()| Put::Stored),
                    Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(Put::Existed),
                    Err(error) => Err(Error::io(&path)(error.error)),
                }
            }
        }
    }

    fn get(&self, key: &Key, range: Range<u64>) -> Result<Option<Body>, Error> {
        let path = self.path(key);
        let Some(mut file) = there(&path, File::open(&path))? else { return Ok(None) };
        file.seek(SeekFrom::Start(range.start.min(i64::MAX as u64))).map_err(Error::io(&path))?;
        Ok(Some(Box::new(file.take(range.end.saturating_sub(range.start)))))
    }

    fn head(&self, key: &Key) -> Result<Option<Head>, Error> {
        let path = self.path(key);
        Ok(there(&path, fs::metadata(&path))?.as_ref().map(head))
    }

    fn delete(&self, key: &Key) -> Result<(), Error> {
        let path = self.path(key);
        gone(fs::remove_file(&path)).map_err(Error::io(&path))
    }

    fn list(&self, tell: &mut dyn FnMut(Key, Head)) -> Result<(), Error> {
        Key::FOLDERS.into_iter().try_for_each(|folder| self.walk(&self.directory.join(folder), tell))
    }

    fn presign(&self, _: &Key, _: Method, _: Duration) -> Result<Option<Presigned>, Error> {
        Ok(None)
    }
}
