//! The logs of a run's attempts: a file each, written by offset, so that a repeated chunk changes nothing.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seagull_domain::{AttemptId, RunId, TextRef};

use crate::blobs::{Key, Remote, gone};
use crate::{Error, durable};

/// The most that is kept of one log.
pub const LOG_BYTES: u64 = 4 << 30;
/// The most that is read at a time: a text's length is somebody else's claim.
const TEXT_BYTES: u64 = 16 << 20;

#[derive(Debug, Clone)]
pub struct Logs {
    directory: PathBuf,
    bound: u64,
    /// Where logs go when their run has ended, and the run.
    packed: Option<(Arc<Remote>, RunId)>,
}

impl Logs {
    /// The directory is made with the first log.
    pub fn new(directory: &Path) -> Logs {
        Self::bounded(directory, LOG_BYTES)
    }

    /// Logs of at most `bound` bytes each.
    pub fn bounded(directory: &Path, bound: u64) -> Logs {
        Logs { directory: directory.to_owned(), bound, packed: None }
    }

    /// Those of this run, which are packed into a store when it has ended.
    #[must_use]
    pub fn packed_into(self, remote: Option<Arc<Remote>>, run: &RunId) -> Logs {
        Logs { packed: remote.map(|remote| (remote, run.clone())), ..self }
    }

    fn path(&self, log: AttemptId) -> PathBuf {
        self.directory.join(format!("{log}.log"))
    }

    /// Writes what is new in a chunk and returns how long the log is now, durably. Nothing is new in a chunk after a
    /// gap, nor beyond the bound.
    pub fn write_at(&self, log: AttemptId, offset: u64, bytes: &[u8]) -> Result<u64, Error> {
        let path = self.path(log);
        let file = self.open_or_create(&path)?;
        let length = file.metadata().map_err(Error::io(&path))?.len();
        let end = offset.saturating_add(bytes.len() as u64).min(self.bound);
        let end = if offset > length { length } else { end.max(length) };
        if end > length {
            let [known, new] = [length, end].map(|at| usize::try_from(at - offset).unwrap_or(bytes.len()));
            file.write_all_at(&bytes[known..new], length).map_err(Error::io(&path))?;
        }
        // A repeated chunk too: that it is repeated may mean that it was written and not yet durable.
        file.sync_data().map_err(Error::io(&path))?;
        Ok(end)
    }

    fn open_or_create(&self, path: &Path) -> Result<File, Error> {
        let options = || OpenOptions::new().read(true).write(true).clone();
        if let Ok(file) = options().open(path) {
            return Ok(file);
        }
        durable::create_directory(&self.directory)?;
        let file = options().create(true).truncate(false).open(path).map_err(Error::io(path))?;
        durable::sync_directory(&self.directory)?;
        Ok(file)
    }

    /// The text at a place; shorter where the log ends before it, or where it is over 16 MiB. None without such a log.
    pub fn read(&self, text: TextRef) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(text.log);
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return self.read_packed(text),
            file => file.map_err(Error::io(&path))?,
        };
        let length = file.metadata().map_err(Error::io(&path))?.len();
        let wanted = u64::from(text.length).min(length.saturating_sub(text.offset)).min(TEXT_BYTES);
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
        file.read_exact_at(&mut bytes, text.offset).map_err(Error::io(&path))?;
        Ok(Some(bytes))
    }

    fn read_packed(&self, text: TextRef) -> Result<Option<Vec<u8>>, Error> {
        let Some((remote, run)) = &self.packed else { return Ok(None) };
        let log = Key::Log(run.clone(), text.log);
        remote.text(&log, text.offset, u64::from(text.length).min(TEXT_BYTES))
    }

    /// Packs the logs that are here and do not wait for the store yet. Each stays until [`Self::forget`].
    pub fn pack(&self) -> Result<(), Error> {
        let Some((remote, run)) = &self.packed else { return Ok(()) };
        for (log, path) in self.unpacked()? {
            // One that has arrived meanwhile is not there any more.
            if let Some(mut file) = there(&path, File::open(&path))? {
                remote.pack(&Key::Log(run.clone(), log), &mut file)?;
            }
        }
        Ok(())
    }

    /// Whether every log is packed.
    pub fn are_packed(&self) -> Result<bool, Error> {
        Ok(self.packed.is_none() || self.unpacked()?.is_empty())
    }

    fn unpacked(&self) -> Result<Vec<(AttemptId, PathBuf)>, Error> {
        let Some((remote, run)) = &self.packed else { return Ok(Vec::new()) };
        Ok(left(self.here()?, |log| remote.has_packed(&Key::Log(run.clone(), log))))
    }

    fn here(&self) -> Result<Vec<(AttemptId, PathBuf)>, Error> {
        let Some(entries) = there(&self.directory, std::fs::read_dir(&self.directory))? else {
            return Ok(Vec::new());
        };
        let logs = entries.filter_map(|entry| {
            let path = entry.ok()?.path();
            let log: AttemptId = path.file_name()?.to_str()?.strip_suffix(".log")?.parse().ok()?;
            Some((log, path))
        });
        let mut logs: Vec<_> = logs.collect();
        logs.sort();
        Ok(logs)
    }

    /// The logs that are here, and their lengths.
    pub fn list(&self) -> Result<Vec<(AttemptId, u64)>, Error> {
        let mut logs = Vec::new();
        for (log, path) in self.here()? {
            logs.extend(there(&path, path.metadata())?.map(|file| (log, file.len())));
        }
        Ok(logs)
    }

    /// Removes a log that is kept elsewhere, or not any more.
    pub fn forget(&self, log: AttemptId) -> Result<(), Error> {
        let path = self.path(log);
        gone(std::fs::remove_file(&path)).map_err(Error::io(&path))
    }
}

/// Those of these logs that do not wait. One that arrives is first removed here, and then waits no more: so that which does
/// not wait is looked for once more.
fn left(mut logs: Vec<(AttemptId, PathBuf)>, waits: impl Fn(AttemptId) -> bool) -> Vec<(AttemptId, PathBuf)> {
    logs.retain(|(log, path)| !waits(*log) && path.exists());
    logs
}

/// None for what is not there.
fn there<T>(path: &Path, asked: std::io::Result<T>) -> Result<Option<T>, Error> {
    match asked {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        asked => asked.map(Some).map_err(Error::io(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: AttemptId = AttemptId(7);

    fn read(logs: &Logs, offset: u64, length: u32) -> Vec<u8> {
        logs.read(TextRef { log: LOG, offset, length }).unwrap().unwrap()
    }

    #[test]
    fn repeated_chunks_and_those_after_a_gap_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::new(directory.path());
        assert_eq!(logs.write_at(LOG, 0, b"hello ").unwrap(), 6);
        assert_eq!(logs.write_at(LOG, 6, b"world").unwrap(), 11);
        assert_eq!(logs.write_at(LOG, 0, b"HELLO ").unwrap(), 11);
        assert_eq!(logs.write_at(LOG, 6, b"WORLD!").unwrap(), 12);
        assert_eq!(logs.write_at(LOG, 13, b"!").unwrap(), 12);
        assert_eq!(read(&logs, 0, 50), b"hello world!");
        assert_eq!(read(&logs, 6, 5), b"world");
        assert_eq!(read(&logs, 600, 5), b"");
        assert_eq!(read(&logs, u64::MAX, u32::MAX), b"");
    }

    #[test]
    fn a_log_takes_no_more_than_its_bound() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::bounded(directory.path(), 10);
        assert_eq!(logs.write_at(LOG, 0, b"01234567").unwrap(), 8);
        assert_eq!(logs.write_at(LOG, 6, b"6789x").unwrap(), 10);
        assert_eq!(logs.write_at(LOG, 10, b"x").unwrap(), 10);
        assert_eq!(logs.write_at(LOG, u64::MAX, b"x").unwrap(), 10);
        assert_eq!(read(&logs, 0, 50), b"0123456789");
    }

    #[test]
    fn a_log_that_arrives_while_it_is_asked_about_is_not_left() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::new(directory.path());
        for log in [1, 2, 3] {
            logs.write_at(AttemptId(log), 0, b"x").unwrap();
        }
        let waits = |log: AttemptId| match log.0 {
            1 => true,
            2 => logs.forget(log).map(|()| false).unwrap(),
            _ => false,
        };
        let left: Vec<_> = left(logs.here().unwrap(), waits).into_iter().map(|(log, _)| log.0).collect();
        assert_eq!(left, [3]);
    }

    #[test]
    fn what_is_not_there_is_not_made_by_reading() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("r/logs");
        let logs = Logs::new(&directory);
        let text = TextRef { log: LOG, offset: 0, length: 1 };
        assert_eq!(logs.read(text).unwrap(), None);
        assert!(!directory.exists());
        assert_eq!(logs.write_at(LOG, 0, b"x").unwrap(), 1);
        assert_eq!(logs.read(text).unwrap().unwrap(), b"x");
        assert_eq!(logs.read(TextRef { log: AttemptId(8), ..text }).unwrap(), None);
    }
}
