//! Asking the tables.

use rusqlite::types::{Type, Value};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use seagull_domain::{
    CameTo, Counts, FailureGroup, PastRun, Ranked, Ranking, RunId, RunOverview, RunPlace, RunState,
    TestIndex, Verdict,
};

use crate::index::document::{Learned, run_verdict, verdict};
use crate::index::{PAGE, ResultsAsked, Window};

/// A value that is not ours to have written.
fn foreign(what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, format!("{what} is not one of seagull's").into())
}

fn parsed<T: std::str::FromStr>(row: &Row, column: &str) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|_| foreign(column))
}

fn verdict_of(row: &Row) -> rusqlite::Result<Verdict> {
    let [word, why] = ["verdict", "why"].map(|column| row.get_ref(column));
    verdict(word?.as_str()?, why?.as_str()?).ok_or_else(|| foreign("verdict"))
}

/// Runs that have ended and were first seen before then.
pub fn seen_before(connection: &Connection, at: u64) -> rusqlite::Result<Vec<(i64, String)>> {
    let select = "SELECT number, run FROM indexed_runs WHERE at < ?1 AND verdict IS NOT NULL ORDER BY number";
    let mut statement = connection.prepare_cached(select)?;
    statement.query_map([at], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

pub fn has_ended(connection: &Connection, key: &str) -> rusqlite::Result<bool> {
    let select = "SELECT count(*) FROM indexed_runs WHERE key = ?1 AND verdict IS NOT NULL";
    connection.query_row(select, [key], |row| row.get::<_, i64>(0)).map(|count| count > 0)
}

pub fn runs(
    connection: &Connection,
    project: Option<&str>,
    after: Option<&RunPlace>,
    limit: usize,
) -> rusqlite::Result<Vec<RunOverview>> {
    let select = "SELECT * FROM indexed_runs WHERE verdict IS NOT NULL AND (?1 IS NULL OR project = ?1)
        AND (?2 IS NULL OR (submitted_at, run) < (?2, ?3)) ORDER BY submitted_at DESC, run DESC LIMIT ?4";
    let mut statement = connection.prepare_cached(select)?;
    let (at, run) = after.map(|after| (after.submitted_at, after.run.as_str())).unzip();
    let rows = statement.query_map(params![project, at, run, limit], overview)?;
    rows.collect()
}

fn overview(row: &Row) -> rusqlite::Result<RunOverview> {
    let word: String = row.get("verdict")?;
    let rerun_of: Option<String> = row.get("rerun_of")?;
    Ok(RunOverview {
        run: parsed(row, "run")?,
        owner: row.get("owner")?,
        project: row.get("project")?,
        rev: row.get("rev")?,
        submitted_at: row.get("submitted_at")?,
        rerun_of: rerun_of.and_then(|run| run.parse().ok()),
        counts: Counts {
            total: row.get("total")?,
            passed: row.get("passed")?,
            failed: row.get("failed")?,
            skipped: row.get("skipped")?,
            flaky: row.get("flaky")?,
            quarantined: row.get("quarantined")?,
            not_executed: row.get("not_executed")?,
        },
        suite_errors: row.get("suite_errors")?,
        state: RunState::Ended {
            verdict: run_verdict(&word).ok_or_else(|| foreign("verdict"))?,
            exit_code: row.get("exit_code")?,
            at: row.get("ended_at")?,
        },
    })
}

pub fn results(
    connection: &Connection,
    run: &RunId,
    asked: &ResultsAsked,
) -> rusqlite::Result<Option<Vec<CameTo>>> {
    let newest = "SELECT number FROM indexed_runs WHERE run = ?1 ORDER BY at DESC, key DESC LIMIT 1";
    let number = connection.query_row(newest, [run.as_str()], |row| row.get::<_, i64>(0)).optional()?;
    let Some(number) = number else { return Ok(None) };
    let select = "SELECT s.*, t.test AS id, coalesce(f.message, '') AS message
        FROM indexed_results s JOIN indexed_tests t ON t.number = s.test
        LEFT JOIN indexed_failures f ON f.run = s.run AND f.position = s.position
        WHERE s.run = ?1 AND s.position > ?2 AND (?3 = '[]' OR s.verdict IN (SELECT value FROM json_each(?3)))
            AND substr(t.test, 1, length(?4)) = ?4
        ORDER BY s.position LIMIT ?5";
    let after = asked.after.map_or(-1, |after| i64::from(after.0));
    let verdicts = serde_json::to_string(&asked.verdicts).expect("words are text");
    let mut statement = connection.prepare_cached(select)?;
    let parameters = params![number, after, verdicts, asked.prefix, asked.limit.min(PAGE)];
    statement.query_map(parameters, came_to)?.collect::<rusqlite::Result<_>>().map(Some)
}

fn came_to(row: &Row) -> rusqlite::Result<CameTo> {
    let executor: Option<String> = row.get("executor")?;
    Ok(CameTo {
        test: row.get("id")?,
        position: TestIndex(row.get("position")?),
        verdict: verdict_of(row)?,
        results: row.get("results")?,
        failed: row.get("failed")?,
        micros: row.get("micros")?,
        executor: executor.and_then(|executor| executor.parse().ok()),
        message: row.get("message")?,
    })
}

/// The newest runs of a project.
const NEWEST: &str = "(SELECT * FROM indexed_runs WHERE project = ?1 AND verdict IS NOT NULL
    ORDER BY at DESC, key DESC LIMIT ?2)";

/// What a test came to in them. Left to itself, SQLite reads all results of each of them.
fn of_test() -> String {
    format!(
        "SELECT r.run AS id, r.submitted_at, s.* FROM indexed_tests t CROSS JOIN {NEWEST} r
            CROSS JOIN indexed_results s INDEXED BY indexed_results_of_test ON s.run = r.number AND s.test = t.number
        WHERE t.project = ?1 AND t.test = ?3 ORDER BY r.at DESC, r.key DESC"
    )
}

pub fn history(
    connection: &Connection,
    project: &str,
    test: &str,
    runs: usize,
) -> rusqlite::Result<(Vec<PastRun>, u32)> {
    let count = format!("SELECT count(*) FROM {NEWEST}");
    let searched = connection.query_row(&count, params![project, runs], |row| row.get(0))?;
    let mut statement = connection.prepare_cached(&of_test())?;
    let past = |row: &Row| {
        let executor: Option<String> = row.get("executor")?;
        Ok(PastRun {
            run: parsed(row, "id")?,
            submitted_at: row.get("submitted_at")?,
            verdict: verdict_of(row)?,
            results: row.get("results")?,
            failed: row.get("failed")?,
            micros: row.get("micros")?,
            executor: executor.and_then(|executor| executor.parse().ok()),
        })
    };
    let past = statement.query_map(params![project, runs, test], past)?.collect::<rusqlite::Result<_>>()?;
    Ok((past, searched))
}

/// Results of a project's runs in a window.
const IN_WINDOW: &str = "indexed_runs r JOIN indexed_results s ON s.run = r.number
    WHERE r.project = ?1 AND r.at >= ?2 AND r.at < ?3";

pub fn ranked(
    connection: &Connection,
    project: &str,
    ranking: Ranking,
    window: Window,
    limit: usize,
) -> rusqlite::Result<Vec<Ranked>> {
    let order = "ORDER BY score DESC, t.test LIMIT ?4";
    let whole = "s.verdict IN ('passed', 'flaky')";
    let scores = match ranking {
        Ranking::Failing => format!(
            "SELECT s.test, count(*) AS score FROM {IN_WINDOW} AND s.verdict = 'failed' GROUP BY s.test"
        ),
        Ranking::Flaky => format!(
            "SELECT test, count(*) AS score FROM (
                SELECT s.test, max(s.verdict = 'flaky') AS both, max(s.verdict = 'failed') AS failed,
                    max(s.verdict = 'passed') AS passed, r.revision FROM {IN_WINDOW} GROUP BY s.test, r.revision)
            WHERE both OR (failed AND passed AND revision <> '') GROUP BY test"
        ),
        Ranking::Slowest => {
            format!("SELECT s.test, avg(s.micros) AS score FROM {IN_WINDOW} AND {whole} GROUP BY s.test")
        }
        Ranking::Slower => format!(
            "SELECT now.test, now.score - was.score AS score FROM
                (SELECT s.test, avg(s.micros) AS score FROM {IN_WINDOW} AND {whole} GROUP BY s.test) now
                JOIN (SELECT s.test, avg(s.micros) AS score
                    FROM indexed_runs r JOIN indexed_results s ON s.run = r.number
                    WHERE r.project = ?1 AND r.at >= 2 * ?2 - ?3 AND r.at < ?2 AND {whole} GROUP BY s.test) was
                ON was.test = now.test WHERE now.score > was.score"
        ),
    };
    let select = format!(
        "SELECT t.number, t.test, score FROM ({scores}) x JOIN indexed_tests t ON t.number = x.test {order}"
    );
    let mut statement = connection.prepare_cached(&select)?;
    let parameters = params![project, window.since as i64, window.until as i64, limit];
    let first = statement.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let first: Vec<(i64, String, f64)> = first.collect::<rusqlite::Result<_>>()?;
    let is_counted = matches!(ranking, Ranking::Failing | Ranking::Flaky);
    let ranked = first.into_iter().map(|(number, test, score)| {
        let (runs, micros) = means(connection, project, number, window)?;
        let (_, before) = means(connection, project, number, window.before())?;
        Ok(Ranked { test, runs, count: if is_counted { score as u32 } else { 0 }, micros, before })
    });
    ranked.collect()
}

/// In how many runs of a window a test was executed, and its mean microseconds where it passed.
fn means(
    connection: &Connection,
    project: &str,
    test: i64,
    window: Window,
) -> rusqlite::Result<(u32, Option<u64>)> {
    let select = format!(
        "SELECT count(*) FILTER (WHERE s.results > 0), avg(s.micros) FILTER (WHERE s.verdict IN ('passed', 'flaky'))
        FROM {IN_WINDOW} AND s.test = ?4"
    );
    let mut statement = connection.prepare_cached(&select)?;
    let parameters = params![project, window.since as i64, window.until as i64, test];
    statement.query_row(parameters, |row| {
        let mean: Option<f64> = row.get(1)?;
        Ok((row.get(0)?, mean.map(|mean| mean.round() as u64)))
    })
}

pub fn search(
    connection: &Connection,
    project: &str,
    words: &str,
    window: Window,
    limit: usize,
) -> rusqlite::Result<Vec<FailureGroup>> {
    // Words first: they leave least.
    let failures = if words.is_empty() {
        "indexed_runs r JOIN indexed_failures f ON f.run = r.number WHERE"
    } else {
        "indexed_words CROSS JOIN indexed_failures f ON f.number = indexed_words.rowid
            CROSS JOIN indexed_runs r ON r.number = f.run WHERE indexed_words MATCH ?5 AND"
    };
    let select = format!(
        "WITH matched AS MATERIALIZED (
            SELECT f.fingerprint, f.run AS run_number, f.position, f.at, f.key, s.test AS test_number
            FROM (SELECT f.fingerprint, f.run, f.position, r.at, r.key
                FROM {failures} r.project = ?1 AND r.at >= ?2 AND r.at < ?3) f
            CROSS JOIN indexed_results s ON s.run = f.run AND s.position = f.position),
        sums AS (
            SELECT fingerprint, count(*) AS failures, count(DISTINCT test_number) AS tests
            FROM matched GROUP BY fingerprint ORDER BY failures DESC, fingerprint LIMIT ?4),
        newest AS (
            SELECT *, row_number() OVER
                (PARTITION BY fingerprint ORDER BY at DESC, key DESC, position DESC) AS place
            FROM matched WHERE fingerprint IN (SELECT fingerprint FROM sums))
        SELECT sums.*, f.message, f.location, t.test, r.run, r.at FROM sums
            JOIN newest n ON n.fingerprint = sums.fingerprint AND n.place = 1
            JOIN indexed_failures f ON f.run = n.run_number AND f.position = n.position
            JOIN indexed_tests t ON t.number = n.test_number
            JOIN indexed_runs r ON r.number = n.run_number
        ORDER BY failures DESC, sums.fingerprint"
    );
    // Each word is quoted, so that none of them is an operator.
    let quoted: Vec<String> =
        words.split(' ').filter(|word| !word.is_empty()).map(|word| format!("\"{word}\"")).collect();
    let mut values: Vec<Value> = vec![
        project.to_owned().into(),
        (window.since as i64).into(),
        (window.until as i64).into(),
        i64::try_from(limit).unwrap_or(i64::MAX).into(),
    ];
    if !quoted.is_empty() {
        values.push(quoted.join(" ").into());
    }
    let group = |row: &Row| {
        Ok(FailureGroup {
            fingerprint: row.get("fingerprint")?,
            failures: row.get("failures")?,
            tests: row.get("tests")?,
            message: row.get("message")?,
            location: row.get("location")?,
            test: row.get("test")?,
            run: parsed(row, "run")?,
            at: row.get("at")?,
        })
    };
    let mut statement = connection.prepare_cached(&select)?;
    statement.query_map(params_from_iter(&values), group)?.collect()
}

pub fn timings(connection: &Connection, project: &str) -> rusqlite::Result<Vec<Learned>> {
    let select = "SELECT learned FROM indexed_timings WHERE project = ?1 ORDER BY part";
    let mut statement = connection.prepare_cached(select)?;
    let mut rows = statement.query([project])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let learned: Vec<Learned> =
            serde_json::from_slice(row.get_ref(0)?.as_blob()?).map_err(|_| foreign("learned"))?;
        all.extend(learned);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::SqliteIndex;

    #[test]
    fn a_test_is_looked_up_in_each_run_by_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index.sqlite");
        drop(SqliteIndex::open(&path).unwrap());
        let connection = Connection::open(path).unwrap();
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", of_test())).unwrap();
        let steps = statement.query_map(params!["p", 100, "t"], |row| row.get("detail")).unwrap();
        let steps: Vec<String> = steps.collect::<rusqlite::Result<_>>().unwrap();
        let wanted = "SEARCH s USING INDEX indexed_results_of_test (test=? AND run=?)";
        assert!(steps.iter().any(|step| step == wanted), "{steps:#?}");
    }
}
