//! Timings and verdicts of earlier runs, in SQLite. Several processes may write at a time.
#![expect(clippy::disallowed_methods, reason = "a shell: SQLite blocks, and its users share one connection")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use seagull_domain::{Digest, Manifest, NotPassed, RunId, RunVerdict, Verdict};

use crate::Error;
use crate::blobs::digest;
use crate::calibration::Calibration;
use crate::find::{Finder, Found};
use crate::forget::{forget_now_and_then, whole};
use crate::health::{Health, STALE_DAYS};
use crate::last_verdicts::LastVerdicts;
use crate::renamed::renamed;
use crate::timing::{Timing, Timings};

const BUSY: Duration = Duration::from_secs(30);

/// What each format adds to the one before; `PRAGMA user_version` says how many there are in a file.
const FORMATS: [&str; 4] = [
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
];
const FORMAT: i64 = FORMATS.len() as i64;
/// What bundles came to is asked of so many runs.
const CALIBRATED_BY: u32 = 50;
const DAY_MS: u64 = 24 * 3600 * 1000;

#[derive(Debug)]
pub struct History {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// An ended run, but for its tests.
#[derive(Debug, Clone, Copy)]
pub struct EndedRun<'a> {
    pub project: &'a str,
    pub run: &'a RunId,
    /// Unix milliseconds. An id may be used again once its run is evicted.
    pub submitted_at: u64,
    pub verdict: RunVerdict,
    /// Paths and arguments for the framework; None where the tests are not all that it discovered.
    pub arguments: Option<&'a [String]>,
    /// The manifest as it was discovered.
    pub discovered: Option<Digest>,
    /// Which tests did not fail and were executed together, by their places among all.
    pub bundles: &'a [Vec<usize>],
}

impl History {
    pub fn open(path: &Path) -> Result<History, Error> {
        let sqlite = |source| Error::Sqlite { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(sqlite)?;
        connection.busy_timeout(BUSY).map_err(sqlite)?;
        let found = prepare(&mut connection).map_err(sqlite)?;
        if found > FORMAT {
            return Err(Error::Newer { path: path.to_owned(), found, known: FORMAT });
        }
        Ok(History { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sqlite(&self) -> impl Fn(rusqlite::Error) -> Error + '_ {
        |source| Error::Sqlite { path: self.path.clone(), source }
    }

    /// Learns from an ended run: its verdict, and of each test the microseconds, where it was executed, and the verdict. Of one
    /// that failed they may only raise what is known.
    /// A run that was recorded before changes nothing.
    pub fn record(
        &self,
        ended: &EndedRun,
        tests: impl Iterator<Item = (String, Option<u64>, Verdict)>,
    ) -> Result<(), Error> {
        record(&mut self.connection(), ended, tests).map_err(self.sqlite())
    }

    /// All timings of a project, in one pass, and how predictions came true in its last runs.
    pub fn load(&self, project: &str) -> Result<Timings, Error> {
        load(&self.connection(), project).map_err(self.sqlite())
    }

    /// All timings of a project, and those of tests of a manifest that are called something else than before by what they were,
    /// if it was discovered with the same arguments as the largest of its runs: of a part nobody knows what is gone.
    pub fn load_for(
        &self,
        project: &str,
        arguments: &[String],
        manifest: &Manifest,
    ) -> Result<Timings, Error> {
        let ids: Vec<String> = manifest.ids().collect();
        let ids = ids.iter().map(String::as_str);
        load_for(&self.connection(), project, Some(fingerprint(arguments)), ids).map_err(self.sqlite())
    }

    /// The last verdict of each test of the project; None if no run of it has ended.
    pub fn last_verdicts(&self, project: &str) -> Result<Option<LastVerdicts>, Error> {
        last_verdicts(&self.connection(), project).map_err(self.sqlite())
    }

    /// How many tests the framework discovered when the project was last run with these arguments.
    pub fn last_manifest_len(&self, project: &str, arguments: &[String]) -> Result<Option<usize>, Error> {
        let select =
            "SELECT tests FROM runs WHERE project = ?1 AND arguments = ?2 ORDER BY number DESC LIMIT 1";
        let parameters = params![project, fingerprint(arguments)];
        let row = self.connection().query_row(select, parameters, |row| row.get::<_, u32>(0)).optional();
        row.map(|row| row.map(|tests| tests as usize)).map_err(self.sqlite())
    }

    /// The manifests that were discovered the last two times that the project was run with these arguments, the newest
    /// first.
    pub fn last_discovered(&self, project: &str, arguments: &[String]) -> Result<Vec<Digest>, Error> {
        let select = "SELECT discovered FROM runs
            WHERE project = ?1 AND arguments = ?2 AND discovered IS NOT NULL ORDER BY number DESC LIMIT 2";
        let newest = || {
            let connection = self.connection();
            let mut statement = connection.prepare_cached(select)?;
            let rows = statement.query_map(params![project, fingerprint(arguments)], |row| row.get(0))?;
            rows.map(|digest| digest.map(Digest)).collect::<rusqlite::Result<_>>()
        };
        newest().map_err(self.sqlite())
    }

    /// The project's last run that has ended, if that did not pass.
    pub fn not_passed(&self, project: &str) -> Result<Option<NotPassed>, Error> {
        not_passed(&self.connection(), project).map_err(self.sqlite())
    }

    /// What a project's history says of itself at `now` (Unix milliseconds).
    pub fn health(&self, project: &str, now: u64) -> Result<Health, Error> {
        health(&self.connection(), project, now).map_err(self.sqlite())
    }

    /// The ids of a project's tests that a text means.
    pub fn find(&self, project: &str, text: &str, limit: usize) -> Result<Found, Error> {
        let find = || {
            let connection = self.connection();
            let mut statement =
                connection.prepare_cached("SELECT id FROM tests WHERE project = ?1 ORDER BY id")?;
            let mut rows = statement.query([project])?;
            let mut finder = Finder::new(text, limit);
            while let Some(row) = rows.next()? {
                finder.look_at(row.get_ref(0)?.as_str()?);
            }
            Ok(finder.found())
        };
        find().map_err(self.sqlite())
    }

    /// What is known of the duration of one test; None if it never did but fail.
    pub fn timing(&self, project: &str, id: &str) -> Result<Option<Timing>, Error> {
        let select = "SELECT location, spread, runs, clips FROM tests
            WHERE project = ?1 AND id = ?2 AND runs > 0";
        let timing = |row: &rusqlite::Row| {
            Ok(Timing { location: row.get(0)?, spread: row.get(1)?, runs: row.get(2)?, clips: row.get(3)? })
        };
        let row = self.connection().query_row(select, [project, id], timing).optional();
        row.map_err(self.sqlite())
    }
}

/// Arguments as they are compared.
fn fingerprint(arguments: &[String]) -> [u8; 32] {
    digest(&serde_json::to_vec(arguments).expect("arguments are text")).0
}

/// Creates what is not there, brings an older format up to this one, and returns the format that was found.
fn prepare(connection: &mut Connection) -> rusqlite::Result<i64> {
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

fn record(
    connection: &mut Connection,
    ended: &EndedRun,
    tests: impl Iterator<Item = (String, Option<u64>, Verdict)>,
) -> rusqlite::Result<()> {
    let EndedRun { project, run, submitted_at, verdict, arguments, discovered, bundles } = *ended;
    // Immediate, so that what is learned from is still so when it is written.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let insert = "
        INSERT OR IGNORE INTO runs (project, run, submitted_at, tests, verdict, arguments, discovered)
        VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6)";
    let (arguments, discovered) = (arguments.map(fingerprint), discovered.map(|digest| digest.0));
    let row = params![project, run.as_str(), submitted_at, verdict.word(), arguments, discovered];
    if transaction.execute(insert, row)? == 0 {
        return Ok(());
    }
    let number = transaction.last_insert_rowid();
    let tests: Vec<_> = tests.collect();
    let known = load_for(&transaction, project, arguments, tests.iter().map(|(id, ..)| id.as_str()))?;
    let common = known.calibration.common();
    let mut calibration = Calibration::default();
    for bundle in bundles {
        let executed = bundle.iter().filter_map(|&place| tests.get(place));
        let executed = executed.filter_map(|(id, micros, _)| known.get(id).zip(*micros));
        calibration.add(executed, common);
    }
    // A failure stays until its test is executed again: no run that is interrupted hides it.
    let upsert = "
        INSERT INTO tests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (project, id) DO UPDATE SET
            location = excluded.location, spread = excluded.spread, runs = excluded.runs, clips = excluded.clips,
            verdict = iif(excluded.verdict = 'not_executed' AND verdict = 'failed', verdict, excluded.verdict),
            last_run = excluded.last_run";
    let mut statement = transaction.prepare(upsert)?;
    let mut count = 0u32;
    for (id, micros, verdict) in tests {
        let failed = matches!(verdict, Verdict::Failed | Verdict::Quarantined);
        let before = known.get(&id);
        let now = micros.map(|micros| Timing::learn(before, micros, failed)).or(before);
        let (location, spread) = (now.map(|t| t.location), now.map(|t| t.spread));
        let (runs, clips) = now.map_or((0, 0), |timing| (timing.runs, timing.clips));
        statement.execute(params![project, id, location, spread, runs, clips, verdict.word(), number])?;
        count += 1;
    }
    drop(statement);
    let Calibration { bundles, within, predicted, took, excess, squares } = calibration;
    let update =
        "UPDATE runs SET tests = ?2, bundles = ?3, within = ?4, predicted = ?5, took = ?6, excess = ?7,
        squares = ?8 WHERE number = ?1";
    transaction.execute(update, params![number, count, bundles, within, predicted, took, excess, squares])?;
    forget_now_and_then(&transaction, project)?;
    transaction.commit()
}

fn load(connection: &Connection, project: &str) -> rusqlite::Result<Timings> {
    let mut timings = Timings::calibrated(calibration(connection, project)?);
    each_timing(connection, project, |id, timing| timings.insert(id, timing))?;
    Ok(timings)
}

fn load_for<'i>(
    connection: &Connection,
    project: &str,
    arguments: Option<[u8; 32]>,
    ids: impl Iterator<Item = &'i str>,
) -> rusqlite::Result<Timings> {
    if arguments.is_none() || arguments != whole(connection, project)? {
        return load(connection, project);
    }
    let here: HashSet<&str> = ids.collect();
    let mut timings = Timings::calibrated(calibration(connection, project)?);
    let mut gone = Vec::new();
    each_timing(connection, project, |id, timing| {
        timings.insert(id, timing);
        if !here.contains(id) {
            gone.push((id.to_owned(), timing));
        }
    })?;
    if !gone.is_empty() {
        let new: Vec<&str> = here.into_iter().filter(|id| timings.get(id).is_none()).collect();
        let ids: Vec<&str> = gone.iter().map(|(id, _)| id.as_str()).collect();
        for (was, is) in renamed(&ids, &new) {
            timings.insert(new[is], gone[was].1);
        }
    }
    Ok(timings)
}

fn each_timing(
    connection: &Connection,
    project: &str,
    mut take: impl FnMut(&str, Timing),
) -> rusqlite::Result<()> {
    let select =
        "SELECT id, location, spread, runs, clips FROM tests WHERE project = ?1 AND location NOT NULL";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query([project])?;
    while let Some(row) = rows.next()? {
        let timing =
            Timing { location: row.get(1)?, spread: row.get(2)?, runs: row.get(3)?, clips: row.get(4)? };
        take(row.get_ref(0)?.as_str()?, timing);
    }
    Ok(())
}

fn calibration(connection: &Connection, project: &str) -> rusqlite::Result<Calibration> {
    let select =
        "SELECT total(bundles), total(within), total(predicted), total(took), total(excess), total(squares)
        FROM (SELECT * FROM runs WHERE project = ?1 ORDER BY number DESC LIMIT ?2)";
    connection.query_row(select, params![project, CALIBRATED_BY], |row| {
        Ok(Calibration {
            bundles: row.get::<_, f64>(0)? as u32,
            within: row.get::<_, f64>(1)? as u32,
            predicted: row.get(2)?,
            took: row.get(3)?,
            excess: row.get(4)?,
            squares: row.get(5)?,
        })
    })
}

fn health(connection: &Connection, project: &str, now: u64) -> rusqlite::Result<Health> {
    let known = "SELECT count(*), count(*) FILTER (WHERE submitted_at BETWEEN 1 AND ?2)
        FROM tests JOIN runs ON runs.number = last_run WHERE tests.project = ?1 AND tests.runs > 0";
    let old = now.saturating_sub(STALE_DAYS * DAY_MS);
    let known = connection.query_row(known, params![project, old], |row| Ok((row.get(0)?, row.get(1)?)));
    let alike = "SELECT coalesce(max(tests), 0) FROM
        (SELECT count(*) AS tests FROM tests WHERE project = ?1 AND runs > 0 GROUP BY location)";
    let alike = connection.query_row(alike, [project], |row| row.get(0));
    let ((known, stale), alike) = (known?, alike?);
    Ok(Health { known, stale, alike, calibration: calibration(connection, project)? })
}

fn not_passed(connection: &Connection, project: &str) -> rusqlite::Result<Option<NotPassed>> {
    let select = "SELECT run, verdict FROM runs WHERE project = ?1 ORDER BY number DESC LIMIT 1";
    let last = connection.query_row(select, [project], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)));
    let Some((run, word)) = last.optional()? else { return Ok(None) };
    let word: String = word;
    let open = [RunVerdict::Failed, RunVerdict::Incomplete, RunVerdict::Cancelled];
    let verdict = open.into_iter().find(|verdict| verdict.word() == word);
    let (Some(verdict), Ok(run)) = (verdict, run.parse()) else { return Ok(None) };
    let select = "SELECT count(*) FROM tests
        WHERE project = ?1 AND verdict NOT IN ('passed', 'skipped', 'flaky')";
    let tests = connection.query_row(select, [project], |row| row.get(0))?;
    Ok(Some(NotPassed { run, verdict, tests }))
}

fn last_verdicts(connection: &Connection, project: &str) -> rusqlite::Result<Option<LastVerdicts>> {
    let select = "SELECT verdict FROM runs WHERE project = ?1 ORDER BY number DESC LIMIT 1";
    let verdict = connection.query_row(select, [project], |row| row.get::<_, String>(0)).optional()?;
    let Some(verdict) = verdict else { return Ok(None) };
    let last_run_passed = verdict == RunVerdict::Passed.word();
    let mut last = LastVerdicts::new(last_run_passed);
    let mut statement =
        connection.prepare_cached("SELECT id, verdict, last_run FROM tests WHERE project = ?1")?;
    let mut rows = statement.query([project])?;
    while let Some(row) = rows.next()? {
        last.add(row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?, row.get(2)?);
    }
    Ok(Some(last))
}

#[cfg(test)]
pub(crate) mod tests {
    use seagull_domain::FileTests;

    use super::*;
    use crate::LastVerdict;

    pub(crate) fn history() -> (tempfile::TempDir, History) {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("history.sqlite")).unwrap();
        (directory, history)
    }

    pub(crate) fn run(n: u32) -> RunId {
        format!("r{n}").parse().unwrap()
    }

    pub(crate) fn ended(run: &RunId) -> EndedRun<'_> {
        EndedRun {
            project: "p",
            run,
            submitted_at: 0,
            verdict: RunVerdict::Passed,
            arguments: Some(&[]),
            discovered: None,
            bundles: &[],
        }
    }

    pub(crate) fn passed(id: &str, micros: u64) -> (String, Option<u64>, Verdict) {
        (id.to_owned(), Some(micros), Verdict::Passed)
    }

    #[test]
    fn a_test_is_found_and_those_that_did_not_pass_are_counted() {
        let (_directory, history) = history();
        let rows = [
            passed("a.py::x", 1000),
            ("a.py::y".to_owned(), Some(7), Verdict::Failed),
            ("b.py::x".to_owned(), None, Verdict::NotExecuted(seagull_domain::NotExecuted::FailFast)),
        ];
        history.record(&ended(&run(1)), rows.into_iter()).unwrap();
        assert_eq!(history.not_passed("p").unwrap(), None, "the run passed, whatever it had");
        let verdict = RunVerdict::Failed;
        history.record(&EndedRun { verdict, ..ended(&run(2)) }, std::iter::empty()).unwrap();
        assert_eq!(history.not_passed("p").unwrap(), Some(NotPassed { run: run(2), verdict, tests: 2 }));
        assert_eq!(history.not_passed("q").unwrap(), None);
        assert_eq!(
            history.find("p", "y", 9).unwrap(),
            Found { ids: vec!["a.py::y".to_owned()], matching: 1 }
        );
        assert_eq!(
            history.find("p", "::x", 1).unwrap(),
            Found { ids: vec!["a.py::x".to_owned()], matching: 2 }
        );
        assert_eq!(history.find("q", "y", 9).unwrap(), Found::default());
        assert_eq!(history.timing("p", "a.py::x").unwrap().unwrap().runs, 1);
        assert_eq!(history.timing("p", "b.py::x").unwrap(), None);
    }

    #[test]
    fn what_is_recorded_is_loaded_once() {
        let (_directory, history) = history();
        assert!(history.last_verdicts("p").unwrap().is_none());
        let rows = || [passed("a\n::\0é", 1000), ("b".to_owned(), None, Verdict::Skipped)].into_iter();
        history.record(&ended(&run(1)), rows()).unwrap();
        history.record(&ended(&run(1)), rows()).unwrap();
        let timings = history.load("p").unwrap();
        assert_eq!(timings.len(), 1);
        assert_eq!(timings.get("a\n::\0é").unwrap().runs, 1);
        let last = history.last_verdicts("p").unwrap().unwrap();
        assert_eq!((last.of("b"), last.of("c")), (Some(LastVerdict::Good), None));
        assert!(history.load("other").unwrap().is_empty());
        history.record(&ended(&run(2)), rows().take(1)).unwrap();
        assert_eq!(history.load("p").unwrap().get("a\n::\0é").unwrap().runs, 2);
        // Another run of an id that was free again.
        history.record(&EndedRun { submitted_at: 1, ..ended(&run(1)) }, rows()).unwrap();
        assert_eq!(history.load("p").unwrap().get("a\n::\0é").unwrap().runs, 3);
    }

    #[test]
    fn a_manifest_is_compared_with_one_of_the_same_arguments() {
        let (_directory, history) = history();
        let unit = ["tests/unit".to_owned(), "-x".to_owned()];
        let record = |n, arguments, tests: u32| {
            let run = run(n);
            let rows = (0..tests).map(|test| passed(&format!("t{test}"), 10));
            history.record(&EndedRun { arguments, ..ended(&run) }, rows).unwrap();
        };
        let len = |arguments: &[String]| history.last_manifest_len("p", arguments).unwrap();
        assert_eq!(len(&[]), None);
        record(1, Some(&[]), 9);
        record(2, Some(&unit), 5);
        // A part of what was discovered.
        record(3, None, 2);
        assert_eq!((len(&[]), len(&unit), len(&unit[..1])), (Some(9), Some(5), None));
        record(4, Some(&unit), 4);
        assert_eq!((len(&[]), len(&unit)), (Some(9), Some(4)));
        let last = |arguments: &[String]| history.last_discovered("p", arguments).unwrap();
        assert_eq!(last(&[]), []);
        let discovered = [5, 6, 7].map(|n| Digest([n; 32]));
        for (n, found) in (5..).zip(discovered) {
            let number = run(n);
            let ended = EndedRun { discovered: Some(found), ..ended(&number) };
            history.record(&ended, std::iter::empty()).unwrap();
            if n == 5 {
                assert_eq!((last(&[]), last(&unit)), (vec![found], vec![]));
            }
        }
        record(8, Some(&[]), 9);
        assert_eq!(last(&[]), [discovered[2], discovered[1]]);
    }

    #[test]
    fn a_test_that_a_run_did_not_execute_keeps_its_timing() {
        let (_directory, history) = history();
        history.record(&ended(&run(1)), [passed("a", 1000)].into_iter()).unwrap();
        let none = Verdict::NotExecuted(seagull_domain::NotExecuted::Cancelled);
        history.record(&ended(&run(2)), [("a".to_owned(), None, none)].into_iter()).unwrap();
        assert_eq!(history.load("p").unwrap().get("a").unwrap().robust_micros(), 1000);
        let last = history.last_verdicts("p").unwrap().unwrap();
        assert_eq!(last.of("a"), Some(LastVerdict::NotGood));
        history.record(&ended(&run(3)), [("a".to_owned(), Some(1), Verdict::Failed)].into_iter()).unwrap();
        assert_eq!(history.load("p").unwrap().get("a").unwrap().robust_micros(), 1000);
        history.record(&ended(&run(4)), [("a".to_owned(), None, none)].into_iter()).unwrap();
        let last = history.last_verdicts("p").unwrap().unwrap();
        assert_eq!(last.of("a"), Some(LastVerdict::Failed), "it was not executed since it failed");
    }

    #[test]
    fn a_failure_that_does_not_count_may_only_raise_either() {
        let (_directory, history) = history();
        history.record(&ended(&run(1)), [passed("a", 1000)].into_iter()).unwrap();
        for (n, verdict) in [(2, Verdict::Failed), (3, Verdict::Quarantined)] {
            history.record(&ended(&run(n)), [("a".to_owned(), Some(1), verdict)].into_iter()).unwrap();
            assert_eq!(history.timing("p", "a").unwrap().unwrap().robust_micros(), 1000);
        }
        history.record(&ended(&run(4)), [("b".to_owned(), Some(1000), Verdict::Failed)].into_iter()).unwrap();
        assert_eq!(history.timing("p", "b").unwrap(), None);
        assert_eq!(history.load("p").unwrap().get("b").unwrap().robust_micros(), 1000);
    }

    #[test]
    fn a_moved_test_keeps_what_is_known_where_all_are_there() {
        let (_directory, history) = history();
        let rows = |folder: &str| ["a", "b"].map(|file| passed(&format!("{folder}/{file}.py::x"), 1000));
        history.record(&ended(&run(1)), rows("old").into_iter()).unwrap();
        let known = |id: &str, arguments: &[String]| {
            let (path, suffix) = id.split_at(id.find("::").unwrap());
            let file = FileTests { path: path.into(), suffixes: vec![suffix.into()] };
            let manifest = Manifest { files: vec![file], ..Manifest::default() };
            let timings = history.load_for("p", arguments, &manifest).unwrap();
            timings.get(id).map(|timing| timing.runs)
        };
        assert_eq!(known("new/a.py::x", &[]), Some(1));
        assert_eq!(known("new/c.py::x", &[]), None, "it may have been either");
        assert_eq!(known("new/a.py::x", &["new".to_owned()]), None, "what was not asked for is not gone");
        // What is learned is added to that.
        let [a, b] = [2, 3].map(run);
        let part = EndedRun { arguments: None, ..ended(&a) };
        history.record(&part, [passed("part/a.py::x", 1000)].into_iter()).unwrap();
        history.record(&ended(&b), rows("new").into_iter()).unwrap();
        let runs = |id| history.timing("p", id).unwrap().map(|timing| timing.runs);
        assert_eq!(
            [runs("part/a.py::x"), runs("new/a.py::x"), runs("new/b.py::x")],
            [Some(1), Some(1), Some(2)],
            "an a.py is gone from two folders"
        );
    }

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
        assert_eq!(history.load("p").unwrap().get("a").unwrap().runs, 3);
        // What that run came to is not known, so it is no good news.
        assert!(!history.last_verdicts("p").unwrap().unwrap().last_run_passed);
        history.record(&ended(&run(1)), [passed("a", 1000)].into_iter()).unwrap();
        assert!(History::open(&path).unwrap().last_verdicts("p").unwrap().unwrap().last_run_passed);
    }

    #[test]
    fn a_history_knows_how_its_predictions_came_true_and_how_old_they_are() {
        let (_directory, history) = history();
        let rows = |micros: u64| (0..40).map(move |n| passed(&format!("t{n}"), micros + n));
        let bundles = [(0..20).collect(), (20..40).collect()];
        for n in 1..=4 {
            let run = run(n);
            let ended = EndedRun { submitted_at: DAY_MS, bundles: &bundles, ..ended(&run) };
            history.record(&ended, rows(if n < 4 { 1_000_000 } else { 1_200_000 })).unwrap();
        }
        let calibration = history.load("p").unwrap().calibration;
        assert_eq!(calibration.bundles, 2, "of one run: before it nothing was settled");
        assert!((1.1..1.25).contains(&calibration.ratio().unwrap()), "{calibration:?}");
        let health = |days: u64| history.health("p", days * DAY_MS).unwrap();
        assert_eq!(health(30), Health { known: 40, stale: 0, alike: health(30).alike, calibration });
        assert!(health(30).alike < 40, "durations that were measured differ");
        assert_eq!(health(31).stale, 40);
        let alike = (0..9).map(|n| passed(&format!("u{n}"), 5));
        history.record(&EndedRun { submitted_at: 40 * DAY_MS, ..ended(&run(5)) }, alike).unwrap();
        assert_eq!((health(41).known, health(41).stale), (49, 40));
        assert_eq!(history.health("q", 0).unwrap(), Health::default());
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
        assert_eq!(history.load("p").unwrap().get("a").unwrap().runs, writers * runs);
        let mode = "PRAGMA journal_mode";
        let mode: String = history.connection().query_row(mode, [], |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn what_is_no_history_or_a_newer_one_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let garbage = directory.path().join("garbage");
        std::fs::write(&garbage, [7; 5000]).unwrap();
        assert!(matches!(History::open(&garbage), Err(Error::Sqlite { .. })));
        let newer = directory.path().join("newer");
        Connection::open(&newer).unwrap().pragma_update(None, "user_version", FORMAT + 1).unwrap();
        let error = History::open(&newer).unwrap_err().to_string();
        assert!(error.contains("format 5") && error.contains("hint: "), "{error}");
    }

    #[test]
    fn a_quarter_of_a_million_tests_are_recorded_again_and_again() {
        let (_directory, history) = history();
        let rows = || (0..250_000).map(|n| passed(&format!("tests/test_{}.py::test[{n}]", n / 50), 1000));
        history.record(&ended(&run(1)), rows()).unwrap();
        history.record(&ended(&run(2)), rows()).unwrap();
        let timings = history.load("p").unwrap();
        assert_eq!(timings.len(), 250_000);
        assert_eq!(timings.get("tests/test_7.py::test[377]").unwrap().runs, 2);
    }
}
