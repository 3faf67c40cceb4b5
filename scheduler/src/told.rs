//! What an index elsewhere has told of how long tests take, kept for when it is away.

use std::path::Path;

use rusqlite::{OptionalExtension, params};
use seagull_results::index::Learned;
use serde::{Deserialize, Serialize};

use crate::database::Database;

/// One format so far; `PRAGMA user_version` says so.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS told (
    project TEXT PRIMARY KEY, at INTEGER NOT NULL, learned TEXT NOT NULL);
    PRAGMA user_version = 1;";

pub(crate) struct Told(Database);

/// All that was told of a project.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Unix milliseconds.
    pub at: u64,
    pub learned: Vec<Learned>,
}

impl Told {
    pub fn open(path: &Path) -> Result<Told, String> {
        Database::open(path, TABLE).map(Told)
    }

    /// What was told last, if anything was.
    pub fn get(&self, project: &str) -> Result<Option<Snapshot>, String> {
        let select = "SELECT at, learned FROM told WHERE project = ?1";
        let row = |row: &rusqlite::Row| Ok((row.get(0)?, row.get::<_, String>(1)?));
        let found = self.0.with(|connection| connection.query_row(select, [project], row).optional())?;
        let Some((at, text)) = found else { return Ok(None) };
        let learned = serde_json::from_str(&text);
        let learned = learned.map_err(|error| self.0.named(error))?;
        Ok(Some(Snapshot { at, learned }))
    }

    pub fn set(&self, project: &str, snapshot: &Snapshot) -> Result<(), String> {
        let text = serde_json::to_string(&snapshot.learned).map_err(|error| error.to_string())?;
        let insert = "INSERT OR REPLACE INTO told VALUES (?1, ?2, ?3)";
        let row = params![project, snapshot.at, text];
        self.0.with(|connection| connection.execute(insert, row).map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_last_outlives_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("timings.sqlite");
        let snapshot = |at| Snapshot { at, learned: vec![Learned("a.py::t".into(), at as f32, 0.5, 3, -1)] };
        let told = Told::open(&path).unwrap();
        assert_eq!(told.get("p"), Ok(None));
        told.set("p", &snapshot(1)).unwrap();
        told.set("p", &snapshot(2)).unwrap();
        drop(told);
        let told = Told::open(&path).unwrap();
        assert_eq!((told.get("p"), told.get("q")), (Ok(Some(snapshot(2))), Ok(None)));
    }
}
