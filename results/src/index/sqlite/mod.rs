//! The index in SQLite: tables of their own, in a file of its own or in the one with the history of a state directory.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell: SQLite blocks, and those who ask share one connection"
)]

mod ask;
mod store;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, TransactionBehavior};
use seagull_domain::{CameTo, FailureGroup, PastRun, Ranked, Ranking, RunId, RunOverview, RunPlace};

use super::document::{Document, run_key};
use super::{Error, Fate, Index, ResultsAsked, TakeLearned, Window};

const BUSY: Duration = Duration::from_secs(30);
/// Results that are kept; then whole runs are forgotten, the oldest first. About 120 bytes each, and 4 KiB for each failure.
const MOST_RESULTS: u64 = 5_000_000;
/// What each format adds to the one before; the table `index_format` says how many there are in a file. What is written is
/// in the streams of runs as well: a format that cannot go on from the one before may begin anew.
const FORMATS: [&str; 1] = ["
    CREATE TABLE indexed_runs (
        number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, project TEXT NOT NULL,
        run TEXT NOT NULL, submitted_at INTEGER NOT NULL, at INTEGER NOT NULL, owner TEXT NOT NULL DEFAULT '',
        rev TEXT NOT NULL DEFAULT '', revision TEXT NOT NULL DEFAULT '', rerun_of TEXT,
        tests INTEGER NOT NULL DEFAULT 0, verdict TEXT, ended_at INTEGER, exit_code INTEGER NOT NULL DEFAULT 0,
        suite_errors INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0,
        passed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0, skipped INTEGER NOT NULL DEFAULT 0,
        flaky INTEGER NOT NULL DEFAULT 0, quarantined INTEGER NOT NULL DEFAULT 0,
        not_executed INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX indexed_runs_of_project ON indexed_runs (project, at);
    CREATE INDEX indexed_runs_of_id ON indexed_runs (run);
    CREATE TABLE indexed_tests (
        number INTEGER PRIMARY KEY, project TEXT NOT NULL, test TEXT NOT NULL, UNIQUE (project, test));
    CREATE TABLE indexed_results (
        run INTEGER NOT NULL, position INTEGER NOT NULL, version INTEGER NOT NULL, test INTEGER NOT NULL,
        verdict TEXT NOT NULL, why TEXT NOT NULL, results INTEGER NOT NULL, failed INTEGER NOT NULL,
        micros INTEGER, executor TEXT, PRIMARY KEY (run, position)) WITHOUT ROWID;
    CREATE INDEX indexed_results_of_test ON indexed_results (test, run);
    CREATE TABLE indexed_failures (
        number INTEGER PRIMARY KEY, run INTEGER NOT NULL, position INTEGER NOT NULL, fingerprint TEXT NOT NULL,
        message TEXT NOT NULL, location TEXT NOT NULL, stack TEXT NOT NULL, UNIQUE (run, position));
    CREATE VIRTUAL TABLE indexed_words USING fts5 (
        words, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii');
    CREATE TABLE indexed_bundles (
        run INTEGER NOT NULL, bundle INTEGER NOT NULL, version INTEGER NOT NULL, tests INTEGER NOT NULL,
        predicted INTEGER, anew INTEGER NOT NULL, PRIMARY KEY (run, bundle)) WITHOUT ROWID;
    CREATE TABLE indexed_attempts (
        run INTEGER NOT NULL, attempt INTEGER NOT NULL, version INTEGER NOT NULL, bundle INTEGER,
        executor TEXT NOT NULL, slot INTEGER NOT NULL, tests INTEGER NOT NULL, left INTEGER NOT NULL,
        end TEXT NOT NULL, lost INTEGER NOT NULL, PRIMARY KEY (run, attempt)) WITHOUT ROWID;
    CREATE TABLE indexed_timings (
        project TEXT NOT NULL, part INTEGER NOT NULL, version INTEGER NOT NULL, learned BLOB NOT NULL,
        PRIMARY KEY (project, part)) WITHOUT ROWID;"];
const FORMAT: i64 = FORMATS.len() as i64;

#[derive(Debug, Clone)]
pub struct SqliteIndex {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
    most_results: u64,
}

impl SqliteIndex {
    pub fn open(path: &Path) -> Result<SqliteIndex, crate::Error> {
        let sqlite = crate::Error::history(path);
        let mut connection = Connection::open(path).map_err(sqlite)?;
        connection.busy_timeout(BUSY).map_err(sqlite)?;
        let found = prepare(&mut connection).map_err(sqlite)?;
        if found > FORMAT {
            return Err(crate::Error::Newer { path: path.to_owned(), found, known: FORMAT });
        }
        let connection = Arc::new(Mutex::new(connection));
        Ok(SqliteIndex { path: path.to_owned(), connection, most_results: MOST_RESULTS })
    }

    /// Keeps at most so many results.
    pub fn bounded(self, most_results: u64) -> SqliteIndex {
        SqliteIndex { most_results, ..self }
    }

    /// Writes documents in one transaction.
    pub fn store(&self, documents: &[Document]) -> Result<(), crate::Error> {
        self.with(|connection, bound| store::write(connection, documents, bound))
    }

    /// Whether it has a run that has ended.
    pub fn has_ended(&self, run: &RunId, submitted_at: u64) -> Result<bool, crate::Error> {
        self.with(|connection, _| ask::has_ended(connection, &run_key(run, submitted_at)))
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection, u64) -> rusqlite::Result<T>,
    ) -> Result<T, crate::Error> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let sqlite = |source| crate::Error::Sqlite { path: self.path.clone(), source };
        work(&mut connection, self.most_results).map_err(sqlite)
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let of = self.clone();
        let done = tokio::task::spawn_blocking(move || of.with(|connection, _| work(connection))).await;
        let unavailable = |why: String| Error::Unavailable { index: self.name(), why };
        match done {
            Ok(done) => done.map_err(|error| unavailable(error.to_string())),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }

    fn name(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }
}

/// Creates what is not there and brings an older format up to this one; returns the format there is now.
fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
    // As with the history: where another process has it in use, it works in either mode.
    let _ = connection.pragma_update(None, "journal_mode", "WAL");
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let version = "SELECT coalesce((SELECT max(format) FROM index_format), 0)";
    let is_there = "SELECT count(*) FROM sqlite_master WHERE name = 'index_format'";
    let number =
        |connection: &Connection, select| connection.query_row(select, [], |row| row.get::<_, i64>(0));
    let found = if number(connection, is_there)? > 0 { number(connection, version)? } else { 0 };
    if found >= FORMAT {
        return Ok(found);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch("CREATE TABLE IF NOT EXISTS index_format (format INTEGER NOT NULL)")?;
    let found = number(&transaction, version)?;
    for (format, sql) in (1..).zip(FORMATS).filter(|(format, _)| *format > found) {
        transaction.execute_batch(sql)?;
        transaction.execute("INSERT INTO index_format VALUES (?1)", [format])?;
    }
    transaction.commit()?;
    Ok(found.max(FORMAT))
}

#[async_trait]
impl Index for SqliteIndex {
    async fn prepare(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn write(&self, documents: &[Document]) -> Result<Vec<Fate>, Error> {
        let (documents, bound) = (documents.to_vec(), self.most_results);
        let written = documents.len();
        self.on_thread(move |connection| store::write(connection, &documents, bound)).await?;
        Ok(vec![Fate::Written; written])
    }

    async fn runs(
        &self,
        project: Option<&str>,
        after: Option<&RunPlace>,
        limit: usize,
    ) -> Result<Vec<RunOverview>, Error> {
        let (project, after) = (project.map(str::to_owned), after.cloned());
        let ask = move |connection: &mut Connection| {
            ask::runs(connection, project.as_deref(), after.as_ref(), limit)
        };
        self.on_thread(ask).await
    }

    async fn results(&self, run: &RunId, asked: &ResultsAsked) -> Result<Option<Vec<CameTo>>, Error> {
        let (run, asked) = (run.clone(), asked.clone());
        self.on_thread(move |connection| ask::results(connection, &run, &asked)).await
    }

    async fn history(&self, project: &str, test: &str, runs: usize) -> Result<(Vec<PastRun>, u32), Error> {
        let (project, test) = (project.to_owned(), test.to_owned());
        self.on_thread(move |connection| ask::history(connection, &project, &test, runs)).await
    }

    async fn ranked(
        &self,
        project: &str,
        ranking: Ranking,
        window: Window,
        limit: usize,
    ) -> Result<Vec<Ranked>, Error> {
        let project = project.to_owned();
        self.on_thread(move |connection| ask::ranked(connection, &project, ranking, window, limit)).await
    }

    async fn search(
        &self,
        project: &str,
        text: &str,
        window: Window,
        limit: usize,
    ) -> Result<Vec<FailureGroup>, Error> {
        let (project, words) = (project.to_owned(), super::words(text));
        self.on_thread(move |connection| ask::search(connection, &project, &words, window, limit)).await
    }

    async fn forget(&self, before: u64, kept: &HashSet<RunId>, dry_run: bool) -> Result<Vec<String>, Error> {
        let mut old = self.on_thread(move |connection| ask::seen_before(connection, before)).await?;
        old.retain(|(_, run)| !run.parse().is_ok_and(|run: RunId| kept.contains(&run)));
        let (numbers, runs): (Vec<i64>, Vec<String>) = old.into_iter().unzip();
        if !dry_run {
            self.on_thread(move |connection| store::remove(connection, &numbers)).await?;
        }
        Ok(runs)
    }

    async fn timings(&self, project: &str, take: TakeLearned<'_>) -> Result<usize, Error> {
        let project = project.to_owned();
        let learned = self.on_thread(move |connection| ask::timings(connection, &project)).await?;
        let count = learned.len();
        learned.into_iter().for_each(take);
        Ok(count)
    }
}
