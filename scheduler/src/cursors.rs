//! How far each run is indexed, durably: a run is indexed from there on after a crash, and removed only when all of it is.
#![expect(clippy::disallowed_methods, reason = "a shell: SQLite blocks")]

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension, params};
use seagull_domain::{RunId, Seq};

/// One format so far; `PRAGMA user_version` says so.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS cursors (
    run TEXT NOT NULL, submitted_at INTEGER NOT NULL, at INTEGER NOT NULL, seq INTEGER NOT NULL,
    done INTEGER NOT NULL, PRIMARY KEY (run, submitted_at)) WITHOUT ROWID;
    PRAGMA user_version = 1;";

/// How far a run is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// When it was first seen, in Unix milliseconds: it decides which indices its documents are in.
    pub at: u64,
    /// All documents of the facts up to here are written or set aside.
    pub seq: Seq,
    /// It has ended, and nothing of it is left to be written.
    pub done: bool,
}

pub(crate) struct Cursors {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Cursors {
    pub fn open(path: &Path) -> Result<Cursors, String> {
        let connection = Connection::open(path).and_then(|connection| {
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute_batch(TABLE)?;
            Ok(connection)
        });
        let connection = connection.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Cursors { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, String> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// The cursor of a run; one that is new begins now.
    pub fn get(&self, run: &RunId, submitted_at: u64, now: u64) -> Result<Cursor, String> {
        let select = "SELECT at, seq, done FROM cursors WHERE run = ?1 AND submitted_at = ?2";
        let cursor =
            |row: &rusqlite::Row| Ok(Cursor { at: row.get(0)?, seq: Seq(row.get(1)?), done: row.get(2)? });
        let found = self.with(|connection| {
            connection.query_row(select, params![run.as_str(), submitted_at], cursor).optional()
        });
        if let Some(found) = found? {
            return Ok(found);
        }
        let new = Cursor { at: now, seq: Seq(0), done: false };
        self.set(run, submitted_at, new).map(|()| new)
    }

    /// Durable when it returns.
    pub fn set(&self, run: &RunId, submitted_at: u64, cursor: Cursor) -> Result<(), String> {
        let insert = "INSERT OR REPLACE INTO cursors VALUES (?1, ?2, ?3, ?4, ?5)";
        let Cursor { at, seq, done } = cursor;
        let row = params![run.as_str(), submitted_at, at, seq.0, done];
        self.with(|connection| connection.execute(insert, row).map(drop))
    }

    /// Whether all of a run is indexed.
    pub fn is_done(&self, run: &RunId, submitted_at: u64) -> Result<bool, String> {
        let select = "SELECT count(*) FROM cursors WHERE run = ?1 AND submitted_at = ?2 AND done";
        let count = |row: &rusqlite::Row| row.get::<_, u32>(0);
        let row = params![run.as_str(), submitted_at];
        self.with(|connection| connection.query_row(select, row, count)).map(|count| count > 0)
    }

    /// Of a run that is not kept any more.
    pub fn forget(&self, run: &RunId, submitted_at: u64) -> Result<(), String> {
        let delete = "DELETE FROM cursors WHERE run = ?1 AND submitted_at = ?2";
        self.with(|connection| connection.execute(delete, params![run.as_str(), submitted_at]).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_outlives_its_process_and_is_of_one_run_of_an_id() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cursors.sqlite");
        let run: RunId = "r".parse().unwrap();
        let cursors = Cursors::open(&path).unwrap();
        let new = cursors.get(&run, 7, 100).unwrap();
        assert_eq!(new, Cursor { at: 100, seq: Seq(0), done: false });
        cursors.set(&run, 7, Cursor { seq: Seq(5), ..new }).unwrap();
        drop(cursors);
        let cursors = Cursors::open(&path).unwrap();
        assert_eq!(cursors.get(&run, 7, 200).unwrap(), Cursor { at: 100, seq: Seq(5), done: false });
        assert!(!cursors.is_done(&run, 7).unwrap());
        cursors.set(&run, 7, Cursor { at: 100, seq: Seq(9), done: true }).unwrap();
        assert!(cursors.is_done(&run, 7).unwrap() && !cursors.is_done(&run, 8).unwrap());
        cursors.forget(&run, 7).unwrap();
        assert!(!cursors.is_done(&run, 7).unwrap());
    }
}
