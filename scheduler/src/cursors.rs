//! How far each run is indexed, durably: a run is indexed from there on after a crash, and removed only when all of it is.

use std::path::Path;

use rusqlite::{OptionalExtension, params};
use seagull_domain::{RunId, Seq};

use crate::database::Database;

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

pub(crate) struct Cursors(Database);

impl Cursors {
    pub fn open(path: &Path) -> Result<Cursors, String> {
        Database::open(path, TABLE).map(Cursors)
    }

    /// The cursor of a run; one that is new begins now.
    pub fn get(&self, run: &RunId, submitted_at: u64, now: u64) -> Result<Cursor, String> {
        let select = "SELECT at, seq, done FROM cursors WHERE run = ?1 AND submitted_at = ?2";
        let cursor =
            |row: &rusqlite::Row| Ok(Cursor { at: row.get(0)?, seq: Seq(row.get(1)?), done: row.get(2)? });
        let found = self.0.with(|connection| {
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
        self.0.with(|connection| connection.execute(insert, row).map(drop))
    }

    /// Whether all of a run is indexed.
    pub fn is_done(&self, run: &RunId, submitted_at: u64) -> Result<bool, String> {
        let select = "SELECT count(*) FROM cursors WHERE run = ?1 AND submitted_at = ?2 AND done";
        let count = |row: &rusqlite::Row| row.get::<_, u32>(0);
        let row = params![run.as_str(), submitted_at];
        self.0.with(|connection| connection.query_row(select, row, count)).map(|count| count > 0)
    }

    /// Of a run that is not kept any more.
    pub fn forget(&self, run: &RunId, submitted_at: u64) -> Result<(), String> {
        let delete = "DELETE FROM cursors WHERE run = ?1 AND submitted_at = ?2";
        self.0.with(|connection| connection.execute(delete, params![run.as_str(), submitted_at]).map(drop))
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
