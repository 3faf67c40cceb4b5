//! The logs of a run's attempts: a file each, written by offset, so that a repeated chunk changes nothing.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use seagull_domain::{AttemptId, TextRef};

use crate::Error;
use crate::durable;

/// The most that one attempt may write.
const LOG_BYTES: u64 = 4 << 30;
/// The most that is read at a time: a text's length is somebody else's claim.
const TEXT_BYTES: u64 = 16 << 20;

#[derive(Debug, Clone)]
pub struct Logs {
    directory: PathBuf,
    bound: u64,
}

impl Logs {
    pub fn open(directory: &Path) -> Result<Logs, Error> {
        Self::bounded(directory, LOG_BYTES)
    }

    /// Logs of at most `bound` bytes each.
    pub fn bounded(directory: &Path, bound: u64) -> Result<Logs, Error> {
        durable::create_directory(directory)?;
        Ok(Logs { directory: directory.to_owned(), bound })
    }

    fn path(&self, log: AttemptId) -> PathBuf {
        self.directory.join(format!("{log}.log"))
    }

    /// Writes what is new in a chunk and returns how long the log is now, durably. A gap before it is refused.
    pub fn write_at(&self, log: AttemptId, offset: u64, bytes: &[u8]) -> Result<u64, Error> {
        let path = self.path(log);
        let file = self.open_or_create(&path)?;
        let length = file.metadata().map_err(Error::io(&path))?.len();
        let end = offset.saturating_add(bytes.len() as u64);
        if offset > length {
            return Err(Error::Log { log: log.0, reason: "a chunk before this one is missing" });
        }
        if end > self.bound {
            return Err(Error::Log { log: log.0, reason: "it is over its bound" });
        }
        if end > length {
            let known = usize::try_from(length - offset).unwrap_or(bytes.len());
            file.write_all_at(&bytes[known..], length).map_err(Error::io(&path))?;
        }
        // A repeated chunk too: that it is repeated may mean that it was written and not yet durable.
        file.sync_data().map_err(Error::io(&path))?;
        Ok(end.max(length))
    }

    fn open_or_create(&self, path: &Path) -> Result<File, Error> {
        let options = || OpenOptions::new().read(true).write(true).clone();
        if let Ok(file) = options().open(path) {
            return Ok(file);
        }
        let file = options().create(true).truncate(false).open(path).map_err(Error::io(path))?;
        durable::sync_directory(&self.directory)?;
        Ok(file)
    }

    /// The text at a place; shorter where the log ends before it, or where it is over 16 MiB.
    pub fn read(&self, text: TextRef) -> Result<Vec<u8>, Error> {
        let path = self.path(text.log);
        let file = File::open(&path).map_err(Error::io(&path))?;
        let length = file.metadata().map_err(Error::io(&path))?.len();
        let wanted = u64::from(text.length).min(length.saturating_sub(text.offset)).min(TEXT_BYTES);
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
        file.read_exact_at(&mut bytes, text.offset).map_err(Error::io(&path))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: AttemptId = AttemptId(7);

    fn read(logs: &Logs, offset: u64, length: u32) -> Vec<u8> {
        logs.read(TextRef { log: LOG, offset, length }).unwrap()
    }

    #[test]
    fn repeated_chunks_change_nothing_and_gaps_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::open(directory.path()).unwrap();
        assert_eq!(logs.write_at(LOG, 0, b"hello ").unwrap(), 6);
        assert_eq!(logs.write_at(LOG, 6, b"world").unwrap(), 11);
        assert_eq!(logs.write_at(LOG, 0, b"HELLO ").unwrap(), 11);
        assert_eq!(logs.write_at(LOG, 6, b"WORLD!").unwrap(), 12);
        assert!(logs.write_at(LOG, 13, b"!").is_err());
        assert_eq!(read(&logs, 0, 50), b"hello world!");
        assert_eq!(read(&logs, 6, 5), b"world");
        assert_eq!(read(&logs, 600, 5), b"");
        assert_eq!(read(&logs, u64::MAX, u32::MAX), b"");
    }

    #[test]
    fn a_log_is_bounded_and_unknown_ones_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::bounded(directory.path(), 10).unwrap();
        assert_eq!(logs.write_at(LOG, 0, b"0123456789").unwrap(), 10);
        assert!(logs.write_at(LOG, 10, b"x").is_err());
        assert!(logs.write_at(LOG, 0, b"0123456789x").is_err());
        assert_eq!(read(&logs, 0, 50), b"0123456789");
        assert!(logs.read(TextRef { log: AttemptId(8), offset: 0, length: 1 }).is_err());
    }
}
