//! The formats of the history's file: what each adds to the one before.

use rusqlite::{Connection, TransactionBehavior};

/// What each format adds to the one before; `PRAGMA user_version` says how many there are in a file.
const FORMATS: [&str; 6] = [
    "
    DROP TABLE IF EXISTS runs;
    DROP TABLE IF EXISTS tests;
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, run TEXT NOT NULL,
        whole INTEGER NOT NULL, tests INTEGER NOT NULL, failed INTEGER NOT NULL, UNIQUE (project, run));
    CREATE INDEX runs_of_project ON runs (project, number);
    CREATE TABLE tests (
        project TEXT NOT NULL, id TEXT NOT NULL, location REAL, spread REAL, runs INTEGER NOT NULL,
        clips INTEGER NOT NULL, verdict TEXT NOT NULL, last_run INTEGER NOT NULL,
        PRIMARY KEY (project, id)) WITHOUT ROWID;
    PRAGMA user_version = 1;",
    "
    ALTER TABLE runs DROP COLUMN whole;
    ALTER TABLE runs DROP COLUMN failed;
    ALTER TABLE runs ADD COLUMN verdict TEXT NOT NULL DEFAULT '';
    ALTER TABLE runs ADD COLUMN arguments BLOB;
    PRAGMA user_version = 2;",
    "
    ALTER TABLE runs RENAME TO old_runs;
    DROP INDEX runs_of_project;
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY AUTOINCREMENT, project TEXT NOT NULL, run TEXT NOT NULL,
        submitted_at INTEGER NOT NULL, tests INTEGER NOT NULL, verdict TEXT NOT NULL, arguments BLOB,
        discovered BLOB, UNIQUE (project, run, submitted_at));
    CREATE INDEX runs_of_project ON runs (project, number);
    INSERT INTO runs SELECT number, project, run, 0, tests, verdict, arguments, NULL FROM old_runs;
    DROP TABLE old_runs;
    PRAGMA user_version = 3;",
    "
    ALTER TABLE runs ADD COLUMN bundles INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN within INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN predicted REAL NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN took REAL NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN excess REAL NOT NULL DEFAULT 0;
    ALTER TABLE runs ADD COLUMN squares REAL NOT NULL DEFAULT 0;
    PRAGMA user_version = 4;",
    "
    ALTER TABLE tests RENAME TO old_tests;
    CREATE TABLE tests (
        project TEXT NOT NULL, id TEXT NOT NULL, branch TEXT NOT NULL, location REAL, spread REAL,
        runs INTEGER NOT NULL, clips INTEGER NOT NULL, verdict TEXT NOT NULL, last_run INTEGER NOT NULL,
        PRIMARY KEY (project, id, branch)) WITHOUT ROWID;
    INSERT INTO tests SELECT project, id, '', location, spread, runs, clips, verdict, last_run FROM old_tests;
    DROP TABLE old_tests;
    CREATE TABLE setups (
        project TEXT NOT NULL, scope TEXT NOT NULL, micros REAL NOT NULL, samples INTEGER NOT NULL,
        last_run INTEGER NOT NULL, PRIMARY KEY (project, scope)) WITHOUT ROWID;
    ALTER TABLE runs ADD COLUMN branch TEXT NOT NULL DEFAULT '';
    PRAGMA user_version = 5;",
    "
    ALTER TABLE setups RENAME TO old_setups;
    CREATE TABLE setups (
        project TEXT NOT NULL, scope TEXT NOT NULL, branch TEXT NOT NULL, micros REAL NOT NULL,
        samples INTEGER NOT NULL, last_run INTEGER NOT NULL, PRIMARY KEY (project, scope, branch)) WITHOUT ROWID;
    INSERT INTO setups SELECT project, scope, '', micros, samples, last_run FROM old_setups;
    DROP TABLE old_setups;
    PRAGMA user_version = 6;",
];
pub(super) const FORMAT: i64 = FORMATS.len() as i64;

/// Creates what is not there, brings an older format up to this one, and returns the format that was found.
pub(super) fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    let version =
        |connection: &Connection| connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    // Fails where another process is about it, or has the file in use: everything works in either mode, and who opens the
    // file next tries again. What else may be wrong shows in the next statement.
    let _ = connection.pragma_update(None, "journal_mode", "WAL");
    if version(connection)? < FORMAT {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = version(&transaction)?;
        for (_, format) in (1..).zip(FORMATS).filter(|(number, _)| *number > found) {
            transaction.execute_batch(format)?;
        }
        transaction.commit()?;
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    version(connection)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::History;
    use crate::history::tests::{TRUNK, ended, passed, run};

    #[test]
    fn the_first_format_is_brought_up_to_this_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(FORMATS[0]).unwrap();
        let rows = "
            INSERT INTO runs (project, run, whole, tests, failed) VALUES ('p', 'r0', 1, 1, 0);
            INSERT INTO tests VALUES ('p', 'a', 7.0, 0.1, 3, 0, 'passed', 1);";
        old.execute_batch(rows).unwrap();
        let history = History::open(&path).unwrap();
        assert_eq!(history.load(TRUNK).unwrap().get("a").unwrap().runs, 3);
        // What that run came to is not known, so it is no good news.
        assert!(!history.last_verdicts(TRUNK).unwrap().unwrap().last_run_passed);
        history.record(&ended(&run(1)), [passed("a", 1000)].into_iter()).unwrap();
        assert!(History::open(&path).unwrap().last_verdicts(TRUNK).unwrap().unwrap().last_run_passed);
    }

    #[test]
    fn several_writers_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.sqlite");
        let (writers, runs) = (4, 10);
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let path = &path;
                scope.spawn(move || {
                    for n in 0..runs {
                        // A connection of its own each time: opening, too, is done by several at a time.
                        let history = History::open(path).unwrap();
                        let run = run(writer * 100 + n);
                        history.record(&ended(&run), [passed("a", 1000)].into_iter()).unwrap();
                    }
                });
            }
        });
        let history = History::open(&path).unwrap();
        assert_eq!(history.load(TRUNK).unwrap().get("a").unwrap().runs, writers * runs);
        let mode = "PRAGMA journal_mode";
        let mode: String = history.connection().query_row(mode, [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn what_is_no_history_or_a_newer_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let garbage = directory.path().join("garbage");
        std::fs::write(&garbage, [7; 5000]).unwrap();
        let error = History::open(&garbage).unwrap_err().to_string();
        assert!(error.contains("garbage is damaged: ") && error.contains("hint: "), "{error}");
        let newer = directory.path().join("newer");
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", FORMAT + 1).unwrap();
        let error = History::open(&newer).unwrap_err().to_string();
        assert!(error.contains("format 7") && error.contains("hint: "), "{error}");
    }
}
