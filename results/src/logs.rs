//! The logs of a run's attempts: a file each, written by offset, so that a repeated chunk changes nothing.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use seagull_domain::{AttemptId, TextRef};

use crate::Error;

/// The most that one attempt may write.
const LOG_BYTES: u64 = 4 << 30;

#[derive(Debug, Clone)]
pub struct Logs {
    directory: PathBuf,
}

impl Logs {
    pub fn open(directory: &Path) -> Result<Logs, Error> {
        std::fs::create_dir_all(directory).map_err(Error::io(directory))?;
        Ok(Logs { directory: directory.to_owned() })
    }

    fn path(&self, log: AttemptId) -> PathBuf {
        self.directory.join(format!("{log}.log"))
    }

    /// Writes a chunk where it belongs and returns how long the log is now, durably. A gap before it is refused.
    pub fn write_at(&self, log: AttemptId, offset: u64, bytes: &[u8]) -> Result<u64, Error> {
        let path = self.path(log);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open.map_err(Error::io(&path))?;
        let length = file.metadata().map_err(Error::io(&path))?.len();
        let end = offset.saturating_add(bytes.len() as u64);
        if offset > length {
            return Err(Error::Log { log: log.0, reason: "a chunk before this one is missing" });
        }
        if end > LOG_BYTES {
            return Err(Error::Log { log: log.0, reason: "it is over 4 GiB" });
        }
        if end > length {
            file.write_all_at(bytes, offset).map_err(Error::io(&path))?;
            file.sync_data().map_err(Error::io(&path))?;
        }
        Ok(end.max(length))
    }

    /// The text at a place; shorter where the log ends before it.
    pub fn read(&self, text: TextRef) -> Result<Vec<u8>, Error> {
        let path = self.path(text.log);
        let file = std::fs::File::open(&path).map_err(Error::io(&path))?;
        let length = file.metadata().map_err(Error::io(&path))?.len();
        let wanted = u64::from(text.length).min(length.saturating_sub(text.offset));
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
        file.read_exact_at(&mut bytes, text.offset).map_err(Error::io(&path))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_chunks_change_nothing_and_gaps_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::open(directory.path()).unwrap();
        let log = AttemptId(7);
        assert_eq!(logs.write_at(log, 0, b"hello ").unwrap(), 6);
        assert_eq!(logs.write_at(log, 6, b"world").unwrap(), 11);
        assert_eq!(logs.write_at(log, 0, b"hello ").unwrap(), 11);
        assert!(logs.write_at(log, 12, b"!").is_err());
        let read = |offset, length| logs.read(TextRef { log, offset, length }).unwrap();
        assert_eq!(read(6, 5), b"world");
        assert_eq!(read(6, 500), b"world");
        assert_eq!(read(600, 5), b"");
    }
}
